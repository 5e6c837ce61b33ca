"""What a product's status says about the promise that it makes."""

from __future__ import annotations

from typing import Any

from laycan.control.products import product_status
from laycan.control.specs import Specs
from laycan.kube.device_views import DeviceView, ResourceSliceView
from laycan.kube.world import World
from tests.laycan.control.town import NOW, product, world


def ready(made: World, raw: dict[str, Any]) -> tuple[str, str, str]:
    status = product_status("p", raw, made, Specs(), NOW)
    assert status is not None
    (condition,) = status["conditions"]
    again = {**raw, "status": status}
    assert product_status("p", again, made, Specs(), NOW + 5) is None, "what is written once is not written again"
    return condition["status"], condition["reason"], condition["message"]


def test_a_level_is_claimed_only_where_it_is_enforced() -> None:
    """Device is not ready where the cluster lacks something, or no node publishes GPUs; both say what."""
    made, raw = world(), product("p", level="Device")
    made.no_devices = "the API server does not serve resource.k8s.io/v1"
    assert ready(made, raw)[:2] == ("False", "LevelNotEnforced")
    assert "resource.k8s.io/v1" in ready(made, raw)[2]
    made.no_devices = ""
    assert "none of the 2 managed nodes" in ready(made, raw)[2]
    card = DeviceView("gpu-0", "U0", "H100", "")
    made.put("resource_slices", "s", ResourceSliceView("s", 1, "n1", 1, 1, (card,)))
    assert ready(made, raw)[:2] == ("True", "Planned")


def test_others_are_ready_when_they_can_be_read() -> None:
    """Without a level every cluster will do; a spec that no validation has seen says which field is wrong."""
    assert ready(world(), product("p"))[:2] == ("True", "Planned")
    status, reason, message = ready(world(), product("p", nodeGpus="eight"))
    assert (status, reason) == ("False", "Malformed")
    assert "nodeGpus" in message
