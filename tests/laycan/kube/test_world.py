"""The world holds the newest of each object, and tells of changes only."""

from __future__ import annotations

from typing import Any

from laycan.kube.device_views import claim_view, slice_view
from laycan.kube.views import FenceView, NamespaceView, fence_view, namespace_view, node_view, pod_view
from laycan.kube.world import World


def raw(name: str, version: int, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


def pod(name: str, node: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(version)}, "spec": {"nodeName": node}}


def test_an_older_object_does_not_replace_a_newer_one() -> None:
    """The answer of an own write is taken before the watch tells of it; what the watch still has in store is older."""
    world = World()
    world.put("products", "p", raw("p", 7, v="new"))
    world.put("products", "p", raw("p", 6, v="old"))
    assert world.products["p"]["metadata"]["labels"] == {"v": "new"}


def test_listeners_hear_of_changes_and_not_of_echoes() -> None:
    """The same object twice is one change."""
    world, heard = World(), []
    world.listeners.append(lambda kind, key: heard.append((kind, key)))
    for _ in range(2):
        world.put("namespaces", "a", namespace_view(raw("a", 1)))
    world.drop("namespaces", "a")
    world.drop("namespaces", "a")
    assert heard == [("namespaces", "a")] * 2


def test_the_one_fence_is_put_and_dropped_like_any_object() -> None:
    """Kinds of which there is one object are attributes, not tables."""
    world = World()
    world.put("fence", "cluster", fence_view({"metadata": {"name": "cluster", "resourceVersion": "3"}, "spec": {"nodes": {"n1": "acme"}}}))
    world.put("fence", "cluster", FenceView(2, {}, {}))
    assert world.fence is not None
    assert world.fence.nodes == {"n1": "acme"}
    assert world.keys("fence") == {"cluster"}
    world.drop("fence", "cluster")
    assert world.fence is None
    world.put("epoch", "cluster", 4)
    world.drop("epoch", "cluster")
    assert world.epoch == 0


def test_pods_are_found_by_their_node() -> None:
    """The index follows pods that come, move in name only, and go."""
    world = World()
    world.put("pods", "n/a", pod_view(pod("a", "n1", 1)))
    world.put("pods", "n/b", pod_view(pod("b", "n1", 2)))
    world.put("pods", "n/a", pod_view(pod("a", "n2", 3)))
    world.drop("pods", "n/b")
    assert {node: keys for node, keys in world.pods_on.items() if keys} == {"n2": {"n/a"}}


def test_a_namespace_that_terminates_says_so() -> None:
    """Either mark will do: the deletion timestamp or the phase."""
    assert namespace_view({"metadata": {"name": "a", "deletionTimestamp": "2027-01-01T00:00:00Z"}}).terminating
    assert namespace_view({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}) == NamespaceView("a", {}, True)


def gpu_slice(
    name: str, node: str, devices: dict[str, str], *, generation: int = 1, count: int = 1, taints: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A ResourceSlice of NVIDIA's driver: device name -> uuid; those in `taints` have lost their GPU."""
    rows = [
        {
            "name": device,
            "attributes": {"uuid": {"string": uuid}, "type": {"string": "gpu"}, "productName": {"string": "H100"}},
            "taints": [{"key": "gpu.nvidia.com/gpu-lost", "effect": "NoSchedule"}] if device in taints else [],
        }
        for device, uuid in devices.items()
    ]
    pool = {"name": node, "generation": generation, "resourceSliceCount": count}
    spec = {"driver": "gpu.nvidia.com", "nodeName": node, "pool": pool, "devices": rows}
    return {"metadata": {"name": name, "resourceVersion": str(generation)}, "spec": spec}


class TestDevices:
    """GPUs as a DRA driver publishes them."""

    def test_the_newest_complete_generation_counts(self) -> None:
        """A pool in two slices is seen when both are there; an older generation's slice no longer counts; a tainted GPU is unfit."""
        world = World()
        for number, raw in enumerate(
            (
                gpu_slice("a", "n1", {"gpu-0": "U0", "gpu-1": "U1"}),
                gpu_slice("b", "n1", {"gpu-0": "U7"}, generation=2, count=2),
                gpu_slice("c", "n1", {"gpu-1": "U8"}, generation=2, count=2, taints=("gpu-1",)),
            )
        ):
            world.put("resource_slices", raw["metadata"]["name"], slice_view(raw))
            assert [device.uuid for device in world.devices("n1")] == [["U0", "U1"], [], ["U7", "U8"]][number]
        node = node_view({"metadata": {"name": "n1"}, "status": {key: {"nvidia.com/gpu": "4"} for key in ("capacity", "allocatable")}})
        assert world.gpus(node) == 1
        for name in "abc":
            world.drop("resource_slices", name)
        assert (world.devices("n1"), world.gpus(node)) == ((), 4)

    def test_claims_by_node(self) -> None:
        """Whose claims have a device of a node, also after a claim was given to another."""
        world, told = World(), list[tuple[str, str]]()
        world.listeners.append(lambda kind, key: told.append((kind, key)))
        for version, pool in ((1, "n1"), (2, "n2")):
            result = {"driver": "gpu.nvidia.com", "pool": pool, "device": "gpu-0", "request": "gpus"}
            raw = {
                "metadata": {"name": "c", "namespace": "acme", "resourceVersion": str(version), "labels": {"laycan.dev/contract": "U"}},
                "status": {
                    "allocation": {"devices": {"results": [result]}},
                    "reservedFor": [{"apiGroup": "laycan.dev", "resource": "computecontracts", "name": "x", "uid": "U"}],
                },
            }
            world.put("resource_claims", "acme/c", claim_view(raw))
            assert {node for node, keys in world.claims_on.items() if keys} == {pool}
        assert set(told) == {("nodes", "n1"), ("nodes", "n2"), ("resource_claims", "acme/c")}
        assert world.resource_claims["acme/c"].kept_for("U")
        assert not world.resource_claims["acme/c"].kept_for("V")


def test_an_answer_brings_nothing_back() -> None:
    """The answer to a write that comes after the watch has told of the object's end, or of a namesake, changes nothing."""
    world = World()
    old = node_view({"metadata": {"name": "n", "uid": "1", "resourceVersion": "5"}})
    answer = node_view({"metadata": {"name": "n", "uid": "1", "resourceVersion": "7", "labels": {"laycan.dev/managed": "true"}}})
    world.put("nodes", "n", old)
    world.take_answer("nodes", "n", answer)
    assert world.nodes["n"].managed
    world.drop("nodes", "n")
    world.take_answer("nodes", "n", answer)
    assert not world.nodes
    world.put("nodes", "n", node_view({"metadata": {"name": "n", "uid": "2", "resourceVersion": "6"}}))
    world.take_answer("nodes", "n", answer)
    assert world.nodes["n"].uid == "2"
