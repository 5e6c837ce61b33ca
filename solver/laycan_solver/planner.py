"""The two verbs: `plan` a problem from its announced bindings, and keep a plan up to date with `Planner.update`.

Both are the same: what is announced stays where it fits, the rest is constructed, repaired and covered by chains, candidates are
admitted beside it, and a bound says how far from the best the result can be. Same problem and effort, same plan.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import NamedTuple

from .admit import Admission
from .arrange import best_arrangement
from .book import Book
from .bound import prove
from .changes import apply
from .compact import compact
from .eligible import Demand, Demands
from .fleet import Fleet
from .follow import events_between, part_of
from .keep import keep_announced
from .ledger import Ledger
from .live import Live
from .model import Binding, Bound, ContractChanged, Difference, Event, Plan, Problem, Stopped, Undelivered
from .objective import Segment, micros
from .polish import polish
from .possible import TooMuchError
from .repair import repair
from .report import Shortfalls, bindings_of, gap_ppm, moves_of, totals_of, value_of
from .rescue import never as never
from .reserves import hold
from .restore import restore
from .ruin import ruin
from .timegrid import time_grid, turnarounds

EFFORT = 400  # trials of repair
TRIES = 5  # single moves that cost as much as a trial of repair
PLACINGS = 25  # contracts placed anew for free months, for every trial of repair
PATIENCE = 20  # trials of ruin in vain, per contract that misses lots, after which the search ends


def plan(problem: Problem, effort: int = EFFORT, *, deadline: Callable[[], bool] | None = None) -> Plan:
    """The plan that owes the least that was found with `effort` trials; `deadline` is asked now and then and ends the search when True."""
    with _no_collector():
        return _planned(problem, effort, Late(deadline or never))


@contextmanager
def _no_collector() -> Iterator[None]:
    """A plan makes millions of tuples and no cycles: to look for those costs a large plan a sixth of its time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _planned(problem: Problem, effort: int, late: Late) -> Plan:
    fleet = Fleet(problem)
    demands = Demands(problem, fleet)
    known = [d for i, c in enumerate(problem.contracts) if c.accepted and (d := demands.demand(i))]
    accepted, reserves = [d for d in known if not d.contract.reserve], [d for d in known if d.contract.reserve]
    candidates = [i for i, c in enumerate(problem.contracts) if not c.accepted]
    book = _book(problem, fleet, demands, known)
    for demand in accepted:
        book.open(demand)
    keep_announced(book, accepted)
    best_arrangement(book, accepted, effort, late)
    trials = repair(book, effort, late)
    polish(book, effort * TRIES, late)
    if ruin(book, effort - trials, PATIENCE, late):
        polish(book, effort * TRIES, late)
    compact(book, effort * PLACINGS, late)
    hold(book, reserves, effort, late)
    restore(book, book.demands)
    refused = _admit(problem, book, demands, candidates, effort, late)
    return _report(problem, book, refused, late.came)


class Late:
    """Asks the deadline, and remembers that it has come."""

    def __init__(self, deadline: Callable[[], bool]) -> None:
        self._deadline = deadline
        self.came = False

    def __call__(self) -> bool:
        self.came = self.came or self._deadline()
        return self.came


def _book(problem: Problem, fleet: Fleet, demands: Demands, accepted: Sequence[Demand]) -> Book:
    grid = time_grid(problem, [d.contract for d in accepted], max((c.end for c in problem.contracts), default=0))
    book = Book(problem.now, fleet, Ledger(fleet, grid), turnarounds(problem))
    contracts = {c.key: c for c in problem.contracts}
    for b in problem.previous if fleet.handed_over else ():
        contract = contracts.get(b.contract)
        if contract and (had := demands.possession(b, contract)):
            book.remember(fleet.column[b.node], had)
    return book


def _admit(problem: Problem, book: Book, demands: Demands, candidates: Sequence[int], effort: int, late: Late) -> list[Undelivered]:
    admission = Admission(book, demands, turnarounds(problem), effort, late)
    refused = []
    for index in sorted(candidates, key=lambda i: (problem.contracts[i].admission_order, problem.contracts[i].key)):
        demand = demands.demand(index)
        refusal = admission.decide(demand) if demand else None
        if refusal:
            refused.append(refusal)
    return refused


def written(problem: Problem, bindings: Sequence[Binding], refused: Sequence[Undelivered]) -> Plan:
    """The plan that consists of these bindings, with its totals, reasons and bound."""
    book, _ = laid_out(problem, bindings, {u.contract for u in refused})
    return _report(problem, book, refused, late=False)


def laid_out(problem: Problem, bindings: Sequence[Binding], refused: Collection[str]) -> tuple[Book, Demands]:
    """A book that serves exactly what these bindings, of a legal plan, say."""
    fleet = Fleet(problem)
    demands = Demands(problem, fleet)
    known = {c.key: d for i, c in enumerate(problem.contracts) if c.key not in refused and (d := demands.demand(i))}
    book = _book(problem, fleet, demands, list(known.values()))
    for demand in known.values():
        book.open(demand)
    for time in {t for b in bindings for t in (b.start, b.end)}:
        book.ledger.split(time)
    rows: dict[int, list[Segment]] = {}
    for b in bindings:
        demand = known[b.contract]
        lots = b.gpus // demand.contract.lot_gpus
        rows.setdefault(demand.index, []).append(Segment(fleet.column[b.node], max(b.start, demand.start), b.end, lots))
    for index, segments in rows.items():
        book.put(index, segments)
    book.settled()
    return book, demands


def _report(problem: Problem, book: Book, refused: Sequence[Undelivered], late: bool) -> Plan:
    accepted = [book.demands[i] for i in sorted(book.demands)]
    moves = tuple(sorted(m for d in accepted for m in moves_of(book, d)))
    totals = totals_of(book, moves)
    proof = prove(book.topology, accepted, book.segments)
    shortfalls = Shortfalls(book, proof.margins)
    own = totals.owed_micros + totals.interruption_micros + totals.substitution_micros
    bound = Bound(min(proof.firm_micros, totals.firm_owed_micros), min(proof.total_micros, own))
    contracts = [d for d in accepted if not d.contract.reserve]
    rounding = 2 * len(contracts)  # micros that exact optima may differ from their bound
    proved = totals.firm_owed_micros - bound.firm_micros <= rounding and own - bound.total_micros <= rounding
    optimal = proved and not totals.reserve_short_gpu_seconds  # there is no bound of what reserves are short of
    return Plan(
        now=problem.now,
        bindings=tuple(sorted(b for d in accepted for b in bindings_of(book, d))),
        undelivered=tuple(sorted([*refused, *(u for d in accepted for u in shortfalls.of(d))])),
        moves=moves,
        totals=totals,
        bound=bound,
        firm_gap_ppm=gap_ppm(totals.firm_owed_micros, bound.firm_micros, sum(micros(value_of(d)) for d in contracts if d.contract.firm)),
        total_gap_ppm=gap_ppm(own, bound.total_micros, totals.value_micros),
        stopped=Stopped.TIME_LIMIT if late else Stopped.OPTIMAL if optimal else Stopped.EFFORT,
        certificate=proof.certificate,
    )


class Followed(NamedTuple):
    """What following a snapshot has changed: the part of the problem that it touched, and a plan of that part, legal by itself.

    The plan's own reasons know only the part; `undelivered` says the same of the whole.
    """

    part: Problem
    plan: Plan
    undelivered: tuple[Undelivered, ...]


class Planner:
    """A problem with its plan, changed by events: what a failure, a what-if and a new contract have in common.

    The plan is kept as it is served (`Live`), and `problem` and `plan` are written out when they are asked for.
    """

    def __init__(self, problem: Problem, plan: Plan | None = None, effort: int = EFFORT) -> None:
        self.effort = effort
        self._problem: Problem | None = problem
        self._plan: Plan | None = plan if plan is not None else _plan(problem, effort)
        self._live: Live | None = None

    @property
    def problem(self) -> Problem:
        if self._problem is None:
            assert self._live is not None
            self._problem = self._live.problem()
        return self._problem

    @property
    def plan(self) -> Plan:
        if self._plan is None:
            assert self._live is not None
            self._plan = written(self.problem, self._live.announced.now(), list(self._live.announced.refused.values()))
        return self._plan

    @_no_collector()
    def copy(self) -> Planner:
        """An independent planner, for what-ifs."""
        other = copy(self)
        other._live = self.kept().copy()
        return other

    @_no_collector()
    def update(self, events: Sequence[Event], *, urgent: bool = False) -> Difference:
        """Applies the events to the plan as it is kept, or, where they change too much for that, plans again from its bindings.

        A candidate that the current plan accepts has been accepted: it is not decided again. With `urgent` only who should be
        delivered now is served again; the next update, be it of no events, does the rest. Until then a contract to come keeps
        what it has left, also one that comes whole.
        """
        try:
            difference = self.kept().update(events, urgent=urgent)
        except TooMuchError:
            return self._again(events)
        self._problem = self._plan = None
        return difference

    @_no_collector()
    def follow(self, problem: Problem) -> Followed | None:
        """Brings the kept plan up to date with `problem` by what happened since; nobody is decided ahead of a candidate that came first
        and for which a thorough plan may find room.

        None, and nothing changed, where the kept plan cannot follow: then `problem` is to be planned anew.
        """
        live, announced = self.kept(), self.kept().announced
        events, before = events_between(self.problem, announced.now(), problem), set(announced.short())
        if events is None:
            return None
        try:
            difference = live.update(events, patient=True)
        except TooMuchError:
            return None
        self._problem = self._plan = None
        rows = (*difference.released, *difference.acquired)
        touched = {b.contract for b in rows} | {u.contract for u in before ^ set(difference.undelivered)} | set(announced.refused)
        touched |= {event.contract.key for event in events if isinstance(event, ContractChanged)}
        part, bindings = part_of(self.problem, announced.now(), touched & live.index.keys(), {b.node for b in rows})
        keys = {c.key for c in part.contracts}
        plan = written(part, bindings, [u for u in announced.refused.values() if u.contract in keys])
        return Followed(part, plan, tuple(u for u in difference.undelivered if u.contract in keys))

    def kept(self) -> Live:
        """The plan in memory."""
        if self._live is None:
            problem = replace(begun(self._decided()), previous=self.plan.bindings)
            book, demands = laid_out(problem, self.plan.bindings, self._refused())
            self._live = Live(problem, self.plan, book, demands, self.effort, self._past())
        return self._live

    def _again(self, events: Sequence[Event]) -> Difference:
        before = set(self.plan.bindings)
        problem = replace(self._decided(), previous=(*self.plan.bindings, *self._past()))
        for event in events:
            problem = apply(problem, event)
        self._problem, self._live = begun(problem), None
        found = self._plan = _plan(self._problem, self.effort)
        after = set(found.bindings)
        return Difference(tuple(sorted(before - after)), tuple(sorted(after - before)), found.undelivered, found.moves)

    def _refused(self) -> set[str]:
        return {u.contract for u in self.plan.undelivered if u.refused}

    def _decided(self) -> Problem:
        """The problem, in which whom the plan accepts is accepted."""
        refused = self._refused()
        contracts = tuple(c if c.key in refused else replace(c, accepted=True) for c in self.problem.contracts)
        return replace(self.problem, contracts=contracts)

    def _past(self) -> list[Binding]:
        """What was on nodes before the plan's now, and is in no plan any more, as long as a turnaround may follow it."""
        now = self.problem.now
        longest = max(turnarounds(self.problem), default=0)
        ended = (b._replace(end=min(b.end, now)) for b in self.problem.previous if b.start < now)
        return sorted({b for b in ended if b.end + longest > now}) if longest else []


def begun(problem: Problem) -> Problem:
    """The problem with every contract marked whose delivery has started: its bindings may be gone from the next plan."""
    started = {b.contract for b in problem.previous if b.start < problem.now}
    return replace(problem, contracts=tuple(replace(c, delivering=True) if c.key in started else c for c in problem.contracts))


_plan = plan
