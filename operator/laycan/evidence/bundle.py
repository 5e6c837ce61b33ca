"""The evidence of one contract in one document, for whoever is to check it without us: `laycan_verify` reads nothing else.

The receipts come from the log, each proven under the first checkpoint that a witness cosigned with it in it; terms, product and health
policy from the API. What would not match the receipts is refused here: an auditor would only find that it is the wrong one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from laycan.events.cloudevents import event_type
from laycan.kube.sound import text_at
from laycan.ledger.log import Checkpoint, Log, Logged
from laycan.resources.digest import PROMISE_FIELDS, digest
from laycan.resources.verdict import resolved

Json = Mapping[str, Any]
RECEIPT = event_type("receipt.issued")


class NoEvidenceError(Exception):
    """There is nothing to export, or what was given does not belong together; the message says what to do."""


class Exported(NamedTuple):
    document: dict[str, Any]
    notes: list[str]  # what an auditor will miss in it


def bundle(
    log: Log,
    exchange: str,
    contract: Json,
    product: Json,
    *,
    with_readings: bool = True,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """`exchange` is the endpoint's key, or `local`; contract and product are API objects. Raises NoEvidenceError, LedgerError."""
    issued = [entry for entry in log.entries_of(f"{contract['metadata']['uid']}/") if orjson.loads(entry.body)["type"] == RECEIPT]
    covered = [(entry, log.checkpoint_covering(entry.index)) for entry in issued]
    proven = [(entry, checkpoint) for entry, checkpoint in covered if checkpoint is not None]
    if not proven:
        raise NoEvidenceError(
            f"the log {log.origin} has {len(issued)} receipts of this contract"
            + (", and no checkpoint over them yet: one is made each minute; try again" if issued else "")
        )
    said = [_predicate(entry) for entry, _ in proven]
    checkpoints = {checkpoint.size: checkpoint for _, checkpoint in proven}
    places = {size: place for place, size in enumerate(sorted(checkpoints))}
    receipts = []
    for done, (entry, checkpoint) in enumerate(proven, 1):
        receipts.append(_receipt(log, entry, checkpoint, places[checkpoint.size]))
        progress(done, len(proven))
    spec = contract["spec"]
    document = {
        "version": 1,
        "contract": {"contractId": spec["terms"]["contractId"], "uid": contract["metadata"]["uid"], "exchange": exchange},
        **_agreed(contract, product, said[-1]["contract"]),
        **({"confirmation": dict(spec["confirmation"])} if spec.get("confirmation") else {}),
        "receipts": receipts,
        "checkpoints": _chained(log, [checkpoints[size] for size in places]),
    }
    notes = [f"{len(issued) - len(proven)} receipts are left out: no checkpoint is over them yet"] if len(proven) < len(issued) else []
    if not all(checkpoint.cosigned for _, checkpoint in proven):
        notes.append("some receipts stand under no cosigned checkpoint: that nothing was changed later is the operator's word for them")
    if with_readings:
        document["readings"], lost = _readings(log, said)
        notes += [f"the log holds no readings of {lost} receipts"] if lost else []
    return Exported(document, notes)


def _receipt(log: Log, entry: Logged, checkpoint: Checkpoint, place: int) -> dict[str, Any]:
    return {
        "index": entry.index,
        "body": entry.body.decode(),
        "proof": _texts(log.inclusion(entry.index, checkpoint.size)),
        "checkpoint": place,
    }


def _chained(log: Log, checkpoints: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    """By size, each with the proof that it extends the one before."""
    first = {"note": checkpoints[0].note}
    return [first, *({"note": b.note, "consistency": _texts(log.consistency(a.size, b.size))} for a, b in pairwise(checkpoints))]


def _agreed(contract: Json, product: Json, pinned: Json) -> dict[str, Any]:
    """Terms, promise and health policy, which must be those of the receipts."""
    terms, spec = contract["spec"]["terms"], product["spec"]
    name = product["metadata"]["name"]
    promise = {"name": name, "promise": {field: spec[field] for field in PROMISE_FIELDS if field in spec}}
    policies = [resolved(given) for given in ((contract.get("status") or {}).get("healthPolicy"), spec.get("health"))]
    policy = next((policy for policy in policies if digest(policy) == pinned["healthPolicyDigest"]), None)
    if digest(terms) != pinned["termsDigest"]:
        raise NoEvidenceError("the contract's terms are not those of its receipts: give the object that they were issued for")
    if digest(promise) != pinned["productDigest"]:
        raise NoEvidenceError(f"the product {name} does not promise what the receipts say: give it as it was then, with --objects")
    if policy is None:
        raise NoEvidenceError(f"the health policy of {name} is not that of the receipts: give the product as it was then, with --objects")
    return {"terms": terms, "product": promise, "healthPolicy": policy}


def _readings(log: Log, said: Sequence[Json]) -> tuple[dict[str, Any], int]:
    """By their root; and how many receipts' are not there."""
    roots = [each["meter"]["rootSha256"] for each in said]
    found = {root: log.readings(bytes.fromhex(root)) for root in dict.fromkeys(roots)}
    lines = {root: [orjson.loads(line) for line in given] for root, given in found.items() if given is not None}
    empty = {each["meter"]["rootSha256"] for each in said if not each["meter"]["readings"]}
    return lines, sum(root not in lines and root not in empty for root in roots)


def _predicate(entry: Logged) -> Any:
    envelope = orjson.loads(entry.body)["data"]["change"]["envelope"]
    return orjson.loads(base64.b64decode(envelope["payload"]))["predicate"]


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


def endpoint_of(contract: Json) -> tuple[str, str]:
    """(namespace, name) of the contract's ExchangeEndpoint, "" and "" without one: whose log holds its events."""
    name = text_at(contract, "spec", "exchangeRef", "name")
    return (contract["metadata"]["namespace"], name) if name else ("", "")
