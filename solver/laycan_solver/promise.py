"""Available-to-promise by probability: the chance that a contract's lot is out for longer than its cure for want of a spare node.

A contract's figure is the chance of its worst 30 days, of the stand (see `ground`) in which it is greatest: its grades, these with
those into which others may evade, and each of them inside the domain that its scope asks for. Where a product has a target, what is
sold must keep it, and must not push what was sold before above its own. Without a target nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .backings import Backings, Stay
from .book import Book
from .counting import Counting
from .eligible import Demand, Demands
from .ground import Ground, Lots, Stand, target_ppm
from .judgement import Judgement
from .model import Contract, Reason, Scope
from .objective import MONTH, Segment, Verdict

NEVER_SEEN = -1  # no version of a book
PPM = 1_000  # in parts per billion


@dataclass(frozen=True)
class Risk:
    """What is known of a promise. `ppb`: chance of a shortfall in its worst 30 days, parts per billion, rounded up.

    `spare_nodes`: the fewest of its due window, where the chance is greatest. `largest_domain`: nodes, committed or spare, of the
    largest rack in which one is committed. `survives_domain`: throughout, as many spare nodes as any such rack has.
    """

    ppb: int
    spare_nodes: int
    largest_domain: int
    survives_domain: bool

    @property
    def ppm(self) -> int:
        return -(-self.ppb // PPM)


class Seen(NamedTuple):
    """A contract at the last refresh; as long as its verdict is the same nothing of it has changed."""

    verdict: Verdict | None
    demand: Demand
    segments: list[Segment]


class Risks:
    """The figures of what lies in a book. It follows the book: ask it at any time.

    `refusal` compares with the book as it was when `refresh` was called last.
    """

    def __init__(self, book: Book, demands: Demands, counting: Counting | None = None) -> None:
        self.book, self.demands = book, demands
        self.counting = counting or Counting(book)
        self.targets = any(p.reliability.target_ppm is not None for p in demands.products.values())
        self.proving = True  # a refusal is to say whether any plan could do better, which takes a while
        self.minding = True  # False: no target refuses anybody
        self._seen: dict[int, Seen] = {}
        self._lots = Lots.nothing()
        self._counted = False
        self._version = NEVER_SEEN
        self._ground: tuple[int, Ground] | None = None

    @property
    def ground(self) -> Ground:
        """The nodes as they are now."""
        if self._ground is None or self._ground[0] != self.book.ledger.renewed:
            self._ground = self.book.ledger.renewed, Ground(self.book.fleet, self.book.ledger, self.demands.products)
        return self._ground[1]

    def refresh(self, but: int | None = None) -> Lots:
        """Takes in what has changed in the book since the last time, a contract with the index `but` apart."""
        if self._version == self.book.version:
            return self._lots
        changed = [i for i in self._changed() if i != but]
        self._lots = self._lots.changed(self.book, self.demands.products, changed)
        for i in changed:
            if i in self.book.demands:
                self._seen[i] = Seen(self.book.verdicts.get(i), self.book.demands[i], list(self.book.segments[i]))
            else:
                del self._seen[i]
        self._counted = True
        self._version = self.book.version if but is None else NEVER_SEEN
        return self._lots

    def _changed(self) -> list[int]:
        """Contracts that are not as they were at the last refresh."""
        book, seen, verdict = self.book, self._seen, self.book.verdicts.get
        found = [i for i in seen if i not in book.demands]
        for i, demand in book.demands.items():
            if (had := seen.get(i)) is None:
                found.append(i)
                continue
            same = had.verdict is not None and had.verdict is verdict(i)
            if not same and (had.demand is not demand or had.segments != book.segments[i]):  # else it has only been looked at
                found.append(i)
        return found

    def target(self, contract: Contract) -> int | None:
        """Parts per billion below which the contract's figure is to stay; None without a target, and for what is not Firm."""
        ppm = target_ppm(contract, self.demands.products)
        return None if ppm is None else ppm * PPM

    def at_stake(self, demand: Demand) -> bool:
        """Is there a target at all, and is the contract to be held to it?"""
        return self.targets and self.minding and not demand.contract.reserve

    def of(self, demand: Demand) -> Risk:
        """The figures of a contract that lies in the book."""
        lots = self.refresh()
        return self.risk(demand, Backings(self.ground, lots, max(demand.start, self.book.now), demand.end))

    def rehearsed(self, demand: Demand) -> Risk:
        """The same, of a contract that leaves it again: it is compared with the last refresh, and not taken in."""
        lots = self._lots.changed(self.book, self.demands.products, self._changed())
        return self.risk(demand, Backings(self.ground, lots, max(demand.start, self.book.now), demand.end))

    def all(self) -> dict[str, Risk]:
        """The figures of every accepted Firm contract in the book, by key."""
        lots, now = self.refresh(), self.book.now
        firm = [d for d in self.book.demands.values() if d.contract.firm and not d.contract.reserve and d.end > now]
        backings = Backings(self.ground, lots, now, max((d.end for d in firm), default=now + 1))
        return {d.contract.key: self.risk(d, backings) for d in firm}

    def risk(self, demand: Demand, backings: Backings) -> Risk:
        """The same, with what stands behind it."""
        ways = list(self.ways(demand, backings.lots, self.book.segments[demand.index]))
        ppb, spare = max((backings.worst(way, demand.start, demand.end), -backings.least(way)) for way in ways)
        losses = [backings.loss(way[0]) for way in ways if way[0].stand.scope is Scope.ANY]
        return Risk(ppb, -spare, max(nodes for nodes, _ in losses), all(made_up for _, made_up in losses))

    def refusal(self, demand: Demand) -> tuple[Reason, str] | None:
        """Why a candidate that the book holds may not stay, by the targets of its own product and of accepted contracts.

        None where it may. It is compared with the book as it was when `refresh` was called last, or, if never, without it.
        """
        if not self.at_stake(demand):
            return None
        if not self._counted:
            self.refresh(but=demand.index)
        changed = self._changed()
        moved = [s for i in changed for s in set(self._had(i)) ^ set(self.book.segments.get(i, ()))]
        if not moved:
            return None
        low, high = max(self.book.now, min(s.start for s in moved) - MONTH), max(s.end for s in moved) + MONTH
        before = Backings(self.ground, self._lots, low, high)
        after = Backings(self.ground, self._lots.changed(self.book, self.demands.products, changed), low, high)
        return Judgement(self, demand, moved, before, after).refusal()

    def _had(self, index: int) -> list[Segment]:
        return self._seen[index].segments if index in self._seen else []

    def figure_before(self, demand: Demand, before: Backings) -> int:
        """The chance of the contract at the last refresh, between the instants of `before`."""
        ways = self.ways(demand, before.lots, self._had(demand.index))
        return max(before.worst(way, before.low, before.high) for way in ways)

    def ways(self, demand: Demand, lots: Lots, segments: Sequence[Segment]) -> Iterator[list[Stay]]:
        """Where the contract, served by these segments, looks for spares over time: in every pool, and there in its domains."""
        known, start = self.demands.products[demand.contract.product].reliability, max(demand.start, self.book.now)
        domains = self._domains(demand, segments) if demand.scoped else []
        for grades in lots.pools(frozenset(demand.options)):
            stand = Stand(grades, known.cure_seconds, known.repair_seconds)
            yield [Stay(stand, start, demand.end)]
            if domains:
                yield [Stay(stand._replace(scope=demand.contract.scope, domain=d), a, b) for d, a, b in domains]

    def _domains(self, demand: Demand, segments: Sequence[Segment]) -> list[tuple[int, int, int]]:
        """(domain, start, end) of where these lots lie, which is one domain at a time, in time order."""
        level, now = self.book.fleet.domains[demand.contract.scope], self.book.now
        found: list[tuple[int, int, int]] = []
        for s in sorted(segments, key=lambda s: (s.start, s.end)):
            domain, start = int(level[s.column]), max(s.start, now)
            if found and found[-1][0] == domain and start <= found[-1][2]:
                found[-1] = domain, found[-1][1], max(found[-1][2], s.end)
            elif s.end > now:
                found.append((domain, start, s.end))
        return found
