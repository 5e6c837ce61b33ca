"""The next status of one contract while it is being made.

A draft starts as what is written, takes steps and flips one by one, and is closed into a complete status or into nothing when
there is nothing to write. A step or a flip that must be told takes its place in the outbox or does not happen; so whoever asks for
one goes by the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from laycan.control.conditions import Conditions
from laycan.control.curtailment import dump_notices, parse_notices
from laycan.control.decision import Reason
from laycan.control.instructed import Instructed
from laycan.control.lifecycle import Phase, Step, move
from laycan.control.makegood import MakeGood
from laycan.delivery.metering.meter import Notice
from laycan.delivery.metering.reading import Gap, Reading, dump_meter, dump_quantities, parse_reading
from laycan.delivery.metering.served import Bound
from laycan.events.outbox import Outbox
from laycan.evidence.books import Books
from laycan.kube.views import ContractView
from laycan.resources.digest import digest
from laycan.resources.times import format_time, parse_time


@dataclass(slots=True)
class Draft:
    contract: ContractView
    now: int
    phase: Phase
    conditions: Conditions
    outbox: Outbox
    bounds: tuple[Bound, ...]
    reading: Reading
    notices: tuple[Notice, ...]
    ended_at: int | None  # when it was cancelled or terminated
    books: Books = field(default_factory=Books)
    instructed: Instructed = field(default_factory=Instructed)
    make_good: MakeGood = field(default_factory=MakeGood)
    ending: bool = False  # it is to be ended now, by deletion or by an instruction
    unproven: tuple[Gap, ...] = ()  # by the nodes' agents; worked out anew each time
    metered: bool = False  # the meter has reached the end: its reading does not wait for the next round
    restated: bool = False  # what was metered already was judged again: that does not wait either
    fields: dict[str, Any] = field(default_factory=dict)  # what is copied as it stands, or set as a whole

    @classmethod
    def open(cls, contract: ContractView, source: str, taken: frozenset[str], now: int, *, hurried: bool) -> Draft:
        """`taken`: ids of events that the log has. `hurried`: no step waits for room in the outbox."""
        status, terms = contract.status, contract.spec.get("terms") or {}
        outbox = Outbox.open(
            status,
            uid=contract.uid,
            contract_id=str(terms.get("contractId", "")),
            source=source,
            taken=taken,
            hurried=hurried,
        )
        return cls(
            contract=contract,
            now=now,
            phase=Phase(contract.phase),
            conditions=Conditions(status.get("conditions") or (), contract.generation, now),
            outbox=outbox,
            bounds=tuple(Bound.parse(b) for b in status.get("bindings") or ()),
            reading=parse_reading(status),
            notices=parse_notices(status),
            ended_at=parse_time(status["endedAt"]) if status.get("endedAt") else None,
            books=Books.parse(status),
            instructed=Instructed.parse(status),
            make_good=MakeGood.parse(status),
            ending=contract.deleting or bool(status.get("endedAt")),
            fields={k: status[k] for k in _COPIED if k in status},
        )

    def step(self, step: Step, change: Mapping[str, Any] | None = None) -> bool:
        """Moves the phase and tells it; False: no room in the outbox, the phase stays."""
        target = move(self.phase, step)
        told = {"phase": target.value} | ({"from": self.phase.value} if self.phase.value else {}) | dict(change or {})
        if not self.outbox.say(f"contract.{target.value.lower()}", told):
            return False
        self.phase = target
        self.fields |= {"phase": target.value, "phaseSince": format_time(self.now)}
        return True

    def flip(self, name: str, holds: bool, reason: str, message: str, *, event: str, change: Mapping[str, Any] | None = None) -> bool:
        """States a condition; a flip is told as `event` and waits, as it stands, while the outbox has no room."""
        if holds != self.conditions.true(name):
            told = {"condition": name, "status": "True" if holds else "False", "reason": reason, "message": message, **(change or {})}
            if not self.outbox.say(event, told):
                return False
        self.conditions.put(name, holds, reason, message)
        return True

    def set_reason(self, reason: Reason | None) -> None:
        """`status.reason`: why the contract is refused or short; None takes it away."""
        self.fields.pop("reason", None)
        if reason is not None:
            self.fields["reason"] = reason_json(reason)

    def close(self, epoch: int, meter_seconds: int) -> dict[str, Any] | None:
        """The complete status, or None when only the meter moved and its next reading is not due yet."""
        old, status = self.contract.status, self._render()
        quiet = not self.outbox.news and _without_meter(old, self.reading.until) == _without_meter(status, self.reading.until)
        if quiet and not self._reading_due(old, meter_seconds) and not self.outbox.untidy(self.now):
            return None
        self.outbox.seal(self._as_told(status), self.now)
        if self.outbox.sequence:
            status["ledger"] = {"sequence": self.outbox.sequence}
            if self.outbox.head_digest:
                status["ledger"]["headDigest"] = self.outbox.head_digest
        status["outbox"] = self.outbox.entries
        if not status["outbox"]:
            del status["outbox"]
        status["epoch"] = epoch
        return status

    def _reading_due(self, old: Mapping[str, Any], meter_seconds: int) -> bool:
        if self.reading.counters is None:
            return False
        if not old.get("meter"):
            return True
        last = parse_time(old["meter"]["until"])
        moved = self.reading.until - last
        return moved >= meter_seconds or (moved > 0 and self.metered) or self.restated

    def _render(self) -> dict[str, Any]:
        status = dict(self.fields)
        status["observedGeneration"] = self.contract.generation
        status["conditions"] = self.conditions.dump()
        if self.ended_at is not None:
            status["endedAt"] = format_time(self.ended_at)
        if self.bounds:
            status["bindings"] = [bound.dump() for bound in self.bounds]
        if self.notices:
            status["curtailments"] = dump_notices(self.notices)
        if self.reading.counters is not None:
            status["quantities"] = dump_quantities(self.reading.counters)
        if (meter := dump_meter(self.reading)) is not None:
            status["meter"] = meter
        if receipts := self.books.dump():
            status["receipts"] = receipts
        if instructed := self.instructed.dump():
            status["instructions"] = instructed
        if made_good := self.make_good.dump():
            status["makeGood"] = made_good
        if self.outbox.entries:
            status["outbox"] = self.outbox.entries
        if "ledger" in self.contract.status:
            status["ledger"] = self.contract.status["ledger"]
        return status

    def _as_told(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """The contract as it is now, for the events: everything that the exchange may know, and no node."""
        schedule = [{"lots": list(b.lots), "product": b.product, "start": b.start, "end": b.end} for b in self.bounds if b.end > self.now]
        told = {
            "namespace": self.contract.namespace,
            "name": self.contract.name,
            "phase": self.phase.value,
            "conditions": [c["type"] for c in status["conditions"] if c["status"] == "True"],
            "quantities": status.get("quantities"),
            "meter": {"kind": self._meter_kind(), "until": status["meter"]["until"]} if "meter" in status else None,
            "reason": status.get("reason"),
            "handover": status.get("handover"),
            "instructions": status.get("instructions"),
            "makeGood": status.get("makeGood"),
            "termsDigest": status.get("termsDigest"),
            "productDigest": status.get("productDigest"),
            "scheduleDigest": digest(schedule),
        }
        return {key: value for key, value in told.items() if value is not None}

    def _meter_kind(self) -> str:
        """Whose word counts for what runs now: `agent`, `node`, or `mixed`."""
        kinds = {"node" if b.metered_since is None else "agent" for b in self.bounds if b.running(self.now)}
        return kinds.pop() if len(kinds) == 1 else ("mixed" if kinds else "node")


_PINS = ("termsDigest", "productDigest", "healthPolicyDigest", "healthPolicy")
_COPIED = ("phase", "phaseSince", *_PINS, "reason", "offer", "handover", "outages")


def reason_json(reason: Reason) -> dict[str, Any]:
    raw: dict[str, Any] = {"code": reason.code, "message": reason.message}
    if reason.pool:
        raw["pool"] = reason.pool
    if reason.window:
        raw["window"] = {"start": format_time(reason.window[0]), "end": format_time(reason.window[1])}
    return raw


def _without_meter(status: Mapping[str, Any], until: int) -> dict[str, Any]:
    """A status less what moves with the meter alone, its counters and the history that it has passed, and less what the log took."""
    rest = {key: value for key, value in status.items() if key not in ("quantities", "meter", "receipts", "epoch", "outbox")}
    rest["bindings"] = [b for b in status.get("bindings") or () if parse_time(b["end"]) > until]
    instructions = dict(status.get("instructions") or {})
    caused = [c for c in instructions.pop("buyerCaused", ()) if parse_time(c["end"]) > until]
    rest["instructions"] = {**instructions, "buyerCaused": caused}
    gaps = (status.get("meter") or {}).get("gaps") or ()
    rest["gaps"] = [g for g in gaps if not g.get("end") or parse_time(g["end"]) > until]
    return rest
