"""Every second of every lot has exactly one class, the first that applies (contract.md 4).

What is neither proven delivered (`samples`) nor covered by right, buyer or excuse (`events`) is an outage. Grace is a franchise: an
outage of at most `grace_seconds` is excused as a whole, a longer one is Shortfall from its onset. It is granted when an outage ends,
in that order, while the cap of the contract-month (30 days from the start) has room. An open outage counts as if it ended now.

An estimated sample is taken for delivery while the cap of its lot and UTC day has room, the earliest seconds first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from laycan_verify.classes import DAY_SECONDS, MONTH_SECONDS, RANK, Class, Counters, Estimate, Outage, Stretch, Terms


def classify(
    samples: Iterable[Stretch], terms: Terms, events: Iterable[Stretch] = (), until: int | None = None, opening: Counters | None = None
) -> Counters:
    """Counters of the window up to `until` (its end); `opening` stands for all before it. However the time is cut, they are equal."""
    begin = opening or Counters(terms.start)
    hi = max(begin.until, min(terms.end, terms.end if until is None else until))
    total = Counter(begin.gpu_seconds)
    guessed = Counter({(e.lot, e.day): e.seconds for e in begin.estimates})
    before = guessed.total()
    for o in begin.outages:
        total[o.cls] -= o.seconds * terms.lot_gpus
    runs = {o.lot: o for o in begin.outages}
    mine: dict[int, list[Stretch]] = defaultdict(list)  # lot -> what touches the period
    for s in (*samples, *events):
        if max(s.start, begin.until) < min(s.end, hi):
            mine[s.lot].append(s)
    ended: list[tuple[int, Outage]] = []
    for lot in range(terms.lots):
        for a, b, cls in _estimate(_timeline(mine[lot], begin.until, hi), lot, terms, guessed):
            if cls is None:
                run = runs.get(lot) or Outage(a, lot, 0)
                runs[lot] = replace(run, seconds=run.seconds + b - a)
                continue
            total[cls] += (b - a) * terms.lot_gpus
            if cls is Class.DELIVERED and lot in runs:
                ended.append((a, runs.pop(lot)))
    if hi == terms.end:
        ended += [(hi, runs.pop(lot)) for lot in sorted(runs)]
    month, used = begin.month, begin.grace_used
    for end, run in sorted(ended, key=lambda e: (e[0], e[1].lot)):
        cls, month, used = _judge(run, end, terms, month, used)
        total[cls] += run.seconds * terms.lot_gpus
    open_outages, provisional = [], (month, used)
    for run in sorted(runs.values()):
        cls, *provisional = _judge(run, hi, terms, *provisional)  # type: ignore[assignment]
        total[cls] += run.seconds * terms.lot_gpus
        open_outages.append(replace(run, cls=cls))
    if sum(total.values()) != terms.gpu_seconds(terms.start, hi) or any(v < 0 for v in total.values()):
        raise ArithmeticError(f"classes do not add up to what was contracted until {hi}: {dict(total)}")
    estimated = begin.estimated + (guessed.total() - before) * terms.lot_gpus
    today = tuple(Estimate(lot, day, n) for (lot, day), n in sorted(guessed.items()) if (day + 1) * DAY_SECONDS > hi and n)
    return Counters(hi, {cls: total[cls] for cls in Class if total[cls]}, tuple(open_outages), month, used, estimated, today)


def _timeline(stretches: list[Stretch], lo: int, hi: int) -> Iterator[tuple[int, int, Class | None, bool]]:
    """[lo, hi) of one lot cut into pieces of one class, None where nothing applies, and whether an estimated sample speaks for it."""
    edges = [t for s in stretches for t in (s.start, s.end)]
    if any(s.estimated for s in stretches):
        edges += range(lo - lo % DAY_SECONDS, hi, DAY_SECONDS)
    for a, b in pairwise(sorted({lo, hi, *(min(hi, max(lo, t)) for t in edges)})):
        here = [s for s in stretches if s.start <= a and b <= s.end]
        yield a, b, min((s.cls for s in here if not s.estimated), key=RANK.__getitem__, default=None), any(s.estimated for s in here)


def _estimate(
    pieces: Iterable[tuple[int, int, Class | None, bool]], lot: int, terms: Terms, guessed: Counter[tuple[int, int]]
) -> Iterator[tuple[int, int, Class | None]]:
    """Takes estimated seconds for delivered ones as far as the cap of the day allows; `guessed` holds what is used of it."""
    for a, b, cls, likely in pieces:
        if likely and (cls is None or RANK[cls] > RANK[Class.DELIVERED]):
            day = a // DAY_SECONDS
            due = terms.seconds(day * DAY_SECONDS, (day + 1) * DAY_SECONDS)
            c = a + min(b - a, due * terms.estimate_cap_ppm // 1_000_000 - guessed[lot, day])
            if a < c:
                guessed[lot, day] += c - a
                yield a, c, Class.DELIVERED
            a = max(a, c)
        if a < b:
            yield a, b, cls


def _judge(run: Outage, end: int, terms: Terms, month: int, used: int) -> tuple[Class, int, int]:
    """Grace or Shortfall for an outage that ends at `end`, and how much of which month's cap is used after it."""
    now = (end - 1 - terms.start) // MONTH_SECONDS
    used = used if now == month else 0
    first = terms.start + now * MONTH_SECONDS
    gpu_seconds = run.seconds * terms.lot_gpus
    cap = terms.gpu_seconds(first, first + MONTH_SECONDS) * terms.grace_cap_ppm // 1_000_000
    if run.seconds <= terms.grace_seconds and used + gpu_seconds <= cap:
        return Class.GRACE, now, used + gpu_seconds
    return Class.SHORTFALL, now, used
