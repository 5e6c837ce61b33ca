"""What can still be sold is what would be admitted."""

from __future__ import annotations

from dataclasses import replace

from laycan.desk.report.curves import DAY, LENGTHS, SHADES, sellables_of
from laycan_solver.model import ContractChanged
from laycan_solver.planner import Planner, plan
from tests.laycan_solver.small import NOW, contract, node, problem

BOOK = problem([node(f"n{i}") for i in range(4)], [contract("a", 0, 24 * 10, gpus=16), contract("b", 24 * 20, 24 * 40, gpus=32)])


def test_cells() -> None:
    """Two nodes are free until everything is sold on the twentieth day; from the first of March all four."""
    (found,) = sellables_of(BOOK, plan(BOOK, 5))
    rows = {start: [cell.gpus for cell in cells] for start, cells in found.rows}
    assert rows[NOW] == [16, 16, 0, 0, 0]
    assert rows[NOW + 59 * DAY] == [32] * len(LENGTHS)
    shades = {cell.gpus: cell.shade for _, cells in found.rows for cell in cells}
    assert (shades[0], shades[16], shades[32]) == (0, SHADES // 2, SHADES)
    assert (found.lot_gpus, found.target_ppm, found.ends_by_target) == (8, None, False)


def test_what_is_told_would_be_admitted() -> None:
    """As many GPUs and no lot more, asked of the planner itself."""
    planned = plan(BOOK, 5)
    (found,) = sellables_of(BOOK, planned)
    start, cells = found.rows[0]
    for days, cell in zip(LENGTHS, cells, strict=True):
        for gpus, admitted in ((cell.gpus, True), (cell.gpus + 8, False)):
            asked = replace(contract("c", 0, 24 * days, gpus=gpus or 8, lot_gpus=8), start=start, accepted=False)
            planner = Planner(BOOK, planned, 5)
            planner.update([ContractChanged(asked)])
            refused = {u.contract for u in planner.plan.undelivered if u.refused}
            assert gpus == 0 or (asked.key not in refused) is admitted
