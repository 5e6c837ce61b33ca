"""The lower bound: capacity cells of the plan's book, the prices, and what they prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .book import Book
from .certificate import Capacity, Row, proven
from .objective import SCALE


@dataclass(frozen=True)
class Proof:
    firm_micros: int
    total_micros: int
    certificate: Mapping[str, object]


def prove(book: Book) -> Proof:
    """The best bound found for the contracts in the book."""
    demands = [book.demands[i] for i in sorted(book.demands)]
    for demand in demands:
        notice = demand.contract.notice_seconds
        if notice is not None and not demand.contract.firm and demand.start < book.now + notice < demand.end:
            book.ledger.split(book.now + notice)
    capacity = Capacity(book.fleet, book.ledger.grid)
    rows: dict[str, list[Row]] = {"firm": [], "total": []}
    firm, total = proven(demands, capacity, rows, book.now)
    certificate = {"scale": SCALE, **{name: [list(row) for row in sorted(found)] for name, found in rows.items()}}
    return Proof(firm, total, certificate)
