"""The arrangement under construction: which segments serve which contract, kept in step with the ledger, with a journal.

Every change goes through `put` and `drop`. `mark` and `roll_back` undo a trial: the journal holds what to reverse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import count

import numpy as np

from .eligible import Demand, Possession
from .fleet import Fleet
from .ledger import Cells, Ledger
from .months import Months
from .objective import NOTHING, Segment, Tiers, Verdict, minus, plus
from .pinned import Pinned
from .tally import Tally
from .timegrid import Ints
from .topology import Topology


class Book:
    def __init__(self, now: int, fleet: Fleet, ledger: Ledger, turnarounds: Sequence[int] = ()) -> None:
        self.now, self.fleet, self.ledger = now, fleet, ledger
        self.turnaround = max(turnarounds, default=0)
        self.months = Months(now, fleet)
        self.pinned = Pinned(self)
        self.demands: dict[int, Demand] = {}
        self.segments: dict[int, list[Segment]] = {}  # contract index -> what serves it
        self.on_node: list[list[tuple[int, Segment]]] = [[] for _ in fleet.nodes]  # column -> (contract index, segment) there
        self.reserves = 0  # contracts that are reserves
        self.oversold = False  # at some time not everything fits, by the bound's prices
        self.history: dict[int, list[Possession]] = {}  # column -> what was announced there; what of it lies before now counts
        self.had_holder = np.zeros(len(fleet.nodes), dtype=bool)  # the columns of these
        self.before: Callable[[int], None] | None = None  # called before a contract is looked at or changed
        self.watched: dict[int, Tiers] | None = None  # contract -> its tiers before its first change since this was set
        self._topology: tuple[int, Topology] | None = None  # of the fleet after so many changes
        self._tallies: dict[int, Tally] = {}
        self._lent: dict[int, Tally] = {}  # shared with copies of the book, to be copied before it is looked at
        self._verdicts: dict[int, Verdict] = {}
        self.witness: Callable[[int, Sequence[Segment]], None] | None = None  # told of a change before it is made
        self._journal: list[tuple[int, int, list[Segment]]] = []
        self._versions = count(1)
        self.renewals = 0  # demands that have been renewed
        self.version = 0  # differs whenever anything may have changed; one that is gone never comes again for another state

    def copy(self) -> Book:
        """The same arrangement on a fleet and a ledger of its own; nothing in it can be undone."""
        other = copy(self)
        other.fleet, other.pinned = self.fleet.copy(), Pinned(other)
        other.ledger, other.months = self.ledger.copy(other.fleet), self.months.copy()
        other.demands, other.segments = dict(self.demands), {i: list(own) for i, own in self.segments.items()}
        other.on_node = [list(there) for there in self.on_node]
        other.history, other.had_holder = {c: list(had) for c, had in self.history.items()}, self.had_holder.copy()
        other._topology, other._verdicts, other._journal = None, dict(self._verdicts), []
        self._lent |= self._tallies
        other._lent, self._tallies, other._tallies = dict(self._lent), {}, {}
        return other

    def open(self, demand: Demand) -> None:
        """Takes a contract in, with nothing bound yet; its due window must lie on the grid."""
        assert demand.index not in self.demands
        self.version = next(self._versions)
        self.demands[demand.index] = demand
        self.pinned = Pinned(self)
        self.reserves += demand.contract.reserve
        self.segments[demand.index] = []

    def close(self, index: int) -> None:
        """Forgets a contract (a refused candidate), whose segments must be gone."""
        assert not self.segments.pop(index)
        self.version = next(self._versions)
        self.reserves -= self.demands.pop(index).contract.reserve
        self._verdicts.pop(index, None)
        self._forget(index)

    def renew(self, demand: Demand) -> None:
        """Another demand of the same contract takes its place: later, or with other announcements; what is over is forgotten."""
        index, own = demand.index, list[Segment]()
        for s in self.segments[index]:
            if s.start >= demand.start:
                own.append(s)
                continue
            there = self.on_node[s.column]
            there.remove((index, s))
            if s.end > demand.start:
                own.append(s._replace(start=demand.start))
                there.append((index, own[-1]))
        self.segments[index] = own
        self.demands[index] = demand
        self._forget(index)
        self._verdicts.pop(index, None)
        self.version = next(self._versions)
        self.renewals += 1

    def changed(self) -> dict[int, set[int]]:
        """Contracts with a change that can be undone -> the nodes of these changes."""
        found: dict[int, set[int]] = {}
        for _, index, segments in self._journal:
            found.setdefault(index, set()).update(s.column for s in segments)
        return found

    @property
    def topology(self) -> Topology:
        """What the fleet as it is now could hold."""
        if self._topology is None or self._topology[0] != self.ledger.renewed:
            self._topology = self.ledger.renewed, Topology(self.fleet, self.now)
        return self._topology[1]

    def settled(self) -> None:
        """What was done stands: nothing before this can be undone."""
        self._journal.clear()

    def put(self, index: int, segments: list[Segment]) -> None:
        if self.before:
            self.before(index)
        self._watch(index)
        self._journal.append((1, index, segments))
        self._apply(1, index, segments)

    def drop(self, index: int, segments: list[Segment]) -> None:
        if self.before:
            self.before(index)
        self._watch(index)
        self._journal.append((-1, index, segments))
        self._apply(-1, index, segments)

    def _watch(self, index: int) -> None:
        if self.watched is not None and index not in self.watched:
            self.watched[index] = self.verdict(index).tiers

    def change(self) -> Tiers:
        """What all that is watched costs more than before."""
        total = NOTHING
        for index, before in (self.watched or {}).items():
            total = plus(total, minus(self.verdict(index).tiers, before))
        return total

    def _apply(self, sign: int, index: int, segments: list[Segment]) -> None:
        if self.witness:
            self.witness(index, segments)
        self.tally(index).add(sign, segments)
        lot, own, on_node = self.demands[index].contract.lot_gpus * sign, self.segments[index], self.on_node
        for (start, end), group in _by_window(segments):
            columns = [s.column for s in group]
            # the same node twice in one operation would count once
            for part in (group,) if len(set(columns)) == len(columns) else ((s,) for s in group):
                at = np.array([s.column for s in part])
                self.ledger.take(at, start, end, np.array([s.lots * lot for s in part]))
                self.months.count(at, start, end, sign)
        if sign > 0:
            own += segments
            for s in segments:
                on_node[s.column].append((index, s))
        elif len(segments) == len(own):
            own.clear()
        elif own[-len(segments) :] == segments:  # what came last goes first, where a trial is undone
            del own[-len(segments) :]
        else:
            for s in segments:
                own.remove(s)
        if sign < 0:
            for s in reversed(segments):
                there = on_node[s.column]
                if there[-1] == (index, s):
                    there.pop()
                else:
                    there.remove((index, s))
        self._verdicts.pop(index, None)
        self.version = next(self._versions)

    def tally(self, index: int) -> Tally:
        found = self._tallies.get(index)
        if found is None:
            lent = self._lent.pop(index, None)
            found = self._tallies[index] = lent.copy(self.fleet) if lent else Tally(self.demands[index], self.fleet, self.now)
            if lent is None:
                found.add(1, self.segments[index])
        return found

    def _forget(self, index: int) -> None:
        self._tallies.pop(index, None)
        self._lent.pop(index, None)

    def known(self, index: int) -> tuple[Tally, Verdict | None]:
        """A contract's tally, which is the caller's, and its verdict if there is one already."""
        return self.tally(index).copy(self.fleet), self._verdicts.get(index)

    def recall(self, index: int, tally: Tally, verdict: Verdict | None) -> None:
        """The same again, of a contract that is served as it was then."""
        self._tallies[index] = tally
        self._verdicts.pop(index, None)
        if verdict is not None:
            self._verdicts[index] = verdict

    def mark(self) -> int:
        return len(self._journal)

    def roll_back(self, mark: int) -> None:
        """Undoes everything since `mark`, newest first."""
        while len(self._journal) > mark:
            sign, index, segments = self._journal.pop()
            self._apply(-sign, index, segments)

    def columns_since(self, mark: int) -> set[int]:
        """Nodes that changed since `mark`, in what was not undone."""
        return {s.column for _, _, segments in self._journal[mark:] for s in segments}

    def gained_since(self, mark: int) -> Counter[int]:
        """contract -> lot-seconds that it is served more (or fewer) than at `mark`; all contracts that changed."""
        gained: Counter[int] = Counter()
        for sign, index, segments in self._journal[mark:]:
            gained[index] += sign * sum(s.lots * (s.end - s.start) for s in segments)
        return gained

    def clear(self, index: int) -> None:
        if self.segments[index]:
            self.drop(index, list(self.segments[index]))

    def verdict(self, index: int) -> Verdict:
        if self.before:
            self.before(index)
        found = self._verdicts.get(index)
        if found is None:
            found = self._verdicts[index] = self.tally(index).verdict()
        return found

    @property
    def verdicts(self) -> Mapping[int, Verdict]:
        """The verdicts of contracts of which nothing has changed since they were asked for."""
        return self._verdicts

    def pays(self, index: int, segments: Sequence[Segment]) -> bool:
        """Would it be legal to put these as well, and cheaper, or as cheap with less curtailed? Nothing changes."""
        before, tally = self.verdict(index), self.tally(index)
        tally.add(1, segments)
        after = tally.verdict()
        tally.add(-1, segments)
        return after.legal and (after.tiers, after.curtailed) < (before.tiers, before.curtailed)

    def missing(self, index: int) -> list[tuple[int, int, int]]:
        """(start, end, lots) where lots of the contract are missing, in time order, cut only where the number changes."""
        return self.tally(index).missing()

    def tiers(self, indices: Iterable[int]) -> Tiers:
        total = NOTHING
        for index in indices:
            total = plus(total, self.verdict(index).tiers)
        return total

    def room(self, demand: Demand, start: int, end: int, columns: slice | Ints) -> Cells:
        """Per column: whole lots of the contract that the node could take through all of [start, end) beside everything taken."""
        free = self.ledger.free(start, end, columns)
        lots = free // min(demand.contract.lot_gpus, int(np.iinfo(free.dtype).max))
        if len(self.fleet.closed):
            lots[self._is_closed(columns)] = 0
        if self.separates(demand):
            self._keep_holders(demand, start, end, columns, lots)
        return lots

    def _is_closed(self, columns: slice | Ints) -> Ints:
        """Positions in `columns` of cordoned nodes."""
        if isinstance(columns, slice):
            return self.fleet.closed_in(columns)
        return np.flatnonzero(~self.fleet.open[columns]).astype(np.int64)

    def separates(self, demand: Demand) -> bool:
        """Is there anything that the contract may not share some node with?"""
        return self.fleet.handed_over and (demand.holder != 0 or self.reserves > 0)

    def _keep_holders(self, demand: Demand, start: int, end: int, columns: slice | Ints, lots: Cells) -> None:
        """No room on nodes that another holder has in the window, or nearer to it than the turnaround."""
        pad = self.turnaround
        near = self.ledger.free(start - pad, end + pad, columns) < self.ledger.gpus[columns]
        if start - pad < self.now and self.history:
            near |= self.had_holder[columns]
        suspects = np.flatnonzero((lots > 0) & near & self.fleet.whole[columns])
        base = np.arange(columns.start, columns.stop) if isinstance(columns, slice) else columns
        for i in suspects.tolist():
            if self.barred(demand, int(base[i]), start, end):
                lots[i] = 0

    def remember(self, column: int, possession: Possession) -> None:
        """As soon as it has begun, others come to the node a turnaround after its end, or after now if it is over by then."""
        self.history.setdefault(column, []).append(possession)
        self.had_holder[column] = True

    def others_at(self, demand: Demand, column: int) -> Iterator[tuple[int, int]]:
        """When another holder has the node, handed over whole, widened by the turnaround between the two."""
        if not (self.separates(demand) and self.fleet.whole[column]):
            return
        for had in self.history.get(column, ()) if demand.holder > 0 else ():
            if had.holder != demand.holder and had.start < self.now:
                yield self.ledger.grid.times[0], min(had.end, self.now) + max(had.turnaround, demand.turnaround)
        for index, s in self.on_node[column]:
            other = self.demands[index]
            if demand.apart_from(other):
                pad = demand.pause_between(other)
                yield s.start - pad, s.end + pad

    def barred(self, demand: Demand, column: int, start: int, end: int) -> bool:
        """Another holder has the node in [start, end) or nearer to it than the turnaround."""
        return any(a < end and start < b for a, b in self.others_at(demand, column))

    def fits(self, demand: Demand, column: int, start: int, end: int, lots: int) -> bool:
        """The node could take `lots` lots through [start, end), cordoned or not."""
        free = int(self.ledger.free(start, end, np.array([column]))[0])
        return free >= lots * demand.contract.lot_gpus and not self.barred(demand, column, start, end)


def _by_window(segments: Sequence[Segment]) -> Iterable[tuple[tuple[int, int], Sequence[Segment]]]:
    """Segments by [start, end), in order of first appearance."""
    first = segments[0] if segments else None
    if first is None or all(s.start == first.start and s.end == first.end for s in segments):
        return [((first.start, first.end), segments)] if first else []
    groups: dict[tuple[int, int], list[Segment]] = {}
    for s in segments:
        groups.setdefault((s.start, s.end), []).append(s)
    return groups.items()
