"""The documents, field by field: trust file, bundle, event, receipt, reading. All are version 1; times are UTC, whole seconds."""

from typing import Any

from laycan_verify.classes import Class
from laycan_verify.notes import read_note
from laycan_verify.strict import between, octets, octets32, time

DIGEST, HEX, TEXT, LOTS = "sha256:[0-9a-f]{64}", "[0-9a-f]{64}", "(?s:.+)", "[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*"
CURRENCY = "[A-Z]{3}"
MEASURED = "|".join([Class.DELIVERED, Class.CURTAILED, Class.BUYER_CAUSED, Class.FORCE_MAJEURE, Class.PLANNED_OUTAGE])
count, gpus, first = between(0, 2**53 - 1), between(1, 65_536), between(1, 1)
Shape = dict[Any, Any]
PERIOD = {"start": time, "end": time}
AGREED = ("termsDigest", "productDigest", "healthPolicyDigest")

USES = "receipts|checkpoints|webhooks|confirmations|instructions"
KEY = {"keyId": TEXT, "use": USES, "publicKey": octets32, "validFrom?": time, "revokedAt?": time}
EXCHANGE, WITNESS = {"name": TEXT, "keys": [KEY]}, {"name": TEXT, "publicKey": octets32}
TRUST: Shape = {"version": first, "operator": {"id": TEXT, "keys": [KEY]}, "exchanges": [EXCHANGE], "witnesses": [WITNESS]}

ENVELOPE = {"payload": octets, "payloadType": TEXT, "signatures": [{"keyid": TEXT, "sig": octets}]}
TOLERANCE: Shape = {"graceSeconds?": count, "graceCapPpm?": count, ...: ...}
TERMS: Shape = {
    "contractId": TEXT,
    "productRef": {"name": TEXT, "digest?": DIGEST, ...: ...},
    "delivery": {**PERIOD, "gpus": gpus, "lotGpus": gpus, ...: ...},
    "tolerance?": TOLERANCE,
    "firmness?": {"class": TEXT, ...: ...},
    "tradeTime?": time,
    "price?": {"amount": r"[0-9]{1,9}(\.[0-9]{1,6})?", "currency": CURRENCY, "shortfallMultiplePpm?": count, ...: ...},
    ...: ...,
}
BUNDLE: Shape = {
    "version": first,
    "contract": {"contractId": TEXT, "uid": TEXT, "exchange": TEXT},
    "terms": TERMS,
    "product": {"name": TEXT, "promise": {"tolerance?": TOLERANCE, ...: ...}},
    "healthPolicy": dict,
    "confirmation?": {"envelope": octets},
    "receipts": [{"index": count, "body": TEXT, "proof": [octets32], "checkpoint": count}],
    "checkpoints": [{"note": read_note, "consistency?": [octets32]}],
    "readings?": {  # by their root
        ...: [{"lot": count, **PERIOD, "class": MEASURED, "estimated?": bool, "product?": TEXT, "devices?": [HEX]}]
    },
}
CHANGE: Shape = {"change": {"envelope": ENVELOPE, ...: ...}, ...: ...}
EVENT: Shape = {"type": r"dev\.laycan\.receipt\.issued\.v1", "id": TEXT, "subject": TEXT, "data": CHANGE, ...: ...}

COUNTED = {  # they add up to contractedGpuSeconds
    "deliveredGpuSeconds": [Class.DELIVERED],
    "curtailedGpuSeconds": [Class.CURTAILED],
    "buyerCausedGpuSeconds": [Class.BUYER_CAUSED],
    "excusedGpuSeconds": [Class.GRACE, Class.FORCE_MAJEURE, Class.PLANNED_OUTAGE],
    "shortfallGpuSeconds": [Class.SHORTFALL],
}
QUANTITIES = dict.fromkeys(("contractedGpuSeconds", *COUNTED, "estimatedGpuSeconds"), count)
INCIDENT = {"class": TEXT, **PERIOD, "lots": LOTS, "cause?": TEXT, "gpuSeconds": count}
PREDICATE = {
    "version": first,
    "sequence": count,
    "previousReceiptDigest?": DIGEST,
    "corrects?": count,
    "contract": {"contractId": TEXT, "uid": TEXT, "due": PERIOD, **dict.fromkeys(AGREED, DIGEST)},
    "operator": {"id": TEXT, "keyId": TEXT, "softwareDigest": DIGEST},
    "period": PERIOD,
    "quantities": QUANTITIES,
    "cumulative": QUANTITIES,
    "incidents": [INCIDENT],
    "substitutions": [{"lots": LOTS, "product": TEXT, **PERIOD}],
    "devices": {"commitmentRoot": HEX, "count": count},
    "meter": {"kind": "agent|node|mixed", "readings": count, "rootSha256": HEX, "missedSamples": count},
    "leftOut?": between(1, 2**53 - 1),  # incidents and substitutions, for want of room
    "credit?": {"amount": r"[0-9]+\.[0-9]{2}", "currency": CURRENCY},
}
STATEMENT = {
    "_type": r"https://in-toto\.io/Statement/v1",
    "subject": [{"name": TEXT, "digest": {"sha256": HEX}}],
    "predicateType": r"https://laycan\.dev/attestation/delivery-receipt/v1",
    "predicate": PREDICATE,
}
