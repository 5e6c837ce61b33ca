"""What was short is told as owed, and delivered after the window where the buyer elected it: in whole intervals, on free nodes only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.control.makegood import INTERVAL_SECONDS, PERIOD_SECONDS, MakeGood, extension, pursued
from laycan.delivery.metering.served import Due
from laycan.kube.views import contract_view
from laycan.resources.times import format_time
from tests.laycan.control.acts import done
from tests.laycan.control.desk import T0, Desk, delivering
from tests.laycan.control.planning import Clock, decided, planning
from tests.laycan.control.town import HOUR, NOW, contract, world

TOLERANCE = {"graceSeconds": 300, "cureSeconds": 1200}
EXTEND = {"makeGood": {"mode": "Extend"}}


def short(seconds: int = 810, **more: Any) -> Desk:
    """Lot 0 is out for so long from 600 s after the start: 8 GPUs for 810 s are 6,480 GPU-seconds, as in scenario 4."""
    desk = delivering(tolerance=TOLERANCE, **more)
    desk.run(T0 + 1, T0 + 600)
    desk.fail("a", at=T0 + 600, heartbeat=T0 + 600)
    desk.run(T0 + 601, T0 + 600 + seconds)
    desk.recover("a", at=T0 + 600 + seconds)
    desk.run(T0 + 600 + seconds, T0 + 700 + seconds)
    return desk


def changes(desk: Desk, name: str) -> list[dict[str, Any]]:
    return [event["data"]["change"] for event in desk.told if event["type"] == f"dev.laycan.{name}.v1"]


def elected(**more: Any) -> Desk:
    """The same, elected, its window over and metered."""
    desk = short(**more)
    done(desk, "ElectMakeGood", T0 + 1600, **EXTEND)
    desk.run(T0 + 1601, desk.end + 60)
    assert desk.phase == "Delivering"
    return desk


def planned(desk: Desk, now: int) -> tuple[int, int, int] | None:
    """What the planner is asked for: start and end after the window's end, lots."""
    delivery = desk.contract.spec["terms"]["delivery"]
    owed = Due(T0, desk.end, delivery["gpus"], delivery["lotGpus"], "", "")
    found = pursued(desk.contract.key, desk.status, owed, now)
    return found and (found.start - desk.end, found.end - desk.end, found.lots)


class TestOwed:
    def test_when_it_is_cured(self) -> None:
        """The shortfall's GPU-seconds, once, with the cure; they stay Shortfall."""
        desk = short()
        assert changes(desk, "makegood.owed") == [{"gpuSeconds": 6_480, "addedGpuSeconds": 6_480}]
        assert desk.status["makeGood"] == {"owedGpuSeconds": 6_480}
        desk.run(T0 + 1511, desk.end + 60)
        assert (desk.phase, desk.quantities["shortfall"]) == ("Delivered", 6_480)
        assert len(changes(desk, "makegood.owed")) == 1

    def test_more_of_it(self) -> None:
        """A second outage adds to it."""
        desk = short()
        desk.fail("b", at=T0 + 2000, heartbeat=T0 + 2000)
        desk.run(T0 + 2001, T0 + 2400)
        desk.recover("b", at=T0 + 2400)
        desk.run(T0 + 2400, T0 + 2500)
        assert changes(desk, "makegood.owed")[1] == {"gpuSeconds": 9_680, "addedGpuSeconds": 3_200}

    def test_at_the_end(self) -> None:
        """What nobody cured is owed when the window is over."""
        desk = delivering(tolerance=TOLERANCE)
        desk.fail("a", at=T0 + 3000, heartbeat=T0 + 3000)
        desk.run(T0 + 3001, desk.end + 60)
        assert changes(desk, "makegood.owed") == [{"gpuSeconds": 4_800, "addedGpuSeconds": 4_800}]

    def test_grace_owes_nothing(self) -> None:
        """Excused is excused."""
        desk = short(seconds=200)
        assert changes(desk, "makegood.owed") == []


class TestElection:
    def test_nothing_short(self) -> None:
        """An election in advance is for whatever will be short; where nothing is, nothing follows."""
        desk = delivering()
        assert done(desk, "ElectMakeGood", T0 + 10, **EXTEND) == "Applied"
        desk.run(T0 + 11, desk.end + 60)
        assert desk.phase == "Delivered"
        assert changes(desk, "makegood.delivered") == []

    def test_wrong(self) -> None:
        """Once only, of lots that there are, and before the window is over."""
        desk = short()
        assert done(desk, "ElectMakeGood", T0 + 1600, makeGood={"mode": "Extend", "lots": 3}) == "Malformed"
        assert done(desk, "ElectMakeGood", T0 + 1601, makeGood={"mode": "Extend", "lots": 2}) == "Applied"
        assert done(desk, "ElectMakeGood", T0 + 1602, **EXTEND) == "AlreadyElected"
        late = short()
        late.run(T0 + 1511, late.end + 60)
        assert done(late, "ElectMakeGood", late.end + 60, **EXTEND) == "WrongPhase"


class TestExtension:
    def test_scenario_four(self) -> None:
        """6,480 GPU-seconds are three whole intervals on one lot: 7,200, of which 720 are reported as over-delivery; then Delivered."""
        desk = elected()
        assert planned(desk, desk.end + 60) == (300, 1200, 1)
        desk.bind(desk.end + 61, ("c", desk.end + 300, desk.end + 1200))
        desk.at(desk.end + 61)
        desk.hand_over("a", "b", holder="")
        desk.run(desk.end + 62, desk.end + 250)
        desk.hand_over("c")
        desk.run(desk.end + 250, desk.end + 1200)
        assert desk.phase == "Delivering"
        desk.run(desk.end + 1200, desk.end + 1300)
        assert desk.status["makeGood"] == {"owedGpuSeconds": 6_480, "deliveredGpuSeconds": 7_200, "mode": "Extend", "lots": 1}
        assert changes(desk, "makegood.delivered") == [{"gpuSeconds": 7_200, "owedGpuSeconds": 6_480, "overDeliveredGpuSeconds": 720}]
        assert (desk.phase, desk.news[-2:]) == ("Delivered", ["makegood.delivered", "contract.delivered"])
        assert desk.quantities == {"contracted": 57_600, "delivered": 51_120, "shortfall": 6_480}, "a credit of its own"

    def test_several_lots(self) -> None:
        """As many side by side as elected: shorter, and rounded up for each."""
        desk = short()
        done(desk, "ElectMakeGood", T0 + 1600, makeGood={"mode": "Extend", "lots": 2})
        desk.run(T0 + 1601, desk.end + 60)
        assert planned(desk, desk.end + 60) == (300, 900, 2)

    def test_no_room(self) -> None:
        """Nobody gives way: it is tried later and later, and after thirty days the contract is Delivered with what there is: nothing."""
        desk = elected()
        for day in (0, 1, 29):
            assert planned(desk, desk.end + day * 86_400 + 60) == (day * 86_400 + 300, day * 86_400 + 1200, 1)
        desk.run(desk.end + 61, desk.end + PERIOD_SECONDS - 1)
        assert desk.phase == "Delivering"
        desk.run(desk.end + PERIOD_SECONDS, desk.end + PERIOD_SECONDS + 100)
        assert desk.phase == "Delivered"
        assert changes(desk, "makegood.delivered") == [{"gpuSeconds": 0, "owedGpuSeconds": 6_480, "overDeliveredGpuSeconds": 0}]

    def test_an_outage_in_it(self) -> None:
        """What fails in it is not delivered: the rest is planned again."""
        desk = elected()
        desk.bind(desk.end + 61, ("c", desk.end + 300, desk.end + 1200))
        desk.at(desk.end + 61)
        desk.hand_over("c")
        desk.run(desk.end + 250, desk.end + 600)
        desk.fail("c", at=desk.end + 600, heartbeat=desk.end + 600)
        desk.run(desk.end + 601, desk.end + 1400)
        assert desk.status["makeGood"]["deliveredGpuSeconds"] == 2_400
        assert desk.phase == "Delivering"
        assert planned(desk, desk.end + 1400) == (1800, 2400, 1)
        desk.bind(desk.end + 1401, ("b", desk.end + 1800, desk.end + 2400))
        desk.hand_over("b")
        desk.run(desk.end + 1401, desk.end + 2500)
        assert (desk.phase, desk.status["makeGood"]["deliveredGpuSeconds"]) == ("Delivered", 7_200)

    def test_moved_in_it(self) -> None:
        """A node that fails in it is replaced as ever, and the stretch keeps its end."""
        desk = elected()
        desk.bind(desk.end + 61, ("c", desk.end + 300, desk.end + 1200))
        desk.at(desk.end + 61)
        desk.hand_over("c")
        desk.run(desk.end + 250, desk.end + 600)
        desk.fail("c", at=desk.end + 600, heartbeat=desk.end + 600)
        desk.at(desk.end + 601)
        assert planned(desk, desk.end + 601) == (300, 1200, 1)
        desk.bind(desk.end + 602, ("b", desk.end + 602, desk.end + 1200))
        desk.hand_over("b")
        desk.run(desk.end + 602, desk.end + 1300)
        assert (desk.phase, desk.status["makeGood"]["deliveredGpuSeconds"]) == ("Delivered", 8 * 898)

    def test_ended_in_it(self) -> None:
        """Terminated while it is made good: over at once."""
        desk = elected()
        desk.bind(desk.end + 61, ("c", desk.end + 300, desk.end + 1200))
        desk.at(desk.end + 61)
        desk.hand_over("c")
        desk.run(desk.end + 250, desk.end + 600)
        assert done(desk, "Terminate", desk.end + 600) == "Applied"
        assert desk.phase == "Terminated"
        assert all(b["end"] <= format_time(desk.end + 600) for b in desk.status["bindings"])

    def test_held_meanwhile(self) -> None:
        """What is bound stays and nothing of it counts; nothing new is begun that nobody would get, until the hold is lifted."""
        desk = elected()
        desk.bind(desk.end + 61, ("c", desk.end + 300, desk.end + 1200))
        desk.at(desk.end + 61)
        desk.hand_over("c")
        desk.run(desk.end + 250, desk.end + 600)
        assert done(desk, "Suspend", desk.end + 600) == "Applied"
        assert planned(desk, desk.end + 600) == (300, 1200, 1)
        desk.hand_over("c", holder="frozen.uid-1")
        desk.run(desk.end + 601, desk.end + 1300)
        assert desk.status["makeGood"]["deliveredGpuSeconds"] == 2_400
        assert planned(desk, desk.end + 1300) is None
        assert done(desk, "Resume", desk.end + 5_000) == "Applied"
        assert planned(desk, desk.end + 5_000) == (5_400, 6_000, 1)
        assert desk.quantities == {"contracted": 57_600, "delivered": 51_120, "shortfall": 6_480}

    def test_a_plan_from_before(self) -> None:
        """The plan of the window cuts nothing that makes good."""
        desk = elected()
        old = desk.decision
        desk.bind(desk.end + 61, ("c", desk.end + 300, desk.end + 1200))
        desk.at(desk.end + 61)
        desk.decision = old
        desk.at(desk.end + 62)
        assert [b["node"] for b in desk.status["bindings"] if b["end"] > format_time(desk.end)] == ["c"]


@given(
    st.integers(1, 10**9), st.integers(0, 10**6), st.integers(1, 64), st.integers(1, 64), st.integers(1, 8), st.integers(0, PERIOD_SECONDS)
)
def test_whole_intervals(owed: int, delivered: int, elected_lots: int, lots: int, lot_gpus: int, later: int) -> None:
    """Never less than is left while time allows, less than an interval of each lot more, inside the thirty days, on the grid."""
    due = Due(0, T0, lots * lot_gpus, lot_gpus, "", "")
    good = MakeGood(owed, delivered, min(lots, elected_lots))
    found = extension(good, (), due, T0 + later)
    if found is None:
        assert good.open == 0 or later > PERIOD_SECONDS - 2 * INTERVAL_SECONDS
        return
    assert T0 + later < found.start < found.end <= T0 + PERIOD_SECONDS
    assert (found.start - T0) % INTERVAL_SECONDS == (found.end - found.start) % INTERVAL_SECONDS == 0
    assert 1 <= found.lots <= lots
    amount = (found.end - found.start) * found.lots * lot_gpus
    assert amount - good.open < INTERVAL_SECONDS * lot_gpus * found.lots
    assert amount >= good.open or found.end + INTERVAL_SECONDS > T0 + PERIOD_SECONDS


class TestPlanned:
    """With the real planner."""

    def owing(self, **more: Any) -> Any:
        """A contract of one node whose window is over, metered and short by three intervals."""
        quantities = dict.fromkeys(("contracted", "delivered", "curtailed", "buyerCaused", "excused", "shortfall"), 0)
        status = {
            "phase": "Delivering",
            "bindings": [
                {
                    "node": "n1",
                    "product": "h100",
                    "gpus": 8,
                    "level": "Node",
                    "start": format_time(NOW - HOUR),
                    "end": format_time(NOW - 60),
                }
            ],
            "meter": {"until": format_time(NOW - 60)},
            "quantities": {f"{name}GpuSeconds": amount for name, amount in quantities.items()},
            "makeGood": {"owedGpuSeconds": 6_480, "mode": "Extend", "lots": 1},
        }
        times = {"delivery_start": format_time(NOW - HOUR), "delivery_end": format_time(NOW - 60)}
        return contract("late", created=NOW - 2 * HOUR, status=status, **times, **more)

    def binding(self, *rows: dict[str, Any]) -> Any:
        """The same with these bindings besides."""
        owing = self.owing()
        return replace(owing, status={**owing.status, "bindings": [*owing.status["bindings"], *rows]})

    def test_on_a_free_node(self) -> None:
        """Bound after the window's end for three whole intervals, as one lot."""
        made = world([self.owing()])

        async def test(office: Any) -> None:
            await office.step()
            (binding,) = decided(office)["desk/late"].bindings
            assert (binding.start - (NOW - 60), binding.end - binding.start, binding.gpus) == (300, 900, 8)

        planning(made, test)

    @pytest.mark.parametrize("firm", ["Firm", "Interruptible"])
    def test_never_against_what_was_accepted(self, firm: str) -> None:
        """Where every node is sold, of whatever class and price, it waits; nobody loses a second to it."""
        row = {"product": "h100", "gpus": 8, "level": "Node", "start": format_time(NOW - HOUR), "end": format_time(NOW + HOUR)}
        terms: dict[str, Any] = {"firmness": {"class": firm}, "price": {"amount": "0.01", "currency": "USD"}}
        times = {"delivery_start": format_time(NOW - HOUR), "delivery_end": format_time(NOW + HOUR)}
        others = [
            contract(name, created=NOW - 2 * HOUR, status={"phase": "Delivering", "bindings": [{"node": node, **row}]}, **times, **terms)
            for name, node in (("a", "n1"), ("b", "n2"))
        ]
        made = world([self.owing(), *others])

        async def test(office: Any) -> None:
            await office.step()
            found = decided(office)
            assert found["desk/late"].bindings == ()
            assert found["desk/late"].accepted, "it is not refused: it is tried again"
            assert [b.node for key in ("desk/a", "desk/b") for b in found[key].bindings] == ["n1", "n2"]
            made.drop("nodes", "n2")
            await office.step()
            assert sorted(b.node for key in ("desk/a", "desk/b") for b in decided(office)[key].bindings) == ["n1"]
            assert decided(office)["desk/late"].bindings == ()

        planning(made, test)

    def test_what_is_bound_stays(self) -> None:
        """The next plan, and one after a restart, leave it where it is; a newcomer does not get its node."""
        row = {"node": "n2", "product": "h100", "gpus": 8, "level": "Node", "boundAt": format_time(NOW)}
        bound = self.binding({**row, "start": format_time(NOW + 240), "end": format_time(NOW + 1140), "lots": [0]})
        times: dict[str, Any] = {"delivery_start": format_time(NOW + 300), "delivery_end": format_time(NOW + 900)}
        made = world([bound, contract("one", **times, delivery_gpus=16)])

        async def test(office: Any) -> None:
            await office.step()
            (binding,) = decided(office)["desk/late"].bindings
            assert (binding.node, binding.start, binding.end) == ("n2", NOW + 240, NOW + 1140)
            assert decided(office)["desk/one"].accepted is False

        planning(made, test)

    def test_moved_in_a_stretch(self) -> None:
        """It keeps its end in all plans that follow: what was delivered before the move is of the stretch."""
        stretch = {"product": "h100", "gpus": 8, "level": "Node", "lots": [0]}
        before = {**stretch, "node": "n2", "start": format_time(NOW + 240)}
        made, clock = world([self.binding({**before, "end": format_time(NOW + 1140)})]), Clock()

        async def test(office: Any) -> None:
            clock.now, office.fleet.failed = NOW + 300, frozenset({"n2"})
            await office.step()
            ((node, start, end),) = [(b.node, b.start, b.end) for b in decided(office)["desk/late"].bindings]
            assert (node, start, end) == ("n1", NOW + 300, NOW + 1140)
            after = {**stretch, "node": node, "start": format_time(start), "end": format_time(end)}
            made.put("contracts", "desk/late", replace(self.binding({**before, "end": format_time(start)}, after), resource_version=99))
            clock.now = NOW + 400
            await office.step()
            late = decided(office)["desk/late"]
            assert [b.end for b in late.bindings] == [NOW + 1140]
            assert late.undelivered == ()

        planning(made, test, clock=clock)

    def test_the_rest_of_a_stretch_that_was_counted(self) -> None:
        """It is planned from now on, not from where the stretch began that was decided before."""
        made, clock = world([self.owing()]), Clock()

        async def test(office: Any) -> None:
            await office.step()
            clock.now = NOW + 1400
            counted = self.owing()
            counted.status["makeGood"]["deliveredGpuSeconds"] = 4_800
            made.put("contracts", "desk/late", replace(counted, resource_version=99))
            await office.step()
            (binding,) = decided(office)["desk/late"].bindings
            assert (binding.start - (NOW - 60), binding.end - binding.start) == (1800, 300)

        planning(made, test, clock=clock)

    def test_asked_for_when_its_time_has_come(self) -> None:
        """The moment the window is metered to its end a plan is made."""
        before = self.owing()
        before = replace(before, status={**before.status, "meter": {"until": format_time(NOW - 120)}})
        made = world([before])

        async def test(office: Any) -> None:
            await office.step()
            assert not decided(office)["desk/late"].bindings
            assert not office._dirty
            made.put("contracts", "desk/late", replace(self.owing(), resource_version=99))
            assert office._dirty
            await office.step()
            assert decided(office)["desk/late"].bindings

        planning(made, test)


def test_views_of_it() -> None:
    """A status as it is stored is read back as it was."""
    good = MakeGood(6_480, 2_400, 2)
    view = contract_view({"metadata": {"namespace": "d", "name": "c"}, "spec": {}, "status": {"makeGood": good.dump()}})
    assert MakeGood.parse(view.status) == good
