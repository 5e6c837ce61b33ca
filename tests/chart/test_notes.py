"""What helm says after an install."""

from __future__ import annotations

import pytest

from tests.chart.conftest import CHART, Helm


@pytest.mark.parametrize(("namespace", "warned"), [("default", True), ("laycan-system", False)])
def test_an_install_without_its_namespace_is_warned_of(helm: Helm, namespace: str, warned: bool) -> None:
    """The release's namespace is exempt from every policy; in `default`, where people run pods, that is told, with the way out."""
    done = helm("install", "laycan", str(CHART), "--namespace", namespace, "--dry-run=client")
    assert done.returncode == 0, done.stderr
    assert ("WARNING: the release is in the namespace default" in done.stdout) is warned
    assert ("install it with --namespace laycan-system" in done.stdout) is warned
