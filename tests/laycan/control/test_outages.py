"""Outages: judged before they are planned, and told what would help."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from laycan.control.judging import Judged
from laycan.control.outage_status import outage_status
from laycan.control.outages import OutageDesk
from laycan.control.planner import Planner
from laycan.control.questions import Question, Solved, consult
from laycan.control.solver_process import SolverError
from laycan.control.specs import Specs
from laycan.kube.world import World
from laycan.resources.outage import OutageStatus
from laycan.resources.planned import is_planned
from laycan.resources.times import format_time
from laycan_solver.model import Outage, OutageType
from laycan_solver.outage_verdict import Harm
from laycan_solver.planner import Planner as Kept
from tests.laycan.control.planning import Clock, decided, planning
from tests.laycan.control.town import HOUR, NOW, bound, contract, node, world
from tests.laycan_solver.small import NOW as THEN
from tests.laycan_solver.small import node as small_node
from tests.laycan_solver.small import problem

COVERED = Judged("Covered", 0, (0, 0), 0, (), (), 0, None, 4)
RISKY = Judged("AtRisk", 0, (0, 0), 0, (), ("desk/a",), 3832, 100, 2, None, NOW + 30 * HOUR)
BLOCKED = Judged(
    "Blocked",
    2,
    (NOW + HOUR, NOW + 2 * HOUR),
    2,
    (Harm("desk/a", 1, 28_800, NOW + HOUR), Harm("desk/b", 1, 28_800, NOW + HOUR)),
    (),
    0,
    None,
    0,
)


def outage(name: str, start: int = NOW + HOUR, end: int | None = NOW + 2 * HOUR, *, generation: int = 1, **more: Any) -> dict[str, Any]:
    """A Planned outage of node n1 that was never judged, unless said otherwise."""
    status = more.pop("status", {})
    meta = {"name": name, "uid": f"uid-{name}", "generation": generation, "resourceVersion": str(generation)}
    meta["creationTimestamp"] = format_time(NOW - 100)
    times = {"start": format_time(start)} | ({"end": format_time(end)} if end else {})
    return {"metadata": meta, "spec": {"type": "Planned", "nodes": ["n1"], **times, **more}, "status": status}


def answered(verdict: Judged | str, generation: int = 1) -> dict[str, Any]:
    """The status that says so."""
    return {"verdict": verdict if isinstance(verdict, str) else verdict.cover, "observedGeneration": generation}


def town(*outages: dict[str, Any], nodes: int = 2, sold: int = 0) -> World:
    """Nodes n1, …, the first so many sold for the hour from NOW + 1 h on."""
    names = [f"n{i + 1}" for i in range(nodes)]
    contracts = [contract(f"c{i + 1}", status=bound(names[i])) for i in range(sold)]
    made = world(contracts, names)
    for raw in outages:
        made.outages[raw["metadata"]["name"]] = raw
    return made


def write(made: World, office: Planner) -> None:
    """As the API server would answer."""
    for name, (_, status) in list(office.outages.wanted.items()):
        del office.outages.wanted[name]
        raw = made.outages[name]
        meta = {**raw["metadata"], "resourceVersion": str(int(raw["metadata"]["resourceVersion"]) + 1)}
        made.put("outages", name, {**raw, "metadata": meta, "status": status})
        OutageStatus.model_validate(status)


def verdict_of(made: World, name: str) -> str:
    conditions = made.outages[name]["status"]["conditions"]
    (true,) = [c["type"] for c in conditions if c["status"] == "True"]
    assert made.outages[name]["status"]["verdict"] == true
    return str(true)


def message_of(made: World, name: str) -> str:
    return next(str(c["message"]) for c in made.outages[name]["status"]["conditions"] if c["status"] == "True")


class TestWhatIsPlanned:
    """By the object's status alone, so that it is the same for whoever reads it, and after a restart."""

    @pytest.mark.parametrize(
        ("raw", "planned"),
        [
            (outage("o"), False),
            (outage("o", status=answered("Covered")), True),
            (outage("o", status=answered("Blocked")), False),
            (outage("o", status=answered("AtRisk")), False),
            (outage("o", status=answered("AtRisk"), acceptRisk=True), True),
            (outage("o", status=answered("Covered"), generation=2), False),
            (outage("o", NOW - 60, status=answered("Covered"), generation=2), True),
            (outage("o", NOW - 60, status=answered("Covered") | {"judgedStart": format_time(NOW - 90)}, generation=2), True),
            (outage("o", NOW - 60, status=answered("Covered") | {"judgedStart": format_time(NOW + 1)}, generation=2), False),
            (outage("o", NOW - 60, status=answered("Blocked")), False),
            (outage("o", NOW - 60), False),
            (outage("o", type="Forced"), True),
            (outage("o", type="Retirement"), False),
            (outage("o", type="Retirement", status=answered("Blocked"), generation=3), True),
            (outage("o", NOW - 60, type="Retirement"), True),
            ({"spec": 7, "status": 8}, True),
        ],
        ids=lambda value: value if isinstance(value, bool) else "",
    )
    def test_by_status(self, raw: dict[str, Any], planned: bool) -> None:
        assert is_planned(raw, format_time(NOW)) is planned


class TestTheDesk:
    def desk(self, *outages: dict[str, Any]) -> OutageDesk:
        return OutageDesk(town(*outages), Specs())

    def asked(self, desk: OutageDesk, *, thorough: bool = False, now: int = NOW) -> list[str]:
        return [each.name for each in desk.ask(now, thorough=thorough)]

    def wants(self, desk: OutageDesk, verdicts: dict[str, Judged], now: int = NOW) -> dict[str, str]:
        desk.take(verdicts, desk.versions(desk.ask(now, thorough=True)), now)
        return {name: status["verdict"] for name, (_, status) in desk.wanted.items()}

    def test_who_is_asked_about(self) -> None:
        """New and edited ones with every plan; the others with thorough plans; never one that is over, or has begun as planned."""
        desk = self.desk(
            outage("new", NOW + 5 * HOUR, None, type="Retirement"),
            outage("edited", generation=2, status=answered("Covered")),
            outage("blocked", status=answered("Blocked")),
            outage("covered", status=answered("Covered")),
            outage("forced", type="Forced"),
            outage("over", NOW - 2 * HOUR, NOW),
            outage("running", NOW - HOUR, status=answered("Covered")),
            outage("late", NOW - HOUR, status=answered("Blocked")),
        )
        assert self.asked(desk) == ["edited", "new"]
        assert sorted(self.asked(desk, thorough=True)) == ["blocked", "covered", "edited", "forced", "late", "new"]

    def test_few_at_once(self) -> None:
        """Nobody's failure waits until forty outages are judged; all of them are by and by."""
        desk = self.desk(*(outage(f"o{i:02}") for i in range(5)))
        assert (self.asked(desk), desk.more) == (["o00", "o01"], True)
        many = self.desk(*(outage(f"o{i:02}", status=answered("Blocked")) for i in range(40)))
        seen = list[str]()
        for _ in range(3):
            names = self.asked(many, thorough=True)
            many.take(dict.fromkeys(names, BLOCKED), many.versions(many.ask(NOW, thorough=True)), NOW)
            many.wanted.clear()
            seen += names
        assert len(seen) == 48
        assert set(seen) == set(many.world.outages)

    def test_who_is_not_reached(self) -> None:
        """There was time for three: the others come next, new ones at once and those that are judged again with their turn."""
        new = self.desk(*(outage(f"o{i}") for i in range(5)))
        new.take(dict.fromkeys(("o0", "o1", "o2"), BLOCKED), new.versions(new.ask(NOW, thorough=True)), NOW)
        assert (new.more, self.asked(new)) == (True, ["o3", "o4"])
        desk = self.desk(*(outage(f"o{i}", status=answered("Blocked")) for i in range(5)))
        desk.take(dict.fromkeys(("o0", "o1", "o2"), BLOCKED), desk.versions(desk.ask(NOW, thorough=True)), NOW)
        desk.wanted.clear()
        assert (desk.more, self.asked(desk, thorough=True)) == (False, ["o3", "o4", "o0", "o1", "o2"])

    def test_those_that_overlap_go_one_by_one(self) -> None:
        """Each was judged without the other; the second waits to be judged beside the first, and one on another day does not."""
        desk = self.desk(outage("a"), outage("b"), outage("c", NOW + 9 * HOUR, NOW + 10 * HOUR))
        assert self.wants(desk, {"a": COVERED, "b": COVERED, "c": COVERED}) == {"a": "Covered", "c": "Covered"}
        assert desk.more
        again = self.desk(outage("a"), outage("b"))
        assert self.wants(again, {"a": COVERED, "b": BLOCKED}) == {"a": "Covered", "b": "Blocked"}

    def test_the_second_waits_until_the_first_is_written(self) -> None:
        """A plan made meanwhile has neither of them: who is judged with it would go ahead without the other, both halves at once."""
        desk = self.desk(outage("a"), outage("b"))
        assert self.wants(desk, {"a": COVERED, "b": COVERED}) == {"a": "Covered"}
        desk.world.outages["c"] = outage("c", NOW + 9 * HOUR, NOW + 10 * HOUR)
        assert (self.asked(desk), desk.more) == (["c"], False)
        desk.world.outages["a"] = outage("a", status=desk.wanted.pop("a")[1])
        assert self.asked(desk) == ["b", "c"]
        desk.world.outages["a"] = outage("a", generation=2)
        assert self.asked(desk) == ["a", "b"], "edited: what it was judged for holds nobody back"

    def test_a_retirement_comes_first(self) -> None:
        """It goes ahead whatever is found, so maintenance that was judged without it is judged again, although it begins before."""
        for status in ({}, answered("Covered")):
            gone = outage("gone", NOW + HOUR + 60, None, type="Retirement")
            desk = self.desk(outage("a", generation=2, status=status), gone)
            assert self.wants(desk, {"a": COVERED, "gone": BLOCKED}) == {"gone": "Blocked"}
            assert self.asked(desk) == []

    def test_what_cannot_be_judged_keeps_no_other_from_it(self) -> None:
        """Nor does it make one plan after the other: it has its turn with thorough plans, and is new again when it is edited."""
        desk = self.desk(*(outage(name) for name in "abc"))
        desk.take({"a": None, "b": None}, desk.versions(desk.ask(NOW, thorough=False)), NOW)
        assert (self.asked(desk), desk.more) == (["c"], False)
        assert self.asked(desk, thorough=True) == ["c", "a", "b"]
        desk.world.outages["b"] = outage("b", generation=2)
        assert self.asked(desk) == ["b", "c"]

    def test_the_last_is_called_off(self) -> None:
        """When two can no longer go ahead, perhaps one can: the later one makes room."""
        done = answered("Covered")
        desk = self.desk(outage("a", status=done), outage("b", NOW + HOUR + 1, status=done))
        assert self.wants(desk, {"a": BLOCKED, "b": BLOCKED}) == {"b": "Blocked"}

    def test_shifted_into_the_past(self) -> None:
        """What was to begin later has not begun as planned: it is judged as it is now, before anything moves."""
        desk = self.desk(outage("a"))
        assert self.wants(desk, {"a": COVERED}) == {"a": "Covered"}
        desk.world.outages["a"] = outage("a", NOW - 60, generation=2, nodes=["n2"], status=desk.wanted.pop("a")[1])
        assert self.asked(desk) == ["a"]
        assert self.wants(desk, {"a": BLOCKED}) == {"a": "Blocked"}

    def test_a_fact(self) -> None:
        """What has begun as planned stays, whatever is found; an edit then is no new question."""
        desk = self.desk(outage("a", NOW - 60, generation=2, status=answered("Covered")))
        assert self.wants(desk, {"a": BLOCKED}) == {"a": "Covered"}
        assert desk.wanted["a"][1]["observedGeneration"] == 2

    def test_edited_meanwhile(self) -> None:
        """A verdict on what it said before is none."""
        desk = self.desk(outage("a"))
        versions = desk.versions(desk.ask(NOW, thorough=False))
        desk.world.outages["a"] = outage("a", generation=2)
        desk.take({"a": COVERED}, versions, NOW)
        assert desk.wanted == {}

    def test_asked_once(self) -> None:
        """What is on its way to its status is not judged again; what was edited meanwhile is."""
        desk = self.desk(outage("a"))
        assert self.wants(desk, {"a": COVERED}) == {"a": "Covered"}
        assert self.asked(desk) == []
        desk.world.outages["a"] = outage("a", generation=2)
        assert self.asked(desk) == ["a"]


class TestWords:
    def status(self, raw: dict[str, Any], verdict: Judged) -> tuple[dict[str, Any], str]:
        found = outage_status(raw, verdict, town(raw, sold=2), NOW)
        assert found is not None
        OutageStatus.model_validate(found)
        (true,) = [c for c in found["conditions"] if c["status"] == "True"]
        assert (true["type"], found["verdict"]) == (verdict.cover, verdict.cover)
        assert outage_status({**raw, "status": found}, verdict, town(raw), NOW + 60) is None or verdict is BLOCKED
        return found, f"{true['reason']}: {true['message']}"

    def test_blocked(self) -> None:
        """Who is short, when, of how much, and what would help."""
        better = BLOCKED._replace(halves="AtRisk", after=NOW + 30 * HOUR, harmed=6)
        found, words = self.status(outage("o"), better)
        assert (found["lotsShort"], found["affectedContracts"]) == (2, 6)
        window = f"from {format_time(NOW + HOUR)} to {format_time(NOW + 2 * HOUR)}"
        for part in (
            "LotsShort: 2 lots short " + window,
            "desk/a, desk/b and 4 more",
            "spare nodes needed: ",
            "nothing moves",
            f"shift it after {format_time(NOW + 30 * HOUR)}, make it two halves, one after the other (AtRisk), or add nodes",
        ):
            assert part in words

    def test_at_risk(self) -> None:
        """Both numbers, and the ways out; with the risk accepted, that it is planned."""
        found, words = self.status(outage("o"), RISKY)
        assert found["shortfallProbabilityPpm"] == 3900
        for part in ("TargetExceeded", "3900 ppm, the target 100 ppm, 2 spare nodes left", "desk/a", "set spec.acceptRisk: true"):
            assert part in words
        assert "RiskAccepted" in self.status(outage("o", acceptRisk=True), RISKY)[1]

    def test_retirement(self) -> None:
        """It is a fact, and says what it breaks from when on."""
        _, words = self.status(outage("o", end=None, type="Retirement"), BLOCKED._replace(window=(NOW + HOUR, 1 << 62)))
        assert f"from {format_time(NOW + HOUR)} on" in words
        assert "it is a fact all the same" in words

    def test_needed_nodes(self) -> None:
        """Lots of eight on nodes of eight: a node each."""
        made = town(outage("o"), sold=2)
        _, words = self.status(outage("o"), BLOCKED._replace(harms=(Harm("desk/c1", 2, 1, NOW + HOUR),)))
        assert "spare nodes needed: 2" in words
        assert made.contracts.keys() == {"desk/c1", "desk/c2"}

    def test_quiet(self) -> None:
        """A chance that moves a little, and the same verdict again, change nothing; lastTransitionTime is that of the flip."""
        raw = outage("o")
        raw["status"], _ = self.status(raw, RISKY)
        assert outage_status(raw, RISKY._replace(ppm=3_840), town(raw), NOW + 60) is None
        over = outage_status(raw, COVERED, town(raw), NOW + 60)
        assert over is not None
        assert {c["type"]: (c["status"], c["lastTransitionTime"]) for c in over["conditions"]} == {
            "Covered": ("True", format_time(NOW + 60)),
            "AtRisk": ("False", format_time(NOW + 60)),
        }


class TestWithThePlanner:
    """The real one, in its own process."""

    def test_judged_before_anything_moves(self) -> None:
        """Three nodes, one sold: the plan that judges the outage of its node leaves it there; the one after that moves it."""
        made = town(outage("o"), nodes=3, sold=1)

        async def test(office: Planner) -> None:
            await office.step()
            assert {b.node for b in decided(office)["desk/c1"].bindings} == {"n1"}
            write(made, office)
            assert verdict_of(made, "o") == "Covered"
            assert office._dirty, "the plan follows at once"
            await office.step()
            found = decided(office)["desk/c1"]
            assert {b.node for b in found.bindings} <= {"n2", "n3"}
            assert found.undelivered == ()

        planning(made, test)

    def test_blocked_until_capacity_returns(self) -> None:
        """Two nodes, both sold: nothing moves and nobody is short. A third comes: it may go ahead."""
        made = town(outage("o"), nodes=2, sold=2)

        async def test(office: Planner) -> None:
            await office.step()
            write(made, office)
            assert verdict_of(made, "o") == "Blocked"
            assert message_of(made, "o").startswith("1 lot short")
            await office.step()
            assert all(d.undelivered == () for d in decided(office).values())
            assert office.outages.waiting(NOW)
            made.put("nodes", "n3", node("n3", 7))
            office._thorough_at = NOW
            await office.step()
            write(made, office)
            assert verdict_of(made, "o") == "Covered"
            await office.step()
            assert "n1" not in {b.node for d in decided(office).values() for b in d.bindings}

        planning(made, test)

    def test_called_off(self) -> None:
        """It could go ahead, and then the spare node is lost: rather no maintenance than a broken promise. Once begun it is a fact."""
        for start, verdict in ((NOW + HOUR, "Blocked"), (NOW, "Covered")):
            made, clock = town(outage("o", start), nodes=3, sold=2), Clock()

            async def test(office: Planner, made: World = made, verdict: str = verdict, clock: Clock = clock) -> None:
                clock.now = NOW - 60
                await office.step()
                write(made, office)
                assert verdict_of(made, "o") == "Covered"
                await office.step()
                clock.now = NOW + 10
                (free,) = {"n2", "n3"} - {b.node for b in decided(office)["desk/c2"].bindings}
                office.fleet.failed = frozenset({free})  # type: ignore[attr-defined]
                office._thorough_at = NOW
                await office.step()
                write(made, office)
                assert verdict_of(made, "o") == verdict
                office._thorough_at = NOW
                await office.step()
                short = [u.code.value for d in decided(office).values() for u in d.undelivered]
                assert short == ([] if verdict == "Blocked" else ["OutagePlanned"])

            planning(made, test, clock=clock)

    def test_a_plan_comes_before_verdicts(self) -> None:
        """Where the planner's process fails over outages, the next plan is made without them, and they are asked about after it."""
        made = town(outage("o"), nodes=3, sold=1)

        async def test(office: Planner) -> None:
            real, asked = office.solver, list[int]()

            class Choking:
                cpu_seconds = 0.0

                async def ask(self, question: Question) -> Solved:
                    asked.append(len(question.outages))
                    if question.outages:
                        raise SolverError("no plan within 60 s")
                    return await real.ask(question)

            office.solver = Choking()  # type: ignore[assignment]
            with pytest.raises(SolverError):
                await office.step()
            office._effort = 0  # as the loop does
            await office.step()
            assert {b.node for b in decided(office)["desk/c1"].bindings} == {"n1"}
            assert (asked, office._dirty) == ([1, 0], True)
            office.solver = real

        planning(made, test)

    def test_as_many_as_there_is_time_for(self) -> None:
        """Each takes so many seconds of a clock: those are judged that begin within ten, and one in any case."""
        plan = Kept(problem([small_node("n1")], []), effort=20)
        outages = tuple(Outage(name, OutageType.PLANNED, frozenset({"n1"}), THEN + HOUR, THEN + 2 * HOUR) for name in "abcde")
        question, solved = Question(plan.problem, 20, outages=outages), Solved(plan.plan, (), None)
        for seconds, reached in ((4, "abc"), (99, "a"), (0, "abcde")):
            ticks = count(0, seconds)
            assert "".join(consult(plan, solved, question, ticks.__next__).verdicts) == reached

    def test_nothing_is_sold(self) -> None:
        """An outage is judged although there is nothing to plan."""
        made = town(outage("o"))

        async def test(office: Planner) -> None:
            await office.step()
            write(made, office)
            assert verdict_of(made, "o") == "Covered"

        planning(made, test)

    def test_what_helps(self) -> None:
        """Three of four nodes are sold, two are to be out: behind the contracts' end, or one after the other, nobody is short."""
        made = town(outage("o", nodes=["n1", "n2"]), nodes=4, sold=3)

        async def test(office: Planner) -> None:
            await office.step()
            write(made, office)
            assert verdict_of(made, "o") == "Blocked"
            assert f"shift it after {format_time(NOW + 2 * HOUR)}, make it two halves, one after the other (Covered)" in message_of(
                made, "o"
            )

        planning(made, test)

    def test_a_retirement(self) -> None:
        """It is judged like the others and then planned whatever it breaks: nothing new is sold there."""
        made = town(outage("o", end=None, type="Retirement"), nodes=2, sold=2)

        async def test(office: Planner) -> None:
            await office.step()
            assert all(d.undelivered == () for d in decided(office).values())
            write(made, office)
            assert verdict_of(made, "o") == "Blocked"
            await office.step()
            assert [u.code.value for d in decided(office).values() for u in d.undelivered] == ["OutagePlanned"]

        planning(made, test)
