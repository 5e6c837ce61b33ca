"""Specs as typed models, each read once: a contract's by its generation, the small kinds' by their resourceVersion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources import validate
from laycan.resources.contract import ContractSpec
from laycan.resources.outage import OutageSpec
from laycan.resources.product import ProductSpec

log = logging.getLogger(__name__)

Faults = list[validate.Fault]


class Specs:
    def __init__(self) -> None:
        self._contracts: dict[str, tuple[tuple[str, int], ContractSpec | Faults]] = {}  # key -> (uid, generation), what was read
        self._products: dict[str, tuple[str, ProductSpec | Faults]] = {}  # name -> version, what was read
        self._outages: dict[str, tuple[str, OutageSpec | Faults]] = {}

    def contract(self, view: ContractView) -> ContractSpec | Faults:
        version = (view.uid, view.generation)
        known = self._contracts.get(view.key)
        if known is None or known[0] != version:
            known = self._contracts[view.key] = version, validate.contract_spec(view.spec)
        return known[1]

    def product(self, name: str, raw: Mapping[str, Any]) -> ProductSpec | Faults:
        version = str(raw["metadata"].get("resourceVersion", ""))
        known = self._products.get(name)
        if known is None or known[0] != version:
            known = self._products[name] = version, validate.product_spec(name, raw.get("spec"))
        return known[1]

    def products(self, world: World) -> dict[str, ProductSpec]:
        """Those that can be read."""
        read = {name: self.product(name, raw) for name, raw in world.products.items()}
        return {name: spec for name, spec in read.items() if isinstance(spec, ProductSpec)}

    def outages(self, world: World) -> dict[str, OutageSpec]:
        """Those that can be read; one that cannot is named in the log, because it protects nothing."""
        found = {}
        for name, raw in world.outages.items():
            version = str(raw["metadata"].get("resourceVersion", ""))
            known = self._outages.get(name)
            if known is None or known[0] != version:
                known = self._outages[name] = version, validate.outage_spec(raw.get("spec"))
                if not isinstance(known[1], OutageSpec):
                    log.warning("Outage %s is not planned for: %s", name, known[1][0])
            if isinstance(known[1], OutageSpec):
                found[name] = known[1]
        return found

    def forget(self, key: str) -> None:
        """The contract is gone."""
        self._contracts.pop(key, None)
