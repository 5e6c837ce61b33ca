"""What Prometheus may read of capacity and of the delivery margin, by product. See `control.capacity` for what is counted.

Products are the one label here that a person may add values to. They are grades that are sold, a handful; the first hundred by name
have series, so that a mistake makes no flood of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from prometheus_client import Gauge

from laycan.control.capacity import Standing, first_breach, standings
from laycan.control.decision import Decision
from laycan.control.lifecycle import COMMITTED
from laycan.control.outlook import target_ppm
from laycan.control.snapshot import Fleet
from laycan.control.specs import Specs
from laycan.exposition import Exposition
from laycan.kube.sound import text_at
from laycan.kube.world import World

MOST_PRODUCTS = 100


class CapacityMetrics:
    """`take` now and then."""

    def __init__(self, exposition: Exposition) -> None:
        def gauge(name: str, words: str) -> Gauge:
            return exposition.gauge(name, words, "product")

        self._of_all = {
            "in_service": gauge("gpus_in_service", "Healthy GPUs of nodes that plans may use now."),
            "sold": gauge("gpus_sold", "GPUs that contracts are due now."),
            "spare": gauge("gpus_spare", "GPUs in service that nobody is bound to now."),
            "spare_least": gauge("gpus_spare_least", "The fewest GPUs in service that nobody is bound to at once, in the next 30 days."),
            "node_gpus": gauge("product_node_gpus", "GPUs of one intact node of the product: what the loss of one node takes."),
        }
        self._sold_ahead = gauge("sold_30d_ratio", "Share of the GPU-seconds of the next 30 days that is sold.")
        self._margin = gauge(
            "delivery_margin_gpus",
            "GPUs that may be lost before a running Firm contract is short: those free for its lots, now and for a day. Below 0: what"
            " one lacks. Absent while none runs.",
        )
        self._chance = gauge("shortfall_chance_ratio", "The greatest chance of a shortfall of a Firm contract in its worst 30 days.")
        self._target = gauge("shortfall_target_ratio", "The chance above which nothing is sold. Absent where the product has no target.")
        self._breach = exposition.gauge(
            "first_breach_seconds",
            "Until the plan leaves an accepted contract short: 0 while one is, +Inf where it leaves none.",
        )
        self._breach.set(math.inf)

    def take(
        self, world: World, specs: Specs, decisions: Mapping[str, Decision], fleet: Fleet, now: int, down: Collection[str] = ()
    ) -> None:
        """Counts what is there now; `down` as in `standings`."""
        products = specs.products(world)
        measured = {name: products[name] for name in sorted(products)[:MOST_PRODUCTS]}
        for gauge in (*self._of_all.values(), self._sold_ahead, self._margin, self._chance, self._target):
            gauge.clear()
        for name, standing in standings(world, measured, fleet, now, down).items():
            self._put(name, standing)
        for name, ppm in _chances(world, decisions).items():
            if name in measured:
                self._chance.labels(name).set(ppm / 1e6)
        for name in measured:
            if (target := target_ppm(world, name)) is not None:
                self._target.labels(name).set(target / 1e6)
        breach = first_breach(world, decisions, now)
        self._breach.set(math.inf if breach is None else breach)

    def _put(self, name: str, standing: Standing) -> None:
        for field, gauge in self._of_all.items():
            gauge.labels(name).set(getattr(standing, field))
        self._sold_ahead.labels(name).set(standing.sold_ahead_ppm / 1e6)
        if standing.margin is not None:
            self._margin.labels(name).set(standing.margin)


def _chances(world: World, decisions: Mapping[str, Decision]) -> dict[str, int]:
    """Product -> ppm, by the latest thorough plan."""
    found: dict[str, int] = {}
    for key, decision in decisions.items():
        contract = world.contracts.get(key)
        if decision.risk is not None and contract is not None and contract.phase in COMMITTED:
            name = text_at(contract.spec, "terms", "productRef", "name")
            found[name] = max(found.get(name, 0), decision.risk.ppm)
    return found
