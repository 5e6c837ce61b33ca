"""Fixtures of the tests that need an API server: a real control plane on loopback, one per test process.

Tests of one process share `control_plane` and keep apart by namespaces and node names of their own. A test that kills components, or
installs what is cluster-wide, takes `fresh_control_plane`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Api, Object
from controlplane.kind import CONFIG, KindCluster
from controlplane.local import ControlPlane
from controlplane.users import bind_tenant
from controlplane.waiting import until

HERE = Path(__file__).parent
_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/cluster --kind` runs the same tests on a kind cluster."""
    parser.addoption("--kind", action="store_true", help="run the tests of tests/cluster on a kind cluster (needs Docker and pytest-kind)")


def on_kind(config: pytest.Config) -> bool:
    """Whether `--kind` was given; the option exists when this folder was named on the command line."""
    return bool(config.getoption("--kind", default=False))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder runs on the control plane, or on kind."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e if on_kind(item.config) else pytest.mark.cluster)


@pytest.fixture(scope="session")
def control_plane(
    tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[ControlPlane | KindCluster]:
    """The shared control plane of this test process."""
    folder = tmp_path_factory.mktemp("control-plane")
    if on_kind(pytestconfig):
        yield from kind_cluster(folder, tools, pytestconfig)
        return
    with ControlPlane(folder, tools=tools, fsync=False) as running:
        yield running


def kind_cluster(folder: Path, tools: dict[str, Path], config: pytest.Config) -> Iterator[KindCluster]:
    """A kind cluster of this test process, deleted at its end. `--kind-image` and `--kind-bin` are options of pytest-kind."""
    pytest_kind = pytest.importorskip("pytest_kind", reason="--kind needs the dependency group e2e and Docker")
    kind = config.getoption("kind_bin", None) or shutil.which("kind")  # else pytest-kind fetches $KIND_VERSION
    cluster = pytest_kind.KindCluster(
        f"laycan-{os.getpid()}",
        kubeconfig=folder / "kind.kubeconfig",
        image=config.getoption("kind_image", None),
        kind_path=Path(kind) if kind else None,
    )
    cluster.create(CONFIG)
    plane = KindCluster(folder, Path(cluster.kubeconfig_path), tools=tools)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
        cluster.delete()


@pytest.fixture
def new_control_plane(tools: dict[str, Path], tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Callable[..., ControlPlane]]:
    """Starts control planes of the test's own, with the options of ControlPlane; they end with the test."""
    if on_kind(pytestconfig):
        pytest.skip("kills or fills a control plane of its own: not on kind")
    started: list[ControlPlane] = []

    def start(**options: Any) -> ControlPlane:
        plane = ControlPlane(tmp_path / f"control-plane-{next(_numbers)}", tools=tools, **{"fsync": False, **options})
        started.append(plane)
        plane.start()
        return plane

    yield start
    for plane in started:
        plane.stop()


@pytest.fixture
def fresh_control_plane(new_control_plane: Callable[..., ControlPlane]) -> ControlPlane:
    """A control plane of the test's own, empty."""
    return new_control_plane()


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Api:
    """All rights on the shared control plane."""
    return control_plane.admin


@pytest.fixture
def new_namespace(admin: Api) -> Iterator[Callable[..., str]]:
    """Makes namespaces with a name that no other test has: `new_namespace("desk", tenant="alice", labels={...})`."""
    made: list[str] = []

    def make(stem: str = "test", *, tenant: str = "", labels: dict[str, str] | None = None) -> str:
        name = f"{stem}-{next(_numbers)}"
        create_namespace(admin, name, tenant=tenant, labels=labels)
        made.append(name)
        return name

    yield make
    for name in made:
        admin.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def namespace(new_namespace: Callable[..., str]) -> str:
    """A namespace of the test's own."""
    return new_namespace()


@pytest.fixture
def new_nodes(admin: Api) -> Iterator[Callable[..., list[str]]]:
    """Makes GPU nodes with names that no other test has, and waits until they are Ready: `new_nodes(4, gpus=4)`; see fleet.nodes."""
    made: list[Object] = []

    def make(number: int, **options: Any) -> list[str]:
        manifests = fleet.nodes(number, prefix=f"n{next(_numbers)}-", **options)
        made.extend(manifests)
        fleet.apply_fleet(admin, manifests)
        names = [manifest["metadata"]["name"] for manifest in manifests]
        until("all nodes Ready", lambda: all(fleet.ready(admin.get(f"/api/v1/nodes/{name}")) == "True" for name in names))
        return names

    yield make
    for manifest in made:
        admin.delete(f"/api/v1/nodes/{manifest['metadata']['name']}")


def create_namespace(api: Api, name: str, *, tenant: str = "", labels: dict[str, str] | None = None) -> None:
    """A namespace in which pods can be created at once, with a tenant as its `admin` if one is named."""
    api.create(fleet.namespace(name, labels))
    until("its ServiceAccount", lambda: api.find(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
    if tenant:
        bind_tenant(api, name, tenant)
