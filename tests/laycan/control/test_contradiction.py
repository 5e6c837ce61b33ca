"""Statuses that cannot all be true stop nobody else's plan."""

from __future__ import annotations

from laycan.control.contradiction import consistent
from laycan_solver.model import Binding
from tests.laycan.control.town import NOW


def row(contract_key: str, start: int = 0, end: int = 100) -> Binding:
    return Binding(contract_key, "n1", "h100", 8, NOW + start, NOW + end)


def kept(*rows: Binding, owner: str = "", whole: bool = True) -> list[str]:
    found = consistent(rows, lambda _: whole, lambda key: key.partition("/")[0], {"n1": owner} if owner else {})
    return [each.contract for each in found]


def test_whom_the_fence_names_keeps_the_node() -> None:
    """Else the one whose binding begins first; windows that only touch, one holder's contracts and exact GPUs contradict nothing."""
    assert kept(row("acme/a"), row("beta/b")) == ["acme/a"]
    assert kept(row("acme/a"), row("beta/b"), owner="beta") == ["beta/b"]
    assert kept(row("acme/a", 10), row("beta/b", 0, 50)) == ["beta/b"]
    assert kept(row("acme/a", 0, 50), row("beta/b", 50)) == ["acme/a", "beta/b"]
    assert kept(row("acme/a"), row("acme/b")) == ["acme/a", "acme/b"]
    assert kept(row("acme/a"), row("beta/b"), whole=False) == ["acme/a", "beta/b"]
