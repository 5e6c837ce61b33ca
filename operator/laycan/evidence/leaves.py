"""From metered stretches to the readings that a receipt proves: on which GPUs of which product each lot was in each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from laycan.delivery.metering.served import Bound
from laycan.evidence.receipt import Leaf, commitment
from laycan.kube.meter_views import MeterView
from laycan_verify.classes import Class, Stretch


def leaves(
    bounds: Sequence[Bound], stretches: Iterable[Stretch], meters: Mapping[str, MeterView], lot_gpus: int, salt: bytes
) -> tuple[Leaf, ...]:
    """By lot and start. A GPU that nobody knows by its uuid (no agent, or its meter is gone) has no commitment."""
    cut = sorted(leaf for stretch in stretches for leaf in _of(stretch, bounds, meters, lot_gpus, salt))
    return tuple(_joined(cut))


def _of(s: Stretch, bounds: Sequence[Bound], meters: Mapping[str, MeterView], lot_gpus: int, salt: bytes) -> Iterator[Leaf]:
    if s.cls is not Class.DELIVERED:
        yield Leaf(s.lot, s.start, s.end, s.cls.value, False, "", ())
        return
    for bound in bounds:
        start, end = max(s.start, bound.start), min(s.end, bound.end)
        if s.lot in bound.lots and start < end:
            devices = tuple(sorted(commitment(salt, uuid) for uuid in _uuids(bound, s.lot, meters.get(bound.node), lot_gpus)))
            yield Leaf(s.lot, start, end, s.cls.value, s.estimated, bound.product, devices)


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
