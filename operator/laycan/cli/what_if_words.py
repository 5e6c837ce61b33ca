"""What a what-if means, in one sentence, and how its figures are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laycan.cli.table import listed, many
from laycan.resources.money import format_money
from laycan.resources.times import format_time

if TYPE_CHECKING:
    from laycan.cli.selection import Selection
    from laycan_solver.effect import Effect
    from laycan_solver.outage_verdict import Verdict


def sentence(effect: Effect) -> str:
    """Who is short for it and by how much, what it costs, and whether lots move."""
    if not effect.changes:
        return "Nothing changes: nobody who was promised anything would notice."
    after, cost = effect.after, effect.cost_micros
    moved = f"{many(after.lots_moved, 'lot')} move" + ("s" if after.lots_moved == 1 else "") if after.lots_moved else "no lot moves"
    if effect.harmed:
        worst, short = effect.worst, sum(c.short_gpu_seconds for c in effect.harmed)
        who = f"{many(len(effect.harmed), 'contract')} would be short of {hours(short)} GPU-hours more"
        when = f"{many(worst.lots, 'lot')} at the worst, from {format_time(worst.start)} to {format_time(worst.end)}"
        return f"{who}: {when}; it would cost {format_money(cost)}, and {moved}."
    gained = -sum(c.short_gpu_seconds for c in effect.changes)
    if gained > 0:
        return f"Contracts would be short of {hours(gained)} GPU-hours less, which saves {format_money(-cost)}; {moved}."
    price = f"which costs {format_money(cost)}" if cost > 0 else f"which saves {format_money(-cost)}" if cost else "which costs nothing"
    return f"Nobody would be short of a GPU-second more; {moved}, {price}."


def verdict(some: Selection, found: Verdict) -> str:
    """What an Outage of these nodes would be called, and why."""
    start = f"As an Outage, draining {some.words} is {found.cover.value}"
    if found.harms:
        last = f"from {format_time(found.worst.start)} to {format_time(found.worst.end)}"
        whose = listed(found.contracts, 3, ", ")
        return f"{start}: {many(found.lots_short, 'lot')} short {last}, of {whose}."
    if not found.exposures:
        return f"{start}: nothing Firm is due while it lasts."
    worst = found.exposures[0]
    chance = (
        f"a failure finds no spare with a chance of {-(-worst.ppb // 1000)} ppm while it lasts ({many(worst.spare_nodes, 'spare node')})"
    )
    if worst.target_ppb is None:
        return f"{start}: {chance}; no target is set."
    return f"{start}: {chance}; the target of {worst.contract} is {worst.target_ppb // 1000} ppm."


def hours(gpu_seconds: int) -> str:
    """GPU-hours of GPU-seconds, one decimal, rounded half up; the sign comes first."""
    tenths = (2 * abs(gpu_seconds) + 360) // 720
    return f"{'-' if gpu_seconds < 0 and tenths else ''}{tenths // 10}.{tenths % 10}"


def span(seconds: int) -> str:
    """A length of time: `4 h`, `90 min`, `30 s`: the largest unit of which it is a whole number."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
