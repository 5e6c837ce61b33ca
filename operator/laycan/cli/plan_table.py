"""A plan for people: one line per contract, then what is short and why, what moves, and the totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from laycan.resources.money import format_money
from laycan.resources.times import format_time
from laycan_solver.model import Binding, Contract, Plan, Problem, Undelivered

NODES_SHOWN = 6


def print_plan(problem: Problem, plan: Plan, *, wide: bool) -> None:
    """Writes the plan to stdout; colour only on a terminal, and none with NO_COLOR."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=240, color_system=None)
    console.print(_contracts(problem, plan, wide))
    for u in plan.undelivered:
        console.print(
            f"{u.contract}: {u.gpus} GPUs {'refused' if u.refused else 'undelivered'} {_span(u.start, u.end)}: {u.code.value}: {u.message}",
            soft_wrap=True,
        )
    for m in plan.moves:
        console.print(f"{m.contract}: {m.gpus} GPUs move from {m.source} to {m.target}: {m.reason.value}", soft_wrap=True)
    console.print(_summary(plan), soft_wrap=True)


def _contracts(problem: Problem, plan: Plan, wide: bool) -> Table:
    bound: dict[str, list[Binding]] = defaultdict(list)
    short: dict[str, list[Undelivered]] = defaultdict(list)
    for b in plan.bindings:
        bound[b.contract].append(b)
    for u in plan.undelivered:
        short[u.contract].append(u)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("CONTRACT", "PRODUCT", "GPUS", "START", "END", "PLAN", "NODES", *(("CLASS", "HOLDER", "ON") if wide else ())):
        table.add_column(name, justify="right" if name in ("GPUS", "NODES") else "left", no_wrap=not wide or name != "ON", overflow="fold")
    for c in sorted(problem.contracts, key=lambda c: (c.start, c.key)):
        nodes = sorted({b.node for b in bound[c.key]})
        more = ("Firm" if c.firm else "Interruptible", c.holder or "-", _listed(nodes)) if wide else ()
        verdict = _verdict(problem, c, short[c.key])
        table.add_row(c.key, c.product, str(c.gpus), format_time(c.start), format_time(c.end), verdict, str(len(nodes)), *more)
    return table


def _verdict(problem: Problem, contract: Contract, short: Iterable[Undelivered]) -> str:
    gaps = list(short)
    if contract.end <= problem.now:
        return "ended"
    if any(u.refused for u in gaps):
        return f"refused: {gaps[0].code.value}"
    missing = sum(u.gpus * (u.end - u.start) for u in gaps)
    due = contract.gpus * (contract.end - max(contract.start, contract.due_from, problem.now))
    return f"short {missing * 100 / due:.1f} %" if missing and due else "full"


def _listed(nodes: list[str]) -> str:
    hidden = len(nodes) - NODES_SHOWN
    return " ".join(nodes[:NODES_SHOWN]) + (f" and {hidden} more" if hidden > 0 else "")


def _span(start: int, end: int) -> str:
    return f"[{format_time(start)}, {format_time(end)})"


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
