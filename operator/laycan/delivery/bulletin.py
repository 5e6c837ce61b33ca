"""What delivery tells people and the planner, once for each change: nodes that failed, alarms, and in mode Observe what it would do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

from laycan.delivery.faults.heartbeats import PATH, renewal
from laycan.delivery.nodes.desired import QUARANTINE, Target, Want
from laycan.delivery.nodes.situation import Situation
from laycan.kube.client import ApiError, Client
from laycan.kube.world import World
from laycan.resources.times import format_time

log = logging.getLogger(__name__)


class Bulletin:
    def __init__(self, client: Client, world: World) -> None:
        self._client, self._world = client, world
        self._failures: frozenset[tuple[str, str]] = frozenset()  # (node, state) as told last
        self._targets: frozenset[tuple[str, str]] = frozenset()
        self._unread: set[str] = set()  # nodes of which the last good sample could not be read

    async def failures(self, situation: Situation, entries: Mapping[str, str], touched: Collection[str]) -> None:
        """Logs what failed, reads when that and whatever else is NotReady was last well, and lets the planner know.

        `touched` are the nodes that may have changed. A Lease is read as soon as the node is NotReady, failed or not: once its kubelet is
        back nobody can tell any more how long it was away.
        """
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
        failed = {name for name, state in new if state.startswith("failed")}
        lost = {name for name in touched if situation.claims.on(name) and self._is_lost(name)}
        again = {name for name in self._unread if name in verdict.failed or self._is_lost(name)}
        due = sorted(name for name in failed | lost | again if not self._is_known(name))
        read = await asyncio.gather(*(self._read_lease(name) for name in due))
        self._unread = {name for name, done in zip(due, read, strict=True) if not done}
        for name in sorted({*failed, *due} - (self._unread - failed)):
            self._world.changed("nodes", name)

    def _is_lost(self, name: str) -> bool:
        node = self._world.nodes.get(name)
        return node is not None and not node.ready

    def _is_known(self, name: str) -> bool:
        """Whether the Lease of a node that is NotReady was read since it became so."""
        return self._is_lost(name) and self._world.lost.get(name) == self._world.nodes[name].ready_since

    def targets(self, targets: Mapping[str, Target]) -> None:
        """Mode Observe: what would be done."""
        states = frozenset((name, _would(target)) for name, target in targets.items())
        for name, state in sorted(states - self._targets):
            log.info("observe: node %s would be %s", name, state)
        self._targets = states

    async def _read_lease(self, name: str) -> bool:
        """The Lease's last renewal is the last good sample before the fault; False: to be asked again."""
        world, node = self._world, self._world.nodes.get(name)
        try:
            found = renewal(await self._client.get(f"{PATH}/{name}"))
        except ApiError as error:
            if error.status != 404:
                log.warning("the last sample of node %s could not be read: %s", name, error)
                return False
            found = None
        if found is None:
            log.warning("node %s has no Lease that tells its last sample: its change of readiness stands for it", name)
            world.last_seen.pop(name, None)
        else:
            world.last_seen[name] = found
        if node is not None and not node.ready:
            world.lost[name] = node.ready_since
        return True


def _would(target: Target) -> str:
    return {
        Want.HOLD: f"held for {target.holder}",
        Want.PREPARE: f"frozen and emptied for {target.holder or 'nobody: there is no backfill'}",
        Want.QUARANTINE: "put into quarantine",
        Want.OPEN: "emptied of its holder and freed",
    }[target.want]
