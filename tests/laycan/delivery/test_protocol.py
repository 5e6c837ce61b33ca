"""The loop of passes, as far as it needs no API server."""

from __future__ import annotations

import asyncio

import pytest

from laycan.delivery.nodes.attempt import entry_for
from laycan.delivery.nodes.desired import Target, Want
from laycan.delivery.nodes.drain import stays
from laycan.delivery.protocol import Delivery
from laycan.kube.client import Client
from laycan.kube.credentials import Credentials
from laycan.kube.views import PodView
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world


def test_not_leading() -> None:
    """While another operator leads nothing is looked at or sent, though a window has begun, and the event loop stays free."""
    seen = world([node("n")], [contract("a", "acme", [binding("n", 0, 100)])])
    nowhere = Client(Credentials("http://127.0.0.1:1", None, lambda: ""))

    async def main() -> int:
        delivery = Delivery(nowhere, seen, SETTINGS, lambda: T0 + 50, lambda: True)
        run = asyncio.create_task(delivery.run())
        turns = 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        return delivery.passes

    assert asyncio.run(asyncio.wait_for(main(), 10)) == 0


@pytest.mark.parametrize("turns", range(8))
def test_a_cancellation_is_never_lost(turns: int) -> None:
    """However close a cancellation comes to a change of the world, the loop of passes ends: a task that swallows it hangs the exit."""
    seen = world([node("n")])
    nowhere = Client(Credentials("http://127.0.0.1:1", None, lambda: ""))
    observe = SETTINGS.model_copy(update={"mode": "Observe"})

    async def main() -> None:
        delivery = Delivery(nowhere, seen, observe, lambda: T0)
        run = asyncio.create_task(delivery.run())
        while delivery.passes < 1:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # its debounce is over, it waits
        seen.put("nodes", "n", node("n", ready=False))
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait({run}, timeout=0.5)
        assert run.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("owner", "marked", "target", "entry"),
    [
        ("", "", Target(Want.PREPARE, "b", "beta"), "frozen.b"),
        ("", "", Target(Want.OPEN, "a"), ""),
        ("", "acme", Target(Want.HOLD, "b", "beta"), "acme"),
        ("acme", "acme", Target(Want.HOLD, "b", "beta"), "frozen.b"),
        ("stranger", "acme", Target(Want.HOLD, "a", "acme"), "acme"),
        ("frozen.b", "acme", Target(Want.HOLD, "a", "acme"), "frozen.a"),
        ("end.a", "", Target(Want.PREPARE, "b", "beta"), "frozen.b"),
        ("frozen.a", "", Target(Want.HOLD, "b", "beta"), "frozen.b"),
        ("beta", "beta", Target(Want.HOLD, "b", "beta"), "beta"),
        ("acme", "acme", Target(Want.OPEN, "a"), "end.a"),
        ("frozen.a", "frozen.a", Target(Want.OPEN, "a"), "frozen.a"),
        ("acme", "acme", Target(Want.QUARANTINE, "a"), "quarantine.a"),
    ],
)
def test_next_entry(owner: str, marked: str, target: Target, entry: str) -> None:
    """Closing comes before anything else, a lost entry is restored before it is judged, and an open node is never given directly."""
    assert entry_for(owner, marked, target) == entry


@pytest.mark.parametrize(
    ("namespace", "change", "may_stay"),
    [
        ("beta", {}, False),
        ("acme", {}, True),
        ("kube-system", {}, True),
        ("gpu-operator", {"gpus": 1}, True),
        ("monitoring", {"owner_kind": "DaemonSet"}, True),
        ("monitoring", {"owner_kind": "DaemonSet", "gpus": 1}, False),
        ("monitoring", {"owner_kind": "ReplicaSet"}, False),
        ("beta", {"owner_kind": "DaemonSet"}, False),
        ("beta", {"phase": "Succeeded"}, True),
        ("beta", {"deleting": True}, False),
        ("beta", {"mirror": True, "owner_kind": "Node"}, True),
        ("beta", {"mirror": True}, False),
    ],
)
def test_who_may_stay(namespace: str, change: dict[str, object], may_stay: bool) -> None:
    """On acme's node stay her pods, the cluster's own, agents without GPUs, static pods, and what has ended; nobody else."""
    values: dict[str, object] = {"phase": "Running", "owner_kind": "", "mirror": False, "gpus": 0, "deleting": False, **change}
    pod = PodView(namespace=namespace, name="p", uid="u", resource_version=1, node="n", **values)  # type: ignore[arg-type]
    assert stays(pod, SETTINGS, "acme") is may_stay
