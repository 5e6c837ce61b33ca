"""How long before a window its nodes are closed: learnt from how long nodes took to empty.

A drain is measured from the freeze (from the deadline, where a PodDisruptionBudget held it up until then: no lead would have helped)
to the first list that shows the node empty; what was empty at once tells nothing. The latest drains stand in an annotation of
NodeFence/cluster, which every write of the fence brings up to date, so that a restarted operator knows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from laycan.kube.sound import seconds_at
from laycan.kube.views import FenceView
from laycan.resources.constants import DRAINS_ANNOTATION
from laycan.settings import Settings

KEPT = 64  # latest drains
ENOUGH = 5  # fewer say nothing
_STEP_SECONDS = 10  # a lead changes in steps: every change has all claims looked at anew


def learnt_seconds(drains: Sequence[int], settings: Settings) -> int:
    """A quarter more than nine in ten drains took, seconds, within the settings' bounds."""
    return max(settings.lead_seconds, min(_wanted(tuple(drains)), settings.longest_lead_seconds))


@lru_cache(maxsize=4)  # asked for every binding of every contract
def _wanted(drains: tuple[int, ...]) -> int:
    if len(drains) < ENOUGH:
        return 0
    ninth = sorted(drains)[-(-9 * len(drains) // 10) - 1]
    return -(-ninth * 5 // (4 * _STEP_SECONDS)) * _STEP_SECONDS


def drains_of(fence: FenceView | None) -> tuple[int, ...]:
    """The latest drains as the annotation has them, oldest first; nothing where somebody wrote something else there."""
    return _read(fence.annotations.get(DRAINS_ANNOTATION, "") if fence else "")


@lru_cache(maxsize=4)
def _read(text: str) -> tuple[int, ...]:
    words = text.split(",")[-KEPT:]
    return tuple(int(word) for word in words) if all(word.isascii() and word.isdigit() and len(word) < 8 for word in words) else ()


def with_drains(drains: Sequence[int], new: Sequence[int]) -> str:
    """The annotation's new value."""
    return ",".join(str(seconds) for seconds in (*drains, *new)[-KEPT:])


def lead_seconds(product: str, products: Mapping[str, Any], fence: FenceView | None, settings: Settings) -> int:
    """How long before a window of this product its nodes are closed: never less than what is kept free between two holders."""
    return max(learnt_seconds(drains_of(fence), settings), seconds_at(products.get(product), "spec", "turnaroundSeconds"))
