"""Capacity and the delivery margin as Prometheus reads them."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from laycan.control.capacity_metrics import MOST_PRODUCTS, CapacityMetrics
from laycan.control.decision import Decision
from laycan.control.specs import Specs
from laycan.exposition import Exposition
from laycan.kube.world import World
from laycan_solver.model import Reason, Undelivered
from laycan_solver.risk import Risk
from tests.laycan.control.test_capacity import running
from tests.laycan.control.town import NOW, Fleet, contract, product, world


def took(exposition: Exposition, metrics: CapacityMetrics, seen: World, decisions: dict[str, Decision]) -> dict[str, dict[str, float]]:
    """Name -> product -> value."""
    metrics.take(seen, Specs(), decisions, Fleet(seen), NOW)
    families = text_string_to_metric_families(exposition.text().decode())
    laycans = [family for family in families if family.name.startswith("laycan_")]
    return {family.name.removeprefix("laycan_"): {",".join(s.labels.values()): s.value for s in family.samples} for family in laycans}


def test_by_product() -> None:
    """Each with its name; the margin is there while a Firm contract runs, and gone when it has ended."""
    exposition = Exposition()
    metrics = CapacityMetrics(exposition)
    seen = world([running("a", "n1")], ["n1", "n2"])
    found = took(exposition, metrics, seen, {})
    assert {name: found[f"gpus_{name}"] for name in ("in_service", "sold", "spare", "spare_least")} == {
        "in_service": {"h100": 16},
        "sold": {"h100": 8},
        "spare": {"h100": 8},
        "spare_least": {"h100": 8},
    }
    assert (found["delivery_margin_gpus"], found["product_node_gpus"]) == ({"h100": 8}, {"h100": 8})
    seen.contracts.clear()
    assert took(exposition, metrics, seen, {})["delivery_margin_gpus"] == {}
    seen.products.clear()
    assert took(exposition, metrics, seen, {})["gpus_in_service"] == {}


def test_the_promise() -> None:
    """The greatest chance of a shortfall of what is sold of a product and not over, against its target."""
    exposition = Exposition()
    over = contract("c", status={**running("c", "n1").status, "phase": "Settled"})
    seen = world([running("a", "n1"), running("b", "n2"), over], ["n1", "n2"])
    seen.products["h100"] = product("h100", target={"shortfallPpm": 5000})
    ppb = {"a": 2_000_000, "b": 90_000, "c": 1_000_000_000}
    decisions = {f"desk/{name}": Decision(True, NOW, risk=Risk(chance, 1, 4, True), uid=f"uid-{name}") for name, chance in ppb.items()}
    found = took(exposition, CapacityMetrics(exposition), seen, decisions)
    assert (found["shortfall_chance_ratio"], found["shortfall_target_ratio"]) == ({"h100": 0.002}, {"h100": 0.005})


def test_the_first_breach_is_infinitely_far_where_there_is_none() -> None:
    """From the start on: no alert may fire before the first look."""
    exposition = Exposition()
    metrics = CapacityMetrics(exposition)
    assert b"laycan_first_breach_seconds +Inf" in exposition.text()
    seen = world([running("a", "n1")], ["n1"])
    assert took(exposition, metrics, seen, {})["first_breach_seconds"] == {"": math.inf}
    lacking = Undelivered("desk/a", NOW + 90, NOW + 100, 8, Reason.NO_CAPACITY, "")
    decisions = {"desk/a": Decision(True, NOW, None, (), (lacking,), uid="uid-a")}
    assert took(exposition, metrics, seen, decisions)["first_breach_seconds"] == {"": 90}


def test_no_flood_of_series() -> None:
    """However many products somebody makes."""
    exposition = Exposition()
    seen = world([], ["n1"])
    seen.products = {f"p{number}": product(f"p{number}") for number in range(MOST_PRODUCTS + 50)}
    assert len(took(exposition, CapacityMetrics(exposition), seen, {})["gpus_spare"]) == MOST_PRODUCTS
