"""The life of a contract: one table of phases, everything else is a condition.

A phase changes only through `move`, which looks the step up in `TABLE`; a step that is not there raises and changes nothing. Time
only moves contracts forward: no row leads back, and what was accepted is never judged again, so no row leads from Accepted or
Delivering to Rejected. The picture in docs/lifecycle.md is drawn from the same table by `diagram`.

Guards (contract.md 2) are not in the table, because they need the clock, the fleet and the contract itself; `control.status` asks
for a step only when its guard holds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType


class Phase(StrEnum):
    NEW = ""  # not looked at yet: the object has no status
    RECEIVED = "Received"
    REJECTED = "Rejected"
    QUOTED = "Quoted"
    EXPIRED = "Expired"
    ACCEPTED = "Accepted"
    DELIVERING = "Delivering"
    DELIVERED = "Delivered"
    SETTLED = "Settled"
    CANCELLED = "Cancelled"
    TERMINATED = "Terminated"


class Step(StrEnum):
    """What makes a contract change its phase; the text is the label in the diagram."""

    APPEAR = "the resource exists"
    REJECT = "refused, with a reason"
    QUOTE = "intent Quote, offer computed"
    EXPIRE = "validUntil passed or hold taken up"
    ACCEPT = "admitted: every lot fits"
    START = "first lot handed over, or start passed"
    END = "window over and metered, make-good used or closed"
    SETTLE = "delivery accepted, or disputeSeconds lapsed"
    CANCEL = "deleted or terminated before the start"
    TERMINATE = "deleted or terminated after the start"


TABLE: Mapping[tuple[Phase, Step], Phase] = MappingProxyType(
    {
        (Phase.NEW, Step.APPEAR): Phase.RECEIVED,
        (Phase.RECEIVED, Step.REJECT): Phase.REJECTED,
        (Phase.QUOTED, Step.REJECT): Phase.REJECTED,
        (Phase.RECEIVED, Step.QUOTE): Phase.QUOTED,
        (Phase.QUOTED, Step.EXPIRE): Phase.EXPIRED,
        (Phase.RECEIVED, Step.ACCEPT): Phase.ACCEPTED,
        (Phase.QUOTED, Step.ACCEPT): Phase.ACCEPTED,
        (Phase.ACCEPTED, Step.START): Phase.DELIVERING,
        (Phase.DELIVERING, Step.END): Phase.DELIVERED,
        (Phase.DELIVERED, Step.SETTLE): Phase.SETTLED,
        (Phase.ACCEPTED, Step.CANCEL): Phase.CANCELLED,
        (Phase.ACCEPTED, Step.TERMINATE): Phase.TERMINATED,
        (Phase.DELIVERING, Step.TERMINATE): Phase.TERMINATED,
    }
)

COMMITTED = frozenset({Phase.ACCEPTED, Phase.DELIVERING})  # holds nodes, is delivered, is owed
UNDECIDED = frozenset({Phase.NEW, Phase.RECEIVED, Phase.QUOTED})
FINAL = frozenset(phase for phase in Phase if not any(origin is phase for origin, _ in TABLE))


class IllegalStepError(Exception):
    """A step that the table does not know: a mistake of the caller, never of the contract's author."""


def move(phase: Phase, step: Step) -> Phase:
    """The phase after `step`; raises IllegalStepError when the table has no such row."""
    try:
        return TABLE[phase, step]
    except KeyError:
        known = ", ".join(s.name for p, s in TABLE if p is phase) or "none: it is final"
        raise IllegalStepError(f"phase {phase.value or 'NEW'} has no step {step.name} (steps from here: {known})") from None


def diagram() -> str:
    """The table as a Mermaid state diagram, one line per row, final phases leading to the end mark."""
    lines = ["stateDiagram-v2"]
    for (origin, step), target in TABLE.items():
        lines.append(f"    {origin.value or '[*]'} --> {target.value}: {step.value}")
    lines += [f"    {phase.value} --> [*]" for phase in Phase if phase in FINAL]
    return "\n".join(lines) + "\n"


def redraw(document: Path) -> None:
    """Puts the diagram into the document's mermaid block."""
    text = document.read_text()
    document.write_text(re.sub(r"```mermaid\n.*?```\n", lambda _: f"```mermaid\n{diagram()}```\n", text, count=1, flags=re.DOTALL))


if __name__ == "__main__":
    redraw(Path(sys.argv[1]))
