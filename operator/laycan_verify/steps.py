"""Who said what, and at which place of which history: the steps that need no arithmetic (evidence.md 6).

Each yields what it checked, and what it could not; what does not hold is `RefusedError`.
"""

import re
from collections.abc import Iterator, Sequence

from laycan_verify.bundle import Bundle
from laycan_verify.classes import DAY_SECONDS
from laycan_verify.forms import ENVELOPE
from laycan_verify.merkle import extends, includes, leaf_hash
from laycan_verify.notes import LOG, WITNESS, Checkpoint, by, cosigned_at, signed
from laycan_verify.strict import canonical, clock, digest, need, parse, read
from laycan_verify.trust import Trust, signer, valid

Findings = Iterator[str]
NOT = "not checked: "


def signatures(bundle: Bundle, trust: Trust) -> Findings:
    """Every receipt is signed by a key that was valid when it was first witnessed, or without witnesses when its period ended."""
    unseen = 0
    for receipt in bundle.receipts:
        key, name = signer(receipt.envelope, trust.keys, "receipts", receipt.name), receipt.name
        seen = trust.seen(bundle.heads, receipt.checkpoint.origin, receipt.index)
        unseen += seen is None
        valid(key, receipt.period[1] if seen is None else seen, name)
        need(receipt.envelope["payloadType"] == "application/vnd.in-toto+json", f"{name}: payloadType is not that of a statement")
        need(receipt.says["operator"]["id"] == trust.operator, f"{name}: operator.id is not {trust.operator!r}")
        need(receipt.says["operator"]["keyId"] == key["keyId"], f"{name}: operator.keyId is not that of the signature")
    yield f"{bundle.name}: {len(bundle.receipts)} receipts are signed by {trust.operator!r}"
    if unseen:
        yield f"{NOT}{bundle.name}: when {unseen} receipts were signed: nobody cosigned, so it counts as when their periods ended"


def digests(bundle: Bundle, trust: Trust) -> Findings:
    """The receipts are of these terms, this promise and this health policy."""
    _, contract_id, uid = bundle.contract
    terms, product = bundle.fields["terms"], bundle.fields["product"]
    mine = {f"{part}Digest": digest(canonical(bundle.raw[part], f"{bundle.name}: {part}")) for part in ("terms", "product", "healthPolicy")}
    need(terms["contractId"] == contract_id, f"{bundle.name}: terms.contractId is not contract.contractId")
    need(product["name"] == terms["productRef"]["name"], f"{bundle.name}: product.name is not terms.productRef.name")
    agreed = terms["productRef"].get("digest", mine["productDigest"])
    need(agreed == mine["productDigest"], f"{bundle.name}: product has not the digest terms.productRef.digest")
    for receipt in bundle.receipts:
        for field, value in {"contractId": contract_id, "uid": uid, **mine}.items():
            need(receipt.says["contract"][field] == value, f"{receipt.name}: contract.{field} is not that of the bundle, {value!r}")
        subject = [{"name": contract_id, "digest": {"sha256": mine["termsDigest"].removeprefix("sha256:")}}]
        need(receipt.statement["subject"] == subject, f"{receipt.name}: subject is not this contract with these terms")
    yield f"{bundle.name}: terms, product and health policy are those of the receipts"


def confirmation(bundle: Bundle, trust: Trust) -> Findings:
    """The exchange signed the terms, with a key that was valid when they were traded, or without that time when delivery began."""
    name, terms = f"{bundle.name}: confirmation", bundle.fields["terms"]
    if "confirmation" not in bundle.fields:
        yield f"{NOT}{name}: none was given, so that these are the traded terms is the operator's word"
        return
    envelope = read(ENVELOPE, parse(bundle.fields["confirmation"]["envelope"], name), name)
    key = signer(envelope, trust.exchanges.get(bundle.contract[0], []), "confirmations", name)
    valid(key, terms.get("tradeTime", terms["delivery"]["start"]), name)
    need(envelope["payload"] == canonical(bundle.raw["terms"], name), f"{name}: payload is not terms")
    yield f"{name}: the terms are signed by {bundle.contract[0]!r}"


def chain(bundle: Bundle, trust: Trust) -> Findings:
    """Each receipt cites the one before, and their periods tile what is due, day by day; a correction restates one of them."""
    delivery = bundle.fields["terms"]["delivery"]
    due = {"start": max(delivery["start"], bundle.receipts[0].says["contract"]["due"]["start"]), "end": delivery["end"]}
    until, previous = due["start"], None
    for sequence, receipt in enumerate(bundle.receipts, 1):
        says, (start, end), name = receipt.says, receipt.period, receipt.name
        need(says["sequence"] == sequence, f"{name}: sequence is {says['sequence']}, not {sequence}")
        need(says.get("previousReceiptDigest") == previous, f"{name}: previousReceiptDigest is not that of the receipt before")
        due, most = says["contract"]["due"], due
        need(due["start"] == most["start"] and due["end"] <= most["end"], f"{name}: contract.due goes beyond what was due before")
        need(
            start < end == min(due["end"], start - start % DAY_SECONDS + DAY_SECONDS),
            f"{name}: period.end is no end of a day or of what is due",
        )
        if "corrects" in says:
            need(0 < says["corrects"] < sequence, f"{name}: corrects is the sequence of no earlier receipt")
            need(bundle.receipts[says["corrects"] - 1].period == receipt.period, f"{name}: period is not that of the receipt it corrects")
        else:
            need(start == until, f"{name}: period.start is not {clock(until)}, where the period before ends")
            until = end
        previous = digest(receipt.envelope["payload"])
    yield f"{bundle.name}: receipts 1 to {len(bundle.receipts)} follow each other, and tile {clock(due['start'])} to {clock(until)}"
    if until < due["end"]:
        yield f"{NOT}{bundle.name}: {clock(until)} to {clock(due['end'])}: no receipt is of it"
    if (due["start"], due["end"]) != (delivery["start"], delivery["end"]):
        yield f"{NOT}{bundle.name}: why only {clock(due['start'])} to {clock(due['end'])} is due, by the operator's word"


def log(bundle: Bundle, trust: Trust) -> Findings:
    """The receipts stand in a log that only grew, under heads that the operator signed and enough witnesses cosigned."""
    exchange, contract_id, uid = bundle.contract
    heads: dict[str, Checkpoint] = {}  # origin -> the latest so far
    for place, (head, proof) in enumerate(bundle.checkpoints):
        name = f"{bundle.name}: checkpoints[{place}]"
        need(re.fullmatch(re.escape(f"{trust.operator}/{exchange}") + "(/[0-9]+)?", head.origin), f"{name}: origin is not of {exchange!r}")
        keys = [key for key in trust.keys if key["use"] == "checkpoints" and by(head, LOG, head.origin, key["publicKey"])]
        need(
            keys and all(signed(head, head.origin, key["publicKey"]) for key in keys),
            f"{name}: note is not signed by a trusted key for checkpoints",
        )
        seen = trust.seen(bundle.heads, head.origin, head.size - 1)
        valid(keys[0], bundle.receipts[-1].period[1] if seen is None else seen, name)
        for witness, public in trust.witnesses.items():
            wrong = by(head, WITNESS, witness, public) and cosigned_at(head, witness, public) is None
            need(not wrong, f"{name}: note has a wrong cosignature of {witness!r}")
        old = heads.get(head.origin)
        grown = proof is None if old is None else proof is not None and extends(old.root, old.size, head.root, head.size, proof)
        need(grown, f"{name}: consistency does not prove that the log only grew since the checkpoint before")
        heads[head.origin] = head
    index = dict.fromkeys(heads, -1)  # origin -> of the latest receipt so far
    for receipt in bundle.receipts:
        name, head = receipt.name, receipt.checkpoint
        need(index[head.origin] < receipt.index, f"{name}: index is not after that of the receipt before")
        need(receipt.event["subject"] == contract_id, f"{name}: body.subject is not {contract_id!r}")
        need(receipt.event["id"].startswith(f"{uid}/"), f"{name}: body.id is of another contract")
        at_its_place = includes(head.root, head.size, receipt.index, leaf_hash(receipt.body), receipt.proof)
        need(at_its_place, f"{name}: proof does not lead from body at index to the root of its checkpoint")
        seen = trust.seen(bundle.heads, head.origin, receipt.index)
        need(
            seen is not None or not trust.quorum,
            f"{name}: no checkpoint that holds it has {trust.quorum} cosignatures of trusted witnesses",
        )
        index[head.origin] = receipt.index
    yield f"{bundle.name}: the receipts are entries of {' and '.join(map(repr, heads))}, each cosigned by {trust.quorum} or more"
    if len(heads) > 1:
        yield f"{NOT}{bundle.name}: what a log held after its last head here, before it was begun anew"


def one_history(bundles: Sequence[Bundle], trust: Trust) -> Findings:
    """No two files show another head of one size, another entry at one place, or another receipt of one number."""
    known: dict[tuple[object, ...], tuple[bytes, str]] = {}  # what can be one thing only -> it, and in which file
    for bundle in bundles:
        heads = [((head.origin, "head of size", head.size), head.root) for head in bundle.heads]
        entries = [((receipt.checkpoint.origin, "entry", receipt.index), receipt.body) for receipt in bundle.receipts]
        numbers = [((*bundle.contract, "receipt", place), r.envelope["payload"]) for place, r in enumerate(bundle.receipts, 1)]
        for origin in {what[0] for what, _ in heads} & {what[0] for what in known} - {what[0] for what, _ in heads if what in known}:
            yield f"{NOT}{bundle.name}: whether its {origin!r} is that of the files before: no head has the size of one of theirs"
        for what, value in [*heads, *entries, *numbers]:
            other, where = known.setdefault(what, (value, bundle.name))
            need(value == other, f"{bundle.name}: {' '.join(map(str, what))} is another than in {where}: two histories")
