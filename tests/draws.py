"""How many drawn instances a test tries: so many in `make test`, and `LAYCAN_DRAWS=8 make test` tries eight times as many."""

from __future__ import annotations

import os

TIMES = int(os.environ.get("LAYCAN_DRAWS", "1"))


def seeds(number: int, first: int = 0) -> range:
    """Of a test whose instances take long; all others have a fixed range, or hypothesis draws."""
    return range(first, first + number * TIMES)
