"""From metered stretches to the readings that a receipt proves: on which GPUs of which product each lot was in each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from laycan.delivery.metering.served import Bound
from laycan.evidence.receipt import Leaf, commitment
from laycan.kube.meter_views import MeterView
from laycan.resources.signals import Signal
from laycan_verify.classes import Class, Stretch


def leaves(
    bounds: Sequence[Bound], stretches: Iterable[Stretch], meters: Mapping[str, MeterView], lot_gpus: int, salt: bytes
) -> tuple[Leaf, ...]:
    """By lot and start. A GPU that nobody knows by its uuid (no agent then, or its meter is gone) has no commitment."""
    cut = sorted(leaf for stretch in stretches for leaf in _of(stretch, bounds, meters, lot_gpus, salt))
    return tuple(_joined(cut))


def _of(s: Stretch, bounds: Sequence[Bound], meters: Mapping[str, MeterView], lot_gpus: int, salt: bytes) -> Iterator[Leaf]:
    if s.cls is not Class.DELIVERED:
        yield Leaf(s.lot, s.start, s.end, s.cls.value, False, "", ())
        return
    for bound in bounds:
        start, end, meter = max(s.start, bound.start), min(s.end, bound.end), meters.get(bound.node)
        if s.lot in bound.lots and start < end:
            known = min(end, max(start, _known_since(bound, meter)))
            for a, b, uuids in ((start, known, ()), (known, end, _uuids(bound, s.lot, meter, lot_gpus))):
                devices = tuple(sorted(commitment(salt, uuid) for uuid in uuids))
                yield from [Leaf(s.lot, a, b, s.cls.value, s.estimated, bound.product, devices)] if a < b else ()


def _known_since(bound: Bound, meter: MeterView | None) -> int:
    """From when on its GPUs are those that we know: before its node's meter, or before one was taken out of it, others may be there."""
    if bound.devices or meter is None:
        return bound.start
    gone = (f.end for f in meter.findings if f.signal == Signal.MISSING and f.end is not None and f.gpu not in meter.gpus)
    return max((meter.since, *gone))


def _uuids(bound: Bound, lot: int, meter: MeterView | None, lot_gpus: int) -> Sequence[str]:
    """The GPUs of one lot of a binding: those that stand in it, else all of the node's where the binding is of the whole node."""
    known = bound.devices or (sorted(meter.gpus) if meter is not None and len(meter.gpus) == bound.gpus else ())
    place = bound.lots.index(lot) * lot_gpus
    return known[place : place + lot_gpus]


def _joined(cut: Iterable[Leaf]) -> Iterator[Leaf]:
    last: Leaf | None = None
    for leaf in cut:
        if last is not None and last._replace(start=0, end=0) == leaf._replace(start=0, end=0) and last.end == leaf.start:
            last = last._replace(end=leaf.end)
            continue
        if last is not None:
            yield last
        last = leaf
    if last is not None:
        yield last
