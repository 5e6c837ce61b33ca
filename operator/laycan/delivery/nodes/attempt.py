"""The protocol for the nodes of one contract, as far as it goes now.

Closing is fence, probe, label; opening is label, fence. Between the two stands an empty node, verified by a list that was taken
after the probe. Each step looks at the fence entry and the label as they are, asks again what is wanted just before it writes,
and does nothing where it is done already: an attempt that was broken off anywhere is simply made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from laycan.delivery.faults.out_of_service import change_wanted, remove_taint, set_taint
from laycan.delivery.nodes.desired import END, FROZEN, QUARANTINE, Target, Want
from laycan.delivery.nodes.drain import Drain, Order, stays
from laycan.delivery.nodes.fence import Fence
from laycan.delivery.nodes.labels import label, unlabel
from laycan.delivery.nodes.situation import Situation
from laycan.kube.client import ApiError, Client
from laycan.kube.views import NodeView, PodView
from laycan.kube.world import World
from laycan.settings import Settings

log = logging.getLogger(__name__)

_LABELS_AT_ONCE = 16


def entry_for(owner: str, marked: str, target: Target) -> str:
    """The fence entry that `target` asks for before anything else happens; "" none. `marked` is the label's value."""
    if not owner and target.want is Want.QUARANTINE:  # exact GPUs of it were delivered, so it had no owner
        return f"{QUARANTINE}{target.uid}"
    if not owner:
        return marked or (f"{FROZEN}{target.uid}" if target.want in (Want.HOLD, Want.PREPARE) else "")
    if target.want is Want.QUARANTINE:
        return f"{QUARANTINE}{target.uid}"
    if target.want is Want.OPEN:
        return owner if "." in owner else f"{END}{target.uid}"
    if marked == target.holder and "." not in owner:  # the protocol never gets there: somebody wrote over the entry of a held node
        return target.holder
    return owner if owner == target.holder else f"{FROZEN}{target.uid}"


class Steps:
    """Shared by the attempts of all contracts."""

    def __init__(
        self, client: Client, world: World, situation: Situation, fence: Fence, drain: Drain, settings: Settings, clock: Callable[[], int]
    ) -> None:
        self._client, self._world, self._situation = client, world, situation
        self._fence, self._drain, self._settings, self._clock = fence, drain, settings, clock
        self._gate = asyncio.Semaphore(_LABELS_AT_ONCE)
        self._emptied: dict[str, tuple[str, int]] = {}  # node -> the entry under which it was verified empty, and `fence.failures` then
        self._since: dict[str, tuple[str, int]] = {}  # node -> entry, and when it was first seen to be emptied
        self._drained: dict[str, str] = {}  # node that was not empty at once -> the entry

    async def attempt(self, uid: str, names: Iterable[str]) -> None:
        """All that can be done now for the nodes whose targets are on this contract's account. Raises ApiError, FenceDownError."""
        names = sorted(names)
        await self._close(uid, names)
        await self._mark(uid, names)
        await self._declare(uid, names)
        empty = await self._clear(uid, names)
        await self._hand_over(uid, empty)
        await self._open(uid, empty)

    def settled(self, name: str, target: Target) -> bool:
        """Whether nothing is left to do before the target or the world changes."""
        owner, node = self._owner(name), self._world.nodes.get(name)
        if change_wanted(self._world, self._situation.health, name, self._clock()) is not None:
            return False
        if node is None or not node.managed:
            return target.want is not Want.OPEN and (not owner or owner == entry_for(owner, "", target))
        if not owner or owner != entry_for(owner, node.holder, target) or owner != node.holder:
            return False
        if target.want is Want.QUARANTINE and (not self._world.alive(node) or self._served(name)):
            return True
        if target.want in (Want.QUARANTINE, Want.PREPARE):
            return self._known_empty(name, owner, target.keep)
        return target.want is Want.HOLD and (owner == target.holder or not self._world.alive(node))

    def strangers(self, name: str, keep: str) -> list[PodView]:
        """Pods that may not be on this closed node, as far as the watch has told."""
        pods = (self._world.pods.get(key) for key in self._world.pods_on.get(name, ()))
        return [pod for pod in pods if pod is not None and not stays(pod, self._settings, keep)]

    def _known_empty(self, name: str, owner: str, keep: str) -> bool:
        """Whether it was listed and found empty under this entry, which has held ever since as far as anybody saw."""
        return self._emptied.get(name) == (owner, self._fence.failures) and not self.strangers(name, keep)

    def _owner(self, name: str) -> str:
        return self._fence.entries.get(name, "")

    def _target(self, uid: str, name: str) -> Target | None:
        """What is wanted of the node now, if it still is on this contract's account."""
        target = self._situation.target(name, self._clock())
        return target if target is not None and target.uid == uid else None

    async def _close(self, uid: str, names: list[str]) -> None:
        def wanted(entries: Mapping[str, str]) -> dict[str, str | None]:
            changes: dict[str, str | None] = {}
            for name in names:
                target, node = self._target(uid, name), self._world.nodes.get(name)
                if target is None or (node is not None and not node.managed):
                    continue
                owner, marked = entries.get(name, ""), node.holder if node is not None else ""
                if entry := entry_for(owner, marked, target):
                    changes[name] = entry
                    if entry != owner:
                        self._emptied.pop(name, None)
                if marked and not owner:
                    log.error("ALARM node %s is labelled %s, its fence entry was lost; it is closed again", name, marked)
            return changes

        await self._fence.write(wanted)

    async def _mark(self, uid: str, names: list[str]) -> None:
        """Labels what is fenced and proven."""
        todo: dict[str, str] = {}
        for name in names:
            target, node, owner = self._target(uid, name), self._world.nodes.get(name), self._owner(name)
            if target is None or node is None or not node.managed or not owner or owner != entry_for(owner, node.holder, target):
                continue
            if node.holder != owner and (target.want is not Want.OPEN or node.holder):  # an opened node lost its label on purpose
                todo[name] = owner
        await self._fence.prove(todo)
        await asyncio.gather(*(self._label(uid, name, owner) for name, owner in todo.items()))

    async def _label(self, uid: str, name: str, owner: str) -> None:
        async with self._gate:
            target, node = self._target(uid, name), self._world.nodes.get(name)
            if target is None or node is None or self._owner(name) != owner:
                return
            await self._tolerant(name, label(self._client, self._world, node, owner, held=owner == target.holder))

    async def _declare(self, uid: str, names: list[str]) -> None:
        """Declares nodes dead, or takes that back."""
        for name in names:
            node, wanted = self._world.nodes.get(name), change_wanted(self._world, self._situation.health, name, self._clock())
            if node is None or wanted is None or self._target(uid, name) is None:
                continue
            log.warning("node %s: %s", name, "its pods are given up, it is out of service" if wanted else "it is heard again")
            await self._tolerant(name, (set_taint if wanted else remove_taint)(self._client, self._world, node))

    async def _clear(self, uid: str, names: list[str]) -> set[str]:
        """Empties what is closed and marked; the nodes that are empty now."""
        now, orders, empty = self._clock(), list[Order](), set[str]()
        for name in names:
            target, node, owner = self._target(uid, name), self._world.nodes.get(name), self._owner(name)
            if target is None or not owner:
                continue
            if node is not None and not node.managed:
                empty.add(name)  # not ours to empty; its entry goes
            elif self._may_empty(target, node, owner):
                if self._known_empty(name, owner, target.keep):  # a window begins: its nodes were emptied in the lead
                    empty.add(name)
                else:
                    orders.append(self._order(name, target, node, owner, now))
        return empty | await self._empty(orders, now)

    async def _empty(self, orders: list[Order], now: int) -> set[str]:
        """Proves, lists and evicts; what is found empty stays known as such while the entry and the fence hold."""
        closed, failures = {order.node: self._owner(order.node) for order in orders}, self._fence.failures
        await self._fence.prove(closed)
        found = await self._drain.empty(orders, now)
        for order in orders:
            name = order.node
            if name not in found or self._owner(name) != closed[name]:
                self._emptied.pop(name, None)
                self._drained[name] = closed[name]
                continue
            self._measure(order, closed[name])
            if order.placed_only:
                self._emptied.pop(name, None)
            else:
                self._emptied[name] = (closed[name], failures)
        return found

    def _measure(self, order: Order, owner: str) -> None:
        """Notes how long a node that was frozen for its next holder took to empty; one that was empty at once tells nothing."""
        since, budgeted = self._since[order.node], order.node in self._drain.held_up
        self._drain.held_up.discard(order.node)
        begun = max(since[1], order.deadline) if budgeted else since[1]
        if self._drained.pop(order.node, "") == owner == since[0] and owner.startswith(FROZEN) and begun <= self._clock():
            self._fence.note_drain(self._clock() - begun)

    def _may_empty(self, target: Target, node: NodeView | None, owner: str) -> bool:
        if target.want is Want.OPEN:
            return "." in owner and (node is None or node.holder in ("", owner))
        if node is None or node.holder != owner or owner == target.holder:
            return False
        if target.want is Want.QUARANTINE:  # what a dead node runs cannot be ended, and may be its contract's only copy
            return self._world.alive(node) and not self._served(node.name)
        return owner == f"{FROZEN}{target.uid}"

    def _served(self, name: str) -> bool:
        now = self._clock()
        return any(claim.live and claim.start <= now < claim.end for claim in self._situation.claims.on(name))

    def _order(self, name: str, target: Target, node: NodeView | None, owner: str, now: int) -> Order:
        if self._since.get(name, ("", 0))[0] != owner:
            self._since[name] = (owner, now)
        deadline = target.deadline or self._since[name][1] + self._settings.drain_seconds
        left_over = target.want is Want.OPEN and owner.startswith(FROZEN)  # its new holder never came: strangers may go on there
        return Order(name, deadline, target.keep, left_over)

    async def _hand_over(self, uid: str, empty: set[str]) -> None:
        frozen = f"{FROZEN}{uid}"
        given: dict[str, str] = {}

        def wanted(entries: Mapping[str, str]) -> dict[str, str | None]:
            given.clear()
            for name in sorted(empty):
                target, node = self._target(uid, name), self._world.nodes.get(name)
                if target is None or target.want is not Want.HOLD or node is None or not node.managed or not self._world.alive(node):
                    continue
                if entries.get(name) == frozen and node.holder == frozen:
                    given[name] = target.holder
            return dict(given)

        await self._fence.write(wanted)
        if given:
            await self._mark(uid, sorted(given))
            done = [name for name, holder in given.items() if (node := self._world.nodes.get(name)) and node.holder == holder]
            log.info("contract %s: %s handed over to %s", uid, ", ".join(done), ", ".join(sorted(set(given.values()))))

    async def _open(self, uid: str, empty: set[str]) -> None:
        def opens(name: str, owner: str) -> bool:
            target, node = self._target(uid, name), self._world.nodes.get(name)
            unmanaged = node is not None and not node.managed
            return target is not None and target.want is Want.OPEN and ("." in owner or unmanaged)

        async def off(name: str) -> None:
            async with self._gate:
                node = self._world.nodes.get(name)
                if node is not None and node.managed and node.holder and opens(name, self._owner(name)):
                    await self._tolerant(name, unlabel(self._client, self._world, node))

        def wanted(entries: Mapping[str, str]) -> dict[str, str | None]:
            nodes = self._world.nodes
            return {
                name: None
                for name in sorted(empty)
                if name in entries and opens(name, entries[name]) and not ((node := nodes.get(name)) and node.managed and node.holder)
            }

        await asyncio.gather(*(off(name) for name in sorted(empty)))
        await self._fence.write(wanted)

    async def _tolerant(self, name: str, write: Awaitable[None]) -> None:
        """The node is another one by now, or somebody else changed it: the next pass looks again."""
        try:
            await write
        except ApiError as error:
            if error.status not in (404, 409, 422):
                raise
            log.info("node %s changed meanwhile: %s", name, error.message)
