"""The fleet by product: every node once, and spare only what a contract could have."""

from __future__ import annotations

from laycan.cli.fleet_rows import NO_PRODUCT, Pool, pools_of
from laycan_solver.model import Binding, Level, Node, Outage, OutageType, Problem, Product

NOW = 1_000


def node(name: str, grade: str = "a", **said: object) -> Node:
    return Node(name, grade, 8, ("z", "f", "r", name), **said)  # type: ignore[arg-type]


def pool(*nodes: Node, bindings: tuple[Binding, ...] = (), outages: tuple[Outage, ...] = ()) -> Pool:
    problem = Problem(NOW, nodes, (Product("p", frozenset({"a"})),), (), outages)
    (found,) = pools_of(problem, bindings)
    return found


def bound(gpus: int, start: int = 0, end: int = 2_000) -> tuple[Binding, ...]:
    return (Binding("desk/c", "n", "p", gpus, start, end),)


def test_what_is_left_of_a_node() -> None:
    """GPU by GPU where it is shared so; nothing where it is handed over as a whole, or is cordoned, down or in an outage."""
    assert (pool(node("n"), bindings=bound(6)).bound, pool(node("n"), bindings=bound(6)).spare) == (6, 2)
    assert pool(node("n", level=Level.NODE), bindings=bound(6)).spare == 0
    assert pool(node("n", level=Level.NODE)).spare == 8
    assert pool(node("n", cordoned=True)).spare == 0
    assert (pool(node("n", usable=False)).spare, pool(node("n", usable=False)).down) == (0, ["n"])
    out = pool(node("n"), outages=(Outage("o", OutageType.PLANNED, frozenset({"n"}), 500, 1_500),))
    assert (out.spare, out.out, out.down) == (0, ["n"], [])


def test_only_this_instant_counts() -> None:
    """What begins later or has ended is not bound."""
    assert [pool(node("n"), bindings=bound(8, *window)).bound for window in ((0, 1_000), (1_000, 1_001), (1_001, 1_002))] == [0, 8, 0]


def test_products_of_one_grade_share_a_line() -> None:
    """No node is counted twice; one that no product is made of stands apart. Used is of all GPUs."""
    products = (Product("p", frozenset({"a"})), Product("q", frozenset({"a", "b"})))
    problem = Problem(NOW, (node("n"), node("m"), node("x", "b"), node("y", "c")), products, ())
    found = {pool.products: pool for pool in pools_of(problem, bound(4))}
    assert {name: pool.nodes for name, pool in found.items()} == {"p, q": 2, "q": 1, NO_PRODUCT: 1}
    assert found["p, q"].utilisation_ppm == 250_000
    assert found[NO_PRODUCT].document()["products"] == []
