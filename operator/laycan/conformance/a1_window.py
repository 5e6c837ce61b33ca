"""A1: the holder's pods and the window."""

from __future__ import annotations

import time

from laycan.conformance.attack import Seen, attack
from laycan.conformance.scene import HOLDER, Scene, now
from laycan.conformance.waiting import until

EARLY = "early"


@attack("A1", "early-pods", "Pending before the hand-over; Running after it, on the delivered node only")
async def early_pods(scene: Scene) -> Seen:
    """A holder's pod that was created before the window waits for it, though free nodes would fit, and then runs where it was delivered."""
    await scene.pod(scene.holder, HOLDER, EARLY, gpus=scene.gpus)
    before = await scene.place(HOLDER, EARLY)
    delivery = await scene.deliver(HOLDER, start=now() + 1)
    held = time.monotonic()
    node = await until("the early pod runs", lambda: scene.runs(HOLDER, EARLY))
    seconds = time.monotonic() - held
    await scene.pod(scene.holder, HOLDER, "second", gpus=scene.gpus)
    second = await scene.place(HOLDER, "second")
    await scene.end(delivery)
    left = await scene.find(f"/api/v1/namespaces/{HOLDER}/pods/{EARLY}")
    return Seen(
        (before, second) == ("nowhere", "nowhere") and node in delivery.nodes and left is None,
        f"before: {before}; then on {_where(node, delivery.nodes)}; a second one: {second}; afterwards {'still there' if left else 'gone'}",
        {"holder's pod runs, seconds after the hand-over": seconds},
    )


def _where(node: str, nodes: tuple[str, ...]) -> str:
    return "the delivered node" if node in nodes else node


@attack("A1", "handover-time", "handed over; how long it takes is told, not judged")
async def handover_time(scene: Scene) -> Seen:
    """Contracts that are due at once are handed over one after the other; the slowest and the fastest are numbers of the report."""
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        delivery = await scene.deliver(HOLDER)
        seconds.append(time.monotonic() - begun)
        await scene.end(delivery)
    numbers = {"hand-over, seconds from the contract's creation, fastest": min(seconds), "slowest": max(seconds)}
    return Seen(True, f"{len(seconds)} hand-overs", numbers)
