"""Instants: RFC 3339 text in UTC with whole seconds and a `Z` in resources, Unix seconds everywhere else.

One instant has one text. `+00:00`, fractions and leap seconds are refused: two spellings of one instant would give two digests
of the same terms.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_SHAPE = re.compile(TIME_PATTERN.removeprefix("^").removesuffix("$"))


def parse_time(text: str) -> int:
    """Unix seconds of `2027-01-04T00:00:00Z`; raises ValueError for every other form and for dates that do not exist."""
    return _parsed(text)


def format_time(seconds: int) -> str:
    """The text of an instant from year 1 to 9999; raises ValueError or OverflowError beyond."""
    return _formatted(seconds)


@lru_cache(maxsize=1 << 16)  # the same few thousand instants stand in all contracts, bindings and outages
def _parsed(text: str) -> int:
    if not _SHAPE.fullmatch(text):
        raise ValueError(f"{text!r} is not a time of the form 2027-01-04T00:00:00Z (UTC, whole seconds, Z)")
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError as error:
        raise ValueError(f"{text!r} is no time that exists: {error}") from None


@lru_cache(maxsize=1 << 16)
def _formatted(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"  # strftime writes year 1 as "1"
