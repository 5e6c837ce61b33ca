"""What an exchange answers to its webhooks: `receive` is the whole of it, without HTTP around.

An event is acknowledged (2xx) when it is genuine, understood, contradicts nothing that is here, and is on the disk. With any other answer
the operator sends it again. What is signed and yet wrong is an alarm: it is kept, with the bytes that prove it, for a person.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan_verify import notes
from laycan_verify.forms import CHANGE, STATEMENT
from laycan_verify.strict import RefusedError, UnreadableError, canonical, digest, need, parse, read

from .keys import ForgedError, Keys
from .ledger import Ledger
from .statements import differences

PATIENCE = 60  # seconds that an entry may be missing until we ask for it
HOLD = 5.0  # seconds that a checkpoint or a statement waits for entries that are on their way
TYPE, PING = "dev.laycan.{}.v1", "dev.laycan.ping"
EVENT = {"specversion": r"1\.0", "id": ".+", "type": "[a-z0-9_.]+", "subject": str, "sequence?": "[0-9]{20}", "data": dict, ...: ...}
HEAD = {"contract": str, "sequence": int, "headDigest": str, ...: ...}
REPLACED = {"origin": str, "heads": [HEAD], ...: ...}
HEARTBEAT = {"checkpoint": notes.read_note, "origin": str, ...: ...}


class Answer(NamedTuple):
    status: int
    reply: dict[str, Any]


class ConflictError(Exception):
    """It is signed, and says something else than was said before."""


@dataclass(frozen=True)
class Witness:
    """Our own key, with which we confirm what we have seen. The operator and auditors get its name and its public half."""

    name: str
    key: Ed25519PrivateKey

    def cosign(self, checkpoint: notes.Checkpoint, now: int) -> str:
        """The line that belongs below the checkpoint (C2SP tlog-cosignature)."""
        signature = now.to_bytes(8) + self.key.sign(notes.cosigned(now, checkpoint.text))
        return notes.signature_line(self.name, notes.WITNESS, self.key.public_key().public_bytes_raw(), signature)


class Receiver:
    """Of one ExchangeEndpoint. `origin` names its log, `<operator>/<namespace>/<endpoint>`; "" where there is none to check."""

    def __init__(self, ledger: Ledger, keys: Keys, origin: str = "", witness: Witness | None = None, hold: float = HOLD) -> None:
        self.ledger, self.keys, self.origin, self.witness, self.hold = ledger, keys, origin, witness, hold
        self._turn = threading.Condition()  # one request at a time
        self._length = 0  # of their log, as far as we heard
        self._waiting: tuple[int, float] | None = None  # for which index, since when (Unix seconds); None until the first answer
        self._successor = ""  # the log that the operator writes instead of ours
        self._refused: set[str] = set()  # indices that we did not take: the operator tries them again by itself
        for body, received in ledger.arrived(TYPE.format("key.rotated")):
            with suppress(RefusedError):
                keys.learn(parse(body, "")["data"], received)

    def receive(self, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
        """`headers` by names in lower case, `now` in Unix seconds. Raises only where the ledger cannot be written: answer 500 then."""
        with self._turn:
            try:
                message_id = self.keys.check(headers, body, now)  # first of all: what is forged is not even parsed
                if message_id.startswith("checkpoint/"):
                    reply = self._heartbeat(body, int(now))
                else:
                    reply = self._event(message_id, headers.get("laycan-log-index", ""), body, int(now))
                return Answer(200, reply if message_id.startswith("ping/") else reply | self._missing(now))
            except ForgedError as error:
                return Answer(401, {"error": str(error)})  # and nothing of it is kept: anybody can send us anything
            except (UnreadableError, RefusedError, ConflictError) as error:
                self._refused.add(headers.get("laycan-log-index", ""))
                if isinstance(error, UnreadableError):
                    return Answer(400, {"error": str(error)})
                with self.ledger.transaction():
                    self.ledger.alarm(str(error), body, int(now))
                return Answer(409 if isinstance(error, ConflictError) else 422, {"error": str(error)})

    # --- events

    def _event(self, message_id: str, index: str, body: bytes, now: int) -> dict[str, Any]:
        event = read(EVENT, parse(body, "the event"), "the event")
        if canonical(event, "the event") != body:
            raise UnreadableError("the event is not in canonical form (RFC 8785)")
        if event["id"] != message_id:
            raise UnreadableError(f"the body is event {event['id']!r}, and webhook-id is {message_id!r}")
        if event["type"] == PING:
            return {}  # `laycan endpoint test`: it says nothing, and is in no log
        if self.origin and not re.fullmatch("0|[1-9][0-9]{0,14}", index):
            raise UnreadableError("laycan-log-index is missing, or no index")
        if event["type"] == TYPE.format("log.replaced") and self.origin:
            self._replaced(read(REPLACED, event["data"], "the event: data"))
        if self._successor:
            self._follow(self._successor)
        return self._put(event, int(index) if self.origin else None, body, now)

    def _put(self, event: Mapping[str, Any], place: int | None, body: bytes, now: int) -> dict[str, Any]:
        """What is new comes to the disk with its place in the log; what we have must be the same, at the same place."""
        event_id, stated = event["id"], event["type"] == TYPE.format("statement")
        if (known := self.ledger.body(event_id)) not in (None, body):
            raise ConflictError(f"{event_id} has other bytes than it had before")
        if place is not None and self.ledger.id_at(place) not in (None, event_id):
            raise ConflictError(f"{event_id} is entry {place} now, where {self.ledger.id_at(place)} was")
        if place is not None and self.ledger.place_of(event_id) not in (None, place):
            raise ConflictError(f"{event_id} is entry {place} now, and was {self.ledger.place_of(event_id)}")
        with self.ledger.transaction():
            if known is None:
                self._take(event, body, now)
            if place is not None:
                self.ledger.put(place, event_id)
            found = differences(event, place, self.ledger) if stated else []
            for what in found:
                self.ledger.alarm(what, body, now)
        self._turn.notify_all()  # a checkpoint may wait for it
        return {"differs": found[:10]} if found else {}  # new or not, it is on the disk

    def _take(self, event: Mapping[str, Any], body: bytes, now: int) -> None:
        """What is new to us. Your own books follow from `ledger.newest`, not from here: this is called once, and a crash may follow."""
        uid, _, number = event["id"].rpartition("/")
        if event["type"] == TYPE.format("receipt.issued") and self.keys.operator:
            self._receipt(uid, event, now)
        elif event["type"] == TYPE.format("key.rotated") and self.keys.operator:
            self.keys.learn(event["data"], now)
        self.ledger.keep(event["id"], event["type"], body, now)
        if "sequence" in event:
            if number != str(int(event["sequence"])):
                raise UnreadableError(f"the event: sequence is not the number in {event['id']!r}")
            self.ledger.stands(uid, int(number), event["id"])

    def _receipt(self, uid: str, event: Mapping[str, Any], now: int) -> None:
        """A receipt is binding. It is signed, it is about this contract, and it cites the one before; which may still be on its way."""
        envelope = read(CHANGE, event["data"], "the event: data")["change"]["envelope"]
        payload, name = envelope["payload"], f"a receipt of {event['subject']}"
        said = read(STATEMENT, parse(payload, name), name)["predicate"]
        about, by, number = said["contract"], said["operator"], said["sequence"]
        name = f"receipt {number} of {event['subject']}"
        need(envelope["payloadType"] == "application/vnd.in-toto+json", f"{name}: payloadType is not that of a statement")
        need(canonical(parse(payload, name), name) == payload, f"{name}: payload is not in canonical form (RFC 8785)")
        need((about["uid"], about["contractId"]) == (uid, event["subject"]), f"{name} is about another contract")
        need((by["id"], by["keyId"]) == (self.keys.operator, self.keys.signer_of(envelope, now, name)), f"{name} names another signer")
        mine, cites = digest(payload), said.get("previousReceiptDigest")
        before, after = self.ledger.receipt(uid, number - 1), self.ledger.receipt(uid, number + 1)
        need(self.ledger.receipt(uid, number) is None, f"{name} is not the one that we have")
        need((number == 1) == (cites is None) and (before is None or before.digest == cites), f"{name} does not cite the one before")
        need(after is None or after.cites == mine, f"{name} is not the one that the next one cites")
        self.ledger.keep_receipt(uid, number, mine, cites)

    def _follow(self, origin: str) -> None:
        """Only our log. That the operator lost it and begins another is for a person to accept; until then nothing is taken."""
        if origin != self.origin:
            self._successor = origin
            raise ConflictError(
                f"the operator writes the log {origin!r} instead of {self.origin!r}: ask why, before you start with that --origin"
            )

    def _replaced(self, change: Mapping[str, Any]) -> None:
        """A log that follows a lost one must go on where the contracts stood, by what we have of them."""
        self._follow(change["origin"])
        for head in change["heads"]:
            uid, (sequence, body) = head["contract"], self.ledger.newest(head["contract"])
            if sequence > head["sequence"] or (sequence == head["sequence"] and digest(body) != head["headDigest"]):
                raise ConflictError(f"{self.origin} does not go on where contract {uid} was: we have its event {sequence}")

    # --- checkpoints

    def _heartbeat(self, body: bytes, now: int) -> dict[str, Any]:
        """Says that the operator's log, whose head it has signed, is what we have, entry by entry; refuses where it is not."""
        plain = parse(body, "the heartbeat")
        said = read(HEARTBEAT, plain, "the heartbeat")
        checkpoint, note = said["checkpoint"], plain["checkpoint"]
        size, name = checkpoint.size, f"the checkpoint of {checkpoint.size} entries"
        if not self.origin:
            return {}
        signed = any(notes.signed(checkpoint, checkpoint.origin, key["publicKey"]) for key in self.keys.valid("checkpoints", now))
        need(signed and said["origin"] == checkpoint.origin, f"{name} is not signed by a key that is trusted for checkpoints")
        self._follow(checkpoint.origin)
        self._length = max(self._length, size)
        if not self._turn.wait_for(lambda: size <= self.ledger.have + 1, self.hold):
            return {}  # some of them are not here: we say nothing about what we have not seen
        if self.ledger.root(size) != checkpoint.root:
            raise ConflictError(f"{name} has another root than the entries that we were sent: there are two histories")
        if size < (before := self.ledger.longest) and not self.ledger.has_checkpoint(size):
            raise ConflictError(f"{name} comes after one of {before}: entries are gone")
        line = self.witness.cosign(checkpoint, now) if self.witness else ""
        with self.ledger.transaction():
            self.ledger.keep_checkpoint(size, note + line)
        return {"cosignature": line} if line else {}

    def _missing(self, now: float) -> dict[str, int]:
        """`have`: the index from which the operator should go on. At our first answer, and where an entry is missing for long."""
        next_one, first = self.ledger.have + 1, self._waiting is None
        missing = next_one < max(self._length, self.ledger.last + 1) and str(next_one) not in self._refused
        since = self._waiting[1] if self._waiting and self._waiting[0] == next_one and missing else now
        ask = bool(self.origin) and (first or now - since >= PATIENCE)
        self._waiting = (next_one, now if ask else since)
        return {"have": self.ledger.have} if ask else {}
