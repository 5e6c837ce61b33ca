"""Contracts that need most of a domain: where they are served when, and who makes room for them."""

from __future__ import annotations

from typing import Any

from laycan_solver.book import Book
from laycan_solver.model import Binding, Contract, Node, Scope
from laycan_solver.planner import laid_out
from laycan_solver.repair import trial
from tests.laycan_solver import small
from tests.laycan_solver.small import HOUR, NOW, binding, contract, node

NOTHING_MISSES: list[tuple[int, int, int]] = []


def rack(name: str, nodes: int) -> list[Node]:
    return [node(f"{name}{i}", rack=name) for i in range(nodes)]


def in_rack(name: str, start: int, end: int, gpus: int, **more: Any) -> Contract:
    """All lots in one rack, or none."""
    return contract(name, start, end, gpus, scope=Scope.RACK, all_or_nothing=True, **more)


def stays(book: Book, index: int) -> set[tuple[str, int, int]]:
    """Rack and hours of what serves a contract."""
    return {(book.fleet.nodes[s.column].name[0], (s.start - NOW) // HOUR, (s.end - NOW) // HOUR) for s in book.segments[index]}


def test_from_rack_to_rack() -> None:
    """Something dearer is in rack a until 6 and in rack b from then on: one trial serves the contract in b, then in a."""
    contracts = [
        in_rack("new", 0, 12, 16, price_micros=3_000_000),
        in_rack("old", 0, 6, 16, price_micros=4_000_000),
        contract("low", 0, 6),
        in_rack("next", 6, 12, 16, price_micros=9_000_000),
    ]
    lying = [*(binding("old", f"a{i}", 0, 6) for i in range(2)), *(binding("next", f"b{i}", 6, 12) for i in range(2))]
    lying.append(binding("low", "b0", 0, 6))
    book, _ = laid_out(small.problem([*rack("a", 2), *rack("b", 2), node("c0", rack="c")], contracts), lying, set())
    assert trial(book, 0, 0)
    assert stays(book, 0) == {("b", 0, 6), ("a", 6, 12)}
    assert [book.missing(i) for i in range(4)] == [NOTHING_MISSES] * 4


def test_what_a_route_ejects_ejects_in_turn() -> None:
    """Only rack a can be emptied: in the same trial the contract there clears what it needs of rack b."""
    contracts = [
        in_rack("new", 0, 12, 24, firm=False, price_micros=3_000_000),
        in_rack("old", 0, 12, 16, firm=False, price_micros=2_000_000),
        contract("low", 0, 12, firm=False),
        contract("running", -5, 12),
    ]
    running = binding("running", "b0", -5, 12)
    lying: list[Binding] = [running, binding("low", "b1", 0, 12), *(binding("old", f"a{i}", 0, 12) for i in range(2))]
    p = small.problem([*rack("a", 3), *rack("b", 3), node("c0", rack="c")], contracts, previous=[running])
    book, _ = laid_out(p, lying, set())
    assert trial(book, 0, 0)
    assert stays(book, 0) == {("a", 0, 12)}
    assert stays(book, 1) == {("b", 0, 12)}
    assert [book.missing(i) for i in range(4)] == [NOTHING_MISSES] * 4
