"""Kubernetes Events on contracts, for `kubectl describe` and for people who watch a namespace.

They are a courtesy: what happened stands in the status and in the webhooks. So they never wait for anything and nothing waits for
them; of a mass of changes only the first few are announced, because each Event costs the API server as much as a status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from laycan.control.conditions import is_true
from laycan.control.lifecycle import COMMITTED
from laycan.kube.client import ApiError, Client
from laycan.kube.views import ContractView
from laycan.resources.constants import API_VERSION
from laycan.resources.times import format_time

log = logging.getLogger(__name__)

WAITING = 64  # Events that wait to be written; more are dropped
_WARNED = ("Shortfall", "AtRisk", "Curtailed", "Degraded", "Suspended")
_FLIPS = {"HandedOver": "Normal", **dict.fromkeys(_WARNED, "Warning")}


class News(NamedTuple):
    type: str  # Normal | Warning
    reason: str
    note: str


def news(old: ContractView, new: ContractView) -> Iterator[News]:
    """What a person would want to hear of the step from one status to the next."""
    reason = new.status.get("reason") or {}
    if new.phase not in (old.phase, "Received"):
        refused = new.phase == "Rejected"
        yield News(
            "Warning" if refused else "Normal", new.phase, f"{reason.get('code')}: {reason.get('message')}" if refused else _bound_to(new)
        )
    elif new.phase in COMMITTED and (came := _nodes(new) - _nodes(old)) and _nodes(old):
        left = _nodes(old) - _nodes(new)
        yield News("Normal", "Rebound", f"from {', '.join(sorted(left)) or 'nothing'} to {', '.join(sorted(came))}{_because(new)}")
    for condition in new.status.get("conditions") or ():
        kind = condition["type"]
        if kind in _FLIPS and condition["status"] == "True" and not is_true(old, kind):
            yield News(_FLIPS[kind], kind, condition.get("message") or condition["reason"])


def _nodes(contract: ContractView) -> set[str]:
    return {binding["node"] for binding in contract.status.get("bindings") or ()}


def _because(contract: ContractView) -> str:
    """What the buyer lost, and why, where that is why it moves."""
    lost = (c for c in contract.status.get("conditions") or () if c["type"] == "HandedOver" and c["reason"] == "Interrupted")
    return next((f": {c['message']}" for c in lost if c["status"] == "False" and c.get("message")), "")


def _bound_to(contract: ContractView) -> str:
    nodes = sorted(_nodes(contract))
    more = f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""
    return f"bound to {', '.join(nodes[:8])}{more}" if nodes else f"the contract is {contract.phase}"


class Announcer:
    """`tell` after each status write; `run` writes what waits, one at a time."""

    def __init__(self, client: Client, instance: str, clock: Callable[[], int]) -> None:
        self._client, self._instance, self._clock = client, instance, clock
        self._waiting: asyncio.Queue[tuple[ContractView, News, int]] = asyncio.Queue(WAITING)
        self._told: set[int] = set()  # HTTP codes that the log has seen

    def tell(self, old: ContractView, new: ContractView) -> None:
        for item in news(old, new):
            if not self._waiting.full():
                self._waiting.put_nowait((new, item, self._clock()))

    async def run(self) -> None:
        while True:
            contract, item, at = await self._waiting.get()
            try:
                await self._client.create(
                    f"/apis/events.k8s.io/v1/namespaces/{contract.namespace}/events", event(contract, item, self._instance, at)
                )
            except ApiError as error:
                log.log(
                    logging.DEBUG if error.status in self._told else logging.WARNING,
                    "%s: no Event %s: %s",
                    contract.key,
                    item.reason,
                    error,
                )
                self._told.add(error.status)


def event(contract: ContractView, item: News, instance: str, at: int) -> dict[str, Any]:
    regarding = {"apiVersion": API_VERSION, "kind": "ComputeContract", "namespace": contract.namespace, "name": contract.name}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": contract.namespace, "generateName": f"{contract.name[:200]}-"},
        "eventTime": format_time(at).removesuffix("Z") + ".000000Z",
        "reportingController": "laycan.dev/operator",
        "reportingInstance": instance[:128],
        "action": "UpdateStatus",
        "reason": item.reason,
        "type": item.type,
        "note": item.note[:1024],
        "regarding": {**regarding, "uid": contract.uid, "resourceVersion": str(contract.resource_version)},
    }
