"""One contract in an observed world, for tests of its status: nodes, fence and clock are set by hand, statuses are written at once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from laycan.control.decision import Decision, PlannedBinding, Reason
from laycan.control.receipts import Seal
from laycan.control.status import next_status, next_wake
from laycan.events.schema import check
from laycan.kube.views import ContractView, FenceView, NodeView
from laycan.kube.world import World
from laycan.resources.contract import ContractStatus
from laycan.resources.times import format_time, parse_time
from laycan.settings import Settings
from laycan_solver.model import Reason as Code
from laycan_solver.model import Undelivered

T0 = parse_time("2027-01-04T00:00:00Z")  # start of the window
SETTINGS = Settings.model_validate({"leadSeconds": 60, "meterSeconds": 60, "meterLagSeconds": 60})
HOLDER = "acme-train"
SOURCE = "urn:laycan:8a1c"


def node(name: str, *, ready: bool = True, since: int = T0 - 9_000, holder: str = "", gpus: int = 8) -> NodeView:
    return NodeView(name, f"uid-{name}", 1, {"status": {"capacity": {"nvidia.com/gpu": "8"}}}, True, ready, since, gpus, holder, {})


class Desk:
    """`at(now)` looks at the contract as the writer does; the log takes everything before the next look unless `deaf`."""

    def __init__(
        self, *, seconds: int = 3600, gpus: int = 16, lot_gpus: int = 8, created: int = T0 - 7200, exchange: bool = True, **terms: Any
    ) -> None:
        self.end = T0 + seconds
        delivery = {
            "start": format_time(T0),
            "end": format_time(self.end),
            "gpus": gpus,
            "lotGpus": lot_gpus,
            "handover": {"namespace": HOLDER},
        }
        tolerance = {"graceSeconds": 30, "cureSeconds": 300}
        spec = {
            "intent": "Firm",
            "terms": {"contractId": "GCX-1", "productRef": {"name": "h100"}, "delivery": delivery, "tolerance": tolerance, **terms},
        }
        if exchange:
            spec["exchangeRef"] = {"name": "gcx"}
        self.world = World(fence=FenceView(1, {}, {}))
        self.world.products["h100"] = {
            "spec": {"gpuProducts": ["H100"], "nodeGpus": 8, "tolerance": {**tolerance, "graceCapPpm": 1_000_000}}
        }
        hook = {"url": "https://gcx.example/hook", "secretRef": {"name": "gcx", "key": "hmac"}}
        self.world.endpoints["desk/gcx"] = {"spec": hook | {"disputeSeconds": 600}}
        self.contract = ContractView("desk", "c1", "uid-1", 1, 1, created, False, (), {}, spec, {})
        self.decision: Decision | None = None
        self.told: list[dict[str, Any]] = []  # every event, once, in order
        self.deaf = False
        self.settings = SETTINGS
        self.seal: Seal | None = None

    # --- the world

    def nodes(self, *names: str, **state: Any) -> None:
        for name in names:
            self.world.nodes[name] = node(name, **state)

    def hand_over(self, *names: str, holder: str = HOLDER) -> None:
        for name in names:
            self.world.nodes[name] = replace(self.world.nodes[name], holder=holder)
        assert self.world.fence is not None
        self.world.fence = FenceView(1, {**self.world.fence.nodes, **dict.fromkeys(names, holder)}, {})

    def fail(self, name: str, at: int, heartbeat: int | None = None) -> None:
        self.world.nodes[name] = replace(self.world.nodes[name], ready=False, ready_since=at)
        if heartbeat is not None:
            self.world.last_seen[name], self.world.lost[name] = heartbeat, at

    def recover(self, name: str, at: int) -> None:
        self.world.nodes[name] = replace(self.world.nodes[name], ready=True, ready_since=at)

    # --- the plan

    def bind(
        self, now: int, *parts: tuple[str, int, int], product: str = "h100", gpus: int = 8, short: tuple[Undelivered, ...] = ()
    ) -> None:
        self.decision = Decision(True, now, None, tuple(PlannedBinding(n, product, gpus, a, b) for n, a, b in parts), short)

    def refuse(self, code: str = "NoCapacity", message: str = "h100 is short (not found)") -> None:
        self.decision = Decision(False, T0 - 7000, Reason(code, message, "h100", (T0, self.end)))

    # --- the writer

    def at(self, now: int) -> dict[str, Any] | None:
        """The status written at `now`, None when nothing was."""
        taken = frozenset() if self.deaf else frozenset(e["id"] for e in self.status.get("outbox", ()))
        made = self._next(now, taken)
        if made is None:
            return None
        self._hear(made)
        self.contract = replace(self.contract, status=made, resource_version=self.contract.resource_version + 1)
        assert self._next(now, frozenset()) is None, "calling it again on its own result must change nothing"
        ContractStatus.model_validate(made)
        return made

    def run(self, start: int, end: int) -> None:
        """Looks at every instant that the contract asks for."""
        now: int | None = start
        while now is not None and now <= end:
            self.at(now)
            now = next_wake(self.contract, now, self.world, self.settings)

    def _next(self, now: int, taken: frozenset[str]) -> dict[str, Any] | None:
        return next_status(self.contract, self.world, self.decision, taken, self.settings, SOURCE, 3, now, self.seal)

    def _hear(self, status: dict[str, Any]) -> None:
        for entry in status.get("outbox", ()):
            if all(entry["id"] != event["id"] for event in self.told):
                self.told.append(json.loads(entry["body"]))
                check(self.told[-1])  # in the form that docs/schemas publishes, and nothing besides

    def delete(self) -> None:
        self.contract = replace(self.contract, deleting=True)

    # --- what is written

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.contract.status)

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def quantities(self) -> dict[str, int]:
        return {k.removesuffix("GpuSeconds"): v for k, v in self.status.get("quantities", {}).items() if v}

    @property
    def news(self) -> list[str]:
        """Names of all events so far."""
        return [event["type"].removeprefix("dev.laycan.").removesuffix(".v1") for event in self.told]

    def condition(self, name: str) -> tuple[str, str] | None:
        return next(((c["status"], c["reason"]) for c in self.status.get("conditions", ()) if c["type"] == name), None)

    def lots(self) -> dict[str, list[int]]:
        """node -> lots, of what is bound."""
        return {b["node"]: b["lots"] for b in self.status.get("bindings", ())}


def accepted(**spec: Any) -> Desk:
    """A contract of two lots on nodes a and b, accepted an hour before its start."""
    desk = Desk(**spec)
    desk.nodes("a", "b", "c")
    desk.bind(T0 - 3600, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 3600)
    return desk


def delivering(**spec: Any) -> Desk:
    """The same, handed over at its start."""
    desk = accepted(**spec)
    desk.hand_over("a", "b")
    desk.at(T0)
    return desk


def short(start: int, end: int, gpus: int = 8, code: Code = Code.POOL_SHORT) -> Undelivered:
    return Undelivered("desk/c1", start, end, gpus, code, f"h100 is {gpus} GPUs short")
