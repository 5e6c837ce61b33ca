"""A desk at work, at random: quotes, takers, edits, deletions, late writes, restarts and the clock, against what is promised of holds."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from laycan.control import snapshot
from laycan.control.decision import Decision
from laycan.control.gate import Gate
from laycan.control.lifecycle import COMMITTED, UNDECIDED
from laycan.control.planner import Planner
from laycan.control.questions import Question, Solved
from laycan.control.quotes import Hold, naming, standing, taken_up, takers
from laycan.control.requests import Requests
from laycan.control.solver_process import PLANNER, Solver, _Child
from laycan.control.status import next_status
from laycan.control.writer import Authority, Writer
from laycan.kube.views import ContractView, contract_view, namespace_view
from laycan.resources.times import format_time, parse_time
from laycan_solver.judgement import ppm
from laycan_solver.risk import risks_of
from tests.laycan.control.planning import NOWHERE
from tests.laycan.control.town import NOW, SETTINGS, Fleet, node, product, world

DAY = 86_400
CAP = 32
NODES = ("n1", "n2", "n3", "n4", "n5", "n6")
TARGET_PPM = 5_000


class InProcess(Solver):
    """The same answers without a process."""

    def __init__(self) -> None:
        super().__init__()
        self.child = _Child(PLANNER, lambda: False)

    async def ask(self, question: Question) -> Solved:
        answered = self.child.answer(question)
        assert answered.solved is not None, answered.error
        assert answered.solved.violations == ()
        return answered.solved


class Town:
    """The world, the operator and the API server between them."""

    def __init__(self, seed: int, target: int | None) -> None:
        self.random, self.now, self.number = random.Random(seed), NOW, 0
        self.world = world((), NODES)
        for i, name in enumerate(NODES):
            self.world.nodes[name] = node(name, labels={"network.topology.nvidia.com/leaf": f"r{i % 2}"})
        more = {"target": {"shortfallPpm": target}} if target else {}
        self.world.products["h100"] = product("h100", turnaroundSeconds=600, **more)
        self.world.products["lax"] = product("lax", turnaroundSeconds=600)
        self.world.namespaces["beta"] = namespace_view({"metadata": {"name": "beta", "labels": {"laycan.dev/desk": "desk"}}})
        held = {"quote": {"validitySeconds": 60, "maxHeldGpus": CAP}}
        spec = {"url": "https://gcx.example/hook", "secretRef": {"name": "hook", "key": "secret"}, **held}
        self.world.endpoints["desk/gcx"] = {"metadata": {"name": "gcx", "namespace": "desk", "resourceVersion": "1"}, "spec": spec}
        self.restarted = False
        self.begin()

    def begin(self) -> None:
        """An operator starts, and knows nothing but what is written."""
        self.world.listeners.clear()
        requests = Requests(NOWHERE, self.world, Gate(self.world, lambda: None), lambda: True)
        writer = Writer(self.world, Authority(SETTINGS, "urn:laycan:x", 1), lambda: self.now, requests)
        writer.start()
        self.office = Planner(self.world, writer, InProcess(), Fleet(self.world), SETTINGS, lambda: self.now)
        self.office.start()

    @property
    def decisions(self) -> dict[str, Decision]:
        return self.office.writer.decisions

    # --- what people do

    def terms(self) -> dict[str, Any]:
        rnd = self.random
        start = NOW + rnd.choice((-1, 0, 1, 3)) * DAY
        delivery: dict[str, Any] = {"start": format_time(start), "end": format_time(start + rnd.choice((2, 5)) * DAY)}
        delivery |= {"gpus": rnd.choice((8, 16, 24)), "lotGpus": rnd.choice((8, 8, 4))}
        if (buyer := rnd.choice(("acme", "beta", None))) is not None:
            delivery["handover"] = {"namespace": buyer}
        if rnd.random() < 0.2:
            delivery["scope"] = "Rack"
        firmness: dict[str, Any] = {"class": "Firm"} if rnd.random() < 0.7 else {"class": "Interruptible"}
        if firmness["class"] == "Interruptible" and rnd.random() < 0.5:
            firmness["interruption"] = {"noticeSeconds": 600, "maxHours": 72}
        elif rnd.random() < 0.2:
            firmness["priority"] = 900
        return {"productRef": {"name": rnd.choice(("h100", "h100", "lax"))}, "delivery": delivery, "firmness": firmness}

    def apply(self, name: str, spec: dict[str, Any], status: Any = None, generation: int = 1, uid: str = "", created: int = 0) -> None:
        self.number += 1
        meta = {"namespace": "desk", "name": name, "uid": uid or f"uid-{name}-{self.number}", "generation": generation}
        meta |= {"resourceVersion": str(100 + self.number), "creationTimestamp": format_time(created or self.now)}
        self.world.put("contracts", f"desk/{name}", contract_view({"metadata": meta, "spec": spec, "status": status or {}}))

    def quote(self) -> None:
        name = f"q{self.random.randrange(5)}"
        if f"desk/{name}" not in self.world.contracts:
            self.apply(name, self._spec("Quote", self.terms(), f"Q-{self.number}"))

    def take(self) -> None:
        quotes = [c for c in self.world.contracts.values() if c.name.startswith("q")]
        if quotes:
            asked = self.random.choice(quotes)
            terms = dict(asked.spec["terms"])
            handover = terms["delivery"].get("handover") or {"namespace": self.random.choice(("acme", "beta"))}
            terms["delivery"] = {**terms["delivery"], "handover": handover}
            name = f"c{self.number}"
            self.apply(name, {**self._spec("Firm", terms, name), "quoteRef": {"name": asked.name}})

    def buy(self) -> None:
        terms, name = self.terms(), f"c{self.number}"
        terms["delivery"].setdefault("handover", {"namespace": "acme"})
        self.apply(name, self._spec("Firm", terms, name))

    def make_firm(self) -> None:
        quotes = [c for c in self.world.contracts.values() if c.spec["intent"] == "Quote" and c.spec["terms"]["delivery"].get("handover")]
        if quotes:
            old = self.random.choice(quotes)
            self.apply(old.name, {**old.spec, "intent": "Firm"}, old.status, 2, old.uid, old.created)

    def delete(self) -> None:
        some = [c for c in self.world.contracts.values() if c.phase not in COMMITTED]
        if some:
            self.remove(self.random.choice(some))

    def remove(self, contract: ContractView) -> None:
        self.world.drop("contracts", contract.key)

    def pass_time(self) -> None:
        self.now += self.random.choice((1, 5, 30, 59, 60, 61))

    def restart(self) -> None:
        self.restarted = True
        self.begin()

    def write(self) -> None:
        """The API server takes some of what the operator would write."""
        for key in sorted(self.world.contracts):
            if self.random.random() < 0.6:
                self.write_one(key)

    def write_one(self, key: str) -> None:
        writer, view = self.office.writer, self.world.contracts[key]
        taken = frozenset(e["id"] for e in view.status.get("outbox") or ())

        def made(decision: Decision | None) -> dict[str, Any] | None:
            return next_status(view, self.world, decision, taken, SETTINGS, "urn:laycan:x", 1, self.now)

        status = writer.gate.pass_through(view, writer._decision(view), made, self.now)
        if status is not None:
            self._truthful(view, status)
            self.world.put("contracts", key, replace(view, status=status, resource_version=view.resource_version + 1))

    @staticmethod
    def _spec(intent: str, terms: dict[str, Any], contract_id: str) -> dict[str, Any]:
        return {"intent": intent, "exchangeRef": {"name": "gcx"}, "terms": {**terms, "contractId": contract_id}}

    # --- what must hold

    def _truthful(self, view: ContractView, status: dict[str, Any]) -> None:
        """A hold that is said to have lapsed, or to be taken up, has."""
        if view.phase == "Quoted" and status["phase"] == "Expired" and status["offer"].get("held"):
            up = taken_up(view, naming(self.world).get(view.key, ()))
            assert up or self.now > parse_time(status["offer"]["validUntil"])

    def holds(self) -> dict[str, Hold]:
        writer = self.office.writer
        made = snapshot.promises(self.world, writer.requests.in_flight, writer.decisions, frozenset(), self.now)
        return standing(self.world, writer.decisions, self.now, made.keys())

    async def plan(self) -> None:
        before = self.holds()
        open_ = sorted((c for c in self.world.contracts.values() if c.phase in UNDECIDED), key=lambda c: (c.created, c.key))
        writer = self.office.writer
        asking = [c for c in open_ if not (writer._decision(c) and writer.decisions[c.key].accepted)]
        taking = takers([c for c in asking if c.spec["intent"] == "Firm"], before)
        bound = {key: writer.decisions[key].bindings for key in before if key in writer.decisions}
        for _ in range(8):
            await self.office.step()
            self.check_bindings(taking.values())
            if not self.office._dirty and not self.office._waited_for:
                break
        for taker, quote in taking.items():
            view = self.world.contracts[taker]
            refused = self.decisions[taker]
            assert refused.accepted, (taker, quote, refused.reason, before[quote], bound.get(quote), view.spec)
        for key in self.holds():
            if key in before and self.decisions[key].uid == self.world.contracts[key].uid:
                assert self.decisions[key].bindings, f"the hold of {key} is gone"
        for contract in asking:
            if contract.phase == "Quoted" and contract.spec["intent"] == "Quote":
                continue
            decision = writer._decision(contract)
            assert decision is not None, contract.key
            if contract.spec["intent"] == "Quote":
                assert decision.offer is not None
                assert not decision.offer.held or decision.bindings
        held: int = sum(h.quote.spec["terms"]["delivery"]["gpus"] for h in self.holds().values())
        assert held <= CAP

    def check_bindings(self, taken: Collection[str]) -> None:
        """Nobody accepted is short of a GPU-second, and no GPU is promised twice; targets are kept.

        A hold of those that are `taken` up may be short until then: where its taker's lots touch others of his, nobody else's may.
        """
        rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for key, decision in self.decisions.items():
            view = self.world.contracts[key]
            if decision.uid != view.uid or decision.accepted is False:
                continue
            if decision.accepted is None and (key not in self.holds() or key in taken):
                continue
            by_right = view.spec["terms"]["firmness"].get("interruption") is not None and decision.accepted
            if by_right:
                continue  # what is newer may have it for a while
            assert not decision.undelivered, (key, decision.undelivered)
            delivery = view.spec["terms"]["delivery"]
            start, end = max(parse_time(delivery["start"]), decision.planned_at), parse_time(delivery["end"])
            assert sum(b.gpus * (b.end - max(b.start, start)) for b in decision.bindings) == delivery["gpus"] * (end - start), key
            for b in decision.bindings:
                rows[b.node] += [(b.start, b.gpus), (b.end, -b.gpus)]
        for name, changes in rows.items():
            used = 0
            for _, gpus in sorted(changes):
                used += gpus
                assert used <= 8, name
        child = self.office.solver.child  # type: ignore[attr-defined]
        if child._kept is not None and not self.restarted:  # which knows not where holds lay
            kept = child._kept
            for key, risk in risks_of(kept.problem, kept.plan).items():
                sold = next(c for c in kept.problem.contracts if c.key == key)
                limit = next(p for p in kept.problem.products if p.name == sold.product).reliability.target_ppm
                assert limit is None or ppm(risk.ppb) <= limit, (key, risk)


ACTS = (
    "quote",
    "quote",
    "quote",
    "take",
    "take",
    "take",
    "buy",
    "make_firm",
    "delete",
    "pass_time",
    "restart",
    "write",
    "write",
    "plan",
    "plan",
)


@pytest.mark.parametrize("target", [None, TARGET_PPM])
@pytest.mark.parametrize("seed", [*range(12), 162, 245])
def test_a_desk_at_work(seed: int, target: int | None) -> None:
    """No GPU is promised twice, no hold is given away, who takes one up has it, and everybody is answered."""

    async def work() -> None:
        town = Town(seed, target)
        for _ in range(60):
            act = town.random.choice(ACTS)
            if act == "plan":
                await town.plan()
            else:
                getattr(town, act)()

    asyncio.run(work())
