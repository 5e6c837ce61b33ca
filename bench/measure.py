"""What every benchmark prints: a table for people, then one JSON line, with CPU time, peak memory and how busy the machine was.

CPU time counts, not wall time: it does not depend on what else the machine does. It is never asserted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

Row = Mapping[str, object]
P = ParamSpec("P")
R = TypeVar("R")


def cpu_us() -> int:
    """CPU microseconds of this process, all threads, and of the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() // 1_000 + int((children.ru_utime + children.ru_stime) * 1e6)


class Stopwatch:
    """CPU and wall milliseconds since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = cpu_us(), time.monotonic_ns()

    def cpu_ms(self) -> int:
        return (cpu_us() - self._cpu) // 1_000

    def cpu_us(self) -> int:
        return cpu_us() - self._cpu

    def wall_ms(self) -> int:
        return (time.monotonic_ns() - self._wall) // 1_000_000


def peak_mb() -> int:
    """Peak resident memory of this process, in MiB, and on top the largest of the children that it has waited for."""
    kib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The function's result from a fresh process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def percentile(values: Sequence[int], share: int) -> int:
    """The smallest value that at least `share` per cent of the values do not exceed."""
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)]


def machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "load": [f"{x:.2f}" for x in os.getloadavg()], "python": sys.version.split()[0]}


def show(bench: str, rows: Sequence[Row], limits: Sequence[Row] = (), **more: object) -> None:
    """Prints the rows as tables, one for all that have the same keys, then the limits, and everything as one JSON line."""
    tables: dict[tuple[str, ...], list[Row]] = {}
    for row in (*rows, *limits):
        tables.setdefault(tuple(row), []).append(row)
    for columns, members in tables.items():
        cells = [columns, *(tuple(_text(row[key]) for key in columns) for row in members)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        for line in cells:
            print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
        print()
    print(json.dumps({"bench": bench, "machine": machine(), **more, "rows": list(rows), "limits": list(limits)}), flush=True)


def _text(value: object) -> str:
    return "-" if value is None else str(value)
