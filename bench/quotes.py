"""A desk asks: how long answers take, and how much of what counting leaves open can be had.

Questions are contracts of the instance, with their length, size and topology, in windows drawn anew. Each is asked for what is free
as the plan is, for what could be had after planning anew, and for the earliest start of the whole. Some are asked for as much as
there is: there the operator would have to plan half the fleet anew.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bench.cold import Budget, planned
from bench.instances import named
from bench.measure import Row, Stopwatch, peak_mb, percentile
from laycan_solver.model import Contract, Problem
from laycan_solver.planner import laid_out
from laycan_solver.quote import Desk, Quote

DAY = 86_400
AHEAD = 300  # days from now in which windows begin
WITHIN = 365 * DAY  # of the earliest start


def quotes(name: str, seed: int, budget: Budget, *, largest: int = 10) -> Row:
    """Seeded questions to the plan of a named instance; the last `largest` for as much as there is."""
    problem = named(name, seed)
    found = planned(problem, budget)
    desk = Desk(*laid_out(problem, found.bindings, {u.contract for u in found.undelivered if u.refused}))
    desk.counting.refresh()  # as after the last change
    asked = questions(problem, seed, budget.quotes)
    spent: dict[str, list[int]] = {"bindable": [], "quote": [], "earliest": []}
    answers = []
    for contract in asked:
        watch = Stopwatch()
        desk.bindable(contract)
        spent["bindable"].append(watch.cpu_us())
        watch = Stopwatch()
        answers.append(desk.quote(contract))
        spent["quote"].append(watch.cpu_us())
        watch = Stopwatch()
        desk.earliest(contract, problem.now, WITHIN)
        spent["earliest"].append(watch.cpu_us())
    everything = [desk.largest(contract) for contract in asked[:largest]]
    return {
        "row": f"quote-{name}",
        "seed": seed,
        "quotes": len(asked),
        **{f"{kind}_us_p{share}": percentile(times, share) for kind, times in spent.items() for share in (50, 99)},
        **shares(asked, answers),
        "largest_of_most_ppm": shares(asked[:largest], everything)["replanned_of_most_ppm"],
        "peak_mb": peak_mb(),
    }


def questions(problem: Problem, seed: int, count: int) -> list[Contract]:
    """Contracts of the problem, in windows that begin on a full hour drawn anew."""
    rng = random.Random(seed)
    asked = []
    for i, c in enumerate(rng.choices(problem.contracts, k=count)):
        start = problem.now + 3_600 * rng.randrange(24 * AHEAD)
        asked.append(replace(c, key=f"desk/q{i}", start=start, end=start + c.end - c.start, due_from=0, accepted=False, delivering=False))
    return asked


def shares(asked: Sequence[Contract], answers: Sequence[Quote]) -> dict[str, int]:
    """GPUs bindable and replanned of the most that counting leaves open, in millionths, and how many answers are full and proved."""
    gpus: Counter[str] = Counter()
    for contract, quote in zip(asked, answers, strict=True):
        for kind, lots in (("bindable", quote.bindable), ("replanned", quote.replanned), ("most", quote.at_most)):
            gpus[kind] += lots * contract.lot_gpus
    return {
        "full": sum(q.replanned == q.asked for q in answers),
        "proved": sum(q.proved for q in answers),
        "bindable_of_most_ppm": gpus["bindable"] * 10**6 // max(1, gpus["most"]),
        "replanned_of_most_ppm": gpus["replanned"] * 10**6 // max(1, gpus["most"]),
    }
