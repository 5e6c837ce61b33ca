"""Amounts of money: decimal text in resources, integer millionths ("micros") of the currency everywhere else, exact both ways."""

from __future__ import annotations

import re
from functools import lru_cache

MONEY_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"
_SHAPE = re.compile(MONEY_PATTERN.removeprefix("^").removesuffix("$"))
MICROS = 1_000_000  # per unit of currency


def parse_money(text: str) -> int:
    """Micros of a decimal such as `2.10`; raises ValueError for signs, exponents, or more than six decimals."""
    return _parsed(text)


@lru_cache(maxsize=1 << 16)  # contracts of one day have the same few thousand prices
def _parsed(text: str) -> int:
    if not _SHAPE.fullmatch(text):
        raise ValueError(f"{text!r} is not an amount such as 2.10 (decimal, at most 9 digits before the point and 6 after it)")
    whole, _, fraction = text.partition(".")
    return int(whole) * MICROS + int(fraction.ljust(6, "0"))


def format_money(micros: int) -> str:
    """The shortest decimal text with at least two decimals; the sign comes first."""
    whole, fraction = divmod(abs(micros), MICROS)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{digits}"
