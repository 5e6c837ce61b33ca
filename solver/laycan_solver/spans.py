"""Stretches of time: [start, end) in Unix seconds, or whatever else is counted."""

from __future__ import annotations

from collections.abc import Iterable


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same time in the fewest stretches, in order: those that overlap or touch are one, and empty ones are none."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif start < end:
            found.append((start, end))
    return found


def peak(held: Iterable[tuple[int, int, int]]) -> int:
    """The most that is held at one instant, of (start, end, amount); what ends at an instant makes room for what begins there."""
    steps = sorted(step for start, end, amount in held for step in ((start, amount), (end, -amount)))
    most = level = 0
    for _, change in steps:
        level += change
        most = max(most, level)
    return most
