"""What was metered of a contract since its last receipt: stretches of lots, run by run, as short as they can be said.

A day without a fault is one entry for all lots. Delivered and withdrawn stretches are what `classify` needs; beside them stand the
causes of what is in neither, which is what a receipt's incidents tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from laycan.resources.times import format_time, parse_time
from laycan_verify.classes import Class, Counters, Stretch, Terms
from laycan_verify.classify import Judged, judge


class Cause(NamedTuple):
    """Why lot `lot` was not proven delivered in [start, end), Unix seconds."""

    lot: int
    start: int
    end: int
    cause: str  # one word in CamelCase


T = TypeVar("T", Stretch, Cause)


class Readings(NamedTuple):
    stretches: tuple[Stretch, ...] = ()
    causes: tuple[Cause, ...] = ()

    def extended(self, stretches: Iterable[Stretch], causes: Iterable[Cause]) -> Readings:
        """With what was metered since; neighbours that say the same become one."""
        joined = _joined([*self.stretches, *stretches], lambda s: (s.lot, s.cls, s.estimated))
        why = _joined([*self.causes, *causes], lambda c: (c.lot, c.cause))
        return Readings(tuple(joined), tuple(why))

    def without(self, holes: Collection[Cause]) -> Readings:
        """With no delivery in these stretches, and why; itself where there was none."""
        kept = list(self.stretches)
        for hole in holes:
            kept = [part for s in kept for part in _outside(s, hole)]
        return self if kept == list(self.stretches) else Readings(tuple(kept), self.causes).extended((), holes)

    def after(self, instant: int) -> Readings:
        """What of it lies after the instant."""
        kept = tuple(replace(s, start=max(s.start, instant)) for s in self.stretches if s.end > instant)
        return Readings(kept, tuple(c._replace(start=max(c.start, instant)) for c in self.causes if c.end > instant))

    def before(self, instant: int) -> Readings:
        """What of it lies before the instant."""
        kept = tuple(replace(s, end=min(s.end, instant)) for s in self.stretches if s.start < instant)
        return Readings(kept, tuple(c._replace(end=min(c.end, instant)) for c in self.causes if c.start < instant))

    def judged(self, terms: Terms, until: int, opening: Counters) -> Judged:
        """What `classify` makes of them from the opening on."""
        samples = [s for s in self.stretches if s.cls is Class.DELIVERED]
        return judge(samples, terms, [s for s in self.stretches if s.cls is not Class.DELIVERED], until, opening)

    def dump(self) -> list[dict[str, Any]]:
        """As `status.receipts.readings`: one entry for all lots of which the same is said."""
        groups: dict[tuple[int, int, str, bool, str], list[int]] = defaultdict(list)
        for s in self.stretches:
            groups[s.start, s.end, s.cls.value, s.estimated, ""].append(s.lot)
        for c in self.causes:
            groups[c.start, c.end, "", False, c.cause].append(c.lot)
        return [
            {"lots": lots_text(lots), "start": format_time(start), "end": format_time(end)}
            | ({"class": cls} if cls else {"cause": cause})
            | ({"estimated": True} if estimated else {})
            for (start, end, cls, estimated, cause), lots in sorted(groups.items())
        ]

    @classmethod
    def parse(cls, raw: Iterable[Mapping[str, Any]]) -> Readings:
        stretches, causes = [], []
        for entry in raw:
            start, end = parse_time(entry["start"]), parse_time(entry["end"])
            for lot in parse_lots(entry["lots"]):
                if "class" in entry:
                    stretches.append(Stretch(lot, start, end, Class(entry["class"]), bool(entry.get("estimated"))))
                else:
                    causes.append(Cause(lot, start, end, entry.get("cause", "")))
        return cls(tuple(stretches), tuple(causes)).extended((), ())


def _outside(stretch: Stretch, hole: Cause) -> list[Stretch]:
    """What of a stretch of delivery is left beside the hole; any other stands as it is."""
    if stretch.cls is not Class.DELIVERED or stretch.lot != hole.lot:
        return [stretch]
    parts = replace(stretch, end=min(stretch.end, hole.start)), replace(stretch, start=max(stretch.start, hole.end))
    return [part for part in parts if part.start < part.end] if hole.start < stretch.end and stretch.start < hole.end else [stretch]


def _joined(spans: Sequence[T], key: Callable[[T], tuple[Any, ...]]) -> list[T]:
    made: list[T] = []
    for span in sorted(spans, key=lambda s: (*map(str, key(s)), s.start)):
        if made and key(made[-1]) == key(span) and span.start <= made[-1].end:
            last = made[-1]
            end = max(last.end, span.end)
            made[-1] = replace(last, end=end) if isinstance(last, Stretch) else last._replace(end=end)
        else:
            made.append(span)
    return sorted(made, key=lambda s: (s.lot, s.start, *map(str, key(s))))


def lots_text(lots: Collection[int]) -> str:
    """`0-3,7` for 0, 1, 2, 3 and 7."""
    numbers = sorted(set(lots))
    starts = numbers[:1] + [b for a, b in pairwise(numbers) if b != a + 1]
    ends = [a for a, b in pairwise(numbers) if b != a + 1] + numbers[-1:]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def parse_lots(text: str) -> list[int]:
    """The other way round; raises ValueError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
