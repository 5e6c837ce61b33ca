"""One control plane with the chart in mode Enforce for all modules here but those that take the chart away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.local import ControlPlane
from tests.cluster.policies.installed import HOLDER, Installed


@pytest.fixture(scope="session")
def installed(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart in mode Enforce; held-0 and held-1 are delivered to the holder's namespace, free-0 is managed, alien-0 is not Laycan's."""
    with ControlPlane(tmp_path_factory.mktemp("policies"), tools=tools, fsync=False) as plane:
        cluster = Installed(plane)
        cluster.install()
        cluster.people()
        cluster.nodes("held-0", "held-1", "free-0")
        cluster.nodes("alien-0", managed=False)
        cluster.hold(["held-0", "held-1"], HOLDER)
        yield cluster
