"""What the operator finds about the products: whether they can be read, whether the level that they promise can be enforced here, and how
often their nodes failed.

A level that the cluster cannot enforce is never claimed: such a product's contracts find no node, and its condition `Ready` says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from laycan.control import conditions as c
from laycan.control.conditions import Conditions
from laycan.control.reliability import Record, advance, to_write
from laycan.control.specs import Specs
from laycan.delivery.devices.exact import gives_devices
from laycan.delivery.faults.downtime import Downtime
from laycan.kube.client import ApiError, Client
from laycan.kube.sound import mapping
from laycan.kube.world import World
from laycan.planning.problem import grade_of
from laycan.resources.constants import API_VERSION
from laycan.resources.product import ProductSpec

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


def product_status(
    name: str, raw: Mapping[str, Any], world: World, specs: Specs, now: int, record: Record | None = None
) -> dict[str, Any] | None:
    """The status to write for a product, None when what is written is right; `record`: what its nodes were found to do."""
    old, generation = mapping(raw.get("status")), int(raw["metadata"].get("generation") or 0)
    found = Conditions(old.get("conditions") or (), generation, now)
    spec = specs.product(name, raw)
    if not isinstance(spec, ProductSpec):
        found.put(c.READY, False, "Malformed", str(spec[0]))
    elif lacking := _lacking(spec, world):
        found.put(c.READY, False, "LevelNotEnforced", lacking)
    else:
        found.put(c.READY, True, "Planned")
    status = {"observedGeneration": generation, "conditions": found.dump()}
    counted = record is not None and to_write(Record.parse(old), record)
    kept = record.dump() if record is not None and counted else old.get("reliability")
    status |= {"reliability": kept} if kept is not None else {}
    return status if status != old else None


def _lacking(spec: ProductSpec, world: World) -> str:
    """Why the level that the product promises cannot be delivered, "" when it can."""
    if spec.level != "Device":
        return ""
    if world.no_devices:
        return f"spec.level: Device cannot be enforced in this cluster: {world.no_devices}"
    nodes = [name for name, node in world.nodes.items() if node.managed and grade_of(node.raw) in spec.gpu_products]
    if not any(gives_devices(world, name) for name in nodes):
        return f"spec.level: none of the {len(nodes)} managed nodes of {', '.join(spec.gpu_products)} publishes its GPUs in a ResourceSlice"
    return ""


@dataclass(slots=True)
class Products:
    """Looks at them again and again; `downtime`: which nodes are down, of which it is asked whether these are well again."""

    client: Client
    world: World
    specs: Specs
    downtime: Callable[[Iterable[str]], Downtime | None]
    clock: Callable[[], int]

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self.tell()
            await asyncio.sleep(LOOK_SECONDS)

    async def tell(self) -> None:
        """Writes what has changed; one product that cannot be written does not stop the others."""
        now, records = self.clock(), {name: Record.parse(raw.get("status")) for name, raw in self.world.products.items()}
        found = self.downtime({node for record in records.values() if record is not None for node in record.down})
        for name, raw in list(self.world.products.items()):
            spec = self.specs.product(name, raw)
            record = advance(records[name], found, self._nodes(name, spec, found), now) if found and isinstance(spec, ProductSpec) else None
            status = product_status(name, raw, self.world, self.specs, now, record)
            if status is not None:
                await self._write(name, raw, status)

    def _nodes(self, name: str, spec: ProductSpec, found: Downtime) -> dict[str, int]:
        """The product's nodes -> when each was made; what is gone was of the product for which it was bound."""
        nodes = {node: 0 for node, products in found.gone.items() if name in products}
        for node, view in self.world.nodes.items():
            if view.managed and grade_of(view.raw) in spec.gpu_products:
                nodes[node] = view.created
        return nodes

    async def _write(self, name: str, raw: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        version = {"resourceVersion": str(raw["metadata"].get("resourceVersion", ""))}
        path = f"/apis/{API_VERSION}/computeproducts/{name}/status"
        try:
            answer = await self.client.patch_merge(path, {"metadata": version, "status": status})
            self.world.take_answer("products", name, answer)
        except ApiError as error:
            log.log(logging.DEBUG if error.status in (404, 409) else logging.WARNING, "status of product %s: %s", name, error)
