"""The axis of time: from shortly before now to the end of the book, in bins of a width that people count in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from laycan.desk.report.figures import counted, position
from laycan_solver.model import Plan, Problem

HOUR, DAY = 3_600, 86_400
WIDTHS = (900, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY)  # seconds
MOST_BINS = 400
MOST_TICKS = 16
EMPTY = 30 * DAY  # shown of a book without contracts
MONTHS = (1, 3, 6, 12, 24, 60)


@dataclass(frozen=True, slots=True)
class Tick:
    left: str  # percent
    label: str
    near_now: bool  # so near that its label would lie under that of now


@dataclass(frozen=True, slots=True)
class Scale:
    """Unix seconds; `start` and `end` lie on edges of bins."""

    now: int
    start: int
    end: int
    bin_seconds: int

    @property
    def bins(self) -> int:
        return (self.end - self.start) // self.bin_seconds

    def left(self, time: int) -> str:
        """Where an instant lies, in percent of the axis."""
        return position(time - self.start, self.end - self.start)

    @property
    def now_bin(self) -> str:
        """Where now lies, in bins from the start, three decimals."""
        thousandths = (self.now - self.start) * 1_000 // self.bin_seconds
        return f"{thousandths // 1_000}.{thousandths % 1_000:03}"

    @property
    def bin_text(self) -> str:
        """`6 hours`, `day`: how long a bin is."""
        seconds, what = next((s, w) for s, w in ((DAY, "day"), (HOUR, "hour"), (60, "minute")) if self.bin_seconds % s == 0)
        return what if self.bin_seconds == seconds else counted(self.bin_seconds // seconds, what)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Labels at months or days, a dozen or so."""
        near = (self.end - self.start) // 20
        marks = [(t, label) for t, label in self._marks() if self.start <= t < self.end]
        return tuple(Tick(self.left(t), label, abs(t - self.now) < near) for t, label in marks)

    def _marks(self) -> Iterator[tuple[int, str]]:
        span = self.end - self.start
        if span <= 75 * DAY:
            step = next((s for s in (HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY) if span // s <= MOST_TICKS), 7 * DAY)
            for t in range(self.start - self.start % step, self.end, step):
                yield t, datetime.fromtimestamp(t, UTC).strftime("%d %b" if step >= DAY else "%d %b %H:%M")
            return
        months = next((m for m in MONTHS if span // (30 * DAY * m) <= MOST_TICKS), MONTHS[-1])
        first = datetime.fromtimestamp(self.start, UTC)
        month = (first.year * 12 + first.month - 1) // months * months
        while (at := int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())) < self.end:
            yield at, datetime.fromtimestamp(at, UTC).strftime("%b %Y" if months < 12 else "%Y")
            month += months


def scale_of(problem: Problem, plan: Plan) -> Scale:
    """From a little before `now`, so that what runs is seen to run, to the last end of a contract or binding."""
    ends = [c.end for c in problem.contracts if c.end > plan.now]
    ends += [b.end for b in plan.bindings]
    last = max(ends, default=plan.now + EMPTY)
    first = plan.now - (last - plan.now) // 60
    width = next((w for w in WIDTHS if (last - first) // w < MOST_BINS), (last - first) // MOST_BINS // DAY * DAY + DAY)
    return Scale(plan.now, first // width * width, -(-last // width) * width, width)
