"""The evidence of one contract in one document, for whoever is to check it without us: `laycan_verify` reads nothing else.

The receipts come from the log, each proven under the first checkpoint that a witness cosigned with it in it; terms, product and health
policy from the API. What would not match the receipts is refused here: an auditor would only find that it is the wrong one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from laycan.kube.sound import text_at
from laycan.ledger.log import Checkpoint, Log, Logged
from laycan.resources.digest import PROMISE_FIELDS, digest
from laycan.resources.verdict import resolved

Json = Mapping[str, Any]
RECEIPT = "dev.laycan.receipt.issued.v1"  # type of the events in a log that hold one


class NoEvidenceError(Exception):
    """There is nothing to export, or what was given does not belong together; the message says what to do."""


class Exported(NamedTuple):
    document: dict[str, Any]
    notes: list[str]  # what an auditor will miss in it


class _Issued(NamedTuple):
    """A receipt in one of the logs, and the checkpoint that it is proven under."""

    life: int  # which log
    entry: Logged
    checkpoint: Checkpoint


def bundle(
    logs: Sequence[Log],
    exchange: str,
    contract: Json,
    product: Json,
    *,
    with_readings: bool = True,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """`logs` of the exchange, the oldest life first; `exchange` is the endpoint's key, or `local`; contract and product are API objects.

    Raises NoEvidenceError, LedgerError.
    """
    uid = contract["metadata"]["uid"]
    issued, bare = _issued(logs, uid)
    if not issued:
        raise NoEvidenceError(
            f"{' and '.join(log.origin for log in logs)} hold {bare} receipts of the contract with the uid {uid}"
            + (", and no checkpoint over them yet: one is made each minute; try again" if bare else "")
        )
    said = [predicate_of(each.entry.body) for each in issued]
    heads = _heads(logs, issued)
    spec = contract["spec"]
    document = {
        "version": 1,
        "contract": {"contractId": spec["terms"]["contractId"], "uid": uid, "exchange": exchange},
        **_agreed(contract, product, said[-1]["contract"]),
        **({"confirmation": dict(spec["confirmation"])} if spec.get("confirmation") else {}),
        "receipts": list(_proven(logs, issued, list(heads), progress)),
        "checkpoints": _chained(logs, heads),
    }
    notes = [f"{bare} receipts are left out: no checkpoint is over them yet"] if bare else []
    if not all(each.checkpoint.cosigned for each in issued):
        notes.append("some receipts stand under no cosigned checkpoint: that nothing was changed later is the operator's word for them")
    if with_readings:
        document["readings"], lost = _readings(logs, said)
        notes += [f"the readings of {lost} receipts are not in the log"] if lost else []
    return Exported(document, notes)


def _issued(logs: Sequence[Log], uid: str) -> tuple[list[_Issued], int]:
    """The contract's receipts in order, and how many more have no checkpoint yet. What a later life holds again counts once."""
    found, bare = dict[str, _Issued](), 0
    for life, log in enumerate(logs):
        for entry in log.entries_of(f"{uid}/"):
            if entry.id in found or orjson.loads(entry.body)["type"] != RECEIPT:
                continue
            checkpoint = log.checkpoint_covering(entry.index)
            bare += checkpoint is None
            if checkpoint is not None:
                found[entry.id] = _Issued(life, entry, checkpoint)
    return list(found.values()), bare


def _heads(logs: Sequence[Log], issued: Sequence[_Issued]) -> dict[tuple[int, int], Checkpoint]:
    """(log, size) -> checkpoint, in order; beside those that are needed each log's latest, in which bundles of one day meet."""
    heads = {(each.life, each.checkpoint.size): each.checkpoint for each in issued}
    for life in {each.life for each in issued}:
        latest = logs[life].latest_checkpoint()
        assert latest is not None, "a receipt is under one"
        heads.setdefault((life, latest.size), latest)
    return dict(sorted(heads.items()))


def _proven(
    logs: Sequence[Log], issued: Sequence[_Issued], heads: Sequence[tuple[int, int]], progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    """Each receipt with its proof, and at which place its checkpoint is."""
    places = {head: place for place, head in enumerate(heads)}
    for done, each in enumerate(issued, 1):
        yield {
            "index": each.entry.index,
            "body": each.entry.body.decode(),
            "proof": _texts(logs[each.life].inclusion(each.entry.index, each.checkpoint.size)),
            "checkpoint": places[each.life, each.checkpoint.size],
        }
        progress(done, len(issued))


def _chained(logs: Sequence[Log], heads: Mapping[tuple[int, int], Checkpoint]) -> list[dict[str, Any]]:
    """Each with the proof that it extends the one before of the same log."""
    chained, before = list[dict[str, Any]](), dict[int, int]()  # log -> size
    for (life, size), checkpoint in heads.items():
        grown = {"consistency": _texts(logs[life].consistency(before[life], size))} if life in before else {}
        chained.append({"note": checkpoint.note, **grown})
        before[life] = size
    return chained


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


def _readings(logs: Sequence[Log], said: Sequence[Json]) -> tuple[dict[str, Any], int]:
    """By their root; and how many receipts' are not there."""
    roots = [each["meter"]["rootSha256"] for each in said]
    found = {root: next(filter(None, (log.readings(bytes.fromhex(root)) for log in logs)), None) for root in dict.fromkeys(roots)}
    lines = {root: [orjson.loads(line) for line in given] for root, given in found.items() if given}
    empty = {each["meter"]["rootSha256"] for each in said if not each["meter"]["readings"]}
    return lines, sum(root not in lines and root not in empty for root in roots)


def predicate_of(body: bytes | str) -> Any:
    """What the receipt in this event says; nothing is verified."""
    envelope = orjson.loads(body)["data"]["change"]["envelope"]
    return orjson.loads(base64.b64decode(envelope["payload"]))["predicate"]


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


def endpoint_of(contract: Json) -> tuple[str, str]:
    """(namespace, name) of the contract's ExchangeEndpoint, "" and "" without one: whose log holds its events."""
    name = text_at(contract, "spec", "exchangeRef", "name")
    return (contract["metadata"]["namespace"], name) if name else ("", "")
