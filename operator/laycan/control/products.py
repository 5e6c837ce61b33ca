"""What the operator finds about the products: whether they can be read, and whether the level that they promise can be enforced here.

A level that the cluster cannot enforce is never claimed: such a product's contracts find no node, and its condition `Ready` says why.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from laycan.control import conditions as c
from laycan.control.conditions import Conditions
from laycan.control.specs import Specs
from laycan.delivery.devices.exact import gives_devices
from laycan.kube.client import ApiError, Client
from laycan.kube.sound import mapping
from laycan.kube.world import World
from laycan.planning.problem import grade_of
from laycan.resources.constants import API_VERSION
from laycan.resources.product import ProductSpec

log = logging.getLogger(__name__)


def product_status(name: str, raw: Mapping[str, Any], world: World, specs: Specs, now: int) -> dict[str, Any] | None:
    """The status to write for a product, None when what is written is right."""
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


async def tell_products(client: Client, world: World, specs: Specs, now: int) -> None:
    """Writes what has changed; one product that cannot be written does not stop the others."""
    for name, raw in list(world.products.items()):
        status = product_status(name, raw, world, specs, now)
        if status is None:
            continue
        version = {"resourceVersion": str(raw["metadata"].get("resourceVersion", ""))}
        path = f"/apis/{API_VERSION}/computeproducts/{name}"
        try:
            world.take_answer("products", name, await client.patch_merge(f"{path}/status", {"metadata": version, "status": status}))
        except ApiError as error:
            log.log(logging.DEBUG if error.status in (404, 409) else logging.WARNING, "status of product %s: %s", name, error)
