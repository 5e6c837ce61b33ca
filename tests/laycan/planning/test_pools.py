"""Levels that products ask for divide the fleet into pools."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.planning.pools import Pools
from laycan.planning.problem import products_from
from laycan.resources.product import ProductSpec
from laycan_solver.model import Level


def product(**more: Any) -> ProductSpec:
    return ProductSpec.model_validate({"gpuProducts": ["G"], "nodeGpus": 8, **more})


def test_without_a_wish_a_grade_is_one_pool() -> None:
    """Nobody asks for a level: nodes are what the cluster can give, and every product draws from all of its grade."""
    pools = Pools.of({"p": product()})
    assert (pools.level("G", exact=True), pools.level("G", exact=False)) == (Level.DEVICE, Level.NODE)
    assert {pools.name("G", level) for level in Level} == pools.accepted(product()) == {"G"}


@pytest.mark.parametrize(
    ("wishes", "exact_node", "draws"),
    [
        (("Device",), Level.DEVICE, {"Device": {"G/Device"}, None: {"G/Device", "G/Node"}}),
        (("Node",), Level.NODE, {"Node": {"G/Node"}, None: {"G/Device", "G/Node"}}),
        (("Node", "Device"), Level.DEVICE, {"Node": {"G/Node"}, "Device": {"G/Device"}}),
    ],
)
def test_wishes(wishes: tuple[str, ...], exact_node: Level, draws: dict[str | None, set[str]]) -> None:
    """Where a product asks for exact GPUs, nodes that can give them do; where only whole nodes are asked for, they go as a whole."""
    pools = Pools.of({level: product(level=level) for level in wishes} | {"other": product(gpuProducts=["H"])})
    assert pools.level("G", exact=True) is exact_node
    assert pools.level("G", exact=False) is Level.NODE
    assert pools.level("H", exact=True) is Level.DEVICE
    for level, accepted in draws.items():
        assert pools.accepted(product(level=level)) == accepted


def test_an_equivalent_promises_what_was_sold() -> None:
    """An equivalent that does not promise the level that the contract's product does is none."""
    equivalents = [{"product": name, "costPerGpuHour": "0.1"} for name in ("same", "less")]
    specs = {"sold": product(level="Device", equivalents=equivalents), "same": product(level="Device"), "less": product()}
    found = {p.name: p for p in products_from(specs, Pools.of(specs))}
    assert set(found["sold"].equivalents) == {"same"}
