"""AtRisk: what of the time ahead the plan leaves undelivered, or how likely a failure is to do so, where the product has a target.

What is known to be short comes before what may be. A figure comes from a thorough plan, and counts until the next one; a contract that is
at risk by it stays so until the figure is clearly below the target, because it moves a little with every plan.
"""

from __future__ import annotations

from typing import Any

from laycan.control import conditions as c
from laycan.control.curtailment import beyond_right
from laycan.control.decision import Decision
from laycan.control.draft import Draft
from laycan.delivery.metering.served import Due
from laycan.kube.sound import mapping
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan_solver.risk import Risk

RESERVE = "Reserve"  # the reason where nothing is short yet
CLEAR_PERCENT = 90  # of the target: below it the risk is over


def tell_risk(draft: Draft, world: World, decision: Decision, owed: Due) -> None:
    """States the condition by the latest decision, inside the window or before it."""
    short = beyond_right([u for u in decision.undelivered if not u.refused], draft.notices, draft.now)
    target = target_ppm(world, owed.product)
    if short:
        first = min(short, key=lambda u: (u.start, u.end, -u.gpus))
        window = {"start": format_time(first.start), "end": format_time(first.end)}
        change: dict[str, Any] = {"gpus": first.gpus, "window": window}
        draft.flip(c.AT_RISK, True, first.code.value, first.message, event="risk.raised", change=change)
    elif target is not None and decision.risk is not None and _exceeds(draft, decision.risk, target):
        _tell_reserve(draft, decision.risk, target, owed)
    elif draft.conditions.true(c.AT_RISK) and not (target is not None and decision.risk is None and _by_reserve(draft)):
        draft.flip(c.AT_RISK, False, "Planned", "", event="risk.cleared")


def _by_reserve(draft: Draft) -> bool:
    """Whether it is at risk by a figure."""
    return draft.conditions.true(c.AT_RISK) and draft.conditions.reason(c.AT_RISK) == RESERVE


def _exceeds(draft: Draft, risk: Risk, target: int) -> bool:
    return risk.ppm >= target or (_by_reserve(draft) and risk.ppm * 100 >= target * CLEAR_PERCENT)


def _tell_reserve(draft: Draft, risk: Risk, target: int, owed: Due) -> None:
    ppm = rounded_up(risk.ppm)
    spares = f"{risk.spare_nodes} spare node{'' if risk.spare_nodes == 1 else 's'} at the fewest"
    helps = "bring back nodes that are down, add some, or end or shift what else is sold there"
    message = f"the chance of a shortfall is {ppm} ppm in its worst 30 days, its target {target} ppm; {spares}: {helps}"
    window = {"start": format_time(max(draft.now, owed.start)), "end": format_time(owed.end)}
    change = {"gpus": owed.gpus, "window": window, "shortfallProbabilityPpm": ppm, "targetPpm": target}
    draft.flip(c.AT_RISK, True, RESERVE, message, event="risk.raised", change=change)


def rounded_up(ppm: int) -> int:
    """To two significant digits, at most 1,000,000: what is written must not change with every plan."""
    unit: int = 10 ** max(0, len(str(ppm)) - 2)
    rounded: int = -(-ppm // unit) * unit
    return min(rounded, 1_000_000)


def target_ppm(world: World, product: str) -> int | None:
    """The product's target, millionths in 30 days; None without one."""
    target = mapping(mapping(mapping(world.products.get(product)).get("spec")).get("target")).get("shortfallPpm")
    return target if isinstance(target, int) and not isinstance(target, bool) else None
