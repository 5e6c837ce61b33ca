"""What can still be sold: the sellable curve of every product, as a table of starts and lengths."""

from __future__ import annotations

from dataclasses import dataclass

from laycan_solver.model import Plan, Problem
from laycan_solver.months import month_starts
from laycan_solver.planner import Planner
from laycan_solver.sellable import Limit, Point, curve

DAY = 86_400
LENGTHS = (1, 7, 30, 90, 180)  # days
MONTHS = 11  # first days of months behind now
SHADES = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """`shade`: from 0 for nothing to SHADES for all that there is; `reserved`: the target ends it, and not what is free."""

    gpus: int
    shade: int
    reserved: bool
    risk_ppm: int | None


@dataclass(frozen=True, slots=True)
class Sellable:
    """The most GPUs of a product that would be admitted Firm: a row for each start, a cell for each of LENGTHS."""

    product: str
    lot_gpus: int
    target_ppm: int | None
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]  # start -> cells

    @property
    def ends_by_target(self) -> bool:
        return any(cell.reserved for _, cells in self.rows for cell in cells)


def sellables_of(problem: Problem, plan: Plan) -> tuple[Sellable, ...]:
    """Of each product that has nodes, by name. The plan must be a legal one of the problem."""
    live = Planner(problem, plan, 0).kept()
    starts = sorted({problem.now, *month_starts(problem.now + 1, MONTHS)[:MONTHS]})
    found = []
    for product in sorted(problem.products, key=lambda p: p.name):
        gpus = sum(n.gpus for n in problem.nodes if n.grade in product.grades)
        if not gpus:
            continue
        drawn = curve(live, product.name, starts, [days * DAY for days in LENGTHS])
        rows = {start: tuple(_cell(p, gpus) for p in drawn.points if p.start == start) for start in starts}
        lot = drawn.points[0].lot_gpus if drawn.points else 1
        found.append(Sellable(product.name, lot, drawn.target_ppm, tuple(rows.items())))
    return tuple(found)


def _cell(point: Point, gpus: int) -> Cell:
    shade = min(SHADES, -(-point.gpus * SHADES // gpus))
    return Cell(point.gpus, shade, point.limit is Limit.TARGET, point.risk.ppm if point.risk else None)
