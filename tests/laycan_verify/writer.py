"""An independent writer of evidence, for tests: nothing here is the operator's code or the verifier's.

DSSE by securesystemslib, the Merkle tree by the recursions of RFC 9162 as they stand there, notes by the words of the C2SP
specifications, canonical JSON by `json` (all keys are ASCII and all numbers are integers). What a receipt counts follows from the
losses that a test names, class by class, and never from `classify`.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer._crypto_signer import CryptoSigner

DAY = 86_400
IN_TOTO = "application/vnd.in-toto+json"
JSON = dict[str, Any]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(value if isinstance(value, bytes) else canonical(value)).hexdigest()


def b64(data: bytes) -> str:
    return b64encode(data).decode()


# RFC 9162, section 2.1, word for word.


def mth(d: Sequence[bytes]) -> bytes:
    if not d:
        return hashlib.sha256().digest()
    if len(d) == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = largest_power_of_two_below(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = largest_power_of_two_below(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    return subproof(m, d, True)


def subproof(m: int, d: Sequence[bytes], b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [mth(d)]
    k = largest_power_of_two_below(len(d))
    return [*subproof(m, d[:k], b), mth(d[k:])] if m <= k else [*subproof(m - k, d[k:], False), mth(d[:k])]


def largest_power_of_two_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


class Key:
    """An Ed25519 key made of its name, so that every run writes the same bytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self.public = self.private.public_key().public_bytes_raw()

    def trusted(self, use: str | None = None, **times: str) -> JSON:
        public = {"publicKey": b64(self.public)}
        return {"keyId": self.name, "use": use, **public, **times} if use else {"name": self.name, **public}

    def envelope(self, payload: bytes, kind: str = IN_TOTO) -> JSON:
        """DSSE, by securesystemslib."""
        signer = CryptoSigner(self.private)
        envelope = Envelope(payload, kind, {})
        envelope.sign(signer)
        made: JSON = envelope.to_dict()
        made["signatures"][0]["keyid"] = self.name
        return made

    def note_line(self, name: str, kind: int, text: bytes, time: int | None = None) -> str:
        """C2SP signed-note (kind 1) and tlog-cosignature (kind 4, with its time)."""
        mark = hashlib.sha256(name.encode() + b"\x0a" + bytes([kind]) + self.public).digest()[:4]
        if time is None:
            return f"— {name} {b64(mark + self.private.sign(text))}\n"
        signature = self.private.sign(b"cosignature/v1\n" + f"time {time}\n".encode() + text)
        return f"— {name} {b64(mark + time.to_bytes(8, 'big') + signature)}\n"


RECEIPTS, HEADS, WITNESS, OTHER_WITNESS, EXCHANGE = map(
    Key, ("receipts-1", "heads-1", "witness.example/w1", "w2.example", "confirmations-1")
)
OPERATOR, ENDPOINT = "operator.example", "venue/endpoint"


@dataclass
class Log:
    """One log, with a head after each entry that asks for one."""

    origin: str = f"{OPERATOR}/{ENDPOINT}"
    entries: list[bytes] = field(default_factory=list)
    heads: list[JSON] = field(default_factory=list)  # as in a bundle
    sizes: list[int] = field(default_factory=list)  # of those

    def append(self, body: bytes) -> int:
        self.entries.append(body)
        return len(self.entries) - 1

    def head(self, time: int | None, key: Key = HEADS, witnesses: Iterable[Key] = (WITNESS,)) -> None:
        """A checkpoint of what is there now; cosigned at that time where there is one."""
        text = f"{self.origin}\n{len(self.entries)}\n{b64(mth(self.entries))}\n".encode()
        note = text.decode() + "\n" + key.note_line(self.origin, 1, text)
        if time is not None:
            note += "".join(each.note_line(each.name, 4, text, time) for each in witnesses)
        grown = {"consistency": [b64(h) for h in proof(self.sizes[-1], self.entries)]} if self.sizes else {}
        self.heads.append({"note": note, **grown})
        self.sizes.append(len(self.entries))

    def entry(self, index: int) -> JSON:
        place = next(place for place, size in enumerate(self.sizes) if size > index)
        proven = path(index, self.entries[: self.sizes[place]])
        return {"index": index, "body": self.entries[index].decode(), "proof": [b64(h) for h in proven], "checkpoint": place}


@dataclass(frozen=True)
class Loss:
    """Lots that were not delivered, and as what that counts."""

    lots: tuple[int, ...]
    start: int
    end: int
    cls: str = "Shortfall"


FIELDS = {
    "curtailedGpuSeconds": ("CurtailedByRight",),
    "buyerCausedGpuSeconds": ("BuyerCaused",),
    "excusedGpuSeconds": ("Excused:Grace", "Excused:ForceMajeureUpheld", "Excused:PlannedOutageAllowed"),
    "shortfallGpuSeconds": ("Shortfall",),
}
READ = ("CurtailedByRight", "BuyerCaused", "Excused:ForceMajeureUpheld", "Excused:PlannedOutageAllowed")


@dataclass
class Story:
    """A contract from its first receipt to its last; the base contract of the scenarios unless a test says otherwise."""

    contract_id: str = "C-2027-01"
    start: int = at("2027-01-04T00:00:00")
    end: int = at("2027-02-03T00:00:00")
    gpus: int = 64
    lot_gpus: int = 8
    losses: Sequence[Loss] = ()
    created: int = 0
    firmness: str = "Firm"
    devices: Callable[[int, int], Sequence[str]] | None = None  # (lot, start) -> what it is delivered on
    log: Log = field(default_factory=Log)
    key: Key = RECEIPTS
    confirmed_by: Key | None = EXCHANGE
    receipts: list[JSON] = field(default_factory=list)  # predicates
    indices: list[int] = field(default_factory=list)
    readings: dict[str, list[JSON]] = field(default_factory=dict)
    edit: Callable[[JSON], object] | None = None  # of each statement, before it is signed

    def __post_init__(self) -> None:
        self.uid = "0b0f7a0e-" + hashlib.sha256(self.contract_id.encode()).hexdigest()[:12]
        self.due_start, self.due_end = max(self.start, self.created), self.end
        self.losses = list(self.losses)
        self.previous: bytes | None = None
        self.terms: JSON = {
            "contractId": self.contract_id,
            "tradeTime": "2026-12-01T09:00:00Z",
            "delivery": {"start": instant(self.start), "end": instant(self.end), "gpus": self.gpus, "lotGpus": self.lot_gpus},
            "firmness": {"class": self.firmness},
            "price": {"amount": "2.10", "currency": "USD", "shortfallMultiplePpm": 1_500_000},
            "tolerance": {"graceSeconds": 300, "cureSeconds": 14_400},
        }
        self.product: JSON = {"name": "h100", "promise": {"gpuProducts": ["NVIDIA-H100-80GB-HBM3"], "nodeGpus": 8, "lotGpus": 8}}
        self.terms["productRef"] = {"name": "h100", "digest": digest(self.product)}
        self.policy: JSON = {"version": "1", "fatalXids": [48, 79], "acceptDegraded": [], "cleanSeconds": 900, "degradedSharePpm": 50_000}

    # One period

    def card(self, lot: int, start: int) -> Sequence[str]:
        if self.devices is not None:
            return self.devices(lot, start)
        return [hashlib.sha256(f"salt {self.contract_id} {lot} {place}".encode()).hexdigest() for place in range(self.lot_gpus)]

    def rows(self, start: int, end: int) -> list[JSON]:
        """Readings of a period: what is not lost is delivered, and what is lost by right, buyer or excuse is said to be."""
        made = []
        for lot in range(self.gpus // self.lot_gpus):
            clear = start
            for loss in sorted((x for x in self.losses if lot in x.lots and x.start < end and x.end > start), key=lambda x: x.start):
                made += self._delivered(lot, clear, max(loss.start, start))
                clear = min(loss.end, end)
                if loss.cls in READ:
                    made.append({"lot": lot, "start": instant(max(loss.start, start)), "end": instant(clear), "class": loss.cls})
            made += self._delivered(lot, clear, end)
        return made

    def _delivered(self, lot: int, start: int, end: int) -> list[JSON]:
        row = {"lot": lot, "start": instant(start), "end": instant(end), "class": "Delivered", "product": "h100"}
        return [{**row, "devices": list(self.card(lot, start))}] if start < end else []

    def quantities(self, start: int, end: int) -> JSON:
        made: JSON = {"contractedGpuSeconds": (end - start) * self.gpus, "estimatedGpuSeconds": 0}
        for name, classes in FIELDS.items():
            made[name] = sum(incident["gpuSeconds"] for incident in self.incidents(start, end) if incident["class"] in classes)
        return {**made, "deliveredGpuSeconds": made["contractedGpuSeconds"] - sum(made[name] for name in FIELDS)}

    def incidents(self, start: int, end: int) -> list[JSON]:
        return [
            {
                "class": loss.cls,
                "start": instant(max(loss.start, start)),
                "end": instant(min(loss.end, end)),
                "lots": ",".join(map(str, loss.lots)),
                "cause": "Xid79",
                "gpuSeconds": (min(loss.end, end) - max(loss.start, start)) * len(loss.lots) * self.lot_gpus,
            }
            for loss in self.losses
            if loss.start < end and loss.end > start
        ]

    def predicate(self, start: int, end: int, corrects: int | None = None) -> JSON:
        rows = self.rows(start, end)
        leaves = [canonical(row) for row in rows]
        root = mth(leaves).hex()
        self.readings[root] = rows
        used = sorted({device for row in rows for device in row.get("devices", ())})
        periods = {p["period"]["start"]: p["quantities"] for p in self.receipts} | {instant(start): self.quantities(start, end)}
        upto = [each for first, each in periods.items() if first <= instant(start)]
        short = sum(each["shortfallGpuSeconds"] for each in upto)
        made: JSON = {
            "version": 1,
            "sequence": len(self.receipts) + 1,
            "contract": {
                "contractId": self.contract_id,
                "uid": self.uid,
                "termsDigest": digest(self.terms),
                "productDigest": digest(self.product),
                "healthPolicyDigest": digest(self.policy),
                "due": {"start": instant(self.due_start), "end": instant(self.due_end)},
            },
            "operator": {"id": OPERATOR, "keyId": self.key.name, "softwareDigest": "sha256:" + "5a" * 32},
            "period": {"start": instant(start), "end": instant(end)},
            "quantities": self.quantities(start, end),
            "cumulative": {name: sum(each[name] for each in upto) for name in self.quantities(start, end)},
            "incidents": self.incidents(start, end),
            "substitutions": [],
            "devices": {"commitmentRoot": mth([bytes.fromhex(device) for device in used]).hex(), "count": len(used)},
            "meter": {"kind": "agent", "readings": len(rows), "rootSha256": root, "missedSamples": 0},
            "credit": {"amount": f"{(short * 7 + 40) // 80 / 100:.2f}", "currency": "USD"},
        }
        if corrects is not None:
            made["corrects"] = corrects
        return made

    def issue(self, predicate: JSON) -> None:
        """Signs it at its place in the chain, and logs it among entries of others."""
        if self.previous is not None:
            predicate.setdefault("previousReceiptDigest", digest(self.previous))
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": self.contract_id, "digest": {"sha256": digest(self.terms).removeprefix("sha256:")}}],
            "predicateType": "https://laycan.dev/attestation/delivery-receipt/v1",
            "predicate": predicate,
        }
        if self.edit is not None:
            self.edit(statement)
        payload = canonical(statement)
        number = 3 * len(self.receipts) + 7
        body = {
            "specversion": "1.0",
            "id": f"{self.uid}/{number}",
            "source": "urn:laycan:2f6c9a52",
            "subject": self.contract_id,
            "type": "dev.laycan.receipt.issued.v1",
            "time": predicate["period"]["end"],
            "datacontenttype": "application/json",
            "sequence": f"{number:020d}",
            "data": {"contract": {"phase": "Delivering"}, "change": {"envelope": self.key.envelope(payload)}},
        }
        self.log.append(b'{"other":"entry %d"}' % len(self.log.entries))
        self.indices.append(self.log.append(canonical(body)))
        self.receipts.append(predicate)
        self.previous = payload

    def day(self, cosigned: bool = True, **head: Any) -> None:
        """The receipt of the next day, and a head after it."""
        done = [p["period"]["end"] for p in self.receipts if "corrects" not in p]
        start = at(done[-1].removesuffix("Z")) if done else self.due_start
        end = min(self.due_end, start - start % DAY + DAY)
        self.issue(self.predicate(start, end))
        self.log.head(end + 90 if cosigned else None, **head)

    def correct(self, sequence: int, time: int, losses: Sequence[Loss]) -> None:
        """Restates the period of that receipt by other losses."""
        self.losses = list(losses)
        period = self.receipts[sequence - 1]["period"]
        start, end = (at(period[name].removesuffix("Z")) for name in ("start", "end"))
        self.issue(self.predicate(start, end, corrects=sequence))
        self.log.head(time)

    def days(self, count: int = 10**6, **head: Any) -> Story:
        """So many days, or all that are left."""
        while count and (not self.receipts or self.receipts[-1]["period"]["end"] < instant(self.due_end)):
            self.day(**head)
            count -= 1
        return self

    # What the verifier is given

    def bundle(self) -> JSON:
        made: JSON = {
            "version": 1,
            "contract": {"contractId": self.contract_id, "uid": self.uid, "exchange": ENDPOINT},
            "terms": self.terms,
            "product": self.product,
            "healthPolicy": self.policy,
            "receipts": [self.log.entry(index) for index in self.indices],
            "checkpoints": self.log.heads,
            "readings": self.readings,
        }
        if self.confirmed_by is not None:
            envelope = self.confirmed_by.envelope(canonical(self.terms), "application/vnd.laycan.terms+json")
            made["confirmation"] = {"envelope": b64(canonical(envelope))}
        return deepcopy(made)


def trust(keys: Sequence[JSON] = (), witnesses: Sequence[Key] = (WITNESS,), **others: Any) -> JSON:
    """The trust file; `keys` stand for the operator's own."""
    return {
        "version": 1,
        "operator": {"id": OPERATOR, "keys": list(keys) or [RECEIPTS.trusted("receipts"), HEADS.trusted("checkpoints")]},
        "exchanges": [{"name": ENDPOINT, "keys": [EXCHANGE.trusted("confirmations")]}],
        "witnesses": [each.trusted() for each in witnesses],
        **others,
    }
