"""Series of bins as drawings of steps: a bin is one unit wide, the drawing is 100 high, and nothing is rounded away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

HEIGHT = 100


def area(series: Sequence[int], most: int, first: int = 0) -> str:
    """The path under the steps, closed along the foot."""
    if not series or most <= 0:
        return ""
    return f"M{first} {HEIGHT}" + "".join(_steps(series, most, first)) + f"V{HEIGHT}z"


def line(series: Sequence[int], most: int, first: int = 0) -> str:
    """The path along the tops of the steps."""
    if not series or most <= 0:
        return ""
    return f"M{first} {_at(series[0], most)}" + "".join(_steps(series, most, first))


def _steps(series: Sequence[int], most: int, first: int) -> Iterator[str]:
    last = None
    for i, value in enumerate(series):
        if value != last:
            yield (f"H{first + i}" if last is not None else "") + f"V{_at(value, most)}"
        last = value
    yield f"H{first + len(series)}"


def _at(value: int, most: int) -> str:
    """Height from the top, two decimals."""
    hundredths = HEIGHT * 100 - min(max(value, 0), most) * HEIGHT * 100 // most
    return f"{hundredths // 100}.{hundredths % 100:02}".rstrip("0").rstrip(".")
