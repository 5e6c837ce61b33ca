"""How busy each rack is over time, as strips of colour: drawings of a few hundred bytes that need no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from laycan.desk.report.scale import Scale
from laycan_solver.spans import union

Ints = npt.NDArray[np.int64]
LEVELS = 8  # shades from hardly used to full; 0 is empty


class Span(NamedTuple):
    """`amount` (GPUs, nodes) of a row in [start, end), Unix seconds."""

    row: int
    start: int
    end: int
    amount: int


@dataclass(frozen=True, slots=True)
class Shade:
    """The bins of one shade: `name` is a class of the style sheet, `path` lies on bins x 8."""

    name: str
    path: str


def spread(scale: Scale, rows: int, spans: Iterable[Span]) -> Ints:
    """Row x bin: sum of amount x seconds of the spans in the bin, exactly."""
    given = np.array(list(spans), dtype=np.int64).reshape(-1, 4)
    row, width, bins = given[:, 0], scale.bin_seconds, scale.bins
    out = np.zeros((rows, bins + 2), dtype=np.int64)
    for column, sign in ((1, 1), (2, -1)):
        since = np.clip(given[:, column], scale.start, scale.end) - scale.start
        first, rest = since // width, since % width
        amount = sign * given[:, 3]
        np.add.at(out, (row, first), amount * (width - rest))
        np.add.at(out, (row, first + 1), amount * rest)
    total: Ints = np.cumsum(out, axis=1)[:, :bins]
    assert (total >= 0).all()
    return total


def shades(busy: Ints, most: int, prefix: str, levels: int = LEVELS) -> tuple[Shade, ...]:
    """One path for each shade of a row of bins: anything at all is shade 1 at least, `most` and more the last."""
    if most <= 0:
        return ()
    level = np.minimum(-(-busy * levels // most), levels)
    edges = np.flatnonzero(np.diff(level, prepend=0, append=0)).tolist()
    paths: dict[int, list[str]] = {}
    for a, b in pairwise(edges):
        if at := int(level[a]):
            paths.setdefault(at, []).append(f"M{a} 0h{b - a}v8h-{b - a}z")
    return tuple(Shade(f"{prefix}{at}", "".join(paths[at])) for at in sorted(paths))


def dark_times(outages: Mapping[str, list[tuple[int, int]]], name: str, usable: bool, scale: Scale) -> list[tuple[int, int]]:
    """When a node serves nothing from now on, inside the scale: in outages, or all the time where it is not usable."""
    if not usable:
        return [(scale.now, scale.end)]
    return union((max(start, scale.start), min(end, scale.end)) for start, end in outages.get(name, ()))
