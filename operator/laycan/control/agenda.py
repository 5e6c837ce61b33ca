"""What is to be looked at next: keys by priority, each at most once, and keys that wake up at an instant."""

from __future__ import annotations

import heapq
from enum import IntEnum


class Priority(IntEnum):
    FAILURE = 0  # a lot lost its node, or is to be moved
    NEW = 1  # a contract waits for its answer
    COSMETIC = 2  # meters, conditions, a periodic look


class Agenda:
    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._queued: dict[str, int] = {}  # key -> its best priority
        self._wakes: list[tuple[int, str]] = []
        self._wake_at: dict[str, int] = {}  # key -> Unix seconds
        self._count = 0  # keys of one priority come in the order in which they were added

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, key: str, priority: Priority) -> None:
        if self._queued.get(key, len(Priority)) > priority:
            self._queued[key] = priority
            self._count += 1
            heapq.heappush(self._heap, (priority, self._count, key))

    def pop(self) -> tuple[str, Priority] | None:
        while self._heap:
            priority, _, key = heapq.heappop(self._heap)
            if self._queued.get(key) == priority:
                del self._queued[key]
                return key, Priority(priority)
        return None

    def wake(self, key: str, at: int | None) -> None:
        """Sets when the key is added by itself; a later call replaces an earlier one, None cancels it."""
        if at is None:
            self._wake_at.pop(key, None)
        elif self._wake_at.get(key) != at:
            self._wake_at[key] = at
            heapq.heappush(self._wakes, (at, key))

    def next_wake(self) -> int | None:
        while self._wakes and self._wake_at.get(self._wakes[0][1]) != self._wakes[0][0]:
            heapq.heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def wake_up(self, now: int) -> None:
        while (at := self.next_wake()) is not None and at <= now:
            _, key = heapq.heappop(self._wakes)
            del self._wake_at[key]
            self.add(key, Priority.COSMETIC)
