"""Why a contract is where it is, why it is not elsewhere, and what it would take to be delivered in full.

Everything said is a fact of the problem and the plan that can be looked up there again: which nodes had room, who has the others, what
the plan's certificate proves to be short. How the search came to it is not told, for another search may come to the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from .eligible import Demand
from .freeing import Freed, least_freed
from .model import Binding, Plan, Problem, Undelivered
from .occupancy import Occupancy
from .reasons import Reasons, Why
from .shortages import Shortage, shortages
from .words import in_words

MOST_WINDOWS = 16  # gaps that are explained one by one, the largest first
MOST_TAKERS = 10  # contracts that are named of those that have the nodes


class Outcome(StrEnum):
    """What a plan does for a contract."""

    SERVED = "Served"
    SHORT = "Short"
    REFUSED = "Refused"
    NOTHING_DUE = "NothingDue"


class Choice(StrEnum):
    """Why this node, the first that holds. Others: those with room for a lot through the same window, in the same scope domain."""

    KEPT = "Kept"  # it was announced there
    ONLY = "Only"  # there are no others
    CHEAPEST = "Cheapest"  # all others are dearer substitutes
    TIGHTEST = "Tightest"  # none of the others that cost as little has fewer GPUs free: best fit
    ROOM = "Room"  # one of several that would have done


@dataclass(frozen=True, slots=True)
class Here:
    """A binding. `free`: least GPUs that the node has for it; `others`: nodes with room, of which the tightest has `next_free` GPUs.

    `rivals`: other scope domains with room for the whole contract through the window; 0 without a scope.
    """

    node: str
    grade: str
    product: str
    gpus: int
    start: int
    end: int
    domain: str
    choice: Choice
    free: int
    others: int
    next_free: int
    rivals: int


@dataclass(frozen=True, slots=True)
class Taker:
    """A contract that has `nodes` nodes that would serve a lot otherwise, at times in [start, end) of the window, and its GPU-seconds."""

    contract: str
    nodes: int
    gpu_seconds: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Why the nodes of the fleet do not serve `lots` more lots through [start, end): how many for which first reason, and one of each.

    `outages`: first and last second of those that are the reason; `takers`: who has most of the nodes that are held or taken, of
    `all_takers`; `room`: scope domains (all in one without a scope) with the lots that they have room for, the most first.
    """

    start: int
    end: int
    lots: int
    counts: dict[Why, int]
    examples: dict[Why, str]
    outages: tuple[int, int] | None
    takers: tuple[Taker, ...]
    all_takers: int
    room: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Remedy:
    """The fewest GPU-seconds that others would have to leave for these lots; None where no fleet of this size would do.

    `prices`: where the certificate proves that the contract's grades are short in the window.
    """

    start: int
    end: int
    lots: int
    gpu_seconds: int | None
    freed: tuple[Freed, ...]
    prices: tuple[Shortage, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one contract in one plan; `dataclasses.asdict` of it is JSON. `said`: reasons of the plan, as they stand in `undelivered`."""

    contract: str
    outcome: Outcome
    product: str
    gpus: int
    lot_gpus: int
    start: int
    end: int
    here: tuple[Here, ...]
    elsewhere: tuple[Elsewhere, ...]
    remedies: tuple[Remedy, ...]
    said: tuple[str, ...]
    left_out: int  # gaps beyond those explained

    def summary(self) -> str:
        """In words, one fact a line."""
        return "\n".join(in_words(self))


def explain(problem: Problem, plan: Plan, contract: str) -> Explanation:
    """The explanation of `contract` (its key). Raises ValueError when the problem does not have it or the plan is of another time."""
    occupancy = Occupancy(problem, plan)
    if contract not in occupancy.contracts or plan.now != problem.now:
        raise ValueError(f"contract {contract!r} is not in this problem, or the plan is of another time; pass the problem that was planned")
    c, demand = occupancy.contracts[contract], occupancy.demand(contract)
    if demand is None:
        return Explanation(contract, Outcome.NOTHING_DUE, c.product, c.gpus, c.lot_gpus, c.start, c.end, (), (), (), (), 0)
    gaps = [u for u in plan.undelivered if u.contract == contract]
    outcome = Outcome.REFUSED if any(u.refused for u in gaps) else Outcome.SHORT if gaps else Outcome.SERVED
    largest = sorted(gaps, key=lambda u: (-u.gpus * (u.end - u.start), u))[:MOST_WINDOWS]
    proved = shortages(problem, plan.certificate)
    where = [Reasons(occupancy, demand, u.start, u.end, u.gpus // c.lot_gpus) for u in sorted(largest)]
    return Explanation(
        contract, outcome, c.product, c.gpus, c.lot_gpus, demand.start, demand.end,
        here=_here(occupancy, demand, plan),
        elsewhere=tuple(map(_elsewhere, where or [Reasons(occupancy, demand, demand.start, demand.end, 1)])),
        remedies=tuple(_remedy(reasons, u, proved) for reasons, u in zip(where, sorted(largest), strict=True)),
        said=tuple(f"{u.code}: {u.message}" for u in sorted(largest)), left_out=len(gaps) - len(largest),
    )  # fmt: skip


def _here(occupancy: Occupancy, demand: Demand, plan: Plan) -> tuple[Here, ...]:
    windows: dict[tuple[int, int], Reasons] = {}
    found = []
    for b in plan.bindings:
        start = max(b.start, demand.start)
        if b.contract != demand.contract.key or start >= b.end:
            continue
        if (start, b.end) not in windows:
            windows[start, b.end] = Reasons(occupancy, demand, start, b.end, demand.lots, alone=True)
        kept = any(o.node == b.node and o.start < b.end and start < o.end for o in demand.before)
        found.append(_binding(windows[start, b.end], b, kept))
    return tuple(sorted(found, key=lambda h: (h.start, h.end, h.node)))


def _binding(reasons: Reasons, b: Binding, kept: bool) -> Here:
    demand, nodes, options = reasons.demand, reasons.occupancy.nodes, reasons.options
    scope = demand.contract.scope
    domain = reasons.domain(nodes[b.node], scope)
    free = reasons.occupancy.least(nodes[b.node], reasons.start, reasons.end, demand.contract.key)
    cost = options[nodes[b.node].grade].cost
    others = [n for n in reasons.least if n != b.node and reasons.domain(nodes[n], scope) == domain]
    alike = [reasons.least[n] for n in others if options[nodes[n].grade].cost <= cost]
    choice = Choice.KEPT if kept else Choice.ONLY if not others else Choice.CHEAPEST if not alike else Choice.ROOM
    if choice is Choice.ROOM and free <= min(alike):
        choice = Choice.TIGHTEST
    rivals = sum(lots >= demand.lots for name, lots in reasons.room_in_domains().items() if name != domain) if scope else 0
    next_free = min((reasons.least[n] for n in others), default=0)
    return Here(b.node, nodes[b.node].grade, b.product, b.gpus, b.start, b.end, domain, choice, free, len(others), next_free, rivals)


def _elsewhere(reasons: Reasons) -> Elsewhere:
    occupancy = reasons.occupancy
    counts = reasons.counts()
    examples = {why: min(n for n, w in reasons.of.items() if w is why) for why in counts}
    out = [
        (a, b) for name, why in reasons.of.items() if why is Why.OUTAGE
        for a, b in occupancy.dark[name] if a < reasons.end and reasons.start < b
    ]  # fmt: skip
    takers = _takers(reasons)
    room = sorted(reasons.room_in_domains().items(), key=lambda item: (-item[1], item[0]))
    return Elsewhere(
        reasons.start, reasons.end, reasons.lots, counts, examples, (min(a for a, _ in out), max(b for _, b in out)) if out else None,
        tuple(takers[:MOST_TAKERS]), len(takers), tuple(room[:MOST_TAKERS]),
    )  # fmt: skip


def _takers(reasons: Reasons) -> list[Taker]:
    """Who has the nodes that are held or taken, the most GPU-seconds of the window first."""
    own, start, end = reasons.contract.key, reasons.start, reasons.end
    nodes: Counter[str] = Counter()
    gpu_seconds: Counter[str] = Counter()
    spans: dict[str, tuple[int, int]] = {}
    for name, why in reasons.of.items():
        there = reasons.occupancy.there(name, start, end, own) if why in (Why.HELD, Why.TAKEN) else []
        nodes.update({b.contract for b in there})
        for b in there:
            a, z = max(b.start, start), min(b.end, end)
            gpu_seconds[b.contract] += b.gpus * (z - a)
            first, last = spans.get(b.contract, (a, z))
            spans[b.contract] = min(first, a), max(last, z)
    return [Taker(key, nodes[key], seconds, *spans[key]) for key, seconds in sorted(gpu_seconds.items(), key=lambda i: (-i[1], i[0]))]


def _remedy(reasons: Reasons, gap: Undelivered, proved: list[Shortage]) -> Remedy:
    freed = least_freed(reasons, reasons.lots)
    prices = tuple(s for s in proved if s.grade in reasons.options and s.start < gap.end and gap.start < s.end)
    total = None if freed is None else sum(f.gpu_seconds for f in freed)
    return Remedy(gap.start, gap.end, reasons.lots, total, freed or (), prices)
