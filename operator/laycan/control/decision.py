"""What planning decided about one contract: input of the next status, never stored.

A decision is the latest word as a whole: a newer one replaces it, whether or not it was written. What binds is what stands in
the contract's status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from laycan_solver.model import Binding, Undelivered


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


@dataclass(frozen=True, slots=True)
class Decision:
    """`accepted`: True = promised (now or earlier), False = refused, None = not decided (`reason` may say what stalls it).

    `bindings` is everything from `planned_at` on; history is not planned.
    """

    accepted: bool | None
    planned_at: int
    reason: Reason | None = None
    bindings: tuple[PlannedBinding, ...] = ()
    undelivered: tuple[Undelivered, ...] = ()
    uid: str = ""  # of the contract that was decided: one that was deleted and created again is another one
