"""Renders the chart with the real helm, without a cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.build import binaries
from laycan.agent.metrics import described
from laycan.control.metrics import Metrics

CHART = Path(__file__).parents[2] / "charts" / "laycan"

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs helm with arguments and returns what it said; the caller judges the exit status."""
    binary = binaries()["helm"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(binary), *arguments], capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Renders the chart with `--set` values and returns its manifests, hooks included."""

    def run(*values: str, namespace: str = "laycan-system") -> list[Manifest]:
        sets = [argument for value in values for argument in ("--set", value)]
        done = helm("template", "laycan", str(CHART), "--namespace", namespace, "--kube-version", "1.36.3", *sets)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if manifest]

    return run


@pytest.fixture(scope="session")
def served() -> set[str]:
    """Names under which operator and agents serve samples."""
    found = set()
    for each in (*Metrics().exposition.described, *described()):
        histogram = each.type == "histogram"
        found |= {f"{each.name}_{suffix}" for suffix in ("bucket", "sum", "count")} if histogram else {each.name}
    return found
