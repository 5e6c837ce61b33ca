"""What planning decided about one contract: input of the next status, never stored.

A decision is the latest word as a whole: a newer one replaces it, whether or not it was written. What binds is what stands in
the contract's status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from laycan_solver.alternatives import Alternative
from laycan_solver.model import Binding, Undelivered
from laycan_solver.offers import Promise
from laycan_solver.risk import Risk


class PlannedBinding(NamedTuple):
    """`gpus` GPUs on one node for [start, end); `product` is the grade that the node is, `level` how exactly they are delivered."""

    node: str
    product: str
    gpus: int
    start: int
    end: int
    level: str = "Node"

    @classmethod
    def of(cls, binding: Binding, level: str) -> PlannedBinding:
        return cls(binding.node, binding.product, binding.gpus, binding.start, binding.end, level)


class Reason(NamedTuple):
    """Why a contract is refused, stalled or short; `window` is [start, end) in Unix seconds."""

    code: str
    message: str
    pool: str | None = None
    window: tuple[int, int] | None = None


class Offered(NamedTuple):
    """The answer to a quote; `held`: its capacity is kept until `valid_until` (its last second, Unix)."""

    promise: Promise
    valid_until: int
    held: bool
    risk: Risk | None
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """`accepted`: True = promised (now or earlier), False = refused, None = not decided (`reason` may say what stalls it), or a quote.

    `bindings` is everything from `planned_at` on; history is not planned. Those of a quote are where its hold lies. `risk`: of a Firm
    contract, from the last thorough plan; None: none is known yet.
    """

    accepted: bool | None
    planned_at: int
    reason: Reason | None = None
    bindings: tuple[PlannedBinding, ...] = ()
    undelivered: tuple[Undelivered, ...] = ()
    offer: Offered | None = None
    risk: Risk | None = None
    uid: str = ""  # of the contract that was decided: one that was deleted and created again is another one
