"""Every second of every lot has exactly one class, the first that applies (contract.md 4).

What is neither proven delivered (`samples`) nor covered by right, buyer or excuse (`events`) is an outage. Grace is a franchise: an
outage of at most `grace_seconds` is excused as a whole, a longer one is Shortfall from its onset. It is granted when an outage ends,
in that order, while the cap of the contract-month (30 days from the start) has room. An open outage counts as if it ended now.

An estimated sample is taken for delivery while the cap of its lot and UTC day has room, the earliest seconds first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from laycan_verify.classes import DAY_SECONDS, MONTH_SECONDS, RANK, Class, Counters, Estimate, Outage, Stretch, Terms


def classify(
    samples: Iterable[Stretch], terms: Terms, events: Iterable[Stretch] = (), until: int | None = None, opening: Counters | None = None
) -> Counters:
    """Counters of the window up to `until` (its end); `opening` stands for all before it. However the time is cut, they are equal."""
    return judge(samples, terms, events, until, opening).counters


class Judged(NamedTuple):
    pieces: list[Stretch]  # the time from the opening to `until`, every second of every lot once, with its class
    counters: Counters
    carried: tuple[Outage, ...]  # the outages of the opening, with the class that they have by now


def judge(
    samples: Iterable[Stretch], terms: Terms, events: Iterable[Stretch] = (), until: int | None = None, opening: Counters | None = None
) -> Judged:
    """What `classify` counts, piece by piece."""
    begin = opening or Counters(terms.start)
    hi = max(begin.until, min(terms.end, terms.end if until is None else until))
    guessed = Counter({(e.lot, e.day): e.seconds for e in begin.estimates})
    found = list(_found((*samples, *events), terms, begin.until, hi, guessed))
    ended, still = _outages(found, begin.outages, hi if hi == terms.end else None)
    month, used = begin.month, begin.grace_used
    for run in ended:
        run.cls, month, used = _judge(run, run.end, terms, month, used)
    left = month, used
    for run in still:
        run.cls, *left = _judge(run, hi, terms, *left)  # type: ignore[assignment]
    made = [s for s in found if s.cls is not Class.SHORTFALL] + [replace(s, cls=run.cls) for run in (*ended, *still) for s in run.parts]
    total = Counter(begin.gpu_seconds)
    for o in begin.outages:
        total[o.cls] -= o.seconds * terms.lot_gpus
    for cls, seconds in [(run.cls, run.before) for run in (*ended, *still)] + [(s.cls, s.end - s.start) for s in made]:
        total[cls] += seconds * terms.lot_gpus
    if sum(total.values()) != terms.gpu_seconds(hi) or any(v < 0 for v in total.values()):
        raise ArithmeticError(f"classes do not add up to what was contracted until {hi}: {dict(total)}")
    estimated = begin.estimated + sum(s.end - s.start for s in made if s.estimated) * terms.lot_gpus
    today = tuple(Estimate(lot, day, n) for (lot, day), n in sorted(guessed.items()) if (day + 1) * DAY_SECONDS > hi and n)
    outages = tuple(Outage(run.since, run.lot, run.seconds, run.cls) for run in still)
    carried = tuple(sorted(Outage(run.since, run.lot, run.before, run.cls) for run in (*ended, *still) if run.before))
    return Judged(made, Counters(hi, {cls: total[cls] for cls in Class if total[cls]}, outages, month, used, estimated, today), carried)


@dataclass(slots=True)
class _Run:
    """One outage: `before` are its seconds before the opening, `parts` what came after."""

    since: int
    lot: int
    before: int = 0
    parts: list[Stretch] = field(default_factory=list)
    end: int = 0
    cls: Class = Class.SHORTFALL

    @property
    def seconds(self) -> int:
        return self.before + sum(part.end - part.start for part in self.parts)


def _outages(found: Iterable[Stretch], before: Sequence[Outage], last: int | None) -> tuple[list[_Run], list[_Run]]:
    """Those that ended, in that order, and those that are open; at `last` all end."""
    ended, still = list[_Run](), {o.lot: _Run(o.since, o.lot, o.seconds) for o in before}
    for s in found:
        if s.cls is Class.SHORTFALL:
            still.setdefault(s.lot, _Run(s.start, s.lot)).parts.append(s)
        elif s.cls is Class.DELIVERED and s.lot in still:
            ended.append(still.pop(s.lot))
            ended[-1].end = s.start
    for lot in sorted(still) if last is not None else ():
        ended.append(still.pop(lot))
        ended[-1].end = last or 0
    return sorted(ended, key=lambda run: (run.end, run.lot)), sorted(still.values(), key=lambda run: (run.since, run.lot))


def _found(stretches: Iterable[Stretch], terms: Terms, lo: int, hi: int, guessed: Counter[tuple[int, int]]) -> Iterator[Stretch]:
    """[lo, hi) of each lot in stretches of one class, Shortfall where nothing applies. `guessed`: what was estimated of (lot, day)."""
    mine: dict[int, list[Stretch]] = defaultdict(list)
    for s in stretches:
        if max(s.start, lo) < min(s.end, hi):
            mine[s.lot].append(s)
    for lot in range(terms.lots):
        for a, b, cls, likely in _timeline(mine[lot], lo, hi):
            c = a
            if likely and RANK[cls] > RANK[Class.DELIVERED]:
                day = a // DAY_SECONDS
                agreed = terms.agreed_seconds(day * DAY_SECONDS, (day + 1) * DAY_SECONDS)
                c = max(a, min(b, a + agreed * terms.estimate_cap_ppm // 1_000_000 - guessed[lot, day]))
                guessed[lot, day] += c - a
            if a < c:
                yield Stretch(lot, a, c, Class.DELIVERED, estimated=True)
            if c < b:
                yield Stretch(lot, c, b, cls)


def _timeline(stretches: list[Stretch], lo: int, hi: int) -> Iterator[tuple[int, int, Class, bool]]:
    """[lo, hi) of one lot cut into pieces of one class, and whether an estimated sample speaks for it."""
    edges = [t for s in stretches for t in (s.start, s.end)]
    if any(s.estimated for s in stretches):
        edges += range(lo - lo % DAY_SECONDS, hi, DAY_SECONDS)
    ahead, here = sorted(stretches, key=lambda s: -s.start), list[Stretch]()
    for a, b in pairwise(sorted({lo, hi, *(min(hi, max(lo, t)) for t in edges)})):
        here = [s for s in here if s.end > a]
        while ahead and ahead[-1].start <= a:
            here.append(ahead.pop())
        classes = (s.cls for s in here if not s.estimated)
        yield a, b, min(classes, key=RANK.__getitem__, default=Class.SHORTFALL), any(s.estimated for s in here)


def _judge(run: _Run, end: int, terms: Terms, month: int, used: int) -> tuple[Class, int, int]:
    """Grace or Shortfall for an outage that ends at `end`, and how much of which month's cap is used after it."""
    now = (end - 1 - terms.start) // MONTH_SECONDS
    used = used if now == month else 0
    first = terms.start + now * MONTH_SECONDS
    gpu_seconds = run.seconds * terms.lot_gpus
    cap = terms.agreed_seconds(first, first + MONTH_SECONDS) * terms.lots * terms.lot_gpus * terms.grace_cap_ppm // 1_000_000
    if run.seconds <= terms.grace_seconds and used + gpu_seconds <= cap:
        return Class.GRACE, now, used + gpu_seconds
    return Class.SHORTFALL, now, used
