"""A bundle: what `laycan evidence` exports of one contract, in one JSON document."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from laycan_verify.classes import Terms
from laycan_verify.forms import BUNDLE, EVENT, STATEMENT
from laycan_verify.merkle import root
from laycan_verify.notes import Checkpoint
from laycan_verify.strict import UnreadableError, canonical, need, parse, read


@dataclass(frozen=True)
class Receipt:
    name: str  # file and place, which is its sequence
    index: int  # in the log
    body: bytes  # of the event
    event: Mapping[str, Any]
    proof: list[bytes]
    checkpoint: Checkpoint  # that the proof is to

    def need(self, holds: object, sentence: str) -> None:
        need(holds, f"{self.name}: {sentence}")

    @property
    def envelope(self) -> Any:
        return self.event["data"]["change"]["envelope"]

    @cached_property
    def statement(self) -> Any:
        """Not to be believed before the signature is verified."""
        value = parse(self.envelope["payload"], f"{self.name}: payload")
        if canonical(value, f"{self.name}: payload") != self.envelope["payload"]:
            raise UnreadableError(f"{self.name}: payload is not in canonical form (RFC 8785)")
        return read(STATEMENT, value, self.name)

    @cached_property
    def says(self) -> Any:
        return self.statement["predicate"]

    @property
    def readings(self) -> str:
        """Their root."""
        return str(self.says["meter"]["rootSha256"])

    @property
    def period(self) -> tuple[int, int]:
        return self.says["period"]["start"], self.says["period"]["end"]


@dataclass(frozen=True)
class Bundle:
    name: str
    raw: Mapping[str, Any]
    fields: Mapping[str, Any]  # the same, read
    receipts: list[Receipt]
    checkpoints: list[tuple[Checkpoint, list[bytes] | None]]  # with the proof that it extends the one before

    @cached_property
    def contract(self) -> tuple[str, ...]:
        return tuple(self.fields["contract"][field] for field in ("exchange", "contractId", "uid"))

    @cached_property
    def latest(self) -> list[Receipt]:
        """The last word on each period, in order of time."""
        return [receipt for _, receipt in sorted({receipt.period[0]: receipt for receipt in self.receipts}.items())]

    @cached_property
    def terms(self) -> Terms:
        """What is due, as `classify` takes it: until the end that the last receipt names."""
        due, delivery = self.receipts[-1].says["contract"]["due"], self.fields["terms"]["delivery"]
        own = self.fields["product"]["promise"].get("tolerance", {})
        named = self.fields["terms"].get("tolerance") or own
        grace, cap = named.get("graceSeconds", 300), named.get("graceCapPpm", own.get("graceCapPpm", 1_000))
        lots = delivery["gpus"] // delivery["lotGpus"]
        return Terms(due["start"], due["end"], lots, delivery["lotGpus"], grace, cap, agreed_end=delivery["end"])

    @cached_property
    def readings(self) -> Mapping[str, list[Any]]:
        """By their root; no readings need not be given."""
        return {root([]).hex(): [], **self.fields.get("readings", {})}

    @property
    def heads(self) -> list[Checkpoint]:
        return [head for head, _ in self.checkpoints]


def open_bundle(data: bytes, name: str) -> Bundle:
    raw = parse(data, name)
    fields = read(BUNDLE, raw, name)
    checkpoints = [(each["note"], each.get("consistency")) for each in fields["checkpoints"]]
    receipts = []
    for place, each in enumerate(fields["receipts"], 1):
        which, body = f"{name}: receipt {place}", each["body"].encode()
        if each["checkpoint"] >= len(checkpoints):
            raise UnreadableError(f"{which}: checkpoint is none of those given")
        event = read(EVENT, parse(body, f"{which}: body"), f"{which}: body")
        receipts.append(Receipt(which, each["index"], body, event, each["proof"], checkpoints[each["checkpoint"]][0]))
    if not receipts:
        raise UnreadableError(f"{name}: receipts is empty")
    return Bundle(name, raw, fields, receipts, checkpoints)
