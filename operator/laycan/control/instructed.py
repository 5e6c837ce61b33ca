"""What follows from the instructions that were applied to a contract: `status.instructions`.

The head of the chain and a few facts; the operator keeps nothing else of an instruction. What is the buyer's is kept until the meter
has passed it: then it stands in the counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from laycan.evidence.readings import lots_text, parse_lots
from laycan.resources.times import format_time, parse_time
from laycan_verify.classes import Class, Stretch

MOST_BYTES = 4_096  # of all of it, from which on nothing that would make it longer is taken: an event has 64 kB for everything


class Caused(NamedTuple):
    """Lots in [start, end), Unix seconds, of which what is not delivered is the buyer's."""

    lots: tuple[int, ...]
    start: int
    end: int

    def stretches(self) -> Iterator[Stretch]:
        return (Stretch(lot, self.start, self.end, Class.BUYER_CAUSED) for lot in self.lots)


@dataclass(frozen=True, slots=True)
class Instructed:
    head: str = ""  # digest of the last act that was applied
    signed: bool = False  # the exchange signs: nothing unsigned has an effect any more
    suspended_since: int | None = None
    delivery: str = ""  # what the exchange says of it: Disputed, Accepted
    caused: tuple[Caused, ...] = ()

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> Instructed:
        raw = status.get("instructions") or {}
        since = raw.get("suspendedSince")
        return cls(
            raw.get("headDigest", ""),
            bool(raw.get("signed")),
            parse_time(since) if since else None,
            raw.get("delivery", ""),
            tuple(Caused(tuple(parse_lots(c["lots"])), parse_time(c["start"]), parse_time(c["end"])) for c in raw.get("buyerCaused") or ()),
        )

    def dump(self) -> dict[str, Any]:
        """Empty where no instruction was applied and nobody signs."""
        raw: dict[str, Any] = {"headDigest": self.head} if self.head else {}
        raw |= {"signed": True} if self.signed else {}
        raw |= {"suspendedSince": format_time(self.suspended_since)} if self.suspended_since is not None else {}
        raw |= {"delivery": self.delivery} if self.delivery else {}
        caused = [{"lots": lots_text(c.lots), "start": format_time(c.start), "end": format_time(c.end)} for c in self.caused]
        return raw | ({"buyerCaused": caused} if caused else {})

    @property
    def suspended(self) -> bool:
        return self.suspended_since is not None

    def buyers(self, lots: int, end: int) -> tuple[Stretch, ...]:
        """What is the buyer's by right of all that was applied: of a contract of so many lots that ends at `end`, Unix seconds."""
        held = [Caused(tuple(range(lots)), self.suspended_since, end)] if self.suspended_since is not None else []
        return tuple(s for caused in (*self.caused, *held) for s in caused.stretches() if s.start < s.end)

    def metered(self, until: int) -> Instructed:
        """Without what the meter has passed."""
        kept = tuple(c for c in self.caused if c.end > until)
        return self if kept == self.caused else replace(self, caused=kept)


def lots_named(text: str, lots: int) -> tuple[int, ...] | None:
    """`0-3,7` as numbers of a contract of so many lots; None where they do not rise, or are not its own."""
    spans = [tuple(map(int, part.split("-"))) for part in text.split(",")]
    if not _rise([number for span in spans for number in (span[0], span[-1])]) or spans[-1][-1] >= lots:
        return None
    return tuple(dict.fromkeys(lot for span in spans for lot in range(span[0], span[-1] + 1)))


def _rise(edges: Iterable[int]) -> bool:
    """Whether [first, last, first, last, …] are spans in order that do not overlap: however long the text, they name each lot once."""
    rows = list(edges)
    inside = all(a <= b for a, b in zip(rows[::2], rows[1::2], strict=True))
    return inside and all(b < a for b, a in zip(rows[1::2], rows[2::2], strict=False))
