"""A plan that is kept: its book stays in memory, and an event changes only what it touches.

A node that fails loses what lies on it; those contracts are served again, what is delivered now first, by the same steps as in a
cold plan: free nodes, chains, ejection trials. Capacity that returns is offered to who is short. What nothing happens to is not looked
at, which is what makes an update cost as much as it changes and not as much as there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from .admit import Admission, refused
from .announced import Announced
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
    Node,
    NodeChanged,
    NodeGone,
    Outage,
    OutageChanged,
    OutageGone,
    Plan,
    Problem,
    Reason,
    TimePassed,
)
from .past import Past
from .possible import require_possible
from .rescue import Rescue, never
from .restore import restore
from .timegrid import Ints, boundaries_of, turnarounds


class Live:
    """`book` is the plan, `announced` what is told of it; the rest is the problem that it answers, in which whom it accepts is accepted."""

    def __init__(self, problem: Problem, plan: Plan, book: Book, demands: Demands, effort: int, over: Iterable[Binding] = ()) -> None:
        self.book, self.demands = book, demands
        self.products = problem.products
        self.fleet = book.fleet
        self.turnarounds = turnarounds(problem)
        self.nodes = {n.name: n for n in problem.nodes}
        self.outages = {o.name: o for o in problem.outages}
        self.index = {c.key: i for i, c in enumerate(problem.contracts)}
        self.contracts = dict(enumerate(problem.contracts))
        past = Past(book, demands, self.contract_of, max(self.turnarounds, default=0))
        self.announced = Announced(book, demands, self.contracts, past, plan)
        past.know(plan.bindings, over)
        self.pooled = self._able()
        self.waiting: list[int] = []  # contracts that an urgent update left to the next
        self.rescue = Rescue(book, self.announced.refresh)
        self.admission = Admission(book, demands, self.turnarounds, effort, never)
        self.next_index = len(self.contracts)  # never one of a contract that is gone

    @property
    def now(self) -> int:
        return self.book.now

    def copy(self) -> Live:
        """The same plan, to be changed apart."""
        other = copy(self)
        other.book = self.book.copy()
        other.fleet, other.demands = other.book.fleet, self.demands.copy(other.book.fleet)
        other.nodes, other.outages, other.index = dict(self.nodes), dict(self.outages), dict(self.index)
        other.contracts, other.waiting = dict(self.contracts), list(self.waiting)
        past = self.announced.past.copy(other.book, other.demands, other.contract_of)
        other.announced = self.announced.copy(other.book, other.demands, other.contracts, past)
        other.rescue = Rescue(other.book, other.announced.refresh, self.rescue.variants)
        other.admission = replace(self.admission, book=other.book, demands=other.demands)
        return other

    def update(self, events: Sequence[Event], *, urgent: bool = False, patient: bool = False) -> Difference:
        """Applies the events in turn, serves who lost something, and who may gain, and decides candidates last, in the order of admission.
        Raises TooMuchError before anything is changed.

        With `urgent` only who should be delivered now is served again; all others wait for the next update. With `patient` candidates
        behind one whose refusal is not proved are refused for now, too: a thorough plan may find room for it, and they could be in the way.
        """
        require_possible(self, events)
        asking = {e.contract.key for e in events if isinstance(e, ContractChanged) and e.contract.key not in self.index}
        self.announced.rest()
        self.book.before = self.announced.refresh
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
            self.rescue.serve(dict.fromkeys(sorted(self.announced.undelivered)))
            asking.update(self.announced.refused)
        self._admit(asking, patient)
        restore(self.book, [i for i in self.book.changed() if i in self.book.demands])
        self.book.before = None
        return self.announced.difference()

    def _admit(self, keys: Iterable[str], patient: bool) -> None:
        """Decides these candidates, who are new or were refused before, in the order of admission."""
        first = ""
        asking = [(contract.admission_order, key) for key in keys if (contract := self.contract_of(key)) and not contract.accepted]
        for _, key in sorted(asking):
            demand = self.demands.of(self.index[key], self.contracts[self.index[key]])
            if demand is None:
                self.announced.refused.pop(key, None)
            elif first:
                text = f"{demand.contract.product}: {first} came first, for which a thorough plan may find room (not found)"
                self.announced.refused[key] = refused(demand, Reason.NO_CAPACITY, text)
            else:
                self._decide(self.index[key], demand)
                refusal = self.announced.refused.get(key) if patient and not demand.contract.hold else None  # a quote is answered at once
                first = key if refusal and not refusal.message.endswith("(proved)") else ""

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
                names = outage.nodes | (before.nodes if before else frozenset())
                return self._outage(names, outage), before is not None  # a new one frees nothing
            case OutageGone(name):
                gone = self.outages.pop(name, None)
                return (self._outage(gone.nodes, None), True) if gone else ([], False)
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

    def _outage(self, names: Iterable[str], outage: Outage | None) -> list[int]:
        ledger = self.book.ledger
        for time in (outage.start, outage.end) if outage else ():
            if self.now < time < ledger.grid.times[-1]:
                ledger.split(time)
        lost: list[int] = []
        for name in sorted(set(names) & set(self.nodes)):
            lost += self._node(self.nodes[name], self._outages_of(name))[0]
        return lost

    def _node(self, node: Node, outages: Sequence[Outage]) -> tuple[list[int], bool]:
        """Takes everything off the node, changes it, and puts back what it still can serve."""
        book, fleet, now = self.book, self.fleet, self.now
        column = fleet.column[node.name]
        before = fleet.nodes[column]
        indices = sorted({i for i, s in book.on_node[column] if s.end > now})
        for i in indices:
            self.announced.refresh(i)
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
            self.announced.stale.update(book.demands)
        running = [b for i in indices for b in self.announced.touched[i] if b.node == node.name and b.start < now < b.end]
        fleet.staying[column] = [b for b in running if not self.contracts[self.index[b.contract]].reserve]
        shrunk = sum(b.gpus for b in fleet.staying[column]) > fleet.gpus[column]
        (fleet.overfull.add if shrunk else fleet.overfull.discard)(column)
        for i in indices if cordon else ():
            self.announced.renew(i)
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
        demand = self.demands.of(index, contract) if contract.accepted else None
        if demand is None:
            return [], False  # a candidate is decided when everybody else has been served
        self.book.ledger.extend(demand.end)
        for time in boundaries_of(contract, self.now, self.turnarounds):
            self.book.ledger.split(time)
        self.book.open(demand)
        self.announced.touched[index] = []
        return [index], False

    def _same(self, index: int, contract: Contract) -> tuple[list[int], bool]:
        """A contract that asks for what it did, with other rights or money."""
        delivering = self.contracts[index].delivering or contract.delivering
        self.contracts[index] = replace(contract, accepted=True, delivering=delivering)
        if index not in self.book.demands:
            return [], False
        self.announced.stale.add(index)
        self.announced.refresh(index)
        return [index], False

    def _decide(self, index: int, demand: Demand) -> None:
        refusal = self.admission.decide(demand)
        if refusal:
            self.announced.refused[demand.contract.key] = refusal
        else:
            self.announced.refused.pop(demand.contract.key, None)
            self.contracts[index] = replace(demand.contract, accepted=True)
            self.announced.touched[index] = []

    def _gone(self, key: str) -> tuple[list[int], bool]:
        index = self.index.pop(key, None)
        if index is None:
            return [], False
        self.announced.refused.pop(key, None)
        if index in self.book.demands:
            self.announced.refresh(index)
            self._close(index)
        self.contracts.pop(index)
        self._forget(key)
        return [], True

    def _forget(self, key: str) -> None:
        """Who comes under the same name later is another."""
        self.demands.previous.pop(key, None)
        self.fleet.began.pop(key, None)
        self.announced.past.forget(key)
        for column, own in self.fleet.staying.items():
            self.fleet.staying[column] = [b for b in own if b.contract != key]

    def _close(self, index: int) -> None:
        self.book.clear(index)
        self.book.close(index)
        self.announced.close(index)

    def _time(self, now: int) -> tuple[list[int], bool]:
        self.book.now = self.fleet.now = self.demands.now = now
        for time in (now, *(now + pad for pad in self.turnarounds)):
            self.book.ledger.split(time)
        for index in [i for i, d in self.book.demands.items() if d.end <= now]:
            self.announced.ended(index)
            self._close(index)
        return [], False

    def contract_of(self, key: str) -> Contract | None:
        return self.contracts.get(self.index.get(key, -1))

    def problem(self) -> Problem:
        """What the plan now answers: its announced bindings are those before the last update."""
        previous = self.announced.before()
        started = {b.contract for b in previous if b.start < self.now}
        contracts = tuple(replace(c, delivering=True) if c.key in started else c for c in self.contracts.values())
        known = {c.key for c in contracts}
        return Problem(
            self.now, tuple(self.nodes.values()), self.products, contracts, tuple(self.outages.values()),
            tuple(b for b in previous if b.contract in known),
        )  # fmt: skip
