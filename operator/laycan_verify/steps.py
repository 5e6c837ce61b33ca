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
SKEW_SECONDS = 300  # by which a witness's clock may be behind the operator's
NOT, IN_TOTO = "not checked: ", "application/vnd.in-toto+json"


def signatures(bundle: Bundle, trust: Trust) -> Findings:
    """Every receipt is signed by a key that was valid when it was first witnessed, or without witnesses when its period ended."""
    unseen = 0
    for receipt in bundle.receipts:
        key, operator = signer(receipt.envelope, trust.keys, "receipts", receipt.name), receipt.says["operator"]
        seen = trust.seen(bundle.heads, receipt.checkpoint.origin, receipt.index)
        unseen += seen is None
        time = receipt.period[1] if seen is None else seen
        receipt.need(valid(key, time), f"the key {key['keyId']!r} was not valid at {clock(time)}")
        receipt.need(receipt.envelope["payloadType"] == IN_TOTO, f"payloadType is not {IN_TOTO}")
        receipt.need(operator["id"] == trust.operator, f"operator.id is not {trust.operator!r}")
        receipt.need(operator["keyId"] == key["keyId"], f"operator.keyId is not that of the signature, {key['keyId']!r}")
    yield f"{bundle.name}: {len(bundle.receipts)} receipts are signed by {trust.operator!r}"
    if unseen:
        yield f"{NOT}{bundle.name}: when {unseen} receipts were signed: nobody cosigned, so it counts as when their periods ended"


def digests(bundle: Bundle, trust: Trust) -> Findings:
    """The receipts are of these terms, this promise and this health policy."""
    _, contract_id, uid = bundle.contract
    terms, product = bundle.fields["terms"], bundle.fields["product"]
    mine = {f"{part}Digest": digest(canonical(bundle.raw[part], f"{bundle.name}: {part}")) for part in ("terms", "product", "healthPolicy")}
    agreed = terms["productRef"].get("digest", mine["productDigest"])
    need(terms["contractId"] == contract_id, f"{bundle.name}: terms.contractId is not contract.contractId")
    need(product["name"] == terms["productRef"]["name"], f"{bundle.name}: product.name is not terms.productRef.name")
    need(agreed == mine["productDigest"], f"{bundle.name}: product has not the digest terms.productRef.digest")
    subject = [{"name": contract_id, "digest": {"sha256": mine["termsDigest"].removeprefix("sha256:")}}]
    for receipt in bundle.receipts:
        for field, value in {"contractId": contract_id, "uid": uid, **mine}.items():
            receipt.need(receipt.says["contract"][field] == value, f"contract.{field} is not that of the bundle, {value!r}")
        receipt.need(receipt.statement["subject"] == subject, "subject is not this contract with these terms")
    yield f"{bundle.name}: terms, product and health policy are those of the receipts"
    if "digest" not in terms["productRef"]:
        yield f"{NOT}{bundle.name}: whether {product['name']!r} promised this when it was sold: the terms cite no digest of it"


def confirmation(bundle: Bundle, trust: Trust) -> Findings:
    """The exchange signed the terms, with a key that was valid when they were traded, or without that time when delivery began."""
    name, terms = f"{bundle.name}: confirmation", bundle.fields["terms"]
    if "confirmation" not in bundle.fields:
        yield f"{NOT}{name}: none was given, so that these are the traded terms is the operator's word"
        return
    envelope = read(ENVELOPE, parse(bundle.fields["confirmation"]["envelope"], name), name)
    key = signer(envelope, trust.exchanges.get(bundle.contract[0], []), "confirmations", name)
    need(valid(key, terms.get("tradeTime", terms["delivery"]["start"])), f"{name}: the key {key['keyId']!r} was not valid at the trade")
    need(envelope["payload"] == canonical(bundle.raw["terms"], name), f"{name}: payload is not terms")
    yield f"{name}: the terms are signed by {bundle.contract[0]!r}"


def chain(bundle: Bundle, trust: Trust) -> Findings:
    """Each receipt cites the one before, and their periods tile what is due, day by day; a correction restates one of them."""
    delivery = bundle.fields["terms"]["delivery"]
    due = {"start": max(delivery["start"], bundle.receipts[0].says["contract"]["due"]["start"]), "end": delivery["end"]}
    until, previous = due["start"], None
    for sequence, receipt in enumerate(bundle.receipts, 1):
        says, (start, end) = receipt.says, receipt.period
        receipt.need(says["sequence"] == sequence, f"sequence is {says['sequence']}, not {sequence}")
        receipt.need(says.get("previousReceiptDigest") == previous, "previousReceiptDigest is not that of the receipt before")
        due, most = says["contract"]["due"], due
        receipt.need(due["start"] == most["start"] and due["end"] <= most["end"], "contract.due goes beyond what was due before")
        last = min(due["end"], start - start % DAY_SECONDS + DAY_SECONDS)
        receipt.need(start < end == last, f"period.end is not {clock(last)}, where its day or what is due ends")
        if "corrects" in says:
            receipt.need(0 < says["corrects"] < sequence, "corrects is not the sequence of an earlier receipt")
            before = bundle.receipts[says["corrects"] - 1]
            receipt.need(receipt.period == before.period, "period is not that of the receipt it corrects")
            if receipt.readings != before.readings:
                yield f"{NOT}{receipt.name}: why it rests on other readings than the receipt that it corrects"
        else:
            receipt.need(start == until, f"period.start is not {clock(until)}, where the period before ends")
            until = end
        previous = digest(receipt.envelope["payload"])
    again = len(bundle.receipts) - len(bundle.latest)
    yield f"{bundle.name}: {len(bundle.receipts)} receipts tile {clock(due['start'])} to {clock(until)}, {again} of them corrections"
    if until < due["end"]:
        yield f"{NOT}{bundle.name}: {clock(until)} to {clock(due['end'])}: no receipt is of it"
    if (due["start"], due["end"]) != (delivery["start"], delivery["end"]):
        yield f"{NOT}{bundle.name}: why only {clock(due['start'])} to {clock(due['end'])} is due, by the operator's word"


def heads(bundle: Bundle, trust: Trust) -> Findings:
    """The operator signed each head of the log, no witness's cosignature is wrong, and the log only grew."""
    latest: dict[str, Checkpoint] = {}  # origin -> head
    home = re.escape(f"{trust.operator}/{bundle.contract[0]}") + "(/[0-9]+)?"
    for place, (head, proof) in enumerate(bundle.checkpoints):
        name, old = f"{bundle.name}: checkpoints[{place}]", latest.get(head.origin)
        need(re.fullmatch(home, head.origin), f"{name}: origin is not that of the log of {bundle.contract[0]!r}")
        keys = [key for key in trust.keys if key["use"] == "checkpoints" and by(head, LOG, head.origin, key["publicKey"])]
        seen = trust.seen(bundle.heads, head.origin, head.size - 1)
        ends = [each.period[1] for each in bundle.receipts if each.checkpoint.origin == head.origin and each.index < head.size]
        time = max(ends, default=bundle.receipts[0].period[0]) if seen is None else seen
        right = any(valid(key, time) for key in keys) and all(signed(head, head.origin, key["publicKey"]) for key in keys)
        need(right, f"{name}: note is not signed by a key for checkpoints that is trusted and was valid")
        for public, witness in trust.witnesses.items():
            wrong = by(head, WITNESS, witness, public) and cosigned_at(head, witness, public) is None
            need(not wrong, f"{name}: note has a wrong cosignature of {witness!r}")
        grew = proof is None if old is None else proof is not None and extends(old.root, old.size, head.root, head.size, proof)
        need(grew, f"{name}: consistency does not prove that the log only grew since the checkpoint before")
        latest[head.origin] = head
    yield f"{bundle.name}: {' and '.join(map(repr, latest))} only grew, in {len(bundle.checkpoints)} signed heads"
    if latest.keys() - {f"{trust.operator}/{bundle.contract[0]}"}:
        yield f"{NOT}{bundle.name}: what a log held after its last head here, before it was begun anew"


def entries(bundle: Bundle, trust: Trust) -> Findings:
    """Each receipt is an entry of the log, under a head that enough witnesses cosigned when its period was over."""
    before: dict[str, int] = {}  # origin -> index
    for receipt in bundle.receipts:
        head = receipt.checkpoint
        receipt.need(before.get(head.origin, -1) < receipt.index, "index is not after that of the receipt before")
        receipt.need(receipt.event["subject"] == bundle.contract[1], f"body.subject is not {bundle.contract[1]!r}")
        receipt.need(receipt.event["id"].startswith(f"{bundle.contract[2]}/"), f"body.id is not of {bundle.contract[2]!r}")
        found = includes(head.root, head.size, receipt.index, leaf_hash(receipt.body), receipt.proof)
        receipt.need(found, "proof does not lead from body at index to the root of its checkpoint")
        seen, end = trust.seen(bundle.heads, head.origin, receipt.index), receipt.period[1]
        enough = trust.quorum == 0 or seen is not None
        receipt.need(enough, f"checkpoint: none that holds it is cosigned by {trust.quorum} of the trusted witnesses")
        receipt.need(seen is None or end <= seen + SKEW_SECONDS, f"period.end is {clock(end)}, and it was cosigned before")
        before[head.origin] = receipt.index
    yield f"{bundle.name}: {len(bundle.receipts)} receipts are entries of it, each seen by {trust.quorum} witnesses or more"


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
