"""Tells the author of an instruction what has become of it: its own status.

It follows from the instruction and the contract's written status, so it is worked out again whenever one of them changes, and after a
restart for all; the contract's status is the truth and this the answer. An instruction that cannot be read or written stops no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from laycan.control.draft import Draft
from laycan.control.instructions import Verdict, verdicts
from laycan.control.objection import wait
from laycan.control.patches import merge_patch
from laycan.kube.client import ApiError, Client
from laycan.kube.instruction_views import FINAL, InstructionView, instruction_view
from laycan.kube.world import World
from laycan.resources.constants import API_VERSION, PLURALS

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # how often those that wait are looked at without any change
FIRST_WORD_SECONDS = 2  # most are applied within that time: one write says so


def instruction_status(view: InstructionView, verdict: Verdict) -> dict[str, Any]:
    """`status` of the instruction."""
    raw: dict[str, Any] = {"phase": verdict.phase, "observedGeneration": view.generation}
    if verdict.reason is not None:
        raw["reason"] = {"code": verdict.reason.code, "message": verdict.reason.message[:4096]}
    return raw | ({"digest": view.digest} if view.digest else {})


def answers(key: str, world: World, now: int) -> list[tuple[InstructionView, dict[str, Any]]]:
    """The statuses to write of the instructions that name the contract of this key."""
    views = [world.instructions[each] for each in sorted(world.instructions_on.get(key, ()))]
    contract = world.contracts.get(key)
    if contract is None:
        found = dict.fromkeys((v.key for v in views), Verdict("Pending", wait("UnknownContract", f"there is no ComputeContract {key}")))
        found |= {v.key: Verdict(v.phase) for v in views if v.phase in FINAL}
    else:
        found = verdicts(Draft.open(contract, "", frozenset(), now, hurried=True), world)
    wanted = [(view, instruction_status(view, found[view.key])) for view in views if not (contract is None and view.phase in FINAL)]
    quick = [(v, status) for v, status in wanted if status["phase"] in FINAL or v.status or now >= v.created + FIRST_WORD_SECONDS]
    return [(view, status) for view, status in quick if status != dict(view.status)]


@dataclass(slots=True)
class Outcomes:
    """`run` until cancelled; `step` looks once at what changed, and at what waits."""

    client: Client
    world: World
    clock: Callable[[], int]
    leads: Callable[[], bool]  # asked before each write
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _touched: set[str] = field(default_factory=set)  # keys of contracts
    _waiting: set[str] = field(default_factory=set)
    _failed: dict[str, str] = field(default_factory=dict)  # instruction -> what was said of it last

    async def run(self) -> None:
        self._touched |= self.world.instructions_on.keys()
        self.world.listeners.append(self._note)
        while True:
            await self.step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._waiting else None):
                    await self._changed.wait()

    async def step(self) -> None:
        self._changed.clear()
        keys, self._touched = self._touched | self._waiting, set()
        self._waiting = {key for key in keys if self._open(key)}
        for key in sorted(keys):
            await self._tell(key)

    async def _tell(self, key: str) -> None:
        try:
            found: Iterable[tuple[InstructionView, dict[str, Any]]] = answers(key, self.world, self.clock())
        except Exception:
            self._note_failure(key, "what became of its instructions cannot be said", trace=True)
            return
        for view, status in found:
            if not self.leads():
                return
            path = f"/apis/{API_VERSION}/namespaces/{view.namespace}/{PLURALS['ContractInstruction']}/{view.name}/status"
            body = {"metadata": {"resourceVersion": str(view.resource_version)}, "status": merge_patch(view.status, status)}
            try:
                answer = await self.client.patch_merge(path, body)
            except ApiError as error:
                if error.status not in (404, 409):
                    self._note_failure(view.key, f"its status was not written: {error}")
                self._waiting.add(key)
                continue
            self._failed.pop(view.key, None)
            self.world.take_answer("instructions", view.key, instruction_view(answer))

    def _open(self, key: str) -> bool:
        views = (self.world.instructions[each] for each in self.world.instructions_on.get(key, ()))
        return any(view.phase not in FINAL for view in views)

    def _note(self, kind: str, key: str) -> None:
        if kind == "instructions" and (view := self.world.instructions.get(key)) is not None:
            key = view.contract
        elif kind != "contracts" or not self.world.instructions_on.get(key):
            return
        self._touched.add(key)
        self._changed.set()

    def _note_failure(self, key: str, text: str, *, trace: bool = False) -> None:
        if self._failed.get(key) != text:
            log.warning("%s: %s", key, text, exc_info=trace)
        self._failed[key] = text
