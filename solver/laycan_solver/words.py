"""Explanations in words: one fact a line, figures in GPUs and GPU-hours, times in UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .reasons import Why
from .report import span

if TYPE_CHECKING:
    from .explain import Elsewhere, Explanation, Here, Remedy

CHOICES = {
    "Kept": "was announced there and stays",
    "Only": "is the only one with room through the window",
    "Cheapest": "is the only one with room that is no dearer substitute",
    "Tightest": "is, of those with room that cost as little, the one with the fewest GPUs free",
    "Room": "has room, as others have",
}
WHYS = {
    Why.WRONG_GRADE: "of a grade that the contract does not admit",
    Why.UNUSABLE: "not ready, or quarantined",
    Why.TOO_FEW_GPUS: "with fewer healthy GPUs than a lot",
    Why.CORDONED: "cordoned, taking nothing new",
    Why.OUTAGE: "in an outage",
    Why.HELD: "handed over whole to others, turnaround included",
    Why.SERVING: "serving it already, without room for more",
    Why.TAKEN: "taken by others",
    Why.TOPOLOGY: "with room, but not where scope and spread allow it",
    Why.ROOM: "with room",
}
SHOWN = 5  # bindings and nodes that are told one by one


def in_words(e: Explanation) -> Iterator[str]:
    yield f"{e.contract}: {e.gpus} GPUs of {e.product} in lots of {e.lot_gpus}, {span(e.start, e.end)}: {e.outcome}"
    yield from (f"  plan: {text}" for text in e.said)
    yield from _here(e)
    for there in e.elsewhere:
        yield from _elsewhere(there)
    for remedy in e.remedies:
        yield from _remedy(remedy)
    if e.left_out:
        yield f"  {e.left_out} smaller gaps are left out"


def _here(e: Explanation) -> Iterator[str]:
    for h in e.here[:SHOWN]:
        yield f"  here: {h.gpus} GPUs on {h.node} ({h.grade}{_of(h)}) {span(h.start, h.end)}: it {CHOICES[h.choice]}; {_compared(h)}"
    if rest := e.here[SHOWN:]:
        counts = Counter(CHOICES[h.choice] for h in rest)
        yield f"  here: {_count(len(rest), 'more binding')}: {', '.join(f'{n} because it {text}' for text, n in sorted(counts.items()))}"


def _of(h: Here) -> str:
    return f", {h.domain}" if h.domain else ""


def _compared(h: Here) -> str:
    others = f"of {_count(h.others, 'other')} with room the tightest has {h.next_free} GPUs free, this one {h.free}"
    others = others if h.others else f"{h.free} GPUs are free for it"
    return f"{others}; {_count(h.rivals, 'other domain')} would hold it whole" if h.rivals else others


def _elsewhere(there: Elsewhere) -> Iterator[str]:
    yield f"  elsewhere, for {_count(there.lots, 'more lot')} {span(there.start, there.end)}:"
    for why, n in there.counts.items():
        when = f" between {span(*there.outages)}" if why is Why.OUTAGE and there.outages else ""
        yield f"    {_count(n, 'node')} {WHYS[why]}{when} (as {there.examples[why]})"
    for t in there.takers[:SHOWN]:
        yield f"    taken by {t.contract}: {hours(t.gpu_seconds)} GPU-hours on {_count(t.nodes, 'node')}, {span(t.start, t.end)}"
    if there.all_takers > SHOWN:
        yield f"    and by {_count(there.all_takers - SHOWN, 'more contract')}"
    yield from (f"    {name or 'all of the fleet'}: room for {_count(lots, 'lot')}" for name, lots in there.room[:SHOWN])


def _remedy(r: Remedy) -> Iterator[str]:
    lead = f"  to deliver {_count(r.lots, 'more lot')} {span(r.start, r.end)}: "
    if r.gpu_seconds is None:
        yield f"{lead}no node can be freed for it throughout, as long as its other lots stay where they are"
    elif not r.gpu_seconds:
        why = "but to go there would cost more than the gap, or is not allowed"
        yield f"{lead}nothing has to be freed on {_count(len(r.freed), 'node')}, {why}"
    else:
        nodes = [f for f in r.freed if f.gpu_seconds]
        yield f"{lead}others would have to leave at least {hours(r.gpu_seconds)} GPU-hours, on {_count(len(nodes), 'node')}"
        for f in nodes[:SHOWN]:
            yield f"    {f.node}: {hours(f.gpu_seconds)} GPU-hours of {', '.join(f.contracts[:SHOWN])}, for {_count(f.lots, 'lot')}"
    for s in r.prices[:SHOWN]:
        price = f"{s.micros // 1_000_000}.{s.micros % 1_000_000:06d}"
        yield f"    {s.grade} in blocks of {s.gpus} GPUs is short {span(s.start, s.end)}, worth {price} per GPU-hour (proved)"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def hours(gpu_seconds: int) -> str:
    """GPU-hours, rounded up to one decimal."""
    tenths = -(-gpu_seconds // 360)
    return f"{tenths // 10}.{tenths % 10}"
