"""An operator's side of the webhooks, written from the specifications alone: it shares no code with the operator, the kit or the verifier.

RFC 8785 for what events hold is sorted JSON without white space; the tree is RFC 9162's definition, word for word.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
NOW = "2027-01-04T00:00:00Z"
DIGEST = "sha256:" + "0" * 64


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def dumps(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def key(use: str, life: int = 1) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{use} {life}".encode()).digest())


def raw(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def key_id(use: str, life: int = 1) -> str:
    return f"{use}-{life}"


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def note(origin: str, size: int, root: bytes, signer: Ed25519PrivateKey, name: str = "") -> str:
    """C2SP tlog-checkpoint in a C2SP signed-note."""
    text, name = f"{origin}\n{size}\n{b64(root)}\n", name or origin
    mark = hashlib.sha256(name.encode() + b"\n\x01" + raw(signer)).digest()[:4]
    return f"{text}\n\u2014 {name} {b64(mark + signer.sign(text.encode()))}\n"


def cosignature_time(line: str, checkpoint: str, name: str, public: bytes) -> int:
    """C2SP tlog-cosignature/v1 of a note: when, Unix seconds; raises where it is not right."""
    dash, signer, data = line.removesuffix("\n").split(" ")
    blob = base64.b64decode(data, validate=True)
    assert (dash, signer) == ("\u2014", name)
    assert blob[:4] == hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]
    at = int.from_bytes(blob[4:12], "big")
    text = checkpoint[: checkpoint.index("\n\n") + 1]
    Ed25519PublicKey.from_public_bytes(public).verify(blob[12:], f"cosignature/v1\ntime {at}\n{text}".encode())
    return at


@dataclass
class Office:
    """One exchange's log at the operator's. `lives` says with which key each use signs."""

    origin: str = "oper-1/desk/gcx"
    log: list[tuple[str, bytes]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, list[bytes]] = field(default_factory=dict)
    lives: dict[str, int] = field(default_factory=dict)

    def trust_file(self, **revoked: str) -> bytes:
        keys = [
            {"keyId": key_id(use), "use": use, "publicKey": b64(raw(key(use)))} | ({"revokedAt": revoked[use]} if use in revoked else {})
            for use in ("receipts", "checkpoints", "webhooks")
        ]
        return json.dumps({"version": 1, "operator": {"id": "oper-1", "keys": keys}, "exchanges": [], "witnesses": []}).encode()

    # --- what is said

    def say(self, uid: str, name: str = "risk.cleared", change: Any = None, **more: Any) -> int:
        """Appends the contract's next event; its index."""
        number = self.numbers[uid] = self.numbers.get(uid, 0) + 1
        event = {
            "specversion": "1.0",
            "id": f"{uid}/{number}",
            "source": "urn:laycan:8a1c",
            "subject": uid.upper(),
            "type": f"dev.laycan.{name}.v1",
            "time": NOW,
            "datacontenttype": "application/json",
            "sequence": f"{number:020d}",
            "data": {"change": change or {}, "contract": {"phase": "Accepted", "number": number}},
            **more,
        }
        return self.append(f"{uid}/{number}", dumps(event))

    def append(self, event_id: str, body: bytes) -> int:
        self.log.append((event_id, body))
        return len(self.log) - 1

    def receipt(self, uid: str, *, signer: str = "receipts", life: int | None = None, kind: str = "", **changed: Any) -> int:
        """The contract's next receipt as an event; `changed` fields of the predicate."""
        life = life or self.lives.get("receipts", 1)
        before = self.receipts.setdefault(uid, [])
        day = f"2027-01-{4 + len(before):02d}T00:00:00Z", f"2027-01-{5 + len(before):02d}T00:00:00Z"
        parts = ("contracted", "delivered", "curtailed", "buyerCaused", "excused", "shortfall", "estimated")
        amounts = {f"{part}GpuSeconds": 0 for part in parts}
        predicate = {
            "version": 1,
            "sequence": len(before) + 1,
            "contract": {
                "contractId": uid.upper(),
                "uid": uid,
                "termsDigest": DIGEST,
                "productDigest": DIGEST,
                "healthPolicyDigest": DIGEST,
                "due": {"start": "2027-01-04T00:00:00Z", "end": "2027-01-20T00:00:00Z"},
            },
            "operator": {"id": "oper-1", "keyId": key_id("receipts", life), "softwareDigest": DIGEST},
            "period": {"start": day[0], "end": day[1]},
            "quantities": amounts,
            "cumulative": amounts,
            "incidents": [],
            "substitutions": [],
            "devices": {"commitmentRoot": "0" * 64, "count": 0},
            "meter": {"kind": "agent", "readings": 0, "rootSha256": "0" * 64, "missedSamples": 0},
        }
        if before:
            predicate["previousReceiptDigest"] = digest(before[-1])
        predicate = {k: v for k, v in {**predicate, **changed}.items() if v is not None}
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": uid.upper(), "digest": {"sha256": "0" * 64}}],
            "predicateType": "https://laycan.dev/attestation/delivery-receipt/v1",
            "predicate": predicate,
        }
        payload, kind = dumps(statement), kind or "application/vnd.in-toto+json"
        before.append(payload)
        pae = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        signature = {"keyid": key_id("receipts", life), "sig": b64(key(signer, life).sign(pae))}
        return self.say(uid, "receipt.issued", {"envelope": {"payload": b64(payload), "payloadType": kind, "signatures": [signature]}})

    def rotate(self, use: str, *, signer: str = "") -> int:
        """The old key announces the new one."""
        old = self.lives.get(use, 1)
        new = raw(key(use, old + 1))
        names = {"use": use, "oldKeyId": key_id(use, old), "newKeyId": key_id(use, old + 1), "newPublicKey": b64(new)}
        data = {**names, "signature": b64(key(signer or use, old).sign(new))}
        event_id = f"key.rotated/{key_id(use, old)}/{key_id(use, old + 1)}"
        event: dict[str, Any] = {"specversion": "1.0", "id": event_id, "source": "urn:laycan:8a1c", "subject": "oper-1", "time": NOW}
        event |= {"type": "dev.laycan.key.rotated.v1", "datacontenttype": "application/json", "data": data}
        self.lives[use] = old + 1
        return self.append(event_id, dumps(event))

    def line(self, uid: str, **changed: Any) -> dict[str, Any]:
        """How a contract stands, as the daily statement says."""
        bodies = [body for event_id, body in self.log if event_id.startswith(f"{uid}/")]
        found = {"contractId": uid.upper(), "uid": uid, "phase": "Accepted", "sequence": len(bodies)}
        return found | ({"headDigest": digest(bodies[-1])} if bodies else {}) | changed

    def state(self, *parts: list[dict[str, Any]], day: str = NOW[:10], **changed: Any) -> list[int]:
        """The statement of a day, of all contracts in one part unless they are given; the indices of its parts."""
        parts = parts or ([self.line(uid) for uid in sorted(self.numbers)],)
        whole, made = digest(dumps([line for part in parts for line in part])), []
        for number, part in enumerate(parts, 1):
            data = {"lines": part, "part": number, "parts": len(parts), "digest": whole, **changed}
            event_id = f"statement/{self.origin}/{day}/{number}"
            event: dict[str, Any] = {"specversion": "1.0", "id": event_id, "source": "urn:laycan:8a1c", "subject": "desk/gcx", "time": NOW}
            made.append(
                self.append(
                    event_id, dumps(event | {"type": "dev.laycan.statement.v1", "datacontenttype": "application/json", "data": data})
                )
            )
        return made

    def replace(self, life: int, heads: dict[str, tuple[int, bytes]]) -> None:
        """The log is lost: another one begins, and says where each contract's history stood."""
        before, self.log = self.origin, []
        self.origin = f"oper-1/desk/gcx/{life}"
        said = [{"contract": uid, "sequence": n, "headDigest": digest(body)} for uid, (n, body) in heads.items()]
        change = {"origin": self.origin, "replaces": {"origin": before, "size": 1}, "heads": said, "contracts": len(said)}
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"log/{life}/1",
            "source": "urn:laycan:8a1c",
            "subject": self.origin,
            "time": NOW,
        }
        event |= {"type": "dev.laycan.log.replaced.v1", "datacontenttype": "application/json", "data": change}
        self.append(f"log/{life}/1", dumps(event))

    def head(self, size: int | None = None) -> str:
        """The log's checkpoint of that size, of all of it where none is given."""
        bodies = [body for _, body in self.log][:size]
        return note(self.origin, len(bodies), tree_hash(bodies), key("checkpoints", self.lives.get("checkpoints", 1)))

    # --- how it is sent

    def headers(self, message_id: str, body: bytes, at: int | None = None, index: int | None = None) -> dict[str, str]:
        at = int(time.time()) if at is None else at
        signed = f"{message_id}.{at}.".encode() + body
        secret = base64.b64decode(SECRET.removeprefix("whsec_"))
        public = "v1a," + b64(key("webhooks", self.lives.get("webhooks", 1)).sign(signed))
        shared = "v1," + b64(hmac.new(secret, signed, hashlib.sha256).digest())
        named = {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": f"{public} {shared}"}
        return named | ({} if index is None else {"laycan-log-index": str(index)})


class Post:
    """A connection to the exchange that is used again, and made anew after it broke."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __call__(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and reply; OSError or HTTPException where none came."""
        try:
            self._connection.request("POST", "/hooks", body, headers)
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def __enter__(self) -> Post:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def event(self, office: Office, index: int, at: int | None = None, **changed: Any) -> tuple[int, dict[str, Any]]:
        event_id, body = office.log[index]
        body, place = changed.get("body", body), changed.get("place", index)
        return self(office.headers(event_id, body, at, place) | changed.get("headers", {}), body)

    def heartbeat(self, office: Office, head: str | None = None) -> tuple[int, dict[str, Any]]:
        checkpoint = office.head() if head is None else head
        body = dumps({"checkpoint": checkpoint, "origin": checkpoint.partition("\n")[0]})
        return self(office.headers(f"checkpoint/{office.origin}/{len(office.log)}/{int(time.time())}", body), body)
