"""An independent reader: sees every state that the API server had, and says what must never be in one.

It shares no code with the operator. The watch gives the contracts' states in the order in which they were written, so that after
each event what it has is a state that the API server was in; whatever is wrong in any of them is kept in `faults`. The numbers are
those of the invariants: I1 no node twice, I2 and I4 no promise taken back, I3 whole lots on nodes that are there, I8 every second
accounted for, I10 no move without a cause, I12 epochs never fall, I13 what is promised stays covered while others come.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime
from typing import Any

import urllib3

from controlplane.api import Api, ApiError, Object

CONTRACTS = "/apis/laycan.dev/v1alpha1/computecontracts"
NEXT = {
    "": {"Received", "Rejected", "Accepted", "Delivering", "Delivered"},
    "Received": {"Rejected", "Quoted", "Accepted", "Delivering", "Delivered"},
    "Accepted": {"Delivering", "Delivered", "Cancelled", "Terminated"},
    "Delivering": {"Delivered", "Terminated"},
    "Delivered": {"Settled"},
}  # one write may take several steps
RUNNING = {"Accepted", "Delivering"}
Row = tuple[str, int, int, int]  # node, GPUs, start, end


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def rows(contract: Object) -> list[Row]:
    found = contract.get("status", {}).get("bindings", [])
    return [(b["node"], b["gpus"], seconds(b["start"]), seconds(b["end"])) for b in found]


def running(contract: Object) -> bool:
    return contract.get("status", {}).get("phase") in RUNNING


def holder(contract: Object) -> str:
    return str(contract["spec"]["terms"]["delivery"]["handover"]["namespace"])


class Reader:
    """Watches until `stop`. `excused` are nodes that lots may leave; `leaps` counts API servers that began anew under the watch."""

    def __init__(self, api: Api, nodes: Collection[str]) -> None:
        self.faults: list[str] = []
        self.states = self.leaps = 0
        self.excused: set[str] = set()
        self._api, self._nodes = api, set(nodes)
        self._now: dict[str, Object] = {}  # uid -> the contract as it stands
        self._version = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Reader:
        self._version = self._api.get(CONTRACTS)["metadata"]["resourceVersion"]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the reader hangs"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except (urllib3.exceptions.HTTPError, ApiError):
                self._stop.wait(0.1)

    def _follow(self) -> None:
        """One watch, to its end."""
        for event in self._api.watch(CONTRACTS, seconds=2, resourceVersion=self._version):
            if event.get("kind") == "Status" and event.get("code") in (429, 503):  # an API server that has just started
                self._stop.wait(0.2)
                return
            if event.get("type") == "ERROR" and event["object"].get("code") == 410:  # it has forgotten what was before its start
                self._leap()
                return
            if event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
                self.faults.append(f"the reader's own watch failed: {event}")
                self._stop.set()
                return
            self._version = event["object"]["metadata"]["resourceVersion"]
            self._see(event["type"], event["object"])

    def _leap(self) -> None:
        """All contracts as they are now, at once; the states between are not seen, but what became of each is judged."""
        listing = self._api.get(CONTRACTS)
        before, self._now = self._now, {item["metadata"]["uid"]: item for item in listing["items"]}
        self._version = listing["metadata"]["resourceVersion"]
        self.leaps += 1
        for uid, contract in self._now.items():
            if uid in before:
                self._compare(contract["metadata"]["name"], before[uid], contract)
            self._judge(contract["metadata"]["name"], contract)
        gone = [contract for uid, contract in before.items() if uid not in self._now and running(contract)]
        self.faults += [f"I2 {contract['metadata']['name']} went unseen" for contract in gone]

    def _see(self, what: str, contract: Object) -> None:
        self.states += 1
        uid, name = contract["metadata"]["uid"], contract["metadata"]["name"]
        before = self._now.pop(uid, None)
        if what != "DELETED":
            self._now[uid] = contract
        if before is not None:
            self._compare(name, before, contract)
        elif contract.get("status"):
            self.faults.append(f"{name}: was not seen from its beginning")
        if what == "DELETED":
            if running(contract):
                self.faults.append(f"I2 {name} went while it was {contract['status']['phase']}")
            return
        self._judge(name, contract)

    def _compare(self, name: str, before: Object, after: Object) -> None:
        old, new = before.get("status", {}), after.get("status", {})
        was, became = old.get("phase", ""), new.get("phase", "")
        if was != became and became not in NEXT.get(was, ()):
            self.faults.append(f"I4 {name}: {was or 'new'} became {became or 'new'}")
        if old.get("epoch", 0) > new.get("epoch", 0):
            self.faults.append(f"I12 {name}: epoch fell from {old.get('epoch')} to {new.get('epoch')}")
        if running(before) and old.get("termsDigest") != new.get("termsDigest"):
            self.faults.append(f"I2 {name}: its terms changed")
        if running(before) and running(after):
            left = {row[0] for row in rows(before)} - {row[0] for row in rows(after)} - self.excused
            over = {row[0] for row in rows(before) if row[3] <= self._instant(after)}
            if left - over:
                self.faults.append(f"I10 {name}: left {sorted(left - over)} without a cause")

    def _judge(self, name: str, contract: Object) -> None:
        status, delivery = contract.get("status", {}), contract["spec"]["terms"]["delivery"]
        for node, gpus, start, end in rows(contract):
            if (
                node not in self._nodes
                or gpus % delivery["lotGpus"]
                or not seconds(delivery["start"]) <= start < end <= seconds(delivery["end"])
            ):
                self.faults.append(f"I3 {name}: {gpus} GPUs on {node} from {start} to {end}")
        if quantities := status.get("quantities"):
            kinds = ("delivered", "curtailed", "buyerCaused", "excused", "shortfall")
            if quantities["contractedGpuSeconds"] != sum(quantities[f"{kind}GpuSeconds"] for kind in kinds):
                self.faults.append(f"I8 {name}: {quantities}")
        if running(contract):
            self._double(name, contract)
            if (
                not contract["metadata"].get("deletionTimestamp")
                and not status.get("endedAt")
                and (gap := uncovered(contract, self._instant(contract)))
            ):
                self.faults.append(f"I13 {name}: {gap}")

    def _double(self, name: str, contract: Object) -> None:
        for other in self._now.values():
            if other is contract or not running(other):
                continue
            for node, gpus, start, end in rows(contract):
                for node_, gpus_, start_, end_ in rows(other):
                    together = gpus + gpus_ <= 8 and holder(other) == holder(contract)
                    if node == node_ and start < end_ and start_ < end and not together:
                        self.faults.append(f"I1 {node} is held by {name} and {other['metadata']['name']}")

    def _instant(self, contract: Object) -> int:
        """When the operator last wrote this object, by the API server's record."""
        written = [
            f["time"] for f in contract["metadata"]["managedFields"] if f.get("manager") == "laycan" and f.get("subresource") == "status"
        ]
        return max((seconds(time) for time in written), default=0)


def uncovered(contract: Object, now: int) -> str:
    """What of the rest of its window is not bound, "" when all is."""
    delivery = contract["spec"]["terms"]["delivery"]
    first = max(now, seconds(delivery["start"]), seconds(contract["metadata"]["creationTimestamp"]))
    last = seconds(delivery["end"])
    cuts = sorted({first, last, *(t for row in rows(contract) for t in row[2:] if first < t < last)})
    for begin in cuts[:-1]:
        bound = sum(gpus for _, gpus, start, end in rows(contract) if start <= begin < end)
        if begin < last and bound != delivery["gpus"]:
            return f"{bound} of {delivery['gpus']} GPUs are bound at {begin}"
    return ""


def final_faults(api: Api, expected: dict[str, str]) -> list[str]:
    """What is wrong at the end: contracts that are lost, or not in the phase that was to come."""
    found: dict[str, Any] = {c["metadata"]["name"]: c.get("status", {}).get("phase", "") for c in api.items(CONTRACTS)}
    wrong = [f"I2 {name} is {found.get(name, 'lost')}, not {phase}" for name, phase in expected.items() if found.get(name) != phase]
    return wrong + [f"{name} was not expected" for name in found.keys() - expected.keys()]
