"""Planning: from the observed world to a decision for every contract, whenever something that matters has changed.

    changes -> 20 ms of silence (250 ms at most) -> snapshot -> the planner's process -> the checker -> decisions

The first plan, and one a few seconds after the last change, are thorough; in between the kept plan follows what happens, which takes
milliseconds where a thorough one takes seconds, and decides only about whom it touches.

What matters is compared, not assumed: a node's heartbeat, a meter's tick or our own write start no plan. One plan runs at a time.
What moved while it ran is checked when it is applied: a decision whose contract is another one by now, or that binds a node that
has failed meanwhile, is left to the next plan; so is a refusal, for a while, because the capacity that it lacked may just have come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from laycan.control import admission, snapshot
from laycan.control.adoption import NOT_KEPT, Adoptions, kept, refuse, take_over
from laycan.control.decision import Decision, PlannedBinding, Reason
from laycan.control.lifecycle import COMMITTED, UNDECIDED, Phase
from laycan.control.makegood import MakeGood, hinders
from laycan.control.snapshot import Fleet, Snapshot
from laycan.control.solver_process import Solved, Solver, SolverError
from laycan.control.specs import Specs
from laycan.control.writer import Writer
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.constants import HOLDER_LABEL
from laycan.settings import Settings
from laycan_solver.model import Plan, Undelivered

log = logging.getLogger(__name__)

QUIET_SECONDS, LONGEST_DEBOUNCE_SECONDS = 0.02, 0.25
POLL_SECONDS = 1.0  # health changes by the clock alone
PATIENCE = 3  # plans in a row that refuse a contract before it is told, while the world moves
RETRY_SECONDS = 5
SETTLE_SECONDS = 5  # after a change was followed, everything is planned thoroughly


@dataclass(slots=True)
class Planner:
    world: World
    writer: Writer
    solver: Solver
    fleet: Fleet
    settings: Settings
    clock: Callable[[], int]
    specs: Specs = field(default_factory=Specs)
    plans: int = 0
    followed: int = 0  # of these, plans of what had changed
    _dirty: bool = True
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _marks: dict[tuple[str, str], Any] = field(default_factory=dict)  # (kind, key) -> what planning last saw of it
    _health: Any = None
    _wake: int | None = None
    _thorough_at: int | None = None  # when everything is planned again
    _effort: int | None = None  # None: the settings'; 0 after a failure
    _refusals: Counter[str] = field(default_factory=Counter)  # contract -> plans in a row that refused it

    def start(self) -> None:
        """Marks what is there; call once, when the world is complete."""
        self.world.listeners.append(self.on_change)
        for kind in ("nodes", "contracts", "namespaces", "products", "endpoints", "outages"):
            for key in self.world.keys(kind):
                self.on_change(kind, key)

    def replan(self) -> None:
        self._dirty = True
        self._changed.set()

    def on_change(self, kind: str, key: str) -> None:
        mark = self._mark(kind, key)
        if self._marks.get((kind, key)) == mark:
            return
        if mark is None:
            del self._marks[kind, key]
            if kind == "contracts":
                self.specs.forget(key)
                self._refusals.pop(key, None)
        else:
            self._marks[kind, key] = mark
        self.replan()

    def _mark(self, kind: str, key: str) -> Any:
        """What planning looks at in this object; None when it is gone or of no concern."""
        if kind == "contracts":
            contract = self.world.contracts.get(key)
            return contract and (contract.uid, contract.generation, contract.deleting, _ended_early(contract), _making_good(contract))
        if kind == "nodes":
            node = self.world.nodes.get(key)
            if node is None or not node.managed:
                return None
            labels = {k: v for k, v in node.raw["metadata"]["labels"].items() if k != HOLDER_LABEL}
            return labels, node.raw["spec"], node.raw["status"]["capacity"], node.raw["status"]["allocatable"], self.world.devices(key)
        if kind == "namespaces":
            namespace = self.world.namespaces.get(key)
            return namespace and (dict(namespace.labels), namespace.terminating)
        if kind in ("products", "endpoints", "outages"):
            raw = getattr(self.world, kind).get(key)
            return raw and raw.get("spec")
        return None

    # --- the loop

    async def run(self) -> None:
        while True:
            await self._until_needed()
            try:
                await self.step()
            except SolverError as error:
                log.error("no plan: %s; the next one is made without improvement", error)
                self._effort = 0
                self._wake = self.clock() + RETRY_SECONDS
            except Exception:
                log.exception("planning failed; nothing is changed")
                self._wake = self.clock() + RETRY_SECONDS

    async def _until_needed(self) -> None:
        while not self._dirty:
            self._changed.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                self._poll()
        await self._debounce()

    def _poll(self) -> None:
        now = self.clock()
        if self._wake is not None and self._wake <= now:
            self._wake, self._dirty = None, True
        if self._health_now() != self._health:
            self._dirty = True

    def _health_now(self) -> Any:
        return self.fleet.unusable(), {name: self.fleet.planning_gpus(name) for name, node in self.world.nodes.items() if node.managed}

    async def _debounce(self) -> None:
        deadline = time.monotonic() + LONGEST_DEBOUNCE_SECONDS
        self._changed.clear()
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                return
            self._changed.clear()

    async def step(self) -> None:
        """One plan. Raises SolverError, with nothing decided but what needs no plan."""
        now = self.clock()
        self._dirty, self._wake = False, None
        self._health = self._health_now()
        made = snapshot.promises(self.world, self.writer.requests.in_flight, self.writer.decisions, self._health[0], now)
        screening = admission.screen(self.world, self.specs, self.settings, now, made.keys())
        self._wake = screening.wake
        adopted = take_over(screening.candidates, self.world, self.specs, self.settings, made, self._health[0], now)
        follow = self._follows(now) and not adopted.promises
        self.writer.decide({**screening.decided, **adopted.refused})
        made |= adopted.promises
        if not made and not adopted.rest:
            return
        taken = snapshot.take(self.world, self.specs, made, adopted.rest, self.fleet, now)
        solved = await self._solve(taken, follow)
        if hinders(taken.problem, solved.plan, solved.contracts, taken.making_good):
            taken = snapshot.take(self.world, self.specs, made, adopted.rest, self.fleet, now, make_good=False)
            solved = await self._solve(taken, follow=False)
        self._effort = None
        self._apply(taken, solved, adopted)

    async def _solve(self, taken: Snapshot, follow: bool) -> Solved:
        """A plan that the checker found nothing wrong with. Raises SolverError."""
        effort = self.settings.plan_effort if self._effort is None else self._effort
        begun = time.monotonic()
        solved = await self.solver.plan(taken.problem, effort, follow=follow)
        plan, violations, touched = solved
        if violations:
            raise SolverError(f"the plan is wrong and is not used: {'; '.join(violations[:3])} ({len(violations)} in all)")
        self.plans += 1
        self.followed += touched is not None
        log.info("plan %d of %s: %s, %.2f s", self.plans, _size(taken, touched), _result(plan), time.monotonic() - begun)
        return solved

    def _follows(self, now: int) -> bool:
        """May this plan be one of what has changed?"""
        if self._thorough_at is not None and self._thorough_at <= now:
            self._thorough_at = None
            return False
        self._wake = min((t for t in (self._wake, self._thorough_at) if t is not None), default=None)
        return self._effort is None

    def _then_thorough(self, at: int) -> None:
        self._thorough_at = at if self._thorough_at is None else min(at, self._thorough_at)
        self._wake = self._thorough_at if self._wake is None else min(self._wake, self._thorough_at)

    def _apply(self, taken: Snapshot, solved: Solved, adopted: Adoptions) -> None:
        unusable = self.fleet.unusable()
        decisions: dict[str, Decision] = decisions_of(taken, solved.plan, solved.contracts)
        lost = {key: promise for key, promise in adopted.promises.items() if not kept(promise, decisions[key])}
        if lost:  # who was refused beside them is judged again
            decisions = {key: decision for key, decision in decisions.items() if decision.accepted is not False}
            decisions |= {key: refuse(promise.contract, NOT_KEPT, taken.problem.now) for key, promise in lost.items()}
            self.replan()
        if solved.contracts is not None:
            refused = [key for key, decision in decisions.items() if decision.accepted is False]
            for key in refused:  # a thorough plan may find room
                del decisions[key]
            self._then_thorough(taken.problem.now + (0 if refused else SETTLE_SECONDS))
        stale = [key for key, decision in decisions.items() if not self._applies(taken, key, decision, unusable)]
        for key in stale:
            del decisions[key]
        if stale:
            log.info("%d decisions of plan %d wait for the next: the world has moved", len(stale), self.plans)
            self.replan()
        self.writer.decide(decisions)

    def _applies(self, taken: Snapshot, key: str, decision: Decision, unusable: frozenset[str]) -> bool:
        contract = self.world.contracts.get(key)
        if contract is None or (contract.uid, contract.generation) != taken.versions[key] or contract.deleting or _ended_early(contract):
            return False
        if decision.accepted is False:
            return contract.phase in UNDECIDED and not self._held_back(key)
        running = contract.phase in UNDECIDED | COMMITTED
        return running and all(b.node in self.world.nodes and b.node not in unusable for b in decision.bindings)

    def _held_back(self, key: str) -> bool:
        self._refusals[key] += 1
        return self._dirty and self._refusals[key] < PATIENCE


def _size(taken: Snapshot, touched: frozenset[str] | None) -> str:
    problem = taken.problem
    new = sum(not contract.accepted for contract in problem.contracts)
    part = "" if touched is None else f"{len(touched)} of "
    return f"{part}{len(problem.contracts)} contracts ({new} new) on {len(problem.nodes)} nodes"


def _result(plan: Plan) -> str:
    return f"{len(plan.bindings)} bindings, {len(plan.moves)} moves, owed {plan.totals.owed_micros} micros"


def _making_good(contract: ContractView) -> tuple[int, bool]:
    """What is to be made good, and whether its time has come: the window is metered, and nobody holds the contract."""
    status = contract.status
    good = MakeGood.parse(status)
    metered = (status.get("meter") or {}).get("until") == text_at(contract.spec, "terms", "delivery", "end")
    return good.open, bool(good.open) and metered and not (status.get("instructions") or {}).get("suspendedSince")


def _ended_early(contract: ContractView) -> bool:
    """Gave back what it held, unforeseen: a contract that ends with its window frees nothing that was not planned to be free."""
    return contract.phase in (Phase.CANCELLED, Phase.TERMINATED) or bool(contract.status.get("endedAt"))


def decisions_of(taken: Snapshot, plan: Plan, touched: Collection[str] | None = None) -> dict[str, Decision]:
    """The plan, contract by contract, of all or of these."""
    bindings: dict[str, list[PlannedBinding]] = defaultdict(list)
    levels = {node.name: node.level.value for node in taken.problem.nodes}
    for binding in plan.bindings:
        bindings[binding.contract].append(PlannedBinding.of(binding, levels[binding.node]))
    missing: dict[str, list[Undelivered]] = defaultdict(list)
    for undelivered in plan.undelivered:
        missing[undelivered.contract].append(undelivered)
    decisions = {}
    for contract in taken.problem.contracts:
        if contract.key not in taken.versions or (touched is not None and contract.key not in touched):
            continue  # it only keeps a node for a promise that cannot be read
        uid, short = taken.versions[contract.key][0], missing[contract.key]
        refused = next((u for u in short if u.refused), None)
        if refused is not None:
            decisions[contract.key] = Decision(False, plan.now, _reason(refused, contract.product), uid=uid)
            continue
        reason = _reason(short[0], contract.product) if short else None
        decisions[contract.key] = Decision(True, plan.now, reason, tuple(bindings[contract.key]), tuple(short), uid)
    return decisions


def _reason(undelivered: Undelivered, pool: str) -> Reason:
    return Reason(str(undelivered.code), undelivered.message, pool, (undelivered.start, undelivered.end))
