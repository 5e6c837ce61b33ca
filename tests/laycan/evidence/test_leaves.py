"""On which GPUs each lot was: those that were known then, never those that came later."""

from __future__ import annotations

from dataclasses import replace

from laycan.delivery.metering.served import Bound
from laycan.evidence.leaves import leaves
from laycan.evidence.receipt import commitment
from laycan.kube.meter_views import MeterView
from laycan.resources.signals import Signal
from laycan.resources.verdict import Found
from laycan_verify.classes import Class, Stretch

T, HOUR, SALT = 1_800_000_000, 3600, b"salt"
CARDS = frozenset(f"GPU-{place}" for place in range(8))
NODE = Bound("a", "h100", 8, (0, 1), T, T + 24 * HOUR, T)
METER = MeterView("a", 1, "uid", T - HOUR, T + 24 * HOUR, T - HOUR, 300, CARDS, (), (), 0, 0)
NAMED = [tuple(sorted(commitment(SALT, f"GPU-{place}") for place in lot)) for lot in (range(4), range(4, 8))]


def delivered(*spans: tuple[int, int]) -> list[Stretch]:
    """Both lots, in these hours."""
    return [Stretch(lot, T + start * HOUR, T + end * HOUR) for lot in (0, 1) for start, end in spans]


def told(meter: MeterView | None, *spans: tuple[int, int], bound: Bound = NODE) -> list[tuple[int, int, int, tuple[str, ...]]]:
    """(lot, start and end in hours, commitments)."""
    made = leaves([bound], delivered(*spans), {"a": meter} if meter else {}, 4, SALT)
    return [(leaf.lot, (leaf.start - T) // HOUR, (leaf.end - T) // HOUR, leaf.devices) for leaf in made]


def test_whole_node() -> None:
    """The node's GPUs by their uuids, a part for each lot; without a meter none has a name."""
    assert told(METER, (0, 24)) == [(0, 0, 24, NAMED[0]), (1, 0, 24, NAMED[1])]
    assert told(None, (0, 24)) == [(0, 0, 24, ()), (1, 0, 24, ())]


def test_a_card_that_was_replaced() -> None:
    """Out from 10 to 12 with another card in its place: what was there before 10 is not known any more, and nothing is claimed of it."""
    gone = Found("GPU-old", Signal.MISSING, 0, 0, T + 10 * HOUR, T + 12 * HOUR)
    made = told(replace(METER, findings=(gone,)), (0, 10), (12, 24))
    assert made == [(0, 0, 10, ()), (0, 12, 24, NAMED[0]), (1, 0, 10, ()), (1, 12, 24, NAMED[1])]


def test_a_card_that_came_back() -> None:
    """It was missing and is there again: the same cards all day."""
    back = Found("GPU-1", Signal.MISSING, 0, 0, T + 10 * HOUR, T + 12 * HOUR)
    assert told(replace(METER, findings=(back,)), (0, 10), (12, 24))[:2] == [(0, 0, 10, NAMED[0]), (0, 12, 24, NAMED[0])]


def test_a_meter_that_began_later() -> None:
    """Before its first sample nobody knows the node's cards; a stretch over that moment is cut there."""
    late = replace(METER, since=T + 6 * HOUR)
    assert told(late, (0, 24))[:2] == [(0, 0, 6, ()), (0, 6, 24, NAMED[0])]
    assert told(replace(METER, since=T + 24 * HOUR), (0, 24)) == [(0, 0, 24, ()), (1, 0, 24, ())]


def test_exact_gpus() -> None:
    """The binding says which ones, whatever became of the node's others."""
    exact = replace(NODE, level="Device", devices=tuple(sorted(CARDS)))
    gone = Found("GPU-old", Signal.MISSING, 0, 0, T + 10 * HOUR, T + 12 * HOUR)
    assert told(replace(METER, findings=(gone,), since=T + 20 * HOUR), (0, 10), bound=exact)[0] == (0, 0, 10, NAMED[0])


def test_what_was_not_delivered() -> None:
    """Has no GPUs."""
    (leaf,) = leaves([NODE], [Stretch(0, T, T + HOUR, Class.CURTAILED)], {"a": METER}, 4, SALT)
    assert (leaf.product, leaf.devices) == ("", ())
