"""A plan that is kept: its book stays in memory, and an event changes only what it touches.

A node that fails loses what lies on it; those contracts are served again, what is delivered now first, by the same steps as in a
cold plan: free nodes, chains, ejection trials. Capacity that returns is offered to who is short. A contract is brought up to date,
its announcements and its due window, when it is first looked at after an event; all others rest, which is what makes an update cost
as much as it changes and not as much as there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from .admit import Admission
from .book import Book
from .eligible import Demand, Demands
from .keep import keep_on
from .model import (
    Binding,
    Contract,
    ContractChanged,
    ContractGone,
    Difference,
    Event,
    Move,
    Node,
    NodeChanged,
    NodeGone,
    Outage,
    OutageChanged,
    OutageGone,
    Plan,
    Problem,
    TimePassed,
    Undelivered,
)
from .past import Past
from .report import Shortfalls, bindings_of, moves_of
from .rescue import Rescue, never
from .restore import restore
from .timegrid import Ints, boundaries_of, turnarounds


class TooMuchError(Exception):
    """An event that changes more than a kept plan can follow: the problem is to be planned anew."""


def _asked(contract: Contract) -> Contract:
    """The contract without what does not say what is to be delivered."""
    return replace(
        contract, accepted=True, delivering=False, admission_order=("", "", ""), curtailable_seconds=0, notice_seconds=None, price_micros=0,
        multiple_ppm=0, priority=0, firm=True,
    )  # fmt: skip


def _name(event: Event) -> tuple[str, str]:
    """What the event is about."""
    match event:
        case NodeChanged(Node(name=name)) | NodeGone(name):
            return "node", name
        case ContractChanged(Contract(key=name)) | ContractGone(name):
            return "contract", name
        case OutageChanged(Outage(name=name)) | OutageGone(name):
            return "outage", name
        case TimePassed():
            return "time", ""


class Live:
    """`book` is the plan; everything else says what was announced of it, and for whom. Whom the plan accepts is accepted in the problem."""

    def __init__(self, problem: Problem, plan: Plan, book: Book, demands: Demands, effort: int, over: Iterable[Binding] = ()) -> None:
        self.book, self.demands = book, demands
        self.products = problem.products
        self.fleet = book.fleet
        self.turnarounds = turnarounds(problem)
        self.nodes = {n.name: n for n in problem.nodes}
        self.outages = {o.name: o for o in problem.outages}
        self.index = {c.key: i for i, c in enumerate(problem.contracts)}
        self.refused = {u.contract: u for u in plan.undelivered if u.refused}
        self.contracts = dict(enumerate(problem.contracts))
        self.announced: dict[str, list[Binding]] = {}  # contract -> bindings
        for b in plan.bindings:
            self.announced.setdefault(b.contract, []).append(b)
        self.undelivered: dict[int, list[Undelivered]] = {}
        self._account(book.demands)
        self.touched: dict[int, list[Binding]] = {}  # contract -> what was announced before the update
        self.resting: set[int] = set()
        self.stale: set[int] = set()  # contracts that were announced anew since their demand was made
        self.pooled = self._able()
        self.waiting: list[int] = []  # contracts that an urgent update left to the next
        self.rescue = Rescue(book, self._refresh)
        self.admission = Admission(book, self.turnarounds, effort, never)
        self.next_index = len(self.contracts)  # never one of a contract that is gone
        self.past = Past(book, demands, self._contract_of, max(self.turnarounds, default=0))
        self.past.know(plan.bindings, over)

    @property
    def now(self) -> int:
        return self.book.now

    def copy(self) -> Live:
        """The same plan, to be changed apart."""
        other = copy(self)
        other.book = self.book.copy()
        other.fleet, other.demands = other.book.fleet, self.demands.copy(other.book.fleet)
        other.nodes, other.outages, other.index = dict(self.nodes), dict(self.outages), dict(self.index)
        other.contracts, other.refused = dict(self.contracts), dict(self.refused)
        other.announced, other.undelivered, other.touched = dict(self.announced), dict(self.undelivered), dict(self.touched)
        other.stale, other.waiting = set(self.stale), list(self.waiting)
        other.rescue = Rescue(other.book, other._refresh, self.rescue.variants)
        other.admission = replace(self.admission, book=other.book)
        other.past = self.past.copy(other.book, other.demands, other._contract_of)
        return other

    def update(self, events: Sequence[Event], *, urgent: bool = False) -> Difference:
        """Applies the events in turn and serves who lost something, and who may gain. Raises TooMuchError before anything is changed.

        With `urgent` only who should be delivered now is served again; all others wait for the next update.
        """
        named = [_name(event) for event in events]
        if len(set(named)) < len(named):
            raise TooMuchError("several events about one thing")
        for event in events:
            self._possible(event)
        self.touched, self.resting = {}, set(self.book.demands)
        self.book.before = self._refresh
        lost: list[int] = []
        freed = False
        for event in sorted(events, key=lambda e: not isinstance(e, TimePassed)):
            affected, more = self._apply(event)
            lost += affected
            freed |= more
        lost += self.waiting
        self.waiting = (
            [i for i in dict.fromkeys(lost) if i in self.book.demands and self.book.demands[i].start > self.now] if urgent else []
        )
        later = set(self.waiting)
        self.rescue.serve(dict.fromkeys(i for i in lost if i not in later))
        if freed and not urgent:
            self.rescue.serve(dict.fromkeys(sorted(self.undelivered)))
            self._reconsider()
        restore(self.book, [i for i in self.book.changed() if i in self.book.demands])
        self.book.before = None
        return self._difference()

    def _reconsider(self) -> None:
        """Who was refused is asked for again, in the order of admission."""
        waiting = [(self.contracts[self.index[key]].admission_order, key) for key in self.refused if key in self.index]
        for _, key in sorted(waiting):
            demand = self.demands.of(self.index[key], self.contracts[self.index[key]])
            if demand is None:
                del self.refused[key]
            else:
                self._decide(self.index[key], demand)

    def _possible(self, event: Event) -> None:
        match event:
            case NodeChanged(node):
                old = self.nodes.get(node.name)
                if old is None or (old.grade, old.domains, old.level) != (node.grade, node.domains, node.level):
                    raise TooMuchError(f"node {node.name} is new or of another kind")
                if node.gpus > int(self.fleet.gpus.max(initial=0)):
                    raise TooMuchError(f"node {node.name} has more GPUs than any had")
            case TimePassed(now):
                if not self.now <= now < self.book.ledger.grid.times[-1]:
                    raise TooMuchError("the clock leaves the plan")
            case ContractChanged(contract):
                known = self._contract_of(contract.key)
                if known is not None and (contract.key in self.refused or _asked(known) != _asked(contract)):
                    raise TooMuchError(f"contract {contract.key} asks for something else")
                if contract.reserve or contract.product not in self.demands.products:
                    raise TooMuchError(f"contract {contract.key} is a reserve or of an unknown product")

    def _apply(self, event: Event) -> tuple[list[int], bool]:
        """Contracts that may have lost something, and whether somebody may gain."""
        match event:
            case NodeChanged(node):
                return self._node(node, self._outages_of(node.name))
            case NodeGone(name):
                old = self.nodes.pop(name, None)
                return self._node(replace(old, usable=False), ()) if old else ([], False)
            case OutageChanged(outage):
                before = self.outages.get(outage.name)
                self.outages[outage.name] = outage
                return self._outage(outage.nodes | (before.nodes if before else frozenset()), outage)
            case OutageGone(name):
                gone = self.outages.pop(name, None)
                return self._outage(gone.nodes, None) if gone else ([], False)
            case ContractChanged(contract):
                return self._contract(contract)
            case ContractGone(key):
                return self._gone(key)
            case TimePassed(now):
                return self._time(now)

    def _able(self) -> Ints:
        """Per column the GPUs with which the node is in the demands' pools."""
        return np.where(self.fleet.open, self.fleet.gpus, 0)

    def _outages_of(self, name: str) -> list[Outage]:
        return [o for o in self.outages.values() if name in o.nodes]

    def _outage(self, names: Iterable[str], outage: Outage | None) -> tuple[list[int], bool]:
        ledger = self.book.ledger
        for time in (outage.start, outage.end) if outage else ():
            if self.now < time < ledger.grid.times[-1]:
                ledger.split(time)
        lost: list[int] = []
        for name in sorted(set(names) & set(self.nodes)):
            lost += self._node(self.nodes[name], self._outages_of(name))[0]
        return lost, True

    def _node(self, node: Node, outages: Sequence[Outage]) -> tuple[list[int], bool]:
        """Takes everything off the node, changes it, and puts back what it still can serve."""
        book, fleet, now = self.book, self.fleet, self.now
        column = fleet.column[node.name]
        before = fleet.nodes[column]
        indices = sorted({i for i, s in book.on_node[column] if s.end > now})
        for i in indices:
            self._refresh(i)
        there = [(i, [s for s in book.segments[i] if s.column == column]) for i in indices]
        for i, segments in there:
            book.drop(i, segments)
        if node.name in self.nodes:
            self.nodes[node.name] = node
        fleet.change(column, node, outages)
        book.ledger.renew(column, now)
        cordon = node.cordoned or before.cordoned
        if fleet.open[column] and (before.cordoned or fleet.gpus[column] > self.pooled[column]):
            self.demands.changed()
            self.pooled = self._able()
            self.stale.update(book.demands)
        running = [b for i in indices for b in self.touched[i] if b.node == node.name and b.start < now < b.end]
        fleet.staying[column] = [b for b in running if not self.contracts[self.index[b.contract]].reserve]
        shrunk = sum(b.gpus for b in fleet.staying[column]) > fleet.gpus[column]
        (fleet.overfull.add if shrunk else fleet.overfull.discard)(column)
        for i in indices if cordon else ():
            self._reannounce(i)
        keep_on(book, column, indices)
        gains = node.usable and (node.gpus > before.gpus or not before.usable or (before.cordoned and not node.cordoned))
        return indices, gains

    def _contract(self, contract: Contract) -> tuple[list[int], bool]:
        if contract.key in self.index:
            return self._same(self.index[contract.key], contract)
        index = self.next_index
        self.next_index += 1
        self.contracts[index], self.index[contract.key] = contract, index
        self.demands.know(contract.holder)
        demand = self.demands.of(index, contract)
        if demand is None:
            return [], False
        if contract.accepted:
            self.book.ledger.extend(demand.end)
            for time in boundaries_of(contract, self.now, self.turnarounds):
                self.book.ledger.split(time)
            self.book.open(demand)
            self.touched[index] = []
            return [index], False
        self._decide(index, demand)
        return [], False

    def _same(self, index: int, contract: Contract) -> tuple[list[int], bool]:
        """A contract that asks for what it did, with other rights or money."""
        delivering = self.contracts[index].delivering or contract.delivering
        self.contracts[index] = replace(contract, accepted=True, delivering=delivering)
        if index not in self.book.demands:
            return [], False
        self.stale.add(index)
        self._refresh(index)
        return [index], False

    def _decide(self, index: int, demand: Demand) -> None:
        refusal = self.admission.decide(demand)
        if refusal:
            self.refused[demand.contract.key] = refusal
        else:
            self.refused.pop(demand.contract.key, None)
            self.contracts[index] = replace(demand.contract, accepted=True)
            self.touched[index] = []

    def _gone(self, key: str) -> tuple[list[int], bool]:
        index = self.index.pop(key, None)
        if index is None:
            return [], False
        self.refused.pop(key, None)
        if index in self.book.demands:
            self._refresh(index)
            self._close(index)
        self.contracts.pop(index)
        self._forget(key)
        return [], True

    def _forget(self, key: str) -> None:
        """Who comes under the same name later is another."""
        self.demands.previous.pop(key, None)
        self.fleet.began.pop(key, None)
        self.past.forget(key)
        for column, own in self.fleet.staying.items():
            self.fleet.staying[column] = [b for b in own if b.contract != key]

    def _close(self, index: int) -> None:
        self.book.clear(index)
        self.book.close(index)
        self.undelivered.pop(index, None)
        self.resting.discard(index)

    def _time(self, now: int) -> tuple[list[int], bool]:
        self.book.now = self.fleet.now = self.demands.now = now
        for time in (now, *(now + pad for pad in self.turnarounds)):
            self.book.ledger.split(time)
        for index in [i for i, d in self.book.demands.items() if d.end <= now]:
            self.touched[index] = self.announced.pop(self.book.demands[index].contract.key, [])
            self._close(index)
        return [], False

    def _refresh(self, index: int) -> None:
        """The contract as it is now: due from now on, and announced as it is bound."""
        if index in self.resting:
            self.resting.discard(index)
            self.touched[index] = self.announced.get(self.contracts[index].key, [])
            if index in self.stale or self.book.demands[index].start < self.now:
                self.stale.discard(index)
                self._reannounce(index)

    def _reannounce(self, index: int) -> None:
        contract = self.contracts[index]
        bindings = self.touched[index]
        if any(b.start < self.now for b in bindings):
            contract = self.contracts[index] = replace(contract, delivering=True)
        self.demands.previous[contract.key] = bindings
        self.fleet.began[contract.key] = [b for b in bindings if b.start < self.now < b.end and b.node in self.fleet.column]
        demand = self.demands.of(index, contract)
        if demand is not None:
            self.book.renew(demand)

    def _account(self, indices: Iterable[int]) -> None:
        """Notes what these contracts are short of, and why."""
        shortfalls = Shortfalls(self.book)
        for index in indices:
            if found := shortfalls.of(self.book.demands[index]) if self.book.missing(index) else []:
                self.undelivered[index] = found
            else:
                self.undelivered.pop(index, None)

    def _difference(self) -> Difference:
        released: list[Binding] = []
        acquired: list[Binding] = []
        moves: list[Move] = []
        accounts: list[int] = []
        changed = self.book.changed()
        now, nodes = self.now, self.fleet.nodes
        for index, before in self.touched.items():
            columns = changed.get(index, set())
            gone, after = before, list[Binding]()
            if index in self.book.demands:
                demand: Demand = self.book.demands[index]
                names = {nodes[c].name for c in columns}
                gone = [b for b in before if b.node in names]
                if columns:
                    after = bindings_of(self.book, demand, columns)
                    moves += moves_of(self.book, demand, columns)
                    self.announced[demand.contract.key] = [b for b in before if b.node not in names and b.end > now] + after
                    self.stale.add(index)
                if columns or not before or index in self.undelivered:
                    accounts.append(index)
            elif index not in self.contracts:
                self.announced.pop(before[0].contract if before else "", None)
            released += {b for b in gone if b.end > now} - set(after)
            acquired += set(after) - set(gone)
        self._account(accounts)
        self.book.settled()
        self.past.withdraw(released, now)
        self.past.announce(acquired)
        self.refused = {key: u._replace(start=max(u.start, now)) for key, u in self.refused.items() if u.end > now}
        return Difference(tuple(sorted(released)), tuple(sorted(acquired)), tuple(self.short()), tuple(sorted(moves)))

    def short(self) -> list[Undelivered]:
        """All that is undelivered from now on, and who is refused."""
        rows = (u for rows in self.undelivered.values() for u in rows if u.end > self.now)
        return sorted([*self.refused.values(), *(u._replace(start=max(u.start, self.now)) for u in rows)])

    def _contract_of(self, key: str) -> Contract | None:
        return self.contracts.get(self.index.get(key, -1))

    def problem(self) -> Problem:
        """What the plan now answers: its announced bindings are those before the last update."""
        renewed = {self.contracts[i].key for i in self.touched if i in self.contracts}
        rest = [b for key, rows in self.announced.items() if key not in renewed for b in rows]
        previous = (*rest, *(b for rows in self.touched.values() for b in rows), *self.past.bindings(self.now))
        started = {b.contract for b in previous if b.start < self.now}
        contracts = tuple(replace(c, delivering=True) if c.key in started else c for c in self.contracts.values())
        known = {c.key for c in contracts}
        return Problem(
            self.now, tuple(self.nodes.values()), self.products, contracts, tuple(self.outages.values()),
            tuple(b for b in previous if b.contract in known),
        )  # fmt: skip

    def bindings(self) -> list[Binding]:
        return [b for rows in self.announced.values() for b in rows if b.end > self.now]
