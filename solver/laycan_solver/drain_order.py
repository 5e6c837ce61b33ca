"""A drain order that breaks nothing: each of some nodes out of service once, for so many seconds, inside a window, in few batches.

Batches are built one after the other, each the largest safe drain (`drain`) at the time at which counting (`room`) says that most
nodes can go, beside the batches before it. If that leaves some nodes without a time, batches follow one another instead. All batches
together are then one update of the plan before, and the independent checker judges the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .check import check
from .drain import DrainSearch
from .effect import Effect, compare, effect_of
from .live import Live
from .model import Difference, Event, Plan, Problem
from .planner import Planner, laid_out, written
from .room import Room, least_rounds, within
from .standing import Before
from .whatif import draining

LOOKS = 3  # times at which a batch is tried, most promising first
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """These nodes are out in [start, end)."""

    start: int
    end: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Batches in order of time. `left`: nodes that no batch was found for. No order has fewer than `at_least` batches; None = none can be.

    `effect` is that of all batches together, and `faults` what the checker says of their plan: nothing, if the planner is right.
    """

    batches: tuple[Batch, ...]
    left: tuple[str, ...]
    at_least: int | None
    effect: Effect
    faults: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.left

    @property
    def proved(self) -> bool:
        """No order has fewer batches."""
        return self.complete and len(self.batches) == self.at_least


def drain_order(
    planner: Planner, nodes: Iterable[str], start: int, end: int, seconds: int, progress: Progress = lambda done, of: None
) -> Order:
    """Batches that have each node out for `seconds` within [start, end), nobody accepted being shorter than before.

    `progress` is told for how many nodes a batch is found. Raises ValueError where the window is shorter than that.
    """
    before = Before.of(planner)
    start = max(start, before.live.now)
    if end - start < seconds:
        raise ValueError(f"nothing can be out for {seconds} s in a window of {max(0, end - start)} s")
    names = sorted(set(nodes) & before.live.nodes.keys())
    before.sums  # noqa: B018 - everybody is looked at
    room = Room(before.live, start, end, [before.live.fleet.column[n] for n in names])
    at_least = least_rounds(room.sizes, [most for _, most in within(room.times, room.most(), end - seconds, seconds)])
    found = _Batches(before, names, start, end, seconds, progress)
    found.build(in_turn=False)
    if found.left:
        other = _Batches(before, names, start, end, seconds, progress)
        other.build(in_turn=True)
        found = min(found, other, key=lambda b: (len(b.left), len(b.batches)))
    effect, problem, plan = _together(before, found)
    faults = tuple(str(fault) for fault in check(problem, plan))
    batches = tuple(sorted(found.batches, key=lambda b: b.start))
    return Order(batches, tuple(found.left), at_least, effect, faults)


class _Batches:
    """Batches that are found so far, and the plan with them."""

    def __init__(self, before: Before, nodes: Sequence[str], start: int, end: int, seconds: int, progress: Progress) -> None:
        self.plan, self.left, self.all = before, list(nodes), len(nodes)
        self.start, self.end, self.seconds, self.progress = start, end, seconds, progress
        self.batches: list[Batch] = []

    def build(self, *, in_turn: bool) -> None:
        """Batch after batch, until all nodes have one, or none is found. `in_turn`: the earliest first instead of the largest."""
        self.progress(0, self.all)
        while self.left:
            best = self._next(in_turn)
            if best is None:
                break
            self.batches.append(Batch(best.start, best.end, tuple(sorted(best.out))))
            gone = set(best.out)
            self.left = [n for n in self.left if n not in gone]
            self.plan = Before.of(best.plan)
            self.progress(self.all - len(self.left), self.all)

    def _next(self, in_turn: bool) -> DrainSearch | None:
        best: DrainSearch | None = None
        looks = 0
        for start, most in self._times(in_turn):
            if looks >= LOOKS or (best and len(best.out) >= most):
                break
            search = DrainSearch(self.plan, self.left, start, start + self.seconds, name=f"drain-{len(self.batches) + 1}")
            found = search.found()
            if found.nodes and (best is None or len(found.nodes) > len(best.out)):
                best = search
            if best and in_turn:
                break
            looks += best is not None
        return best

    def _times(self, in_turn: bool) -> list[tuple[int, int]]:
        """(start, most nodes by counting) of the times that are left, the best first."""
        live = self.plan.live
        self.plan.sums  # noqa: B018 - everybody is looked at
        room = Room(live, self.start, self.end, [live.fleet.column[n] for n in self.left])
        free = [
            (time, int(most.sum()))
            for time, most in within(room.times, room.most(), self.end - self.seconds, self.seconds)
            if all(time + self.seconds <= b.start or b.end <= time for b in self.batches)
        ]
        return sorted((row for row in free if row[1]), key=lambda row: row if in_turn else (-row[1], row[0]))

    def events(self) -> list[Event]:
        return [draining(b.nodes, b.start, b.end, name=f"drain-{i}") for i, b in enumerate(self.batches, 1)]


def _together(before: Before, found: _Batches) -> tuple[Effect, Problem, Plan]:
    """All batches as one update of the plan before, or, where that harms somebody or costs more, the plan that grew with them."""
    at_once, planner = effect_of(before, found.events())
    problem = planner.problem
    if found.plan is before or (at_once.safe and not at_once.cost_micros):
        return at_once, problem, planner.plan
    announced = found.plan.live.announced
    plan = written(problem, sorted(announced.now()), sorted(announced.refused.values()))
    book, demands = laid_out(problem, plan.bindings, announced.refused.keys())
    grown = compare(before, Live(problem, plan, book, demands, planner.effort), _difference(before, plan))
    if at_once.safe and at_once.cost_micros <= grown.cost_micros:
        return at_once, problem, planner.plan
    return grown, problem, plan


def _difference(before: Before, plan: Plan) -> Difference:
    then, now = set(before.live.announced.now()), set(plan.bindings)
    return Difference(tuple(sorted(then - now)), tuple(sorted(now - then)), plan.undelivered, plan.moves)
