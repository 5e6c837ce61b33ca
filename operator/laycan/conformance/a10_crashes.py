"""A10: the operator dies between any two of its steps."""

from __future__ import annotations

from laycan.conformance.a4_flood import Sentry, flood
from laycan.conformance.attack import Ability, Seen, attack
from laycan.conformance.scene import HOLDER, Scene
from laycan.conformance.waiting import NeverError, beside, until

_NEVER = 1_000_000_000  # a write that no run makes


@attack(
    "A10", "crash-at-hand-over", "its successor hands over each time; no stranger after the first refused bind",
    needs=[Ability.KILL_OPERATOR],
)  # fmt: skip
async def crash_at_hand_over(scene: Scene) -> Seen:
    """The operator is killed before one of its writes, at points all along from the contract's creation to the hand-over."""
    writes, _, fault = await _once(scene, _NEVER)
    wrong = [f"without a death: {fault}"] if fault else []
    points = sorted({1 + number * writes // scene.options.deaths for number in range(scene.options.deaths)})
    deaths = 0
    for write in points:
        _, died, fault = await _once(scene, write)
        deaths += died
        wrong += [f"dead before write {write}: {fault}"] if fault else []
    numbers = {"writes of a run without a death": writes, "deaths": deaths}
    return Seen(deaths > 0 and not wrong, "; ".join(wrong) or f"{deaths} deaths, {deaths} hand-overs by the successor", numbers)


async def _once(scene: Scene, write: int) -> tuple[int, bool, str]:
    """All nodes are handed over to the holder under a flood: writes until then, whether the operator died, and what was wrong."""
    nodes = scene.fleet.nodes
    await until("all nodes are free", lambda: scene.are(nodes, ""), scene.patience)
    sentry, pour = Sentry(scene, nodes), flood(scene, nodes)
    fault = ""
    async with beside(pour.drop), beside(sentry.look):
        await scene.act(scene.harness.doom_operator, write)
        name = await scene.sell(HOLDER, len(nodes))
        await until("held or dead", lambda: _held_or_dead(scene), scene.patience)
        writes = scene.harness.operator_writes()
        await scene.act(scene.harness.doom_operator, _NEVER)
        if died := scene.harness.operator_died():
            await scene.act(scene.harness.start_operator)
        delivery = await scene.accepted(name)
        try:
            await scene.await_held(delivery)
            await until("the sentry looked", lambda: _looked(sentry))
        except NeverError as error:
            fault = str(error)
    await scene.clear_pods()
    await scene.end(delivery)
    return writes, died, fault or (f"strangers after the probe: {', '.join(sorted(sentry.after))}" if sentry.after else "")


async def _held_or_dead(scene: Scene) -> str:
    if scene.harness.operator_died():
        return "dead"
    return "held" if await scene.are(scene.fleet.nodes, HOLDER) else ""


async def _looked(sentry: Sentry) -> bool:
    return sentry.looks > 1
