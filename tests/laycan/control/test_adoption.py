"""What is served already is taken over on exactly its nodes, or refused with what is in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from laycan.control.adoption import kept, take_over
from laycan.control.decision import Decision, PlannedBinding
from laycan.control.planner import Planner
from laycan.control.snapshot import promises
from laycan.control.specs import Specs
from laycan.kube.device_views import DeviceView, ResourceClaimView, ResourceSliceView
from laycan.kube.views import ContractView, FenceView, PodView, namespace_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from tests.laycan.control.planning import decided, planning
from tests.laycan.control.town import HOUR, NOW, SETTINGS, bound, contract, node, product, world

WINDOW = {"delivery_start": "2027-01-15T07:00:00Z", "delivery_end": "2027-01-15T12:00:00Z"}  # it runs since an hour


def adopting(name: str, *nodes: str, gpus: int | None = None, adopted: int = 8, **more: Any) -> ContractView:
    """A contract of whole nodes whose window runs."""
    rows = [{"node": each, "gpus": adopted} for each in nodes]
    gpus = 8 * len(nodes) if gpus is None else gpus
    return contract(name, spec={"adopt": {"bindings": rows}}, delivery_gpus=gpus, **{**WINDOW, **more})


def judged(made: World, *candidates: ContractView, unusable: frozenset[str] = frozenset()) -> Any:
    for each in candidates:
        made.contracts[each.key] = each
    return take_over(list(candidates), made, Specs(), SETTINGS, promises(made, {}, {}, unusable, NOW), unusable, NOW)


def pod(namespace: str, node_name: str, gpus: int = 8, phase: str = "Running") -> PodView:
    return PodView(namespace, "p", "u", 1, node_name, phase, "", False, gpus, False)


def test_taken_over() -> None:
    """From now to its end, on its nodes, in the grade that they are; the holder's pods there are no obstacle."""
    made = world()
    made.put("pods", "acme/p", pod("acme", "n1"))
    made.put("pods", "kube-system/p", pod("kube-system", "n2", gpus=1))
    found = judged(made, adopting("a", "n1", "n2"))
    assert (found.refused, found.rest) == ({}, [])
    rows = [(b.node, b.product, b.gpus, b.start) for b in found.promises["desk/a"].bindings]
    assert rows == [("n1", "h100", 8, NOW), ("n2", "h100", 8, NOW)]
    assert found.promises["desk/a"].whole == {"n1", "n2"}


def test_others_are_left_to_planning() -> None:
    """A candidate that adopts nothing passes through."""
    plain = contract("plain")
    assert judged(world(), plain).rest == [plain]


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (adopting("a", "n1", adopted=6, gpus=8), "[0].gpus: is 6, no multiple of lotGpus (8)"),
        (adopting("a", "n1", "n1"), "n1 stands there twice"),
        (adopting("a", "n1", gpus=16), "add up to 8 GPUs, but 16 are sold"),
    ],
)
def test_malformed(candidate: ContractView, words: str) -> None:
    """A list that contradicts the terms is refused with its field."""
    reason = judged(world(), candidate).refused["desk/a"].reason
    assert (reason.code, words in reason.message) == ("Malformed", True), reason.message


def put(kind: str, key: str, view: Any) -> Callable[[World], None]:
    return lambda made: made.put(kind, key, view)


CLAIM = ResourceClaimView("beta", "c", "u", 1, "", False, True, frozenset({("n1", "gpu-0")}), (("worker", "u"),), ())
OBSTACLES: dict[str, Callable[[World], None]] = {
    "is not a node of the fleet; a cluster admin must label it laycan.dev/managed=true": put("nodes", "n1", node("n1", 2, managed=False)),
    "is of another grade than h100": put("nodes", "n1", node("n1", 2, labels={"nvidia.com/gpu.product": "NVIDIA-A100"})),
    "is not well now": put("nodes", "n1", node("n1", 2, ready=False)),
    "has 7 healthy GPUs, not 8": put("nodes", "n1", node("n1", 2, gpus=7)),
    "its GPUs are shared": put("nodes", "n1", node("n1", 2, labels={"nvidia.com/gpu.sharing-strategy": "mps"})),
    "is closed as quarantine.uid-x": put("fence", "cluster", FenceView(2, {"n1": "quarantine.uid-x"}, {})),
    "is closed as gamma": put("fence", "cluster", FenceView(2, {"n1": "gamma"}, {})),
    "runs pod beta/p, which uses its GPUs and is not of namespace acme": put("pods", "beta/p", pod("beta", "n1", 1)),
    "runs pod beta/worker, which uses": put("resource_claims", "beta/c", CLAIM),
    "is bound to contract desk/other from": put("contracts", "desk/other", contract("other", status=bound("n1"))),
}


@pytest.mark.parametrize("words", OBSTACLES)
def test_obstacles(words: str) -> None:
    """Whatever does not fit what runs is refused, naming the field and the node."""
    made = world()
    OBSTACLES[words](made)
    reason = judged(made, adopting("a", "n2", "n1")).refused["desk/a"].reason
    assert reason.code == "NoCapacity"
    assert reason.message.startswith("spec.adopt.bindings[1].node: n1 ")
    assert words in reason.message
    assert reason.message.endswith("(proved)")


def test_no_obstacles() -> None:
    """Pods without GPUs, pods that have ended, the holder's own entry and closed backfill stand in nobody's way."""
    for change in (
        put("pods", "beta/p", pod("beta", "n1", 0)),
        put("pods", "beta/p", pod("beta", "n1", 8, "Succeeded")),
        put("fence", "cluster", FenceView(2, {"n1": "acme"}, {})),
        put("fence", "cluster", FenceView(2, {"n1": "frozen.none"}, {})),
        put("contracts", "desk/other", contract("other", status=bound("n1", end=NOW - HOUR, start=NOW - 2 * HOUR))),
    ):
        made = world()
        change(made)
        assert judged(made, adopting("a", "n1")).refused == {}


def test_two_for_one_node() -> None:
    """The first gets it, the second is told who has it."""
    found = judged(world(), adopting("a", "n1"), adopting("b", "n2", "n1"))
    assert set(found.promises) == {"desk/a"}
    assert "n1 is bound to contract desk/a" in found.refused["desk/b"].reason.message


def test_turnaround() -> None:
    """A contract that follows too soon is in the way as well."""
    made = world([contract("next", status=bound("n1", start=NOW + 4 * HOUR + 60, end=NOW + 9 * HOUR))])
    assert judged(made, adopting("a", "n1")).refused == {}
    made.products["h100"] = product("h100", turnaroundSeconds=61)
    assert "desk/next" in judged(made, adopting("a", "n1")).refused["desk/a"].reason.message


def test_topology() -> None:
    """What runs across racks cannot be adopted as one rack, nor what is bunched as spread."""
    made = world()
    for name, rack in (("n1", "r1"), ("n2", "r2")):
        made.put("nodes", name, node(name, 2, labels={"network.topology.nvidia.com/leaf": rack}))
    scoped = adopting("a", "n1", "n2", delivery_scope="Rack")
    assert "2 domains of scope Rack" in judged(made, scoped).refused["desk/a"].reason.message
    spread: dict[str, Any] = {"delivery_spread": {"level": "Rack", "minDomains": 2}}
    assert judged(made, adopting("a", "n1", "n2", **spread)).refused == {}
    made.put("nodes", "n2", node("n2", 3, labels={"network.topology.nvidia.com/leaf": "r1"}))
    assert "2 lots lie in Rack r1" in judged(made, adopting("a", "n1", "n2", **spread)).refused["desk/a"].reason.message


def test_equivalent_grade() -> None:
    """A node of an equivalent grade is adopted as such where the terms allow it."""
    made = world()
    made.products["h100"] = product("h100", equivalents=[{"product": "h200", "costPerGpuHour": "0.08"}])
    made.products["h200"] = product("h200", gpuProducts=["NVIDIA-H200"])
    made.put("nodes", "n1", node("n1", 2, labels={"nvidia.com/gpu.product": "NVIDIA-H200"}))
    assert "another grade" in judged(made, adopting("a", "n1")).refused["desk/a"].reason.message
    found = judged(made, adopting("a", "n1", substitution={"policy": "EquivalentGrade"}))
    assert [b.product for b in found.promises["desk/a"].bindings] == ["h200"]


def exact(made: World, *names: str) -> None:
    """This cluster delivers exact GPUs, and these nodes have them."""
    made.no_devices = ""
    for name in names:
        cards = tuple(DeviceView(f"gpu-{i}", f"GPU-{name}-{i}", "H100", "") for i in range(8))
        made.put("resource_slices", name, ResourceSliceView(name, 1, name, 1, 1, cards))


def test_level() -> None:
    """Where exact GPUs could be delivered an adopted node goes as a whole; what is sold as exact GPUs cannot be adopted."""
    made = world([contract("later", status=bound("n2", start=NOW + 20 * HOUR, end=NOW + 21 * HOUR))])
    exact(made, "n1", "n2")
    assert judged(made, adopting("a", "n1")).promises["desk/a"].whole == {"n1"}
    assert "is bound to contract desk/later" in judged(made, adopting("a", "n2")).refused["desk/a"].reason.message
    made.products["h100"] = product("h100", level="Device")
    reason = judged(made, adopting("a", "n1")).refused["desk/a"].reason
    assert (reason.code, "level Device" in reason.message) == ("Malformed", True)


def test_a_node_shared_by_gpu_until_then() -> None:
    """A window that begins later takes no node of which others have exact GPUs today: it would become a whole one under their hands."""
    status = bound("n1", start=NOW - HOUR, end=NOW + HOUR, phase="Delivering", gpus=2)
    status["bindings"][0]["level"] = "Device"
    made = world([contract("today", status=status)])
    exact(made, "n1", "n2")
    later = adopting("a", "n1", delivery_start=format_time(NOW + 2 * HOUR))
    assert "is bound to contract desk/today" in judged(made, later).refused["desk/a"].reason.message
    assert judged(made, adopting("b", "n2", delivery_start=format_time(NOW + 2 * HOUR))).promises["desk/b"].whole == {"n2"}


class TestPlanned:
    """With the real planner."""

    def test_bound_where_it_runs(self) -> None:
        """An older candidate that could take the same node gets another one, and an older one too many is refused."""
        made = world([adopting("a", "n1"), contract("older", created=NOW - 999), contract("second", created=NOW - 998)])

        async def test(office: Planner) -> None:
            await office.step()
            found = decided(office)
            assert [(b.node, b.start) for b in found["desk/a"].bindings] == [("n1", NOW)]
            assert [b.node for b in found["desk/older"].bindings] == ["n2"]
            assert found["desk/second"].accepted is False
            first = found["desk/a"]
            made.put("contracts", "desk/late", adopting("late", "n1"))
            await office.step()
            assert decided(office)["desk/a"] == first, "a promise that is only decided is not judged again"
            reason = decided(office)["desk/late"].reason
            assert reason is not None
            assert "n1 is bound to contract desk/a" in reason.message

        planning(made, test)

    def test_as_a_whole(self) -> None:
        """On a node whose GPUs could be delivered one by one the plan, and the next one too, keep it whole."""
        made = world([adopting("a", "n1")])
        exact(made, "n1", "n2")

        async def test(office: Planner) -> None:
            for name in ("b", "c"):
                await office.step()
                assert [(b.node, b.level) for b in decided(office)["desk/a"].bindings] == [("n1", "Node")]
                made.put(
                    "contracts", f"desk/{name}", contract(name, delivery_gpus=4, delivery_lotGpus=4, delivery_handover={"namespace": name})
                )
                made.namespaces[name] = namespace_view({"metadata": {"name": name, "labels": {"laycan.dev/desk": "desk"}}})
            await office.step()
            assert {(b.node, b.level) for key in ("desk/b", "desk/c") for b in decided(office)[key].bindings} == {("n2", "Device")}

        planning(made, test)


def test_kept() -> None:
    """A plan keeps it if it begins there; what it plans for later, an outage for instance, is planning."""
    promise = judged(world(), adopting("a", "n1")).promises["desk/a"]
    first, later = PlannedBinding("n1", "h100", 8, NOW, NOW + 50), PlannedBinding("n2", "h100", 8, NOW + 50, NOW + 90)
    decision = Decision(True, NOW, None, (first, later))
    assert kept(promise, decision)
    assert not kept(promise, replace(decision, bindings=(first._replace(node="n2"),)))
    assert not kept(promise, replace(decision, bindings=()))
