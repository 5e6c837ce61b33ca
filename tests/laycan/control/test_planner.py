"""From the world to decisions, with the real planner in its own process, and with planners that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from laycan.control.decision import Decision, PlannedBinding
from laycan.control.gate import PATIENCE_SECONDS, Gate
from laycan.control.planner import Planner
from laycan.control.snapshot import promises
from laycan.control.solver_process import SolverError
from laycan.kube.device_views import DeviceView, ResourceSliceView
from laycan.kube.views import ContractView, FenceView
from laycan.kube.world import World
from laycan.resources.times import format_time
from tests.laycan.control.planning import Clock, decided, planning
from tests.laycan.control.town import HOUR, NOW, Fleet, bound, contract, node, product, world

BAD = "tests.laycan.control.planners"


def test_many_contracts_are_decided_by_one_plan() -> None:
    """First come, first served; what does not fit is refused with the pool and the window."""
    made = world([contract(name, created=NOW - age) for name, age in (("a", 90), ("b", 80), ("c", 70))])

    async def test(office: Planner) -> None:
        await office.step()
        found = decided(office)
        assert {key: decision.accepted for key, decision in found.items()} == {"desk/a": True, "desk/b": True, "desk/c": False}
        assert {b.node for key in ("desk/a", "desk/b") for b in found[key].bindings} == {"n1", "n2"}
        reason = found["desk/c"].reason
        assert reason is not None
        assert (reason.code, reason.pool, reason.window) == ("NoCapacity", "h100", (NOW + HOUR, NOW + 2 * HOUR))

    planning(made, test)


def test_a_promise_that_is_decided_but_not_written_is_not_decided_again() -> None:
    """A plan in between must neither move it nor give its nodes away."""
    made = world([contract("a")])

    async def test(office: Planner) -> None:
        await office.step()
        first = decided(office)["desk/a"]
        made.put("contracts", "desk/b", contract("b", created=NOW - 600))
        await office.step()
        assert decided(office)["desk/a"].bindings == first.bindings
        assert decided(office)["desk/b"].accepted

    planning(made, test)


def test_a_move_that_is_decided_but_not_written_is_not_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    """Its old node was given to somebody on the strength of it."""
    made = world([contract("a", status=bound("n1"))], ("n1", "n2", "n3"))
    for name, rack in (("n1", "full"), ("n2", "full"), ("n3", "empty")):
        made.nodes[name] = node(name, labels={"network.topology.nvidia.com/leaf": rack})
    made.namespaces["beta"] = made.namespaces["acme"]

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/b", contract("b", delivery_gpus=16, delivery_scope="Rack", delivery_handover={"namespace": "beta"}))
        await office.step()
        first = dict(decided(office))
        assert {b.node for b in first["desk/b"].bindings} == {"n1", "n2"}
        made.put("contracts", "desk/c", contract("c"))
        await office.step()
        assert {key: decided(office)[key].bindings for key in first} == {key: d.bindings for key, d in first.items()}
        assert "ALARM" not in caplog.text
        assert office.followed, "the plan that is kept goes on"

    planning(made, test)


RUNS: dict[str, Any] = {"delivery_start": format_time(NOW - HOUR), "delivery_end": format_time(NOW + HOUR)}


def test_a_product_that_was_deleted_is_known_by_where_its_promise_was() -> None:
    """Its only node fails, and nothing is bound for a plan: the grade is not forgotten by the next, and the lot goes to a new node."""
    made = world([contract("a", status=bound("n1", start=NOW - HOUR, end=NOW + HOUR, phase="Delivering"), **RUNS)], ("n1",))
    made.products.clear()

    async def test(office: Planner) -> None:
        await office.step()
        assert isinstance(office.fleet, Fleet)
        office.fleet.failed = frozenset({"n1"})
        await office.step()
        assert decided(office)["desk/a"].bindings == ()
        made.put("nodes", "n3", node("n3"))
        await office.step()
        await office.step()  # a thorough one
        assert [b.node for b in decided(office)["desk/a"].bindings] == ["n3"]

    planning(made, test)


def test_nobody_is_adopted_in_the_turnaround_after_a_move() -> None:
    """Who has just left the node stands in no decision any more, but in what is written."""
    before = bound("n1", start=NOW - HOUR, end=NOW, phase="Delivering")
    before["bindings"] += bound("n2", start=NOW, end=NOW + HOUR)["bindings"]
    made = world([contract("x", status=before, **RUNS)])
    made.products["h100"] = product("h100", turnaroundSeconds=600)
    made.namespaces["beta"] = made.namespaces["acme"]

    async def test(office: Planner) -> None:
        await office.step()
        adopt: dict[str, Any] = {"spec": {"adopt": {"bindings": [{"node": "n1", "gpus": 8}]}}, "delivery_handover": {"namespace": "beta"}}
        made.put("contracts", "desk/y", contract("y", **adopt, **RUNS))
        await office.step()
        reason = decided(office)["desk/y"].reason
        assert reason is not None
        assert "n1 is bound to contract desk/x" in reason.message

    planning(made, test)


def test_what_is_to_be_written_does_not_run_yet() -> None:
    """A move is decided to a node that is cordoned before it is written: it goes elsewhere, as a cordoned node takes nothing new."""
    clock = Clock()
    made = world([contract("a", status=bound("n1", start=NOW - HOUR, end=NOW + HOUR, phase="Delivering"), **RUNS)], ("n1", "n2", "n3"))

    async def test(office: Planner) -> None:
        await office.step()
        assert isinstance(office.fleet, Fleet)
        office.fleet.failed, clock.now = frozenset({"n1"}), NOW + 1
        await office.step()
        (moved,) = decided(office)["desk/a"].bindings
        old, clock.now = made.nodes[moved.node], NOW + 6
        made.put("nodes", moved.node, replace(old, raw={**old.raw, "spec": {"unschedulable": True}}, resource_version=9))
        office._thorough_at = clock.now
        await office.step()
        (again,) = decided(office)["desk/a"].bindings
        assert {"n1", moved.node, again.node} == {"n1", "n2", "n3"}

    planning(made, test, clock=clock)


def test_after_a_wait_that_lasts_only_what_is_written_counts() -> None:
    """A plan that cannot be reached from there is not made again."""
    made = world([contract("a", status=bound("n1")), contract("b", delivery_handover={"namespace": "beta"})])
    moved, new = Decision(True, NOW, bindings=_at("n2"), uid="uid-a"), Decision(True, NOW, bindings=_at("n1"), uid="uid-b")
    decisions = {"desk/a": moved, "desk/b": new}
    replans: list[str] = []
    gate = Gate(made, lambda: replans.append("again"))
    gate.observe("desk/a")
    for now in (NOW, NOW + PATIENCE_SECONDS):
        assert gate.pass_through(made.contracts["desk/b"], new, lambda _: bound("n1"), now) is None
    assert replans == ["again"]
    planned = promises(made, {}, decisions, frozenset(), NOW, gate.unreached)
    assert [b.node for b in planned["desk/a"].bindings] == ["n1"]
    assert planned["desk/b"].bindings == (), "it stays accepted, and finds its place beside what is written"
    assert [b.node for b in promises(made, {}, decisions, frozenset(), NOW)["desk/a"].bindings] == ["n2"]


def _at(name: str) -> tuple[PlannedBinding, ...]:
    return (PlannedBinding(name, "h100", 8, NOW + HOUR, NOW + 2 * HOUR),)


def test_a_promise_that_is_wholly_curtailed_is_one() -> None:
    """Nothing is bound for it, and it is not decided again while its status is still to be written."""
    made = world([contract("a")])
    assert promises(made, {}, {"desk/a": Decision(True, NOW, uid="uid-a")}, frozenset(), NOW)["desk/a"].bindings == ()


def test_what_is_not_written_yet_is_not_curtailed() -> None:
    """Who is given its node, and is written first, would have it alone after a restart: the right of curtailment begins with the write."""
    right: dict[str, Any] = {"firmness": {"class": "Interruptible", "interruption": {"noticeSeconds": 60, "maxHours": 72}}}
    made = world([contract("a", **right)], ("n1",))
    made.namespaces["beta"] = made.namespaces["acme"]

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/b", contract("b", delivery_handover={"namespace": "beta"}))
        await office.step()
        assert decided(office)["desk/b"].accepted is False
        assert [b.node for b in decided(office)["desk/a"].bindings] == ["n1"]
        made.put("contracts", "desk/a", contract("a", status=bound("n1"), version="9", **right))
        made.drop("contracts", "desk/b")
        made.put("contracts", "desk/c", contract("c", delivery_handover={"namespace": "beta"}))
        await office.step()
        assert decided(office)["desk/c"].accepted
        assert not decided(office)["desk/a"].bindings

    planning(made, test)


def test_what_was_terminated_is_planned_no_more() -> None:
    """An instruction has ended it: its nodes are free for the next although its last samples are still waited for."""
    over = bound("n1", "n2", start=NOW - HOUR, end=NOW, phase="Delivering") | {"endedAt": format_time(NOW)}
    made = world([contract("a", status=bound("n1", "n2", start=NOW - HOUR, end=NOW + HOUR, phase="Delivering"), delivery_gpus=16)])

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/a", contract("a", status=over, version="9", delivery_gpus=16))
        assert office._dirty, "what it held is free, so everything is planned anew"
        made.put("contracts", "desk/b", contract("b", delivery_gpus=16, delivery_start=format_time(NOW + 60)))
        await office.step()
        assert decided(office)["desk/b"].accepted

    planning(made, test)


def test_the_lost_node_of_a_promise_is_replaced_and_others_stay() -> None:
    """Also one on a cordoned node that runs."""
    window: dict[str, Any] = {"created": NOW - 2 * HOUR, "delivery_start": format_time(NOW - HOUR)}
    a, b = (contract(n, status=bound(m, start=NOW - HOUR, phase="Delivering"), **window) for n, m in (("a", "n1"), ("b", "n2")))
    made = world([a, b], ["n1", "n2", "n3"])
    made.put("nodes", "n2", replace(node("n2", 2), raw={**node("n2").raw, "spec": {"unschedulable": True}}))

    async def test(office: Planner) -> None:
        assert isinstance(office.fleet, Fleet)
        office.fleet.failed = frozenset({"n1"})
        await office.step()
        assert [b.node for b in decided(office)["desk/a"].bindings] == ["n3"]
        assert [b.node for b in decided(office)["desk/b"].bindings] == ["n2"]

    planning(made, test)


@pytest.mark.parametrize(("start", "handed_over", "stays"), [(-1, False, True), (0, False, True), (5, True, True), (5, False, False)])
def test_a_cordon_takes_nothing_away_that_is_handed_over(start: int, handed_over: bool, stays: bool) -> None:
    """Nor in the very second in which the window begins, nor in the lead; a binding that is only prepared goes elsewhere."""
    status = bound("n1", start=NOW + start)
    if handed_over:
        status["bindings"][0]["handedOverAt"] = format_time(NOW)
    a = contract("a", status=status, created=NOW - HOUR, delivery_start=format_time(NOW + start))
    made = world([a], ["n1", "n2"])
    made.put("nodes", "n1", replace(node("n1", 2), raw={**node("n1").raw, "spec": {"unschedulable": True}}))

    async def test(office: Planner) -> None:
        await office.step()
        assert [b.node for b in decided(office)["desk/a"].bindings] == ["n1" if stays else "n2"]

    planning(made, test)


def test_after_the_first_plan_only_what_changed_is_planned_and_decided() -> None:
    """A failure touches whom it hits; a few seconds later everything is planned again, and nothing more changes."""
    held = {"n1": "a", "n2": "b"}
    made = world([contract(n, status=bound(m)) for m, n in held.items()], ["n1", "n2", "n3"])

    async def test(office: Planner) -> None:
        assert isinstance(office.fleet, Fleet)
        await office.step()
        office.writer.decisions.clear()
        office.fleet.failed = frozenset({"n1"})
        await office.step()
        assert (office.plans, office.followed) == (2, 1)
        assert {key: [b.node for b in d.bindings] for key, d in decided(office).items()} == {"desk/a": ["n3"]}
        made.put("contracts", "desk/a", contract("a", version="6", status=bound("n3")))
        office.clock = lambda: NOW + 5
        assert office._wake == NOW + 5
        await office.step()
        assert (office.plans, office.followed) == (3, 1)
        assert office._wake is None
        assert {key: [b.node for b in d.bindings] for key, d in decided(office).items()} == {"desk/a": ["n3"], "desk/b": ["n2"]}

    planning(made, test)


def test_a_node_of_exact_gpus_stays_one_while_nobody_publishes_them() -> None:
    """The driver restarts, or a product asks for whole nodes of the grade: what two holders have of one node stays as it is."""
    made = world([exact("a", "acme", 0), exact("b", "beta", 4)])
    made.no_devices = ""
    cards = tuple(DeviceView(f"gpu-{i}", f"U{i}", "H100", "") for i in range(8))
    published = ResourceSliceView("s", 1, "n1", 1, 1, cards)
    made.put("resource_slices", "s", published)

    async def test(office: Planner) -> None:
        changes: list[Callable[[], None]] = [
            lambda: made.drop("resource_slices", "s"),
            lambda: made.put("resource_slices", "s", published),
            lambda: made.products.update(whole=product("whole", level="Node")),
        ]
        for change in (lambda: None, *changes):
            change()
            office.replan()
            await office.step()
            found = [(b.node, b.gpus, b.level) for decision in decided(office).values() for b in decision.bindings]
            assert found == [("n1", 4, "Device")] * 2

    planning(made, test)


def exact(name: str, holder: str, first: int) -> ContractView:
    """Two lots of two GPUs on n1, delivered since ten minutes ago."""
    start, end = format_time(NOW - 600), format_time(NOW + 2 * HOUR)
    row = {"node": "n1", "product": "h100", "gpus": 2, "level": "Device", "start": start, "end": end, "handedOverAt": start}
    rows = [{**row, "lots": [i], "devices": [f"U{first + 2 * i}", f"U{first + 2 * i + 1}"]} for i in range(2)]
    delivery: dict[str, Any] = {
        "delivery_gpus": 4,
        "delivery_lotGpus": 2,
        "delivery_start": start,
        "delivery_handover": {"namespace": holder},
    }
    return contract(name, created=NOW - HOUR, status={"phase": "Delivering", "bindings": rows}, **delivery)


def test_a_contradiction_ends_no_planning() -> None:
    """Two running contracts of two holders on one node: the fence's keeps it, the other gets another, a candidate is decided."""
    window: dict[str, Any] = {"created": NOW - 2 * HOUR, "delivery_start": format_time(NOW - HOUR)}
    status = bound("n1", start=NOW - HOUR, phase="Delivering")
    a = contract("a", status=status, **window)
    b = contract("b", status=status, delivery_handover={"namespace": "beta"}, **window)
    made = world([a, b, contract("c")], ["n1", "n2", "n3"])
    made.fence = FenceView(1, {"n1": "beta"}, {})

    async def test(office: Planner) -> None:
        await office.step()
        found = {key: [b.node for b in decision.bindings] for key, decision in decided(office).items()}
        assert found["desk/b"] == ["n1"]
        assert sorted(found["desk/a"] + found["desk/c"]) == ["n2", "n3"]

    planning(made, test)


def test_a_refusal_that_is_proved_is_final() -> None:
    """No other plan could say anything else."""
    made = world([contract("a")], ["n1"])

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/b", contract("b"))
        await office.step()
        assert office.followed == 1
        assert decided(office)["desk/b"].accepted is False

    planning(made, test)


def test_a_refusal_without_proof_is_thought_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was only not found a place beside the kept plan is refused by nothing but a thorough one."""
    monkeypatch.setattr("laycan.control.planner._proved", lambda _: False)
    made = world([contract("a")], ["n1"])

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/b", contract("b"))
        await office.step()
        assert office.followed == 1
        assert "desk/b" not in decided(office)
        assert office._wake == NOW
        await office.step()
        assert decided(office)["desk/b"].accepted is False

    planning(made, test)


def test_a_promise_outlives_its_product() -> None:
    """Somebody deleted the product: what is bound stays bound."""
    made = world([contract("a", status=bound("n1"))])
    made.drop("products", "h100")

    async def test(office: Planner) -> None:
        await office.step()
        assert [b.node for b in decided(office)["desk/a"].bindings] == ["n1"]

    planning(made, test)


def test_a_node_that_fails_while_the_plan_is_made_takes_no_new_promise() -> None:
    """Each assignment is checked again when it is applied; the rest waits for the next plan."""
    made = world([contract("a")], ["n1"])

    async def test(office: Planner) -> None:
        assert isinstance(office.fleet, Fleet)
        task = asyncio.create_task(office.step())
        await asyncio.sleep(0)
        office.fleet.failed = frozenset({"n1"})
        await task
        assert "desk/a" not in decided(office)
        office.fleet.failed = frozenset()
        await office.step()
        assert decided(office)["desk/a"].accepted

    planning(made, test)


def test_a_contract_that_was_made_anew_meanwhile_gets_its_own_decision() -> None:
    """The name is the same, the uid is not."""
    made = world([contract("a")])

    async def test(office: Planner) -> None:
        task = asyncio.create_task(office.step())
        await asyncio.sleep(0)
        made.drop("contracts", "desk/a")
        made.put("contracts", "desk/a", contract("a", version="9", meta={"uid": "another"}))
        await task
        assert "desk/a" not in decided(office)

    planning(made, test)


def test_a_refusal_waits_when_the_world_moved_meanwhile() -> None:
    """The node that it lacked may just have come; it is told after a few plans at the latest."""
    made = world([contract("a", delivery_gpus=16)], ["n1"])

    async def test(office: Planner) -> None:
        task = asyncio.create_task(office.step())
        await asyncio.sleep(0)
        made.put("nodes", "n2", node("n2"))
        await task
        assert "desk/a" not in decided(office)
        await office.step()
        assert decided(office)["desk/a"].accepted

    planning(made, test)


@pytest.mark.parametrize("way", ["hangs", "dies", "raises", "lies"])
def test_without_a_right_plan_nothing_is_decided_and_the_next_is_plain(way: str) -> None:
    """F21: whatever the planner does, its answer is checked, and a plan without improvement stands in."""
    made = world([contract("a"), contract("b")])

    async def test(office: Planner) -> None:
        with pytest.raises(SolverError):
            await office.step()
        assert decided(office) == {}
        office._effort = 0  # as `run` does
        await office.step()
        assert {key: d.accepted for key, d in decided(office).items()} == {"desk/a": True, "desk/b": True}

    planning(made, test, f"{BAD}:{way}", deadline=12.0 if way == "hangs" else 60.0)  # a child that only just started plans within it, too


def test_a_planner_that_prints_is_understood_all_the_same() -> None:
    """Answers have a channel of their own."""
    made = world([contract("a")])

    async def test(office: Planner) -> None:
        await office.step()
        assert decided(office)["desk/a"].accepted

    planning(made, test, f"{BAD}:chatters")


def changes(made: World, office: Planner, kind: str, key: str, view: Any) -> bool:
    """Whether this change of the world asks for a plan."""
    office._dirty = False
    made.put(kind, key, view)
    return office._dirty


def test_only_what_matters_asks_for_a_plan() -> None:
    """Heartbeats, hand-overs, meters and our own writes come by the thousand and change no plan."""
    made = world([contract("a", status=bound("n1"))])

    async def test(office: Planner) -> None:
        quiet = {
            "a heartbeat": ("nodes", "n1", node("n1", 2)),
            "a hand-over": ("nodes", "n1", node("n1", 3, labels={"laycan.node-restriction.kubernetes.io/holder": "acme"})),
            "our own write": ("contracts", "desk/a", contract("a", version="6", status=bound("n2"))),
            "its start": ("contracts", "desk/a", contract("a", version="7", status=bound("n2", phase="Delivering"))),
            "its end": ("contracts", "desk/a", contract("a", version="8", status={"phase": "Delivered"})),
            "a node of others": ("nodes", "alien", node("alien", managed=False)),
        }
        loud = {
            "a lost GPU": ("nodes", "n1", node("n1", 4, gpus=7)),
            "another rack": ("nodes", "n1", node("n1", 5, labels={"network.topology.nvidia.com/leaf": "r2"})),
            "a new contract": ("contracts", "desk/b", contract("b")),
            "a deletion": ("contracts", "desk/b", contract("b", version="6", meta={"deletionTimestamp": "2027-01-01T00:00:00Z"})),
            "a new product": ("products", "h200", product("h200")),
            "an outage": ("outages", "o", {"metadata": {"name": "o", "resourceVersion": "1"}, "spec": {"type": "Forced"}}),
        }
        assert {what: changes(made, office, *change) for what, change in quiet.items()} == dict.fromkeys(quiet, False)
        assert {what: changes(made, office, *change) for what, change in loud.items()} == dict.fromkeys(loud, True)

    planning(made, test)
