"""Whether an act is the exchange's: a DSSE envelope over its bytes, by a key that the ExchangeEndpoint trusts.

Rights in the API server are not enough to act on a contract whose exchange signs: a missing endpoint, or one whose keys were taken
away, makes instructions wait or fail, and never makes unsigned ones valid. A key must be valid at the act's effective time and must not
have been revoked when the API server stored the instruction: whoever stole a key may write any effective time.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from laycan.control.objection import Objection, refuse, wait
from laycan.kube.instruction_views import InstructionView
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.exchange import TrustedKey
from laycan.resources.instruction import PAYLOAD_TYPE
from laycan.resources.times import format_time, parse_time
from laycan.resources.validate import endpoint_spec
from laycan_verify.dsse import pae, verifies

Keys = Sequence[TrustedKey]


def trusted_keys(contract: ContractView, world: World) -> Keys | Objection:
    """Of the contract's exchange; none where it does not sign, or the contract has no exchange."""
    if not contract.exchange:
        return ()
    endpoint, name = world.endpoints.get(contract.exchange), contract.exchange.partition("/")[2]
    if endpoint is None:
        return wait("UnknownExchange", f"namespace {contract.namespace} has no ExchangeEndpoint {name}, which says whose keys to trust")
    read = endpoint_spec(endpoint.get("spec"))
    if isinstance(read, list):
        return wait("UnknownExchange", f"ExchangeEndpoint {name} cannot be read: {read[0]}")
    return read.trusted_keys or ()


def signs(contract: ContractView, world: World) -> bool:
    """Whether the contract's exchange signs what it instructs."""
    keys = trusted_keys(contract, world)
    return bool(keys) and not isinstance(keys, Objection)


def signature_objection(view: InstructionView, keys: Keys, must: bool) -> Objection | None:
    """None where the act is signed as it must be. `must`: this contract's exchange signs, whatever keys there are now."""
    if not keys and not must:
        return None
    if not view.envelope:
        return refuse("Unsigned", "spec.envelope: is missing; the exchange of this contract signs its instructions")
    try:
        payload, kind, signatures = _opened(view.envelope)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return refuse("BadSignature", "spec.envelope: is no base64 of a DSSE envelope {payload, payloadType, signatures: [{keyid, sig}]}")
    if kind != PAYLOAD_TYPE:
        return refuse("BadSignature", f"spec.envelope: payloadType must be {PAYLOAD_TYPE}, not {kind[:100]!r}")
    if payload != view.signed:
        return refuse("BadSignature", "spec.envelope: signs another act; the payload must be the RFC 8785 bytes of spec.act")
    return _signed_by(view, keys, pae(kind, payload), signatures)


def _opened(envelope: str) -> tuple[bytes, str, list[tuple[str, bytes]]]:
    """(payload, its type, [(keyid, signature)]); raises what reading raises."""
    raw: Any = orjson.loads(base64.b64decode(envelope, validate=True))
    signatures = [(str(each["keyid"]), base64.b64decode(each["sig"], validate=True)) for each in raw["signatures"][:16]]
    return base64.b64decode(raw["payload"], validate=True), str(raw["payloadType"]), signatures


def _signed_by(view: InstructionView, keys: Keys, message: bytes, signatures: list[tuple[str, bytes]]) -> Objection | None:
    known = {key.key_id: key for key in keys}
    named = [(known[key_id], signature) for key_id, signature in signatures if key_id in known]
    if not named:
        shown, trusted = ", ".join(repr(key_id[:64]) for key_id, _ in signatures) or "nobody", ", ".join(sorted(known)) or "no key"
        return refuse("UntrustedKey", f"spec.envelope: is signed by {shown}; the ExchangeEndpoint trusts {trusted}")
    right = [key for key, signature in named if verifies(base64.b64decode(key.public_key), signature, message)]
    if not right:
        return refuse("BadSignature", f"spec.envelope: the signature is not one of {named[0][0].key_id} over this act")
    if not any(_valid(key, view) for key in right):
        text = f"key {right[0].key_id} was not valid at {format_time(view.effective)}, or was revoked when the instruction came"
        return refuse("UntrustedKey", f"spec.envelope: {text}")
    return None


def _valid(key: TrustedKey, view: InstructionView) -> bool:
    if key.valid_from is not None and view.effective < parse_time(key.valid_from):
        return False
    return key.revoked_at is None or max(view.effective, view.created) < parse_time(key.revoked_at)
