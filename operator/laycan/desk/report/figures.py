"""Figures as people read them: digits in groups of three, times in UTC, shares in percent. Integers in, text out."""

from __future__ import annotations

from laycan.resources.money import MICROS
from laycan.resources.times import format_time

DAY = 86_400
LAST = 1 << 37  # seconds; later than any year that has a text


def count(n: int) -> str:
    """`12,528`."""
    return f"{n:,}"


def counted(n: int, what: str) -> str:
    """`1 contract`, `2 contracts`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def money(micros: int, currency: str = "") -> str:
    """Rounded half up to two decimals: `1,411,524.48 USD`."""
    cents = (2 * abs(micros) + MICROS // 100) // (2 * (MICROS // 100))
    sign = "-" if micros < 0 and cents else ""
    return f"{sign}{cents // 100:,}.{cents % 100:02}" + (f" {currency}" if currency else "")


def hours(gpu_seconds: int) -> str:
    """GPU-hours, rounded half up to one decimal: `570,834,036.0`."""
    tenths = (2 * gpu_seconds + 360) // 720
    return f"{tenths // 10:,}.{tenths % 10}"


def instant(seconds: int) -> str:
    """`2027-01-04 00:00`, with seconds where there are any; `open` for what has no end."""
    if not 0 <= seconds < LAST:
        return "open"
    text = format_time(seconds).removesuffix("Z").replace("T", " ")
    return text.removesuffix(":00")


def window(start: int, end: int) -> str:
    """`2027-01-04 to 2027-02-03`, without the time of day where both are midnight."""
    if start % DAY == 0 and end % DAY == 0:
        return f"{_day(start)} to {_day(end)}"
    return f"{instant(start)} to {instant(end)}"


def _day(seconds: int) -> str:
    return instant(seconds).partition(" ")[0]


def percent(part: int, whole: int) -> str:
    """Rounded down, so that only what is whole reads `100 %`; `-` of nothing."""
    if whole <= 0:
        return "-"
    hundredths = part * 10_000 // whole
    digits = f"{hundredths // 100}.{hundredths % 100:02}".rstrip("0").rstrip(".")
    return f"{digits} %"


def position(part: int, whole: int) -> str:
    """Percent for a style sheet, four decimals, from 0 to 100."""
    share = min(max(part, 0), whole) * 1_000_000 // whole
    return f"{share // 10_000}.{share % 10_000:04}%"
