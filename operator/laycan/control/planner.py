"""Planning: from the observed world to a decision for every contract, whenever something that matters has changed.

    changes -> 20 ms of silence (250 ms at most) -> snapshot -> the planner's process -> the checker -> decisions

The first plan, and one a few seconds after the last change, are thorough; in between the kept plan follows what happens, which takes
milliseconds where a thorough one takes seconds, and decides only about whom it touches. A quote does not wait for a thorough plan that
nobody waits for: that is broken off, and made later.

What matters is compared, not assumed: a node's heartbeat, a meter's tick or our own write start no plan. One plan runs at a time.
What moved while it ran is checked when it is applied: a decision whose contract is another one by now, or that binds a node that
has failed meanwhile, is left to the next plan; so is a refusal, for a while, because the capacity that it lacked may just have come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.control import admission, snapshot
from laycan.control.adoption import NOT_KEPT, Adoptions, kept, refuse, take_over
from laycan.control.decided import decisions_of
from laycan.control.decision import Decision
from laycan.control.lifecycle import COMMITTED, UNDECIDED, Phase
from laycan.control.makegood import MakeGood, hinders
from laycan.control.outages import OutageDesk
from laycan.control.plan_metrics import FOLLOWING, THOROUGH, PlanMetrics
from laycan.control.questions import Question, Solved
from laycan.control.quotes import is_open_quote, open_desk
from laycan.control.snapshot import Fleet, Snapshot
from laycan.control.solver_process import InterruptedPlanError, Solver, SolverError
from laycan.control.specs import Specs
from laycan.control.writer import Writer
from laycan.exposition import Exposition
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.constants import HOLDER_LABEL
from laycan.resources.planned import is_judged
from laycan.settings import Settings
from laycan_solver.model import Outage, Plan

log = logging.getLogger(__name__)

QUIET_SECONDS, LONGEST_DEBOUNCE_SECONDS = 0.02, 0.25
POLL_SECONDS = 1.0  # health changes by the clock alone
PATIENCE = 3  # plans in a row that refuse a contract before it is told, while the world moves
RETRY_SECONDS = 5
SETTLE_SECONDS = 5  # after a change was followed, everything is planned thoroughly
INTERRUPTIONS = 3  # times in a row that quotes may break off a thorough plan


@dataclass(slots=True)
class Planner:
    world: World
    writer: Writer
    solver: Solver
    fleet: Fleet
    settings: Settings
    clock: Callable[[], int]
    specs: Specs = field(default_factory=Specs)
    metrics: PlanMetrics = field(default_factory=lambda: PlanMetrics(Exposition()))
    outages: OutageDesk = field(init=False)
    looked: bool = False  # a first time, at everything: what was accepted has its place in a plan
    plans: int = 0
    followed: int = 0  # of these, plans of what had changed
    _dirty: bool = True
    _may_have_freed: bool = False  # what has changed since the last plan began may have brought capacity: no new contract does
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _marks: dict[tuple[str, str], Any] = field(default_factory=dict)  # (kind, key) -> what planning last saw of it
    _health: Any = None
    _wake: int | None = None
    _thorough_at: int | None = None  # when everything is planned again
    _effort: int | None = None  # None: the settings'; 0 after a failure
    _refusals: Counter[str] = field(default_factory=Counter)  # contract -> plans in a row that refused it
    _waited_for: bool = True  # the next thorough plan, by a contract that only it can decide
    _interruptible: bool = False  # a thorough plan is being made that nobody waits for
    _interruptions: int = 0
    _placed: bool = False  # every hold has its place in a plan of this operator

    def __post_init__(self) -> None:
        self.outages = OutageDesk(self.world, self.specs)

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
        mark, known = self._mark(kind, key), self._marks.get((kind, key))
        if known == mark:
            return
        self._may_have_freed |= kind != "contracts" or known is not None
        if mark is None:
            del self._marks[kind, key]
            if kind == "contracts":
                self.specs.forget(key)
                self._refusals.pop(key, None)
        else:
            self._marks[kind, key] = mark
        self.replan()
        if kind == "contracts" and self._interruptible and is_open_quote(self.world.contracts.get(key)):
            self._interruptible = False
            self.solver.interrupt()

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
        if kind in ("products", "endpoints"):
            raw = getattr(self.world, kind).get(key)
            return raw and raw.get("spec")
        if kind == "outages":
            raw = self.world.outages.get(key)
            return raw and (raw.get("spec"), is_judged(raw), text_at(raw, "status", "verdict"))
        return None

    # --- the loop

    async def run(self) -> None:
        while True:
            await self._until_needed()
            self.metrics.begun()
            try:
                await self.step()
                self.metrics.ended()
                self.looked = True
            except InterruptedPlanError:
                self.metrics.interrupted()
                self._interruptions += 1
                self._then_thorough(self.clock() + SETTLE_SECONDS)
                self._dirty = True
            except SolverError as error:
                self.metrics.failed()
                log.error("no plan: %s; the next one is made without improvement", error)
                self._effort = 0
                self._wake = self.clock() + RETRY_SECONDS
            except Exception:
                self.metrics.failed()
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
        self._dirty, self._may_have_freed, self._wake = False, False, None
        self._health = self._health_now()
        unreached = frozenset(self.writer.gate.unreached)
        in_flight, decisions = self.writer.requests.in_flight, self.writer.decisions
        made = snapshot.promises(self.world, in_flight, decisions, self._health[0], now, unreached)
        screening = admission.screen(self.world, self.specs, self.settings, now, made.keys())
        self._wake = screening.wake
        adopted = take_over(screening.candidates, self.world, self.specs, self.settings, made, self._health[0], now)
        if screening.quotes:
            self._let_quotes_pass(now)
        follow = self._follows(now) and not adopted.promises
        self.writer.decide({**screening.decided, **adopted.refused})
        made |= adopted.promises
        desk = open_desk(self.world, decisions, adopted.rest, screening.quotes, now, made, placed=self._placed)
        asked = bool(made or desk.candidates or desk.holds or desk.quotes)
        plan_first = asked and self._effort is not None  # after a failure
        judging = () if plan_first else self.outages.ask(now, thorough=not follow)
        if not (asked or judging):
            return
        versions = self.outages.versions(judging)
        taken = snapshot.take(self.world, self.specs, made, desk, self.fleet, now)
        solved = await self._solve(taken, follow, judging)
        if hinders(taken.problem, solved.plan, solved.contracts, taken.making_good):
            taken = snapshot.take(self.world, self.specs, made, desk, self.fleet, now, make_good=False)
            solved = await self._solve(taken, False, judging)
        self._effort = None
        self._apply(taken, solved, adopted)
        self._placed = True
        self.writer.gate.unreached -= unreached
        self.outages.take(solved.verdicts, versions, now)
        if desk.more or self.outages.more or plan_first:  # only now: nothing has changed that a refusal should wait for
            self.replan()

    async def _solve(self, taken: Snapshot, follow: bool, judging: tuple[Outage, ...]) -> Solved:
        """A plan that the checker found nothing wrong with. Raises SolverError."""
        effort = self.settings.plan_effort if self._effort is None else self._effort
        begun = time.monotonic()
        self._interruptible = not (follow or self._waited_for or taken.quotes) and self._interruptions < INTERRUPTIONS
        try:
            solved = await self.solver.ask(Question(taken.problem, effort, follow, taken.quotes, judging))
        finally:
            self._interruptible = False
        if violations := solved.violations:
            raise SolverError(f"the plan is wrong and is not used: {'; '.join(violations[:3])} ({len(violations)} in all)")
        self.plans += 1
        self.followed += solved.contracts is not None
        seconds, kind = time.monotonic() - begun, THOROUGH if solved.contracts is None else FOLLOWING
        self.metrics.made(solved.plan, kind, seconds, self.solver.cpu_seconds)
        size, result = _size(taken, solved.contracts), _result(solved.plan)
        log.info("plan %d of %s: %s, %.2f s", self.plans, size, result, seconds)
        return solved

    def _follows(self, now: int) -> bool:
        """May this plan be one of what has changed?"""
        if self._thorough_at is not None and self._thorough_at <= now:
            self._thorough_at = None
            return False
        self._wake = min((t for t in (self._wake, self._thorough_at) if t is not None), default=None)
        return self._effort is None

    def _let_quotes_pass(self, now: int) -> None:
        """A thorough plan that is due now, and that nobody waits for, is made after they are answered."""
        due = self._thorough_at is not None and self._thorough_at <= now
        if due and not self._waited_for and self._interruptions < INTERRUPTIONS:
            self._interruptions += 1
            self._thorough_at = now + 1

    def _then_thorough(self, at: int) -> None:
        self._thorough_at = at if self._thorough_at is None else min(at, self._thorough_at)
        self._wake = self._thorough_at if self._wake is None else min(self._wake, self._thorough_at)

    def _apply(self, taken: Snapshot, solved: Solved, adopted: Adoptions) -> None:
        unusable = self.fleet.unusable()
        decisions = decisions_of(taken, solved, self.world, self.writer.decisions, self.clock())
        lost = {key: promise for key, promise in adopted.promises.items() if not kept(promise, decisions[key])}
        if lost:  # who was refused beside them is judged again
            decisions = {key: decision for key, decision in decisions.items() if decision.accepted is not False}
            decisions |= {key: refuse(promise.contract, NOT_KEPT, taken.problem.now) for key, promise in lost.items()}
            self.replan()
        if solved.contracts is not None:
            waiting = _open(decisions, taken, self.writer.decisions)  # a thorough plan may find room
            decisions = {key: decision for key, decision in decisions.items() if key not in waiting}
            self._waited_for = bool(waiting)
            self._then_thorough(taken.problem.now + (0 if waiting else SETTLE_SECONDS))
            if waiting:
                self.replan()  # at once, not at the next look at the clock
        else:
            self._waited_for, self._interruptions = False, 0
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
        return self._may_have_freed and self._refusals[key] < PATIENCE


def _proved(refusal: Decision) -> bool:
    """No plan could have accepted it."""
    return refusal.reason is not None and refusal.reason.message.endswith("(proved)")


def _open(decisions: Mapping[str, Decision], taken: Snapshot, before: Mapping[str, Decision]) -> frozenset[str]:
    """What a plan that only follows leaves to a thorough one: who is refused without a proof, and the quotes that it did not hold, which
    may have been behind such a contract. `before`: the last decisions; who was refused in them need not wait again."""
    told = {key for key, old in before.items() if old.accepted is False and key in taken.versions and old.uid == taken.versions[key][0]}
    refused = {key for key, decision in decisions.items() if decision.accepted is False and not _proved(decision)} - told
    asked = ((key, decisions[key]) for key in taken.holds.values() if refused and key in decisions)
    return frozenset(refused | {key for key, d in asked if d.offer is not None and not d.offer.held and not _proved(d)})


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
