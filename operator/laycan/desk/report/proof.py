"""The proof of a plan in words: what is proven of it, what is not, and what is short.

Proven is what the certificate's prices show for every legal plan (`laycan_solver.certificate`), whatever was tried. Not proven is said
as plainly: a gap may be the plan's or the bound's, and no bound speaks of failures that have not happened yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from laycan.desk.report.figures import counted, hours, money, window
from laycan.desk.report.lines import Line, State, Sums
from laycan_solver.check import Violation
from laycan_solver.model import Plan, Problem, Stopped
from laycan_solver.shortages import Shortage, shortages

MOST_SHORTAGES = 12  # told one by one, the dearest first
MOST_VIOLATIONS = 20
ROUNDING = 2  # micros of a contract; the checker calls a plan optimal by the same measure

STOPPED = {
    Stopped.OPTIMAL: "The planner stopped because the plan meets the bound.",
    Stopped.EFFORT: "The planner stopped at its effort. More effort may close the gap, or prove nothing new.",
    Stopped.TIME_LIMIT: "The planner stopped at its time limit, before its effort was spent. A second run may differ.",
}


class Kind(StrEnum):
    PROVEN = "Proven"
    OPEN = "Not proven"
    WRONG = "Wrong"


@dataclass(frozen=True, slots=True)
class Statement:
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Proof:
    headline: str
    statements: tuple[Statement, ...]
    shortages: tuple[Shortage, ...]
    more_shortages: int


def proof_of(problem: Problem, plan: Plan, lines: Sequence[Line], sums: Sums, wrong: Sequence[Violation], currency: str) -> Proof:
    """`wrong`: what the independent checker found."""
    short = sorted(shortages(problem, plan.certificate), key=lambda s: (-s.micros * s.gpus * (s.end - s.start), s))
    statements = (*_checked(wrong), *_money(plan, sums, currency), *_refused(lines), *_short(plan, sums), *_open(plan, sums))
    headline = _headline(plan, lines, sums, currency)
    if wrong:
        headline = "This plan does not hold: the independent checker contradicts it."
    return Proof(headline, statements, tuple(short[:MOST_SHORTAGES]), max(0, len(short) - MOST_SHORTAGES))


def _headline(plan: Plan, lines: Sequence[Line], sums: Sums, currency: str) -> str:
    if sums.contracts == 0:
        return "No accepted contract is due from now on: there is nothing to deliver."
    short = sum(line.state is State.SHORT and not line.contract.reserve for line in lines)
    served = "Every accepted contract is delivered in full" + (", but for curtailment by right" if sums.curtailed else "")
    if short:
        served = f"{counted(short, 'accepted contract')} {'is' if short == 1 else 'are'} not delivered in full"
    if sums.cost == 0:
        return f"{served}, at no cost to the operator. No plan can do better."
    cost = f"{served}. The plan costs {money(sums.cost, currency)}"
    if _met(sums.cost, plan.bound.total_micros, sums):
        return f"{cost}, and no plan can cost less."
    return f"{cost}, at most {money(sums.cost - plan.bound.total_micros, currency)} more than any plan must."


def _checked(wrong: Sequence[Violation]) -> Iterator[Statement]:
    if not wrong:
        text = "The plan is legal. An independent checker recomputed each binding, move, total and bound from the contracts and agrees."
        yield Statement(Kind.PROVEN, text)
    for violation in wrong[:MOST_VIOLATIONS]:
        yield Statement(Kind.WRONG, f"The independent checker disagrees. {violation}.")
    if len(wrong) > MOST_VIOLATIONS:
        yield Statement(Kind.WRONG, f"And {counted(len(wrong) - MOST_VIOLATIONS, 'more violation')}; see laycan check-plan.")


def _money(plan: Plan, sums: Sums, currency: str) -> Iterator[Statement]:
    firm = "what Firm contracts are owed (interruptions included)"
    yield _bounded(firm, plan.totals.firm_owed_micros, plan.bound.firm_micros, plan.firm_gap_ppm, sums, currency)
    whole = "the whole cost (owed, interruption and substitution)"
    yield _bounded(whole, sums.cost, plan.bound.total_micros, plan.total_gap_ppm, sums, currency)


def _met(own: int, bound: int, sums: Sums) -> bool:
    """Is the bound met, but for what rounding contract by contract takes off it?"""
    return own - bound <= ROUNDING * sums.contracts


def _bounded(what: str, own: int, bound: int, gap_ppm: int, sums: Sums, currency: str) -> Statement:
    has, share = money(own, currency), f"{gap_ppm:,} ppm of the contracts' value"
    if own == 0:
        return Statement(Kind.PROVEN, f"No plan has less of {what}: it is 0.")
    if _met(own, bound, sums):
        return Statement(Kind.PROVEN, f"No plan has less of {what} than this one: {has}.")
    if bound == 0:
        return Statement(Kind.OPEN, f"Whether a plan without {what} exists. This plan has {has}, which is {share}.")
    gap = f"this plan has {has}, a gap of {money(own - bound, currency)}, which is {share}"
    return Statement(Kind.PROVEN, f"Every legal plan has at least {money(bound, currency)} of {what}; {gap}.")


def _refused(lines: Sequence[Line]) -> Iterator[Statement]:
    refused = [line for line in lines if line.state is State.REFUSED]
    proved = sum(any("(proved)" in u.message for u in line.gaps) for line in refused)
    if proved:
        yield Statement(
            Kind.PROVEN, f"{counted(proved, 'candidate')} refused: no plan has room for what they ask beside what was accepted."
        )
    if proved < len(refused):
        text = f"{counted(len(refused) - proved, 'candidate')} refused: no place was found, and that there is none is not shown."
        yield Statement(Kind.OPEN, text)


def _short(plan: Plan, sums: Sums) -> Iterator[Statement]:
    text = f"{hours(sums.short)} GPU-hours stay undelivered and owed, {hours(sums.firm_short)} of them of Firm contracts."
    if sums.short and _met(sums.cost, plan.bound.total_micros, sums):
        yield Statement(Kind.PROVEN, f"{text} No plan costs less. Each has its reason below.")
    elif sums.short:
        yield Statement(Kind.OPEN, f"That nothing more can be delivered, beyond what the bounds say. {text} Each has its reason below.")


def _open(plan: Plan, sums: Sums) -> Iterator[Statement]:
    if not _met(sums.cost, plan.bound.total_micros, sums):
        yield Statement(Kind.OPEN, f"Whether the gap can be closed. {STOPPED[plan.stopped]}")
    yield Statement(
        Kind.OPEN,
        "What failures that have not happened yet will cost. Spare nodes and the chance of a shortfall stand below, product by product.",
    )


def shortage_text(s: Shortage, currency: str) -> str:
    """`NVIDIA-H100-80GB-HBM3 in blocks of 8 GPUs, 2027-01-04 to 2027-02-03: one GPU more is worth 4.20 USD an hour`."""
    worth = f"one GPU more is worth {money(s.micros, currency)} an hour"
    if s.most_micros != s.micros:
        worth += f" on average, {money(s.most_micros, currency)} at most"
    return f"{s.grade} in blocks of {counted(s.gpus, 'GPU')}, {window(s.start, s.end)}: {worth}"
