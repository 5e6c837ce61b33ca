"""Runs attacks one after the other on one scene, and turns whatever happens to one into its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

from laycan.conformance.attack import ATTACKS, Attack, NotRun, Result, Seen
from laycan.conformance.fleet import NoFleetError
from laycan.conformance.harness import Harness
from laycan.conformance.scene import Options, Scene
from laycan.conformance.stage import scene
from laycan.conformance.waiting import NeverError
from laycan.kube.client import ApiError
from laycan.kube.credentials import Credentials
from laycan.settings import Settings

_MODULES = (
    "a1_window", "a2_intruders", "a3_preemption", "a4_flood", "a5_daemonsets", "a6_budgets", "a7_failure", "a8_change", "a9_chart",
    "a10_crashes", "a11_no_failure", "a12_bounds", "b_devices",
)  # fmt: skip


class UnknownAttackError(ValueError):
    """A name that stands for no attack."""


def attacks(only: Iterable[str] = ()) -> list[Attack]:
    """All registered ones, or those of these families and ids; the standing delivery's first, in the list's order otherwise.

    Raises UnknownAttackError.
    """
    for module in _MODULES:
        import_module(f"laycan.conformance.{module}")
    wanted = list(only)
    names = {each.id for each in ATTACKS} | {each.family for each in ATTACKS}
    if unknown := [name for name in wanted if name not in names]:
        raise UnknownAttackError(f"no attack {', '.join(unknown)}; there are {', '.join(sorted({each.family for each in ATTACKS}))}")
    chosen = [each for each in ATTACKS if not wanted or each.id in wanted or each.family in wanted]
    return sorted(chosen, key=lambda each: (not each.stands, order(each.id)))


def order(name: str) -> tuple[str, int, str]:
    """A9 before A10."""
    family, _, rest = name.partition("-")
    return family[0], int(family[1:]), rest


async def run(
    credentials: Credentials,
    release: str,
    chosen: Sequence[Attack],
    nodes: Sequence[str],
    options: Options,
    harness: Harness,
    *,
    disruptive: bool,
    settings: Settings | None = None,
    tell: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """The results, in the order of the list. Raises ApiError, NoFleetError and NotRun where no scene can be set."""
    results = []
    async with scene(credentials, release, nodes, options, harness, settings) as stage:
        for each in chosen:
            if not each.stands:
                await stage.drop_standing()
            results.append(await one(stage, each, disruptive))
            tell(results[-1])
        await stage.drop_standing()
    return sorted(results, key=lambda result: order(result.id))


async def one(stage: Scene, each: Attack, disruptive: bool) -> Result:
    """One attack, and its pods gone afterwards."""
    begun = time.monotonic()
    held: bool | None = False
    numbers: dict[str, float] = {}
    try:
        seen = await _play(stage, each, disruptive)
        held, observed, numbers = seen.held, seen.observed, dict(seen.numbers)
    except NotRun as reason:
        held, observed = None, f"not run: {reason}"
    except (ApiError, NeverError, NoFleetError) as error:
        observed = f"could not be brought to its end: {error}"
    try:
        await stage.tidy()
    except (ApiError, NeverError) as error:
        held, observed = False, f"{observed}; could not be cleaned up: {error}"
    return Result(each.id, each.claim, each.expected, observed, held, round(time.monotonic() - begun, 1), numbers)


async def _play(stage: Scene, each: Attack, disruptive: bool) -> Seen:
    if lacking := sorted(each.needs - stage.harness.abilities):
        raise NotRun(f"needs to {' and to '.join(lacking)}, which a cluster in use does not offer; `make conformance` shows it")
    if each.disruptive and not disruptive:
        raise NotRun("needs --disruptive")
    return await each.play(stage)
