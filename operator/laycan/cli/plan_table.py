"""A plan for people: one line per contract, then what is short and why, what moves, and the totals."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator

from laycan.cli.output import write_lines
from laycan.cli.table import aligned, listed
from laycan.resources.money import format_money
from laycan.resources.times import format_time
from laycan_solver.model import Contract, Plan, Problem, Undelivered

COLUMNS = ("CONTRACT", "PRODUCT", "GPUS", "START", "END", "PLAN", "NODES")
WIDE = ("CLASS", "HOLDER", "ON")
NUMBERS = ("GPUS", "NODES")  # columns that stand to the right


def print_plan(problem: Problem, plan: Plan, *, wide: bool) -> None:
    """Writes the plan to stdout, the heading in bold on a terminal. Lines are as long as they are: a plan has 10,000 of them."""
    heading, *rows = aligned([(*COLUMNS, *(WIDE if wide else ())), *_rows(problem, plan, wide)], right=NUMBERS)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(heading, style="bold", soft_wrap=True)
    else:
        rows.insert(0, heading)
    write_lines((*rows, *_gaps(plan), *_moves(plan), _summary(plan)))


def _rows(problem: Problem, plan: Plan, wide: bool) -> Iterator[tuple[str, ...]]:
    nodes: dict[str, set[str]] = defaultdict(set)
    short: dict[str, list[Undelivered]] = defaultdict(list)
    for b in plan.bindings:
        nodes[b.contract].add(b.node)
    for u in plan.undelivered:
        short[u.contract].append(u)
    for c in sorted(problem.contracts, key=lambda c: (c.start, c.key)):
        on = nodes.get(c.key, set())
        more = ("Firm" if c.firm else "Interruptible", c.holder or "-", listed(sorted(on))) if wide else ()
        verdict = _verdict(problem, c, short.get(c.key, ()))
        yield c.key, c.product, str(c.gpus), format_time(c.start), format_time(c.end), verdict, str(len(on)), *more


def _verdict(problem: Problem, contract: Contract, gaps: Iterable[Undelivered]) -> str:
    if contract.end <= problem.now:
        return "ended"
    if refusal := next((u for u in gaps if u.refused), None):
        return f"refused: {refusal.code.value}"
    missing = sum(u.gpus * (u.end - u.start) for u in gaps)
    due = contract.gpus * (contract.end - max(contract.start, contract.due_from, problem.now))
    return f"short {missing * 100 / due:.1f} %" if missing and due else "full"


def _gaps(plan: Plan) -> Iterator[str]:
    for u in plan.undelivered:
        how = "refused" if u.refused else "undelivered"
        yield f"{u.contract}: {u.gpus} GPUs {how} [{format_time(u.start)}, {format_time(u.end)}): {u.code.value}: {u.message}"


def _moves(plan: Plan) -> Iterator[str]:
    for m in plan.moves:
        yield f"{m.contract}: {m.gpus} GPUs move from {m.source} to {m.target}: {m.reason.value}"


def _summary(plan: Plan) -> str:
    totals = plan.totals
    own = totals.owed_micros + totals.interruption_micros + totals.substitution_micros
    bound = f"{len({b.contract for b in plan.bindings})} contracts bound"
    due = f"{totals.bound_gpu_seconds} of {totals.contracted_gpu_seconds} GPU-seconds"
    owed = f"owed {format_money(totals.owed_micros)} of a value of {format_money(totals.value_micros)}"
    costs = f"interruption {format_money(totals.interruption_micros)}, substitution {format_money(totals.substitution_micros)}"
    least = format_money(plan.bound.total_micros)
    proof = f"proven: no plan costs less than {least}, this one {format_money(own)} (gap {plan.total_gap_ppm} ppm)"
    return f"{bound}, {due}; {owed}; {costs}; {proof}; {totals.moved_gpus} GPUs moved; stopped: {plan.stopped.value}"
