"""Alternatives to what was asked and cannot be had as a whole: what they are, and which is the best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from .model import Contract, Scope
from .promise import Risk

MOST = 16  # that are told
Part = tuple[int, int, int]  # start, end, GPUs


class Kind(IntEnum):
    """In what an alternative differs, the ones that a buyer minds least in front."""

    GRADE = 1
    SCOPE = 2
    FEWER = 3
    INTERRUPTIBLE = 4
    LATER = 5
    EARLIER = 6
    SPLIT = 7


@dataclass(frozen=True)
class Alternative:
    """`contracts` as they would be accepted if they came now and alone: one, or the parts of a split in order of time.

    `shift` is by how many seconds the last delivery is away from what was asked; `risk` the largest of theirs.
    """

    kind: Kind
    contracts: tuple[Contract, ...]
    reason: str  # in words, in what it differs
    risk: Risk
    shift: int = 0

    @property
    def start(self) -> int:
        return self.contracts[0].start

    @property
    def end(self) -> int:
        return max(c.end for c in self.contracts)

    @property
    def gpus(self) -> int:
        """Of a split those of the largest part."""
        return max(c.gpus for c in self.contracts)

    @property
    def product(self) -> str:
        return self.contracts[0].product

    @property
    def firm(self) -> bool:
        return self.contracts[0].firm

    @property
    def scope(self) -> Scope | None:
        """Only of an alternative with a wider scope, or without the spread that was asked for."""
        return self.contracts[0].scope if self.kind is Kind.SCOPE else None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of a split; else none."""
        return tuple((c.start, c.end, c.gpus) for c in self.contracts) if len(self.contracts) > 1 else ()


def best_first(found: Iterable[Alternative]) -> tuple[Alternative, ...]:
    """At most `MOST`, none twice: by kind, then those nearest to what was asked."""
    told: dict[tuple[Contract, ...], Alternative] = {}
    for one in sorted(found, key=lambda a: (a.kind, a.shift, a.risk.ppb, a.start, a.product, a.reason)):
        told.setdefault(one.contracts, one)
    return tuple(told.values())[:MOST]
