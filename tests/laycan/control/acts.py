"""Instructions as a desk's world holds them: made, signed, and answered as the operator answers them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan.control.draft import Draft
from laycan.control.instructions import Verdict, verdicts
from laycan.control.outcomes import instruction_status
from laycan.kube.instruction_views import instruction_view
from laycan.resources.instruction import PAYLOAD_TYPE
from laycan.resources.times import format_time
from laycan_verify.dsse import pae
from tests.laycan.control.desk import Desk

Raw = dict[str, Any]
HEAD = "the head of the chain"


def signing_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def trusted(number: int, **more: Any) -> Raw:
    """An entry of an endpoint's trustedKeys; its keyId is `key-<number>`."""
    public = base64.b64encode(signing_key(number).public_key().public_bytes_raw()).decode()
    return {"keyId": f"key-{number}", "algorithm": "Ed25519", "publicKey": public, **more}


def trust(desk: Desk, *keys: Raw) -> None:
    """The desk's exchange signs with these keys."""
    endpoint = desk.world.endpoints["desk/gcx"]
    desk.world.endpoints["desk/gcx"] = {"spec": {**endpoint["spec"], "trustedKeys": list(keys)}}


def envelope(act: Raw, number: int, *, kind: str = PAYLOAD_TYPE, key_id: str = "") -> str:
    """The exchange's DSSE envelope over an act, base64."""
    payload = rfc8785.dumps(act)
    signature = signing_key(number).sign(pae(kind, payload))
    signatures = [{"keyid": key_id or f"key-{number}", "sig": base64.b64encode(signature).decode()}]
    made = {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures}
    return base64.b64encode(json.dumps(made).encode()).decode()


def act_of(desk: Desk, action: str, effective: int, previous: str = HEAD, **payload: Any) -> Raw:
    """The act; by default it cites the last one that was applied."""
    head = desk.status.get("instructions", {}).get("headDigest", "") if previous == HEAD else previous
    act = {"contractId": "GCX-1", "action": action, "effectiveTime": format_time(effective), **payload}
    return act | ({"previousDigest": head} if head else {})


def store(desk: Desk, act: Raw, created: int, *, envelope: str = "", name: str = "", contract: str = "c1") -> str:
    """An instruction as the watch tells of it; its key."""
    number = len(desk.world.instructions)
    spec: Raw = {"contractRef": {"name": contract}, "act": act} | ({"envelope": envelope} if envelope else {})
    meta = {"namespace": "desk", "name": name or f"i{number:03}", "uid": f"uid-i{number}", "resourceVersion": "1", "generation": 1}
    view = instruction_view({"metadata": meta | {"creationTimestamp": format_time(created)}, "spec": spec})
    desk.world.put("instructions", view.key, view)
    return view.key


def instruct(
    desk: Desk, action: str, now: int, *, sign: int = 0, effective: int | None = None, previous: str = HEAD, **payload: Any
) -> str:
    """The exchange does this now, signed with the key of that number (0: unsigned); the instruction's key."""
    act = act_of(desk, action, now if effective is None else effective, previous, **payload)
    return store(desk, act, now, envelope=envelope(act, sign) if sign else "")


def done(desk: Desk, action: str, now: int, **more: Any) -> str:
    """The same, and what the operator makes of it at once."""
    key = instruct(desk, action, now, **more)
    desk.at(now)
    return answer(desk, now)[key]


def judged(desk: Desk, now: int) -> Mapping[str, Verdict]:
    return verdicts(Draft.open(desk.contract, "", frozenset(), now, hurried=True), desk.world)


def answer(desk: Desk, now: int) -> dict[str, str]:
    """Writes all statuses of instructions; by key their phase, or the reason code of what was rejected or waits."""
    said = {}
    for key, verdict in judged(desk, now).items():
        view = desk.world.instructions[key]
        status = instruction_status(view, verdict)
        desk.world.put("instructions", key, replace(view, status=status, resource_version=view.resource_version + 1))
        said[key] = verdict.reason.code if verdict.reason is not None else verdict.phase
    return said
