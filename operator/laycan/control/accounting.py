"""What a contract is owed and forgiven, as `classify` wants it."""

from __future__ import annotations

from laycan.control.draft import Draft
from laycan.control.tolerance import tolerance
from laycan.delivery.metering.served import due
from laycan.kube.world import World
from laycan_verify.classes import Terms


def terms_of(draft: Draft, world: World) -> Terms:
    """Of the whole window, or up to where the contract was ended."""
    owed, allowed = due(draft.contract), tolerance(draft.contract, world)
    end = owed.end if draft.ended_at is None else max(owed.start, min(owed.end, draft.ended_at))
    return Terms(owed.start, end, owed.lots, owed.lot_gpus, allowed.grace_seconds, allowed.grace_cap_ppm, agreed_end=owed.end)
