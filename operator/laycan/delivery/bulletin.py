"""What delivery tells people and the planner, once for each change: nodes that failed, alarms, and in mode Observe what it would do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from laycan.delivery.nodes.desired import QUARANTINE, Target, Want
from laycan.delivery.nodes.situation import Situation
from laycan.kube.client import ApiError, Client
from laycan.kube.world import World
from laycan.resources.times import format_time, parse_time

log = logging.getLogger(__name__)

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Bulletin:
    def __init__(self, client: Client, world: World) -> None:
        self._client, self._world = client, world
        self._failures: frozenset[tuple[str, str]] = frozenset()  # (node, state) as told last
        self._targets: frozenset[tuple[str, str]] = frozenset()

    async def failures(self, situation: Situation, entries: Mapping[str, str]) -> None:
        """Logs what failed, reads when it was last well, and lets the planner know."""
        verdict, declared = situation.verdict, situation.health.declared
        states = {(name, f"failed: {failure.reason}") for name, failure in verdict.failed.items()}
        states |= {(name, f"withheld: {failure.reason}") for name, failure in verdict.withheld.items()}
        states |= {(name, "quarantine") for name, owner in entries.items() if owner.startswith(QUARANTINE)}
        new, self._failures = states - self._failures, frozenset(states)
        for name in declared.keys() - {name for name, _ in states}:
            del declared[name]
        for name, state in sorted(new):
            if state.startswith("withheld"):
                log.error("ALARM circuit breaker: node %s %s; it keeps what it holds until a person looks", name, state)
            elif state.startswith("failed"):
                log.error("node %s %s, since %s", name, state, format_time(verdict.failed[name].onset))
                declared[name] = verdict.failed[name].counts_from
        failed = [name for name, state in new if state.startswith("failed")]
        await asyncio.gather(*(self._read_lease(name) for name in failed))
        for name in failed:
            self._world.changed("nodes", name)

    def targets(self, targets: Mapping[str, Target]) -> None:
        """Mode Observe: what would be done."""
        states = frozenset((name, _would(target)) for name, target in targets.items())
        for name, state in sorted(states - self._targets):
            log.info("observe: node %s would be %s", name, state)
        self._targets = states

    async def _read_lease(self, name: str) -> None:
        """The Lease's last renewal is the last good sample before the fault."""
        try:
            lease = await self._client.get(f"{_LEASES}/{name}")
            self._world.last_seen[name] = parse_time(f"{lease['spec']['renewTime'][:19]}Z")  # it has microseconds
        except (ApiError, KeyError, ValueError) as error:
            log.warning("no last sample of node %s, its change of readiness stands for it: %s", name, error)


def _would(target: Target) -> str:
    return {
        Want.HOLD: f"held for {target.holder}",
        Want.PREPARE: f"frozen and emptied for {target.holder or 'nobody: there is no backfill'}",
        Want.QUARANTINE: "put into quarantine",
        Want.OPEN: "emptied of its holder and freed",
    }[target.want]
