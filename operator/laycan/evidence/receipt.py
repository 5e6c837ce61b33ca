"""The delivery receipt: an in-toto Statement about one period of one contract, in a DSSE envelope.

Everything in it follows from the contract, the readings and the judgement of `classify`; so whoever has the readings computes the same
numbers. It never names a node: GPUs appear as salted commitments, which show the exchange when one is claimed twice and nothing else.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Any, NamedTuple

import rfc8785

from laycan.delivery.metering.reading import dump_quantities
from laycan.evidence.readings import Cause, lots_text, parse_lots
from laycan.ledger.keys import Signer
from laycan.resources.money import MICROS, parse_money
from laycan.resources.times import format_time, parse_time
from laycan_verify.classes import Class, Counters, Stretch
from laycan_verify.dsse import pae
from laycan_verify.merkle import root
from laycan_verify.strict import digest

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://laycan.dev/attestation/delivery-receipt/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
INCIDENT_BYTES, SUBSTITUTION_BYTES = 24_000, 8_000  # an event holds 64 kB; what is beyond stands in the readings


class Leaf(NamedTuple):
    """A reading as it is proven: one stretch of one lot, on certain GPUs of one product."""

    lot: int
    start: int
    end: int
    cls: str
    estimated: bool
    product: str
    devices: tuple[str, ...]  # commitments

    def dump(self) -> dict[str, Any]:
        raw: dict[str, Any] = {"lot": self.lot, "start": format_time(self.start), "end": format_time(self.end), "class": self.cls}
        raw |= {"product": self.product, "devices": list(self.devices)} if self.product else {}
        return raw | ({"estimated": True} if self.estimated else {})


class Incident(NamedTuple):
    """A stretch of one lot that was not delivered."""

    start: int
    end: int
    cls: Class
    cause: str
    lot: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a receipt is about."""

    contract_id: str
    uid: str
    terms_digest: str
    product_digest: str
    policy_digest: str
    start: int  # due from here
    end: int  # to here
    lot_gpus: int
    product: str  # the grade that was sold
    price: Mapping[str, Any] | None  # of the terms


@dataclass(frozen=True, slots=True)
class Content:
    """One period of it."""

    start: int
    end: int
    period: Counters  # GPU-seconds by class in it
    cumulative: Counters  # at its end
    incidents: Sequence[Incident]
    leaves: Sequence[Leaf]
    meter: str  # agent | node | mixed
    missed_samples: int


def commitment(salt: bytes, uuid: str) -> str:
    """What stands for a GPU: equal for the same card and exchange, and nothing more can be read from it."""
    return sha256(salt + uuid.encode()).hexdigest()


def leaf_bytes(leaves: Iterable[Leaf]) -> list[bytes]:
    return [rfc8785.dumps(leaf.dump()) for leaf in leaves]


def readings_root(leaves: Iterable[Leaf]) -> str:
    return root(leaf_bytes(leaves)).hex()


def incidents(pieces: Iterable[Stretch], causes: Sequence[Cause]) -> list[Incident]:
    """What was not delivered, lot by lot, with the first cause that is known."""
    by_lot: dict[int, list[Cause]] = defaultdict(list)
    for cause in causes:
        by_lot[cause.lot].append(cause)
    found = []
    for piece in pieces:
        if piece.cls is not Class.DELIVERED:
            known = [c for c in by_lot[piece.lot] if c.start < piece.end and piece.start < c.end]
            why = min(known, key=lambda c: c.start).cause if known else ""
            found.append(Incident(piece.start, piece.end, piece.cls, why, piece.lot))
    return sorted(found)


def dump_incidents(found: Iterable[Incident], lot_gpus: int) -> list[dict[str, Any]]:
    """Lots that share class, time and cause stand together."""
    groups: dict[tuple[int, int, str, str], list[int]] = defaultdict(list)
    for each in found:
        groups[each.start, each.end, each.cls.value, each.cause].append(each.lot)
    return [
        {"class": cls, "start": format_time(start), "end": format_time(end), "lots": lots_text(lots)}
        | ({"cause": why} if why else {})
        | {"gpuSeconds": (end - start) * len(lots) * lot_gpus}
        for (start, end, cls, why), lots in sorted(groups.items())
    ]


def parse_incidents(raw: Iterable[Mapping[str, Any]]) -> list[Incident]:
    return [
        Incident(parse_time(each["start"]), parse_time(each["end"]), Class(each["class"]), each.get("cause", ""), lot)
        for each in raw
        for lot in parse_lots(each["lots"])
    ]


def substitutions(leaves: Iterable[Leaf], product: str) -> list[dict[str, Any]]:
    """Which lots were served in another grade, and when."""
    groups: dict[tuple[int, int, str], list[int]] = defaultdict(list)
    for leaf in leaves:
        if leaf.product not in ("", product):
            groups[leaf.start, leaf.end, leaf.product].append(leaf.lot)
    return [
        {"lots": lots_text(lots), "product": name, "start": format_time(start), "end": format_time(end)}
        for (start, end, name), lots in sorted(groups.items())
    ]


def credit(price: Mapping[str, Any] | None, shortfall_gpu_seconds: int) -> dict[str, str] | None:
    """Indicative damages for all the shortfall so far, rounded half up once to hundredths; None without a price."""
    if price is None:
        return None
    exact = parse_money(price["amount"]) * price.get("shortfallMultiplePpm", 1_000_000) * shortfall_gpu_seconds
    cents = (2 * exact + (unit := 3600 * 1_000_000 * (MICROS // 100))) // (2 * unit)
    return {"amount": f"{cents // 100}.{cents % 100:02d}", "currency": price["currency"]}


def predicate(subject: Subject, content: Content, by: Mapping[str, str]) -> dict[str, Any]:
    """All that a receipt says but for its place in the chain; `by`: {id, keyId, softwareDigest} of the operator."""
    used = sorted({device for leaf in content.leaves for device in leaf.devices})
    others, left_out = _listed(substitutions(content.leaves, subject.product), SUBSTITUTION_BYTES)
    made: dict[str, Any] = {
        "version": 1,
        "period": {"start": format_time(content.start), "end": format_time(content.end)},
        "substitutions": others,
        "devices": {"commitmentRoot": root(bytes.fromhex(device) for device in used).hex(), "count": len(used)},
        "meter": {
            "kind": content.meter,
            "readings": len(content.leaves),
            "rootSha256": readings_root(content.leaves),
            "missedSamples": content.missed_samples,
        },
    }
    return made | restated(subject, content.period, content.cumulative, content.incidents, left_out, by)


def restated(
    subject: Subject, period: Counters, cumulative: Counters, found: Iterable[Incident], left_out: int, by: Mapping[str, str]
) -> dict[str, Any]:
    """The part of a predicate that a correction says anew: the amounts, what is due by now, and who says it.

    `left_out`: how many entries were left out of the predicate before (a count).
    """
    owed = credit(subject.price, cumulative.gpu_seconds.get(Class.SHORTFALL, 0))
    told, more = _listed(dump_incidents(found, subject.lot_gpus), INCIDENT_BYTES)
    return {
        "contract": {
            "contractId": subject.contract_id,
            "uid": subject.uid,
            "termsDigest": subject.terms_digest,
            "productDigest": subject.product_digest,
            "healthPolicyDigest": subject.policy_digest,
            "due": {"start": format_time(subject.start), "end": format_time(subject.end)},
        },
        "operator": dict(by),
        "quantities": _quantities(period),
        "cumulative": _quantities(cumulative),
        "incidents": told,
        **({"leftOut": left_out + more} if left_out + more else {}),
        **({"credit": owed} if owed is not None else {}),
    }


def _listed(entries: Sequence[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], int]:
    """The first ones, as many as have room in so many bytes, and how many have none."""
    sizes = accumulate(len(rfc8785.dumps(entry)) + 1 for entry in entries)
    kept = [entry for entry, size in zip(entries, sizes, strict=True) if size <= most]
    return kept, len(entries) - len(kept)


def statement(subject: Subject, said: Mapping[str, Any], sequence: int, previous: str) -> dict[str, Any]:
    """The predicate at its place in the chain: `previous` is the digest of the receipt before, "" for the first."""
    place = {"sequence": sequence} | ({"previousReceiptDigest": previous} if previous else {})
    name = {"name": subject.contract_id, "digest": {"sha256": subject.terms_digest.removeprefix("sha256:")}}
    return {"_type": STATEMENT, "subject": [name], "predicateType": PREDICATE, "predicate": {**said, **place}}


def _quantities(counters: Counters) -> dict[str, int]:
    return {"estimatedGpuSeconds": 0, **dump_quantities(counters)}


def sealed(made: Mapping[str, Any], signer: Signer) -> tuple[dict[str, Any], str]:
    """The DSSE envelope of a statement, and the digest of its payload."""
    payload = rfc8785.dumps(dict(made))
    signature = {"keyid": signer.key_id, "sig": base64.b64encode(signer.sign(pae(PAYLOAD_TYPE, payload))).decode()}
    envelope = {"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(payload).decode(), "signatures": [signature]}
    return envelope, digest(payload)
