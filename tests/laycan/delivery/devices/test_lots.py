"""What is to become of the claim of each lot at one instant, without an API server."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from laycan.delivery.devices.agenda import LotAgenda
from laycan.delivery.devices.holding import hold_pod, keeping, letting_go, resource_claim
from laycan.delivery.devices.lots import Lot, Step, lots_of, others, release_deadline, step
from laycan.delivery.faults.failures import judge
from laycan.delivery.faults.health import Health, count_gpus
from laycan.delivery.nodes.attempt import entry_for
from laycan.delivery.nodes.desired import Target, Want, claims_of, claims_of_world, node_target
from laycan.delivery.nodes.situation import Situation
from laycan.kube.device_views import KEEPER, DeviceView, ResourceClaimView, ResourceSliceView, claim_view
from laycan.kube.views import ContractView, node_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

END = 600
LOT = Lot("acme", "laycan-a-0", "a", "uid-a", "n1", frozenset({"U0", "U1"}), T0, T0)


def row(lot: int, where: str, start: int, end: int, *devices: str) -> dict[str, Any]:
    """A binding of two GPUs, with its cards once they are chosen."""
    return {**binding(where, start, end, gpus=2), "level": "Device", "lots": [lot], "devices": list(devices)}


def cards(*uuids: str, where: str = "n1", unfit: str = "") -> ResourceSliceView:
    """A node's GPUs, gpu-0 and so on."""
    return ResourceSliceView(f"s-{where}", 1, where, 1, 1, tuple(DeviceView(f"gpu-{i}", u, "H100", unfit) for i, u in enumerate(uuids)))


def claim(*minors: int, name: str = "laycan-a-0", uid: str = "uid-a", asks: frozenset[str] = LOT.devices, **more: Any) -> ResourceClaimView:
    """A claim of acme's; allocated if it names devices of n1."""
    values: dict[str, Any] = {"deleting": False, "pods": (), "keepers": ((KEEPER, "a", uid),) if minors else (), **more}
    devices = frozenset(("n1", f"gpu-{minor}") for minor in minors)
    return ResourceClaimView("acme", name, f"uid-{name}", 7, uid, allocated=bool(minors), devices=devices, asks=asks, **values)


def town(*contracts: ContractView, claims: tuple[ResourceClaimView, ...] = (), slices: tuple[ResourceSliceView, ...] = ()) -> World:
    """Two nodes; a cluster that can deliver exact GPUs."""
    made = world([node("n1", gpus=0), node("n2", gpus=0)], contracts)
    made.no_devices = ""
    for found in slices or (cards("U0", "U1", "U2"), cards("V0", "V1", where="n2")):
        made.put("resource_slices", found.name, found)
    for each in claims:
        made.put("resource_claims", each.key, each)
    return made


class TestLots:
    """From bindings to lots."""

    @pytest.mark.parametrize(
        ("now", "where"),
        [(-61, ""), (-60, "n1"), (0, "n1"), (99, "n1"), (100, "n2"), (END - 1, "n2"), (END, "")],
        ids=["before the lead", "lead", "start", "before the change", "change", "last second", "over"],
    )
    def test_one_place_at_a_time(self, now: int, where: str) -> None:
        """A chain of bindings: from its lead on the first, each until its end, though the next one's lead has begun."""
        view = contract("a", "acme", [row(0, "n1", 0, 100, "U0", "U1"), row(0, "n2", 100, END, "V0", "V1")])
        lots = lots_of(claims_of(view, {}, SETTINGS), T0 + now)
        assert [lot.node for lot in lots.values() if lot] == ([where] if where else [])
        assert list(lots) == (["acme/laycan-a-0"] if where else [])

    def test_suspended(self) -> None:
        """While the exchange holds the contract no lot is to have anything, so its claim is let go."""
        view = contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")])
        held = replace(view, status={**view.status, "instructions": {"suspendedSince": format_time(T0 + 10)}})
        assert lots_of(claims_of(held, {}, SETTINGS), T0 + 50) == {}

    def test_cards_not_chosen(self) -> None:
        """A lot whose turn it is, without cards or with too few, is undecided, whatever a later binding of it says."""
        bindings = [row(0, "n1", 0, 100), row(0, "n2", 100, END, "V0", "V1"), row(1, "n1", 0, END, "U0"), row(2, "n1", 0, END, "U0", "U1")]
        lots = lots_of(claims_of(contract("a", "acme", bindings), {}, SETTINGS), T0 + 50)
        assert {key[-1]: bool(lot) for key, lot in lots.items()} == {"0": False, "1": False, "2": True}

    def test_several_lots_of_one_binding(self) -> None:
        """The cards stand lot by lot."""
        made = {**binding("n1", 0, END, gpus=4), "level": "Device", "lots": [3, 1], "devices": ["A", "B", "C", "D"]}
        lots = lots_of(claims_of(contract("a", "acme", [made]), {}, SETTINGS), T0)
        assert {key: lot.devices for key, lot in lots.items() if lot} == {"acme/laycan-a-3": {"A", "B"}, "acme/laycan-a-1": {"C", "D"}}

    @pytest.mark.parametrize("change", [{"phase": "Terminated"}, {"deleting": True}])
    def test_of_contracts_that_run(self, change: dict[str, Any]) -> None:
        """A contract that is over, or being deleted, has no lots."""
        assert not lots_of(claims_of(contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")], **change), {}, SETTINGS), T0)

    def test_whole_nodes_have_no_lots(self) -> None:
        """A binding at level Node is none of this."""
        assert not lots_of(claims_of(contract("a", "acme", [{**binding("n1", 0, END), "lots": [0]}]), {}, SETTINGS), T0)

    def test_end_of_the_window(self) -> None:
        """Budgets of the holder's pods hold for the drain's time after the window; what is cut short counts from when that is seen."""
        claims = claims_of(contract("a", "acme", [row(0, "n1", 0, 100, "U0", "U1")]), {}, SETTINGS)
        assert release_deadline("acme/laycan-a-0", claims, SETTINGS, T0 + 100) == T0 + 130
        assert release_deadline("acme/laycan-a-0", claims, SETTINGS, T0 + 50) == 0


class TestStep:
    """From a lot, its claim and the cards to the next step."""

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (None, Step.CREATE),
            (claim(), Step.ALLOCATE),
            (claim(0, 1, keepers=()), Step.KEEP),
            (claim(0, 1, keepers=(("example.com/things", "x", "uid-a"),)), Step.KEEP),
            (claim(0, 1), Step.KEPT),
            (claim(0, 1, deleting=True), Step.RELEASE),
            (claim(0, 1, asks=frozenset({"U0", "U2"})), Step.RELEASE),
            (claim(0, 2), Step.RELEASE),
            (claim(uid=""), Step.WAIT),
            (claim(0, 1, uid="uid-before"), Step.WAIT),
        ],
        ids=["none", "new", "given", "kept by others", "kept", "deleted", "other cards", "renumbered", "a tenant's", "an older contract's"],
    )
    def test_steps(self, found: ResourceClaimView | None, expected: Step) -> None:
        """Each state of a claim has one next step; what it waits for is said."""
        what, why = step(town(), LOT, found)
        assert what is expected
        assert bool(why) is (what is Step.WAIT)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"no_devices": "no guard"}, "no guard"),
            ({"nodes": {"n1": node("n1", ready=False)}}, "not Ready"),
            ({"nodes": {"n1": node("n1", managed=False)}}, "not Ready and managed"),
            ({"nodes": {}}, "not Ready"),
            ({"fence": replace(town().fence or pytest.fail("no fence"), nodes={"n1": "quarantine.x"})}, "closed: quarantine.x"),
            ({"resource_slices": {"s-n1": cards("U0", "U2")}}, "GPU U1 is not published"),
            ({"resource_slices": {"s-n1": cards("U0", "U1", unfit="gpu.nvidia.com/xid")}}, "GPU U0 gpu.nvidia.com/xid"),
        ],
        ids=["cluster", "NotReady", "unmanaged", "gone", "closed", "no card", "unfit card"],
    )
    def test_nothing_is_begun_in_vain(self, change: dict[str, Any], words: str) -> None:
        """Without a fit node with those very cards no claim is made, and it is said why."""
        made = town()
        for name, value in change.items():
            setattr(made, name, value)
        what, why = step(made, LOT, None)
        assert what is Step.WAIT
        assert words in why

    def test_another_card_in_its_place(self) -> None:
        """A claim that has a card which was not promised, while the promised one is nowhere, waits for the plan and is not delivered."""
        made = town(slices=(cards("U0", "X"),))
        what, why = step(made, LOT, claim(0, 1))
        assert (what, "GPU U1 is no longer on node n1" in why) == (Step.WAIT, True)

    def test_others(self) -> None:
        """Others are who has one of the cards now, by its present name; the lot's own claim and free cards are none."""
        stranger = claim(1, name="his", uid="", keepers=())
        made = town(claims=(claim(0, 1), stranger, claim(2, name="next", uid="")))
        assert others(made, LOT) == [stranger]


class TestObjects:
    """What is sent to the API server."""

    def test_a_claim_says_what_it_asks_for(self) -> None:
        """The cards are read back from the claim's immutable spec, not from what somebody could edit."""
        assert claim_view(resource_claim(LOT)).asks == LOT.devices
        raw = resource_claim(LOT)
        raw["spec"]["devices"]["requests"][0]["exactly"]["selectors"][0]["cel"]["expression"] = "true"
        assert claim_view(raw).asks == frozenset()

    def test_an_administrators_access_has_nothing(self) -> None:
        """A device that is looked at for monitoring is taken from nobody."""
        results = [{"driver": "gpu.nvidia.com", "pool": "n1", "device": "gpu-0", "adminAccess": True}]
        raw = {"metadata": {"name": "dcgm", "namespace": "gpu-operator"}, "status": {"allocation": {"devices": {"results": results}}}}
        assert claim_view(raw).devices == frozenset()

    def test_hold_pod_is_the_claims(self) -> None:
        """Its name is that of the very claim object: one for a claim that went cannot pass for the next one's."""
        assert hold_pod(LOT, claim(), "pause:1")["metadata"]["name"] == "laycan-hold-uid-laycan-a-0"

    @pytest.mark.parametrize(("pods", "path"), [((), "/status/reservedFor"), ((("p", "u"),), "/status/reservedFor/-")])
    def test_the_entry_is_added_to_what_was_verified(self, pods: tuple[tuple[str, str], ...], path: str) -> None:
        """The patch holds only for the version whose cards were looked at."""
        test, add = keeping(LOT, claim(0, 1, keepers=(), pods=pods))
        assert (test["path"], test["value"], add["path"]) == ("/metadata/resourceVersion", "7", path)

    def test_letting_go(self) -> None:
        """Only the contract's own entry is taken off; without one there is nothing to do."""
        entries: list[dict[str, str]] = [{"resource": "pods", "uid": "p"}, {"apiGroup": "laycan.dev", "uid": "uid-a"}]
        raw: dict[str, Any] = {"metadata": {"resourceVersion": "7", "labels": {"laycan.dev/contract": "uid-a"}}}
        assert letting_go({**raw, "status": {"reservedFor": entries}})[1] == {"op": "remove", "path": "/status/reservedFor/1"}
        assert letting_go({**raw, "status": {"reservedFor": entries[:1]}}) == []
        assert letting_go(raw) == []

    def test_a_hand_over_is_nobodys(self) -> None:
        """While GPUs of a node change hands, its label keeps others' pods off, and the node has no holder."""
        view = node_view({"metadata": {"name": "n", "labels": {"laycan.node-restriction.kubernetes.io/holder": "handover.gpus"}}})
        assert (view.holder, view.handover) == ("", True)


class TestAgenda:
    """Which contracts have something to do."""

    def agenda(self, made: World) -> LotAgenda:
        situation = Situation(made, SETTINGS, lambda: None)
        return LotAgenda(made, situation, SETTINGS, lambda: None)

    def test_a_kept_lot_is_settled(self) -> None:
        """A lot with its cards, no hold pod and no rival asks for nothing; a rival, or another card, wakes it."""
        made = town(contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")]), claims=(claim(0, 1),))
        situation = Situation(made, SETTINGS, lambda: None)
        agenda = LotAgenda(made, situation, SETTINGS, lambda: None)
        situation.look(T0)
        agenda.look((), T0, False)
        assert agenda.unsettled == {"uid-a"}, "whether there is a hold pod is not known yet"
        agenda.tidy.add("uid-laycan-a-0")
        agenda.look((), T0, False)
        assert not agenda.unsettled
        made.put("resource_claims", "acme/his", claim(1, name="his", uid=""))
        agenda.look((), T0, False)
        assert agenda.fresh == agenda.unsettled == {"uid-a"}
        made.drop("resource_claims", "acme/his")
        agenda.look((), T0, False)
        made.put("resource_slices", "s-n1", replace(cards("U0", "X"), resource_version=2))
        agenda.look(situation.look(T0), T0, False)
        assert agenda.unsettled == {"uid-a"}

    def test_claims_of_a_contract_that_went(self) -> None:
        """Its claims are released, also by an operator that never saw it."""
        made = town(claims=(claim(0, 1),))
        agenda = self.agenda(made)
        agenda.look((), T0, True)
        assert agenda.unsettled == {"uid-a"}
        assert [found.key for found, _ in agenda.work("uid-a", T0).releases] == ["acme/laycan-a-0"]
        made.drop("resource_claims", "acme/laycan-a-0")
        agenda.look((), T0, True)
        assert not agenda.unsettled

    @pytest.mark.parametrize(
        "view",
        [
            contract("a", "acme", [row(0, "n1", 0, END)]),
            contract("a", "", [row(0, "n1", 0, END, "U0", "U1")]),
            contract("a", "acme", [row(0, "n2", 0, END, "V0", "V1")], annotations={"laycan.dev/paused": "true"}),
        ],
        ids=["cards not chosen", "no holder to be read", "paused"],
    )
    def test_what_it_has_stays(self, view: ContractView) -> None:
        """A claim is not taken away on account of what cannot be known, nor while a person has paused the contract."""
        work = self.agenda(town(view, claims=(claim(0, 1),))).work("uid-a", T0)
        assert (work.tasks, work.releases) == ((), ())

    def test_paused_node(self) -> None:
        """On a paused node nothing is begun and nothing is let go."""
        made = town(contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")]), claims=(claim(0, 1, name="laycan-a-9"),))
        made.put("nodes", "n1", node("n1", gpus=0, annotations={"laycan.dev/paused": "true"}))
        work = self.agenda(made).work("uid-a", T0)
        assert [(task.step, task.why) for task in work.tasks] == [(Step.WAIT, "node n1 is paused")]
        assert work.releases == ()

    def test_the_clock_brings_it_up(self) -> None:
        """With the lead a lot's turn comes; until then its node waits for nothing."""
        made = town(contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")]))
        agenda = self.agenda(made)
        agenda.look(("n1",), T0 - 61, False)
        assert (agenda.unsettled, agenda.awaited(T0 - 61)) == (set(), set())
        agenda.look(("n1",), T0 - 60, False)
        assert (agenda.unsettled, agenda.awaited(T0 - 60)) == ({"uid-a"}, {"n1"})

    def test_problems_are_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """The same trouble is one line of the log, and forgotten when it is over."""
        agenda = self.agenda(town())
        with caplog.at_level(logging.WARNING):
            for text in ("full", "full", "fuller", ""):
                agenda.problem("uid-a", text)
        assert len(caplog.records) == 2
        assert agenda.problems == {}

    def test_observe(self, caplog: pytest.LogCaptureFixture) -> None:
        """In mode Observe it is said, once, what would be held."""
        agenda = self.agenda(town(contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")])))
        agenda.look((), T0, False)
        with caplog.at_level(logging.INFO):
            agenda.tell(T0)
            agenda.tell(T0)
        assert [record.message for record in caplog.records] == ["observe: GPUs U0, U1 of node n1 would be held by acme/laycan-a-0"]


class TestFailure:
    """A node of which exact GPUs are delivered has no entry in the fence while it is well."""

    BOUND = contract("a", "acme", [row(0, "n1", 0, END, "U0", "U1")], end=format_time(T0 + END))

    def target(self, seen: World, failed: bool) -> Target | None:
        return node_target(seen, claims_of_world(seen, SETTINGS), "n1", failed, False, SETTINGS, T0)

    def test_closed_when_it_fails(self) -> None:
        """On a contract's account; it is left alone while it is well, and when nothing of it is delivered."""
        assert self.target(town(self.BOUND), failed=False) is None
        assert self.target(town(), failed=True) is None
        failed = self.target(town(self.BOUND), failed=True)
        assert failed == Target(Want.QUARANTINE, "uid-a")
        assert entry_for("", "", failed) == "quarantine.uid-a"

    def test_a_claim_left_behind(self) -> None:
        """A lot that has moved on leaves its claim behind until its pods are gone: until then the dead node is its contract's."""
        seen = town(contract("a", "acme", [row(0, "n2", 0, END, "V0", "V1")], end=format_time(T0 + END)), claims=(claim(0, 1),))
        assert self.target(seen, failed=True) == Target(Want.QUARANTINE, "uid-a")
        seen.put("nodes", "n1", replace(seen.nodes["n1"], ready=False, ready_since=T0 - 60, resource_version=2))
        assert self.failed(seen) == {"n1": "NotReady"}
        seen.drop("nodes", "n1")
        assert self.failed(seen) == {"n1": "Deleted"}
        seen.drop("resource_claims", "acme/laycan-a-0")
        assert self.failed(seen) == {}

    def test_one_lost_card_is_no_failure_of_the_node(self) -> None:
        """Others' GPUs are as good as before: the lot gets another card, or another node, and the node stays."""
        seen = town(self.BOUND, contract("b", "beta", [row(0, "n1", 0, END, "U2")], end=format_time(T0 + END)))
        assert self.failed(seen) == {}
        seen.put("resource_slices", "s-n1", replace(cards("U0", "U1", "U2", unfit="gpu.nvidia.com/xid"), resource_version=2))
        assert self.failed(seen) == {}

    def test_strangers_claims_are_no_concern(self) -> None:
        """A free node that is NotReady with somebody's claim to its GPUs has not failed anybody."""
        seen = town(claims=(claim(0, 1, uid="", name="own"),))
        seen.put("nodes", "n1", replace(seen.nodes["n1"], ready=False, ready_since=T0 - 60, resource_version=2))
        assert self.failed(seen) == {}

    def failed(self, seen: World) -> dict[str, str]:
        wide = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": 1_000_000})})
        health, claims = Health(), claims_of_world(seen, wide)
        for name in ("n1", "n2"):
            health.observe(name, seen.nodes.get(name), 0, wide, T0, count_gpus(seen, seen.nodes.get(name)))
        return {name: failure.reason for name, failure in judge(seen, claims, health, wide, T0).failed.items()}
