"""Repair."""

from __future__ import annotations

from collections.abc import Callable

from .book import Book


def repair(book: Book, effort: int, late: Callable[[], bool]) -> int:
    return 0


def make_room(book: Book, index: int, effort: int, late: Callable[[], bool]) -> bool:
    return False
