"""Which leader is believed, and what guards a commitment from `kubectl delete`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from controlplane import fleet
from controlplane.api import ApiError, Object
from controlplane.waiting import until
from tests.cluster.policies.installed import FENCE, HOLDER, LEADER_EPOCH, Installed, contract, refused

pytestmark = pytest.mark.xdist_group("policies")

GROUP = "/apis/laycan.dev/v1alpha1"
_numbers = count()


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"promise-{next(_numbers)}"


class TestEpoch:
    """One leader's writes: the API server refuses whoever carries an older epoch, object by object and everywhere."""

    @pytest.fixture
    def epoch(self, installed: Installed) -> Iterator[int]:
        """A leader in epoch 7, seen by the policy; afterwards none."""
        body = {"apiVersion": "laycan.dev/v1alpha1", "kind": "LeaderEpoch", "metadata": {"name": "cluster"}, "spec": {"epoch": 7}}
        installed.operator.create(body)
        until("the epoch is seen", lambda: _stale(installed))
        yield 7
        installed.admin.delete(LEADER_EPOCH)
        until("the epoch is forgotten", lambda: not _stale(installed))

    @pytest.mark.parametrize("status", [{"phase": "Accepted", "epoch": 6}, {"phase": "Accepted"}], ids=["older", "none"])
    def test_contract_status(self, installed: Installed, epoch: int, name: str, status: Object) -> None:
        """A status of an older leader, or of none, is refused though the contract's own epoch would allow it; the leader's is taken."""
        installed.admin.create(contract("desk", name))
        path = f"{GROUP}/namespaces/desk/computecontracts/{name}/status"
        refused(lambda: installed.operator.patch(path, {"status": status}), "the leader is in epoch 7")
        assert installed.operator.patch(path, {"status": status | {"epoch": epoch}})["status"]["epoch"] == epoch
        installed.admin.patch(path, {"status": {"phase": "Delivered"}})
        installed.admin.delete(path.removesuffix("/status"))

    def test_node_fence(self, installed: Installed, epoch: int) -> None:
        """An older leader cannot open or close a fence."""
        refused(lambda: installed.operator.patch(FENCE, {"spec": {"nodes": {"held-0": None}, "epoch": 6}}), "the leader is in epoch 7")
        refused(lambda: installed.operator.patch(FENCE, {"spec": {"nodes": {"held-0": None}}}), "the leader is in epoch 7")

    def test_a_person_may_pause(self, installed: Installed, epoch: int) -> None:
        """An annotation is no leader's write: the fence can be paused while it still carries an older epoch."""
        for value in ("true", None):
            installed.admin.patch(FENCE, {"metadata": {"annotations": {"laycan.dev/paused": value}}})

    def test_a_person_may_open_a_node(self, installed: Installed, epoch: int) -> None:
        """As docs/break-glass.md says: with the leader's epoch in the patch."""
        opened = installed.admin.patch(FENCE, {"spec": {"epoch": epoch, "nodes": {"held-0": None}}}, dryRun="All")
        assert "held-0" not in opened["spec"]["nodes"]


class TestContractDelete:
    """Deleting a running commitment cancels it, and must be meant."""

    @pytest.mark.parametrize("phase", ["", "Received", "Quoted", "Rejected", "Delivered", "Settled"])
    def test_without_commitment(self, installed: Installed, name: str, phase: str) -> None:
        """Nothing is due before acceptance, nor after delivery: a plain delete does."""
        installed.admin.delete(_committed(installed, "desk", name, phase))

    @pytest.mark.parametrize("phase", ["Accepted", "Delivering"])
    def test_with_commitment(self, installed: Installed, name: str, phase: str) -> None:
        """Refused, in words that say what to do; the annotation must name this very contract."""
        path = _committed(installed, "desk", name, phase)
        refused(lambda: installed.admin.delete(path), f"annotate it with laycan.dev/confirm-delete=ID-{name} first")
        installed.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/confirm-delete": "yes"}}})
        refused(lambda: installed.admin.delete(path), f"contract ID-{name} is {phase}")
        installed.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/confirm-delete": f"ID-{name}"}}})
        installed.admin.delete(path)
        assert installed.admin.find(path) is None

    def test_where_the_exchange_signs(self, installed: Installed, name: str) -> None:
        """No right in the API server ends such a commitment, confirmed or not; once it is over, or its namespace goes, it goes."""
        path = _committed(installed, "desk", name, "Delivering", {"instructions": {"signed": True}})
        installed.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/confirm-delete": f"ID-{name}"}}})
        refused(lambda: installed.admin.delete(path), "only a signed ContractInstruction with action Terminate ends it")
        installed.operator.patch(f"{path}/status", {"status": {"phase": "Terminated", "epoch": 1}})
        installed.admin.delete(path)
        installed.admin.create(fleet.namespace(name))
        _committed(installed, name, name, "Accepted", {"instructions": {"signed": True}})
        installed.admin.delete(f"/api/v1/namespaces/{name}")
        until("the namespace is gone", lambda: installed.admin.find(f"/api/v1/namespaces/{name}") is None)

    def test_all_at_once(self, installed: Installed, name: str) -> None:
        """`kubectl delete cc --all` takes what is free to go, and no commitment."""
        path = _committed(installed, "desk", name, "Delivering")
        refused(lambda: installed.admin.delete(f"{GROUP}/namespaces/desk/computecontracts"), "deleting it cancels it")
        assert "deletionTimestamp" not in installed.admin.get(path)["metadata"]

    def test_namespace_removal_does_not_hang(self, installed: Installed, name: str) -> None:
        """Whoever may delete the namespace ends its contracts with it."""
        installed.admin.create(fleet.namespace(name))
        _committed(installed, name, name, "Accepted")
        installed.admin.delete(f"/api/v1/namespaces/{name}")
        until("the namespace is gone", lambda: installed.admin.find(f"/api/v1/namespaces/{name}") is None)

    def test_in_a_namespace_that_ends(self, installed: Installed, name: str) -> None:
        """While the namespace is being removed, whoever helps it along needs no confirmation."""
        installed.admin.create(fleet.namespace(name))
        path = _committed(installed, name, name, "Accepted")
        installed.admin.patch(path, {"metadata": {"finalizers": ["example.com/slow"]}})
        installed.admin.delete(f"/api/v1/namespaces/{name}")
        until("it is Terminating", lambda: installed.admin.get(f"/api/v1/namespaces/{name}")["status"]["phase"] == "Terminating")
        installed.admin.delete(path)
        installed.admin.patch(path, {"metadata": {"finalizers": None}})
        until("the namespace is gone", lambda: installed.admin.find(f"/api/v1/namespaces/{name}") is None)


def _stale(installed: Installed) -> bool:
    """Whether a write without an epoch is refused now. By the admin: what binds is the epoch, not the writer."""
    try:
        installed.admin.patch(FENCE, {"spec": {"nodes": {"held-0": HOLDER}}}, dryRun="All")
    except ApiError as error:
        return error.status == 403 and "the leader is in epoch" in error.message
    return False


def _committed(installed: Installed, namespace: str, name: str, phase: str, more: Object | None = None) -> str:
    """Makes a contract in this phase and returns its path."""
    installed.admin.create(contract(namespace, name))
    path = f"{GROUP}/namespaces/{namespace}/computecontracts/{name}"
    if phase:
        installed.operator.patch(f"{path}/status", {"status": {"phase": phase, "epoch": 1, **(more or {})}})
    return path
