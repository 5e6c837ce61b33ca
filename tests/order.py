"""The order of the test files, for workers that take one after another: those of the control plane spread over the whole run.

They wait more than they compute, so that their neighbours have a core meanwhile, and the long ones come early, so that no worker is left
alone with one at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

LONGEST = ("crash", "conformance_cli", "conformance", "devices", "release", "controlplane", "storm", "getting_started", "delivery_holds",
           "delivery", "operator_devices", "scenarios", "remedies", "outages", "agent", "operator", "exchange_outages", "lifecycle",
           "instructions", "quotes", "webhooks")  # fmt: skip


def rank(file: str) -> int:
    """How early a file of the control plane's tests should begin."""
    name = file.rpartition("/")[2].removeprefix("test_").removesuffix(".py")
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def spread(waiting: Sequence[T], computing: Sequence[T]) -> Iterable[T]:
    """The first ones evenly among the others, each in its order, and one of the first to begin with."""
    places = [(i / max(1, len(waiting)), 0, i, item) for i, item in enumerate(waiting)]
    places += [((i + 0.5) / max(1, len(computing)), 1, i, item) for i, item in enumerate(computing)]
    return [item for *_, item in sorted(places, key=lambda place: place[:3])]
