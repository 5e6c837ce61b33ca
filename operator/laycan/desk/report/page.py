"""The model of the report: everything that the page says, as frozen data, made of a problem, its plan and what statuses say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from laycan.desk.report.capacity import Pool, pools_of
from laycan.desk.report.concerns import Concern, concerns_of
from laycan.desk.report.curves import LENGTHS, Sellable, sellables_of
from laycan.desk.report.data import data_of, script_json
from laycan.desk.report.lines import Line, State, Sums, lines_of, sums_of
from laycan.desk.report.odds import Odds, odds_of
from laycan.desk.report.proof import Proof, proof_of
from laycan.desk.report.rackrows import Rows, rows_of
from laycan.desk.report.racks import Zone, zones_of
from laycan.desk.report.scale import Scale, scale_of
from laycan.desk.report.standing import Standing
from laycan_solver.check import check
from laycan_solver.model import Bound, Plan, Problem, Totals
from laycan_solver.risk import risks_of

FEW = 100  # contracts that the page lists without its script: all that are short, then the dearest
MOST_CONCERNS = 500


@dataclass(frozen=True, slots=True)
class Fleet:
    nodes: int
    down: int
    cordoned: int
    out: int  # usable nodes that are in an outage now
    gpus: int  # healthy, in usable nodes
    zones: int
    racks: int


@dataclass(frozen=True, slots=True)
class Book:
    """Contracts by class; `due`: neither refused nor ended; `running` have started and not ended."""

    due: int
    firm: int
    interruptible: int
    running: int
    refused: int
    short: int


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    currency: str
    scale: Scale
    fleet: Fleet
    book: Book
    totals: Totals
    bounds: Bound
    gaps_ppm: tuple[int, int]  # Firm, all
    sums: Sums
    proof: Proof
    zones: tuple[Zone, ...]
    rows: Rows
    pools: tuple[Pool, ...]
    odds: Mapping[str, Odds]  # by product
    sellable: tuple[Sellable, ...]
    lines: tuple[Line, ...]
    few: tuple[Line, ...]
    metered: tuple[Standing, ...]
    concerns: tuple[Concern, ...]
    more_concerns: int
    data: str  # JSON, safe inside a script element

    @property
    def lengths(self) -> tuple[int, ...]:
        """Days for which it is told what can still be sold."""
        return LENGTHS

    @staticmethod
    def stacked(pool: Pool) -> tuple[int, ...]:
        """Interruptible on top of Firm."""
        return tuple(a + b for a, b in zip(pool.firm, pool.interruptible, strict=True))


def page_of(
    problem: Problem,
    plan: Plan,
    standings: Iterable[Standing] = (),
    *,
    title: str = "Laycan report",
    currency: str = "",
    curve: bool = True,
    step: Callable[[int, int], None] = lambda done, of: None,
) -> Page:
    """The page of a plan of this problem. `curve`: ask what can still be sold, too; `step` is told how far it is.

    Raises ValueError when the plan is of another time or book.
    """
    _same_book(problem, plan)
    told = {s.key: s for s in standings}
    steps = 7
    step(0, steps)
    wrong = check(problem, plan)
    step(1, steps)
    risks = {} if wrong else risks_of(problem, plan)  # a plan that does not hold has none
    step(2, steps)
    scale, zones, lines = scale_of(problem, plan), zones_of(problem), lines_of(problem, plan, risks)
    sums = sums_of(lines)
    step(3, steps)
    rows = rows_of(problem, plan, scale, zones, lines)
    pools = pools_of(problem, plan, scale)
    step(4, steps)
    found = concerns_of(problem, lines, told.values())
    data = script_json(data_of(problem, plan, scale, zones, lines))
    step(5, steps)
    sellable = sellables_of(problem, plan) if curve and not wrong else ()
    step(6, steps)
    return Page(
        title, currency, scale, _fleet(problem, zones), _book(problem, lines), plan.totals,
        plan.bound, (plan.firm_gap_ppm, plan.total_gap_ppm), sums,
        proof_of(problem, plan, lines, sums, wrong, currency),
        zones, rows, pools, odds_of(problem, lines), sellable, lines, _few(lines),
        tuple(s for _, s in sorted(told.items()) if s.quantities),
        tuple(found[:MOST_CONCERNS]), max(0, len(found) - MOST_CONCERNS), data,
    )  # fmt: skip


def _same_book(problem: Problem, plan: Plan) -> None:
    if plan.now != problem.now:
        raise ValueError("the plan is of another time than the book")
    named = {b.contract for b in plan.bindings} | {u.contract for u in plan.undelivered} | {m.contract for m in plan.moves}
    if strange := sorted(named - {c.key for c in problem.contracts}):
        raise ValueError(f"the plan has contract {strange[0]}, which the book does not have")
    if strange := sorted({b.node for b in plan.bindings} - {n.name for n in problem.nodes}):
        raise ValueError(f"the plan binds node {strange[0]}, which the fleet does not have")


def _fleet(problem: Problem, zones: Sequence[Zone]) -> Fleet:
    out = {name for o in problem.outages if o.start <= problem.now < o.end for name in o.nodes}
    usable = [n for n in problem.nodes if n.usable]
    return Fleet(
        len(problem.nodes),
        len(problem.nodes) - len(usable),
        sum(n.cordoned for n in usable),
        sum(n.name in out for n in usable),
        sum(n.gpus for n in usable),
        len(zones),
        sum(len(z.racks) for z in zones),
    )


def _book(problem: Problem, lines: Sequence[Line]) -> Book:
    due = [line for line in lines if line.account and not line.contract.reserve]
    firm = sum(line.contract.firm for line in due)
    return Book(
        len(due),
        firm,
        len(due) - firm,
        sum(line.contract.start <= problem.now for line in due),
        sum(line.state is State.REFUSED for line in lines),
        sum(line.state is State.SHORT for line in due),
    )


def _few(lines: Sequence[Line]) -> tuple[Line, ...]:
    if len(lines) <= FEW:
        return tuple(lines)
    rank = {state: i for i, state in enumerate(State)}

    def pressing(line: Line) -> tuple[int, int, str]:
        return rank[line.state], -line.account.value if line.account else 0, line.contract.key

    return tuple(sorted(lines, key=pressing)[:FEW])
