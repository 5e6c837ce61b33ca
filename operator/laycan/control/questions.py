"""What the planner's process is asked, and what it answers: a plan, and what the plan means for quotes, risks and outages.

Both sides import these types from here, because what the process runs as `__main__` has other classes by the same names.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from laycan.control.judging import Judged, judged
from laycan.planning.holds import hold_key
from laycan_solver.model import Contract, Outage, Plan, Problem, Reason, Undelivered
from laycan_solver.offers import Answer, Promise, answer
from laycan_solver.planner import Planner
from laycan_solver.risk import Risk

log = logging.getLogger(__name__)

JUDGING_SECONDS = 10.0  # of the deadline that the planner's process has


class Question(NamedTuple):
    """A problem to plan with `effort`, or with `follow` to bring the last plan up to date with, if that can be.

    `quotes` are contracts as they ask; those whose capacity is to be kept are candidates of the problem, too, by their `hold_key`.
    `outages` are judged, whether they are in the problem or not.
    """

    problem: Problem
    effort: int
    follow: bool = False
    quotes: tuple[Contract, ...] = ()
    outages: tuple[Outage, ...] = ()


class Solved(NamedTuple):
    """A plan, what the checker says against it, and whom it is about: None = all contracts, else those of the part that changed.

    `offers`: by key of the quotes; `risks`: of all Firm contracts, None after a plan that only followed; `verdicts`: by outage, as many as
    there was time for, None where it could not be worked out.
    """

    plan: Plan
    violations: tuple[str, ...]
    contracts: frozenset[str] | None
    offers: Mapping[str, Answer] = {}
    risks: Mapping[str, Risk] | None = None
    verdicts: Mapping[str, Judged | None] = {}


@dataclass(frozen=True, slots=True)
class Answered:
    """`solved`, or why not; `interrupted`: something more urgent came, and the last plan stands."""

    solved: Solved | None
    error: str
    cpu_seconds: float
    interrupted: bool = False


def consult(planner: Planner, solved: Solved, question: Question, clock: Callable[[], float] = time.monotonic) -> Solved:
    """The plan with what else was asked, by the planner that keeps it; `clock` tells seconds."""
    offers = {quote.key: _soundly(planner, quote) for quote in question.quotes}
    risks = planner.kept().admission.risks.all() if solved.contracts is None else None
    return solved._replace(offers=offers, risks=risks, verdicts=_verdicts(planner, question.outages, clock))


def _verdicts(planner: Planner, outages: Sequence[Outage], clock: Callable[[], float]) -> dict[str, Judged | None]:
    """In their order, until the time for it is over; one at least. A plan must not be late for them."""
    found: dict[str, Judged | None] = {}
    begun = clock()
    for outage in outages:
        if found and clock() - begun >= JUDGING_SECONDS:
            break
        found[outage.name] = _verdict(planner, outage)
    return found


def _verdict(planner: Planner, outage: Outage) -> Judged | None:
    """None where it cannot be worked out: it stays as it is, and keeps nobody from being delivered."""
    try:
        return judged(planner, outage)
    except Exception:
        log.exception("the outage %s cannot be judged", outage.name)
        return None


def _soundly(planner: Planner, quote: Contract) -> Answer:
    """A quote that cannot be answered must not keep anybody from being delivered."""
    try:
        return _offer(planner, quote)
    except Exception as error:
        log.exception("the quote %s cannot be answered", quote.key)
        text = f"{quote.product}: no answer could be worked out ({type(error).__name__}: {error})"
        return Answer(
            Promise.NONE, None, (), Undelivered(quote.key, quote.start, quote.end, quote.gpus, Reason.NO_CAPACITY, text, refused=True)
        )


def _offer(planner: Planner, quote: Contract) -> Answer:
    """Full where the plan keeps it; else what could be had beside the plan."""
    live = planner.kept()
    key = hold_key(quote.key)
    if (demand := live.book.demands.get(live.index.get(key, -1))) is not None:
        return Answer(Promise.FULL, live.admission.risks.of(demand), (), None)
    refused = live.announced.refused.get(key) if quote.firm else None  # an Interruptible one may ask for less than its hold does
    return answer(live, quote, refused and refused._replace(contract=quote.key))
