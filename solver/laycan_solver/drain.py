"""The largest safe drain: as many nodes of a group as can be out of service in a window with nobody accepted shorter than before.

As many as counting allows (`room`) are taken, those first that carry least. Where an update of the plan leaves somebody short, as many
nodes of his stay as he is short of, until nobody is; then nodes are added again, until no more can be or too many were tried in vain.
Every answer is a plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .effect import Effect, effect_of
from .live import Live
from .model import Event
from .planner import Planner
from .room import Room
from .standing import Before
from .whatif import draining

VAIN = 10  # nodes that are tried one by one without success, after which the search ends
ROUNDS = 8  # of leaving out who is in the way, after which more and more are left out


@dataclass(frozen=True, slots=True)
class Drain:
    """`nodes` can be out in [start, end); nobody can take out more than `at_most`. `effect`: of the plan that shows it."""

    start: int
    end: int
    of: int  # nodes that were asked for
    nodes: tuple[str, ...]
    at_most: int
    effect: Effect

    @property
    def proved(self) -> bool:
        """No more can be out, whoever plans."""
        return len(self.nodes) == self.at_most


def largest_drain(
    planner: Planner,
    nodes: Iterable[str],
    start: int,
    end: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
    vain: int = VAIN,
) -> Drain:
    """Most of these nodes that can be out in [start, end); `progress` is told how many are found, of how many at most."""
    return DrainSearch(Before.of(planner), nodes, start, end, progress, vain).found()


class DrainSearch:
    """Grows a set of nodes that can be out together with nobody shorter than before."""

    def __init__(
        self,
        before: Before,
        nodes: Iterable[str],
        start: int,
        end: int,
        progress: Callable[[int, int], None] = lambda done, of: None,
        vain: int = VAIN,
        *,
        name: str = "drain",
    ) -> None:
        self.before, self.start, self.end, self.name = before, start, end, name
        self.progress, self.vain = progress, vain
        self.effect, self.plan = effect_of(before, [])
        live = before.live
        names = sorted(set(nodes) & live.nodes.keys())
        room = Room(live, start, end, [live.fleet.column[n] for n in names])
        self.at_most = min(len(names), int(room.most().min(axis=1).sum()))
        self.order = sorted(names, key=lambda n: (carried(live, n, start, end), n))
        self.out: list[str] = []

    def found(self) -> Drain:
        """The largest set that was found."""
        self._leave_out()
        self._add()
        self.progress(self.at_most, self.at_most)
        return Drain(self.start, self.end, len(self.order), tuple(sorted(self.out)), self.at_most, self.effect)

    def event(self, nodes: Sequence[str]) -> Event:
        return draining(nodes, self.start, self.end, name=self.name)

    def _try(self, nodes: Sequence[str]) -> Effect:
        effect, plan = effect_of(self.before, [self.event(nodes)])
        if effect.safe:
            self.out, self.effect, self.plan = list(nodes), effect, plan
            self.progress(len(nodes), self.at_most)
        return effect

    def _leave_out(self) -> None:
        """From as many as counting allows down to a set that is safe."""
        nodes, rounds = self.order[: self.at_most], 0
        while nodes and not (effect := self._try(nodes)).safe:
            stay = self._in_the_way(effect, nodes)
            fewest = 1 << max(0, rounds - ROUNDS)
            stay.update(n for n in reversed(nodes[-fewest:]) if len(stay) < fewest)
            nodes = [n for n in nodes if n not in stay]
            rounds += 1

    def _in_the_way(self, effect: Effect, nodes: Sequence[str]) -> set[str]:
        """Of each contract that is harmed, as many of its nodes as it is short of lots: those with most of it in the window."""
        live, mine = self.before.live, {self.before.live.fleet.column[n] for n in nodes}
        found: set[str] = set()
        for change in effect.harmed:
            own: Counter[str] = Counter()
            for s in live.book.segments.get(live.index.get(change.contract, -1), ()):
                if s.column in mine and s.start < self.end and self.start < s.end:
                    own[live.fleet.nodes[s.column].name] += s.lots * (min(s.end, self.end) - max(s.start, self.start))
            short = max((g.lots for g in change.more), default=1)
            for name in sorted(own, key=lambda n: (-own[n], n)):
                if short <= 0:
                    break
                found.add(name)
                short -= -(-own[name] // (self.end - self.start))
        return found

    def _add(self) -> None:
        """Those that were left out, twice as many at a time while that goes well, one by one where it does not."""
        out = set(self.out)
        rest = [n for n in self.order if n not in out]
        vain, some = 0, 1
        while rest and len(self.out) < self.at_most and vain < self.vain:
            some = min(some, len(rest), self.at_most - len(self.out))
            if self._try([*self.out, *rest[:some]]).safe:
                rest, some = rest[some:], 2 * some
            elif some > 1:
                some = 1
            else:
                rest, vain = rest[1:], vain + 1


def carried(live: Live, node: str, start: int, end: int) -> int:
    """GPU-seconds that a node serves in [start, end)."""
    return sum(
        live.book.demands[i].contract.lot_gpus * s.lots * (min(s.end, end) - max(s.start, start))
        for i, s in live.book.on_node[live.fleet.column[node]]
        if s.start < end and start < s.end
    )
