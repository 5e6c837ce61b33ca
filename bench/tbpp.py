"""Temporal bin packing against published instances: bins, what is proven, and what first fit and best fit need.

    python -m bench.tbpp DATA [--classes a1,b1,d1,d2] [--seconds S] [--instances]

DATA holds a folder of instance files per class. An item is a contract with one lot on one node for its whole window, a bin is a
node: the planner's problem with one grade, no moves and no topology. Every packing is checked item by item before it counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.measure import Row, Stopwatch, peak_mb, show
from bench.tbpp_bound import Instance, Ints, clique_bound, read
from bench.tbpp_search import construct, orders, pack

SECONDS = {"a1": 10, "b1": 10, "d1": 10, "d2": 30}  # of CPU per instance, bound and packing together


def bins_of(instance: Instance, bins: Ints) -> int:
    """How many bins a packing uses; raises ValueError if it overfills one, read off event by event and not off the search's loads."""
    for j in range(int(bins.max()) + 1):
        inside = np.flatnonzero(bins == j)
        events = sorted(
            [(int(instance.end[i]), -int(instance.size[i])) for i in inside]
            + [(int(instance.start[i]), int(instance.size[i])) for i in inside]
        )
        load = 0
        for at, size in events:
            load += size
            if load > instance.capacity:
                raise ValueError(f"{instance.name}: bin {j} holds {load} of {instance.capacity} at {at}")
    if (bins < 0).any():
        raise ValueError(f"{instance.name}: an item is in no bin")
    return len(set(bins.tolist()))


def solve(instance: Instance, seconds: int, seed: int = 0) -> dict[str, int]:
    """Bins of first fit, best fit and the search, the proven bound, and milliseconds of CPU for bound and search."""
    watch = Stopwatch()
    bound = clique_bound(instance)
    bound_ms = watch.cpu_ms()
    packed = bins_of(instance, pack(instance, bound, max(0.0, seconds - bound_ms / 1_000), seed))
    cpu_ms = watch.cpu_ms()
    simple = orders(instance)[0]
    first, best = (bins_of(instance, construct(instance, simple, fullest=fullest)) for fullest in (False, True))
    return {"items": instance.items, "first_fit": first, "best_fit": best, "bins": packed, "bound": bound, "cpu_ms": cpu_ms}


def class_row(name: str, found: Sequence[dict[str, int]], seconds: int) -> Row:
    def above(kind: str) -> int:
        return round(sum(10**6 * (f[kind] - f["bound"]) / f["bound"] for f in found) / len(found))

    return {
        "class": name,
        "instances": len(found),
        "limit_s": seconds,
        "proven": sum(f["bins"] == f["bound"] for f in found),
        "gap_ppm": above("bins"),
        "best_fit_gap_ppm": above("best_fit"),
        "first_fit_gap_ppm": above("first_fit"),
        "bins": sum(f["bins"] for f in found),
        "bound": sum(f["bound"] for f in found),
        "cpu_ms_mean": sum(f["cpu_ms"] for f in found) // len(found),
        "cpu_ms_max": max(f["cpu_ms"] for f in found),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--classes", default=",".join(SECONDS))
    parser.add_argument("--seconds", type=int, help="instead of the classes' own limits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--instances", action="store_true", help="print a row per instance, too")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    for name in given.classes.split(","):
        files = sorted((given.data / name).glob("*.txt"))
        if not files:
            raise SystemExit(f"{given.data / name}: no instance files; give the folder that holds a1, b1, d1 and d2")
        seconds = given.seconds or SECONDS.get(name, 10)
        found = []
        for file in files:
            found.append(solve(read(file), seconds, given.seed))
            if given.instances:
                print(name, file.stem, *(f"{k} {v}" for k, v in found[-1].items()), flush=True)
        rows.append(class_row(name, found, seconds))
    show("tbpp", rows, peak_mb=peak_mb())


if __name__ == "__main__":
    main()
