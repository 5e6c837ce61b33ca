"""How a binding becomes true: each step of the protocol on a real API server and scheduler, with pods that KWOK plays."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import ApiError
from controlplane.waiting import until
from tests.cluster.delivering import (
    FAST,
    Market,
    Office,
    delivered_cluster,
    foreign,
    holds,
    label,
    now,
    open_all,
    operator_kubeconfig,
    owners,
    pods_on,
    product,
    protect,
)
from tests.cluster.policies.installed import FENCE, NAMESPACE, Installed

pytestmark = pytest.mark.xdist_group("delivery")

SCALE_DOWN, DISRUPT = "cluster-autoscaler.kubernetes.io/scale-down-disabled", "karpenter.sh/do-not-disrupt"


@pytest.fixture(scope="module")
def cluster(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart in mode Enforce and the usual DaemonSets."""
    with delivered_cluster(tmp_path_factory.mktemp("delivery"), tools) as installed:
        yield installed


@pytest.fixture
def market(cluster: Installed) -> Iterator[Market]:
    """Nodes, namespaces and contracts of one test."""
    made = Market(cluster)
    yield made
    made.clear()


def marks(market: Market, node: str) -> dict[str, str]:
    """Those that concern autoscalers or Laycan."""
    found = market.admin.get(f"/api/v1/nodes/{node}")["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key in (SCALE_DOWN, DISRUPT) or key.startswith("laycan.dev/")}


class TestStart:
    """From a binding in a status to the holder's running pod."""

    def test_frozen_and_emptied_before_the_window(self, market: Market) -> None:
        """In the lead the nodes are closed and emptied, and the holder has them in the window's first second, not before."""
        acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(2)
        for i, node in enumerate(nodes):
            market.pod(beta, f"b{i}", node=node)
            market.await_running(beta, f"b{i}")
        market.pod(acme, "early")
        settings = FAST.model_copy(update={"lead_seconds": 6})
        start = now() + settings.lead_seconds + 2
        with Office(market.installed, settings):
            uid = market.contract("planned", acme, nodes, start, start + 60, bound_at=start - 60)
            until("frozen", lambda: holds(market.admin, nodes, f"frozen.{uid}"))
            assert start - settings.lead_seconds <= time.time() < start, "frozen in the lead"
            until("empty", lambda: not foreign(market.admin, nodes))
            assert time.time() < start
            until("held", lambda: holds(market.admin, nodes, acme))
            assert start <= time.time() < start + 2
            assert market.await_running(acme, "early") in nodes

    def test_order_of_writes(self, market: Market) -> None:
        """Fence before label when closing, label before fence when opening, and a fence write for all nodes of the contract at once."""
        acme, nodes = market.holder("acme"), market.nodes(2)
        with Office(market.installed) as office:
            market.contract("order", acme, nodes, now(), now() + 4)
            until("held", lambda: holds(market.admin, nodes, acme))
            until("free", lambda: holds(market.admin, nodes, "") and not owners(market.admin))
        fence, labels = f"PATCH {FENCE}", [f"PATCH /api/v1/nodes/{node}" for node in nodes]
        writes = [write for write in office.writes if not write.endswith("/nodefences")]
        closing, handing_over, ending = ([fence, *labels],) * 3
        assert writes == [*closing, *handing_over, *ending, *labels, fence]

    def test_autoscalers_are_kept_off(self, market: Market) -> None:
        """A held node says so to both autoscalers; afterwards our words are gone and an administrator's own stay."""
        acme, (ours, theirs) = market.holder("acme"), market.nodes(2)
        market.admin.patch(f"/api/v1/nodes/{theirs}", {"metadata": {"annotations": {DISRUPT: "true"}}})
        with Office(market.installed):
            market.contract("kept", acme, [ours, theirs], now(), now() + 4)
            until("held", lambda: holds(market.admin, [ours, theirs], acme))
            for node in (ours, theirs):
                assert {SCALE_DOWN: "true", DISRUPT: "true"}.items() <= marks(market, node).items()
            until("free", lambda: holds(market.admin, [ours, theirs], ""))
        assert marks(market, ours) == {}
        assert marks(market, theirs) == {DISRUPT: "true"}

    def test_daemonsets_stay(self, market: Market) -> None:
        """The device plugin and the node exporter run on the same nodes, as the same pods, from before the freeze to after the release."""
        acme, nodes = market.holder("acme"), market.nodes(2)

        def agents() -> set[str]:
            return {pod["metadata"]["uid"] for node in nodes for pod in pods_on(market.admin, node)}

        before = until("three agents on each node", lambda: found if len(found := agents()) == 6 else None)
        with Office(market.installed):
            market.contract("agents", acme, nodes, now() + 1, now() + 5)
            until("frozen", lambda: all(label(market.admin, node).startswith("frozen.") for node in nodes), pause=0.01)
            assert agents() == before
            until("held", lambda: holds(market.admin, nodes, acme))
            assert agents() == before
            until("free", lambda: holds(market.admin, nodes, ""))
        assert agents() == before

    def test_slow_drain_delays_nobody_else(self, market: Market) -> None:
        """While one contract's node waits for a budget, another contract that came later is delivered."""
        acme, gamma, beta = market.holder("acme"), market.holder("gamma"), market.stranger()
        slow, quick = market.nodes(2)
        protect(market, beta, "stays", slow)
        with Office(market.installed):
            uid = market.contract("slow", acme, [slow], now() + 1, now() + 60)
            until("frozen", lambda: holds(market.admin, [slow], f"frozen.{uid}"))
            market.contract("quick", gamma, [quick], now(), now() + 60)
            until("held", lambda: holds(market.admin, [quick], gamma), seconds=3)
            assert holds(market.admin, [slow], f"frozen.{uid}")
            assert market.runs(beta, "stays") == slow

    def test_pods_that_do_not_end(self, market: Market) -> None:
        """A pod that is ending is still there: hand-over waits until its containers are gone, and kills it when all patience is over."""
        acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(1)
        deaf = fleet.pod(
            beta, "deaf", gpus=8, annotations={"kwok.local/ignores-sigterm": "true"}, nodeName=nodes[0], terminationGracePeriodSeconds=300
        )
        market.admin.create(deaf)
        market.await_running(beta, "deaf")
        with Office(market.installed):
            begun = now()
            uid = market.contract("deaf", acme, nodes, begun, begun + 60, bound_at=begun - 60)
            until("asked to end", lambda: "deletionTimestamp" in market.admin.get(f"/api/v1/namespaces/{beta}/pods/deaf")["metadata"])
            assert holds(market.admin, nodes, f"frozen.{uid}")
            until("held", lambda: holds(market.admin, nodes, acme))
            assert time.time() >= begun + FAST.drain_seconds
            assert not foreign(market.admin, nodes, acme)

    def test_adoption(self, market: Market) -> None:
        """What already runs for the holder on an adopted node runs on; strangers beside it go, as everywhere."""
        acme, beta, nodes = market.stranger("acme"), market.stranger(), market.nodes(1)
        market.pod(acme, "serving", gpus=4, node=nodes[0])
        market.pod(beta, "beside", gpus=4, node=nodes[0])
        market.await_running(acme, "serving")
        market.await_running(beta, "beside")
        market.desk_takes(acme)
        with Office(market.installed):
            market.contract("adopted", acme, nodes, now(), now() + 600, adopts=True)
            until("held", lambda: holds(market.admin, nodes, acme))
            assert market.runs(acme, "serving") == nodes[0]
            assert not market.admin.find(f"/api/v1/namespaces/{beta}/pods/beside")


class TestEnd:
    """What becomes of a node after a window."""

    def test_same_holder_is_not_drained(self, market: Market) -> None:
        """From one contract of a namespace to its next on the same node nothing is written and its pod runs on."""
        acme, nodes = market.holder("acme"), market.nodes(1)
        market.pod(acme, "worker")
        with Office(market.installed) as office:
            change = now() + 4
            market.contract("first", acme, nodes, now(), change)
            market.contract("second", acme, nodes, change + 1, change + 60)
            market.await_running(acme, "worker")
            written = len(office.writes)
            until("the second window runs", lambda: time.time() > change + 2)
            assert office.writes[written:] == []
            assert market.runs(acme, "worker") == nodes[0]

    def test_cancelled_before_it_began(self, market: Market) -> None:
        """A node that was frozen for a contract that goes elsewhere is opened; a stranger whom a budget still protected runs on."""
        acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(1)
        protect(market, beta, "stays", nodes[0])
        with Office(market.installed):
            start = now() + 3
            uid = market.contract("moved", acme, nodes, start, start + 60)
            until("frozen", lambda: holds(market.admin, nodes, f"frozen.{uid}"))
            market.bind("moved", [])
            until("free", lambda: holds(market.admin, nodes, "") and not owners(market.admin))
            assert market.runs(beta, "stays") == nodes[0]

    def test_deleted_contract(self, market: Market) -> None:
        """A contract that vanishes altogether loses its nodes, and its pods go."""
        acme, nodes = market.holder("acme"), market.nodes(1)
        market.pod(acme, "worker")
        with Office(market.installed):
            market.contract("gone", acme, nodes, now(), now() + 600)
            market.await_running(acme, "worker")
            path = "/apis/laycan.dev/v1alpha1/namespaces/desk/computecontracts/gone"
            market.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/confirm-delete": "gone"}}})
            market.admin.delete(path)
            until("free", lambda: holds(market.admin, nodes, "") and not owners(market.admin))
            assert not market.admin.find(f"/api/v1/namespaces/{acme}/pods/worker")


class TestGuarding:
    """What holds a held node."""

    def test_strangers_are_evicted(self, market: Market) -> None:
        """A pod that slips onto a held node while the fence is down is found by the watch and goes; the holder's stays."""
        acme, beta, nodes = market.holder("acme"), market.stranger(), market.nodes(1)
        market.pod(acme, "worker", gpus=4)
        with Office(market.installed):
            market.contract("guarded", acme, nodes, now(), now() + 600)
            market.await_running(acme, "worker")
            policy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/laycan-node-fence"
            binding = market.admin.get(policy)
            market.admin.delete(policy)
            slip = fleet.pod(beta, "slip", gpus=4, nodeName=nodes[0])
            until("the fence is down", lambda: created(market, slip))
            until("the stranger is gone", lambda: not market.admin.find(f"/api/v1/namespaces/{beta}/pods/slip"))
            assert market.runs(acme, "worker") == nodes[0]
            binding["metadata"] = {"name": binding["metadata"]["name"], "labels": binding["metadata"]["labels"]}
            market.admin.create(binding)
            until("the fence is up", lambda: market.installed.refusal(nodes[0], acme))

    def test_no_freeze_while_the_fence_is_down(self, market: Market) -> None:
        """Without the policy nothing is handed over; with it again, everything goes on by itself."""
        acme, gamma, (held, wanted) = market.holder("acme"), market.holder("gamma"), market.nodes(2)
        policy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/laycan-node-fence"
        with Office(market.installed) as office:
            market.contract("held", acme, [held], now(), now() + 600)
            until("held", lambda: holds(market.admin, [held], acme))
            binding = market.admin.get(policy)
            market.admin.delete(policy)
            until("the fence is down", lambda: not market.installed.refusal(held))
            market.contract("wanted", gamma, [wanted], now(), now() + 600)
            delivery = office.delivery
            assert delivery is not None
            until("noticed", lambda: not delivery.fence.live)
            assert label(market.admin, wanted) == ""
            assert owners(market.admin).get(wanted) != gamma
            assert holds(market.admin, [held], acme)
            binding["metadata"] = {"name": binding["metadata"]["name"], "labels": binding["metadata"]["labels"]}
            market.admin.create(binding)
            until("held", lambda: holds(market.admin, [wanted], gamma))

    def test_fence_object_deleted(self, market: Market) -> None:
        """NodeFence/cluster that somebody forced away is made again from the labels at once, and the holder's pod never notices."""
        acme, nodes = market.holder("acme"), market.nodes(2)
        market.pod(acme, "worker")
        with Office(market.installed):
            market.contract("object", acme, nodes, now(), now() + 600)
            market.await_running(acme, "worker")
            guard = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/laycan-guard"
            binding, old = market.admin.get(guard), market.admin.get(FENCE)["metadata"]["uid"]
            market.admin.delete(guard)
            until("it can be deleted", lambda: deleted(market, FENCE))
            binding["metadata"] = {"name": binding["metadata"]["name"], "labels": binding["metadata"]["labels"]}
            market.admin.create(binding)
            until("a new one", lambda: (market.admin.find(FENCE) or {"metadata": {"uid": old}})["metadata"]["uid"] != old)
            until("held again", lambda: holds(market.admin, nodes, acme))
            until("enforced again", lambda: all(market.installed.refusal(node, acme) for node in nodes))
            assert market.runs(acme, "worker") in nodes

    def test_api_server_restart(self, market: Market, cluster: Installed) -> None:
        """The API server dies and comes back: what is held stays held, and what fell due meanwhile is handed over by itself."""
        acme, gamma, (held, next_) = market.holder("acme"), market.holder("gamma"), market.nodes(2)
        market.pod(acme, "worker")
        market.admin.apply(product("patient", detection={"seconds": 300}))  # heartbeats that could not be told are no failure here
        with Office(market.installed):
            market.contract("before", acme, [held], now(), now() + 600, product="patient")
            due = now() + 8
            market.contract("after", gamma, [next_], due, due + 600, product="patient")
            market.await_running(acme, "worker")
            cluster.plane.kill("kube-apiserver")
            cluster.plane.start("kube-apiserver")
            until("held", lambda: holds(market.admin, [next_], gamma), seconds=90)
            assert holds(market.admin, [held], acme)
            assert market.runs(acme, "worker") == held
            until("enforced", lambda: market.installed.refusal(held, acme) and market.installed.refusal(next_, gamma), seconds=60)

    @pytest.mark.parametrize("written", ["label", "entry", "label and entry"])
    @pytest.mark.parametrize("value", [None, "beta", "frozen.1"])
    def test_edited_by_hand(self, market: Market, written: str, value: str | None) -> None:
        """What an administrator wrote over or took off a held node comes back, and the stranger who waits for its GPUs never runs there."""
        acme, beta, (node,) = market.holder("acme"), market.stranger(), market.nodes(1)
        market.pod(acme, "worker")
        with Office(market.installed):
            market.contract("edited", acme, [node], now(), now() + 600)
            market.await_running(acme, "worker")
            market.note_access("edited")
            market.pod(beta, "waits", gpus=1, node=node)
            before = int(market.admin.get(FENCE)["metadata"]["resourceVersion"])
            if "entry" in written:
                market.installed.fence({node: value})
            if "label" in written:
                market.installed.label(node, value)
            until("held again", lambda: holds(market.admin, [node], acme))
            assert foreign(market.admin, [node], acme) == set()
            assert market.runs(acme, "worker") == node or value is not None
            if "entry" in written:
                assert int(market.admin.get(FENCE)["metadata"]["resourceVersion"]) > before


def created(market: Market, manifest: dict[str, Any]) -> bool:
    """Tries to create an object."""
    return allowed(lambda: market.admin.create(manifest))


def deleted(market: Market, path: str) -> bool:
    """Tries to delete an object."""
    return allowed(lambda: market.admin.delete(path))


def allowed(request: Callable[[], object]) -> bool:
    """False if a policy forbids it."""
    try:
        request()
    except ApiError as error:
        if error.status != 403:
            raise
        return False
    return True


class TestRestraint:
    """Where delivery does nothing, or gives everything back."""

    def test_observe(self, market: Market, caplog: pytest.LogCaptureFixture) -> None:
        """In mode Observe nothing is written, and each thing that would be done is told once."""
        acme, nodes = market.holder("acme"), market.nodes(2)
        caplog.set_level("INFO", "laycan.delivery")
        with Office(market.installed, FAST.model_copy(update={"mode": "Observe"})) as office:
            market.contract("watched", acme, nodes, now(), now() + 4)
            told = [f"observe: node {node} would be held for {acme}" for node in nodes]
            until("told", lambda: set(told) <= {record.message for record in caplog.records})
            until("the window is over", lambda: office.world.contracts and time.time() > now() and ends_in_past(office))
        assert office.writes == []
        assert holds(market.admin, nodes, "")
        assert [record.message for record in caplog.records].count(told[0]) == 1

    def test_pause(self, market: Market) -> None:
        """A pause on the contract keeps its nodes from being frozen; without it they are handed over."""
        acme, nodes = market.holder("acme"), market.nodes(1)
        path = "/apis/laycan.dev/v1alpha1/namespaces/desk/computecontracts/paused"
        with Office(market.installed) as office:
            market.contract("paused", acme, nodes, now() + 3600, now() + 7200)
            market.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/paused": "true"}}})
            until("seen", lambda: office.world.contracts["desk/paused"].annotations.get("laycan.dev/paused"))
            market.bind("paused", [(nodes[0], now(), now() + 600)])
            gate = market.nodes(1)
            market.contract("other", acme, gate, now(), now() + 600)
            until("a later contract is served", lambda: holds(market.admin, gate, acme))
            assert holds(market.admin, nodes, "")
            market.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/paused": None}}})
            until("held", lambda: holds(market.admin, nodes, acme))

    def test_release(self, market: Market) -> None:
        """Nodes in every state are freed with no operator there; nobody is evicted, and the second time nothing is left to do."""
        acme, (held, frozen, failed) = market.holder("acme"), market.nodes(3)
        market.pod(acme, "worker")
        with Office(market.installed):
            market.contract("held", acme, [held], now(), now() + 600)
            market.await_running(acme, "worker")
            uid = market.contract("frozen", acme, [frozen], now() + 3, now() + 600)
            until("frozen", lambda: holds(market.admin, [frozen], f"frozen.{uid}"))
        market.installed.hold([failed], "quarantine.uid")
        assert open_all(market.installed) == (3, 3)
        assert holds(market.admin, [held, frozen, failed], "")
        assert owners(market.admin) == {}
        assert marks(market, held) == {}
        assert market.runs(acme, "worker") == held
        assert open_all(market.installed) == (0, 0)

    def test_release_beside_an_operator(self, market: Market) -> None:
        """`laycan release` takes the lease and the epoch from an operator that still runs, which then can close nothing any more."""
        acme, nodes = market.holder("acme"), market.nodes(2)
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "laycan-operator", "namespace": NAMESPACE},
            "spec": {"holderIdentity": "pod_process", "leaseDurationSeconds": 15},
        }
        market.admin.apply(lease)
        with Office(market.installed) as office:
            market.contract("released", acme, nodes, now(), now() + 600)
            until("held", lambda: holds(market.admin, nodes, acme))
            told = re.fullmatch(r"released (\d+) nodes and (\d+) fence entries", released(market))
            assert told is not None
            assert min(map(int, told.groups())) >= 2, "both nodes, and again what the operator closed meanwhile"
            assert office.delivery is not None
            passes = office.delivery.passes
            until("the operator has tried again", lambda: office.delivery is not None and office.delivery.passes >= passes + 2)
            assert holds(market.admin, nodes, "")
            taken = market.admin.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/laycan-operator")["spec"]
            assert (taken["holderIdentity"], taken["leaseDurationSeconds"]) == ("laycan-release", 30)
        assert released(market) == "released 0 nodes and 0 fence entries"


def released(market: Market) -> str:
    """Runs the command as the chart's hook does, with the operator's rights."""
    command = [str(Path(sys.executable).with_name("laycan")), "release", "--namespace", NAMESPACE]
    done = subprocess.run(
        [*command, "--kubeconfig", str(operator_kubeconfig(market.installed))], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ends_in_past(office: Office) -> bool:
    """Whether all windows that this office knows are over, and it has looked since."""
    delivery = office.delivery
    assert delivery is not None
    return delivery.situation.claims.wake(now()) is None and not delivery.situation.targets
