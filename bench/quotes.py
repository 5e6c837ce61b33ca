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
from laycan_solver.live import Live
from laycan_solver.model import Contract, Plan, Problem, Reliability
from laycan_solver.months import month_starts
from laycan_solver.offers import Promise, answer
from laycan_solver.planner import Planner, laid_out, written
from laycan_solver.quote import Desk, Quote
from laycan_solver.risk import risks_of
from laycan_solver.sellable import curve

DAY = 86_400
AHEAD = 300  # days from now in which windows begin
WITHIN = 365 * DAY  # of the earliest start
TARGET_PPM = 100


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


def offers(name: str, seed: int, budget: Budget, *, times: int = 8) -> Row:
    """Full answers, with risk and alternatives, of a plan that keeps a target of 100 ppm; every question for several times the GPUs.

    Contracts that would miss the target are left out: an instance is drawn without one.
    """
    problem, found = sound(named(name, seed), budget)
    live = Planner(problem, found).kept()
    answer(live, questions(problem, seed, 1)[0])  # as after the last question
    answers, spent = [], []
    for contract in questions(problem, seed, budget.quotes):
        asked = replace(contract, gpus=times * contract.gpus, lot_gpus=contract.lot_gpus)
        watch = Stopwatch()
        answers.append(answer(live, asked))
        spent.append(watch.cpu_us())
    short = [us for us, a in zip(spent, answers, strict=True) if a.promise is not Promise.FULL]
    return {
        "row": f"offers-{name}",
        "seed": seed,
        "quotes": len(answers),
        "full": len(answers) - len(short),
        "partial": sum(a.promise is Promise.PARTIAL for a in answers),
        "alternatives": sum(len(a.alternatives) for a in answers),
        "offer_us_p50": percentile(spent, 50),
        "offer_us_p99": percentile(spent, 99),
        "counter_us_p50": percentile(short or [0], 50),
        "counter_us_max": max(short, default=0),
        **sold(live),
        "peak_mb": peak_mb(),
    }


def sold(live: Live) -> Row:
    """CPU of a sellable curve of twelve starts and six lengths of the product with most nodes."""
    product = max(sorted(live.products, key=lambda p: p.name), key=lambda p: sum(n.grade in p.grades for n in live.nodes.values()))
    watch = Stopwatch()
    points = curve(live, product.name, [live.now, *month_starts(live.now + 1, 11)[:11]], [n * DAY for n in (1, 7, 30, 90, 180, 365)]).points
    return {"curve_points": len(points), "curve_ms": watch.cpu_ms()}


def sound(problem: Problem, budget: Budget) -> tuple[Problem, Plan]:
    """The problem with a target, and its plan, without the contracts that would miss it."""
    known = Reliability(target_ppm=TARGET_PPM)
    products = tuple(replace(p, reliability=known, notice_seconds=600, curtailable_seconds=72 * 3_600) for p in problem.products)
    problem = replace(problem, products=products)
    found = planned(problem, budget)
    missed = {key for key, risk in risks_of(problem, found).items() if risk.ppm >= TARGET_PPM}
    missed |= {u.contract for u in found.undelivered}
    contracts = tuple(c for c in problem.contracts if c.key not in missed)
    bindings = tuple(b for b in found.bindings if b.contract not in missed)
    left = replace(problem, contracts=contracts, previous=tuple(b for b in problem.previous if b.contract not in missed))
    return left, written(left, bindings, ())


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
