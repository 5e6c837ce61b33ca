"""The ledger of free GPUs against a plain matrix, and its undo."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan_solver.eligible import Fleet
from laycan_solver.ledger import Ledger
from laycan_solver.timegrid import BLOCK, TimeGrid
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, node, outage

HOURS = 3 * BLOCK  # more than two blocks of slices
SIZES = (8, 4, 0, 8, 63)


class Plain:
    """The same, second by hour, as a matrix that is looked at cell by cell."""

    def __init__(self, gpus: list[int]) -> None:
        self.free = np.repeat(np.array(gpus)[None, :], HOURS, axis=0)

    def least(self, start: int, end: int) -> list[int]:
        found: list[int] = self.free[start:end].min(axis=0).tolist()
        return found


def ledger_of(cuts: list[int]) -> tuple[Ledger, Plain]:
    nodes = [node(f"n{i}", gpus=g) for i, g in enumerate(SIZES)]
    problem = small.problem(nodes, [], outages=[outage("n0", 5, 9), outage("n3", 40, 90)])
    fleet = Fleet(problem)
    grid = TimeGrid(NOW + HOUR * h for h in {0, HOURS, *cuts, 5, 9, 40, 90})
    plain = Plain(fleet.gpus.tolist())
    for column, spans in enumerate(fleet.outages):
        for start, end in spans:
            plain.free[(start - NOW) // HOUR : (end - NOW) // HOUR, column] = 0
    return Ledger(fleet, grid), plain


hours = st.integers(1, HOURS - 1)
windows = st.tuples(hours, hours).filter(lambda w: w[0] != w[1]).map(sorted)
takes = st.lists(st.tuples(windows, st.integers(0, len(SIZES) - 1), st.integers(1, 8)), max_size=25)


def play(ledger: Ledger, plain: Plain, rows: list[tuple[list[int], int, int]]) -> list[tuple[int, int, int, int]]:
    """Takes what fits; returns what was taken."""
    done = []
    for (start, end), column, gpus in rows:
        for h in (start, end):
            ledger.split(NOW + h * HOUR)
        if plain.free[start:end, column].min() >= gpus:
            ledger.take(np.array([column]), NOW + start * HOUR, NOW + end * HOUR, np.array([gpus]))
            plain.free[start:end, column] -= gpus
            done.append((start, end, column, gpus))
    return done


@settings(max_examples=150)
@given(st.lists(hours, max_size=60), takes, windows)
def test_free_and_profile(cuts: list[int], rows: list[tuple[list[int], int, int]], window: list[int]) -> None:
    """Whatever was taken and however the slices were cut, every window shows what the plain matrix does, also off the boundaries."""
    ledger, plain = ledger_of(cuts)
    play(ledger, plain, rows)
    start, end = (NOW + h * HOUR for h in window)
    everything = slice(0, len(SIZES))
    times = ledger.grid.times
    outward = [(max(t for t in times if t <= start) - NOW) // HOUR, (min(t for t in times if t >= end) - NOW) // HOUR]
    assert ledger.free(start, end, everything).tolist() == plain.least(*outward)
    assert ledger.free(start, end, np.array([3, 1])).tolist() == [plain.least(*outward)[c] for c in (3, 1)]
    for h in window:
        ledger.split(NOW + h * HOUR)
    profile, times = ledger.profile(start, end, everything), ledger.grid.times
    first = ledger.grid.row(start)
    for row, cells in enumerate(profile):
        if times[first + row] < times[first + row + 1]:
            assert cells.tolist() == plain.free[(times[first + row] - NOW) // HOUR].tolist()


@settings(max_examples=150)
@given(st.lists(hours, max_size=60), takes, windows, st.integers(1, 8))
def test_farthest_and_next_free(cuts: list[int], rows: list[tuple[list[int], int, int]], window: list[int], gpus: int) -> None:
    """The node that stays free longest, and the first instant at which any is free, are those of the plain matrix."""
    ledger, plain = ledger_of([*cuts, *window])
    play(ledger, plain, rows)
    start, end = window
    enough = plain.free[start:end] >= gpus
    reach = [len(f) if f.all() else int(f.argmin()) for f in enough.T]
    allowed = np.ones(len(SIZES), dtype=bool)
    stop, nodes = ledger.farthest(NOW + start * HOUR, NOW + end * HOUR, slice(0, len(SIZES)), allowed, gpus)
    assert stop == NOW + (start + max(reach)) * HOUR
    assert nodes.tolist() == [r == max(reach) > 0 for r in reach]
    first = next((start + i for i, f in enumerate(any(row) for row in enough.tolist()) if f), end)
    assert ledger.next_free(NOW + start * HOUR, NOW + end * HOUR, slice(0, len(SIZES)), allowed, gpus) == NOW + first * HOUR


@given(takes)
def test_undo(rows: list[tuple[list[int], int, int]]) -> None:
    """Giving back what was taken, newest first, leaves the ledger as it was, bit by bit."""
    ledger, plain = ledger_of([h for (start, end), _, _ in rows for h in (start, end)])
    before = [m.copy() for m in (ledger._cells, ledger._lazy, ledger._least)]
    for start, end, column, gpus in reversed(play(ledger, plain, rows)):
        ledger.take(np.array([column]), NOW + start * HOUR, NOW + end * HOUR, np.array([-gpus]))
    assert all((a == b).all() for a, b in zip(before, (ledger._cells, ledger._lazy, ledger._least), strict=True))


@given(takes, st.integers(HOURS + 1, 4 * HOURS))
def test_extend(rows: list[tuple[list[int], int, int]], hour: int) -> None:
    """A longer horizon changes nothing before, and is free behind."""
    ledger, plain = ledger_of([])
    play(ledger, plain, rows)
    ledger.extend(NOW + hour * HOUR)
    assert ledger.free(NOW, NOW + HOURS * HOUR, slice(0, len(SIZES))).tolist() == plain.least(0, HOURS)
    assert ledger.free(NOW + HOURS * HOUR, NOW + hour * HOUR, slice(0, len(SIZES))).tolist() == ledger.gpus.tolist()


def test_more_than_there_is() -> None:
    """Taking more than is free is refused at the line that takes."""
    ledger, _ = ledger_of([])
    for start, end in ((5, 9), (0, HOURS)):
        try:
            ledger.take(np.array([1]), NOW + start * HOUR, NOW + end * HOUR, np.array([5]))
        except AssertionError:
            continue
        raise AssertionError("5 of 4 GPUs were taken")


def test_blocks() -> None:
    """Pieces of a size that nodes hold, per row, without those in an outage."""
    ledger, _ = ledger_of([])
    blocks = ledger.blocks(NOW, NOW + HOURS * HOUR, np.array([0, 1, 3]), 4)
    at = {(t - NOW) // HOUR: int(n) for t, n in zip(ledger.grid.times, blocks, strict=False)}
    assert at == {0: 5, 5: 3, 9: 5, 40: 3, 90: 5}
