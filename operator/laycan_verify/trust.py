"""Whose keys count, for what and when: the trust file, and what the auditor asks for beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from laycan_verify.dsse import pae, verifies
from laycan_verify.notes import Checkpoint, cosigned_at
from laycan_verify.strict import FOREVER, RefusedError, UnreadableError, need

Key = Mapping[str, Any]


@dataclass(frozen=True)
class Trust:
    """`quorum` cosignatures make a checkpoint witnessed, by default one where a witness is trusted."""

    operator: str
    keys: list[Key]  # of the operator
    exchanges: dict[str, list[Key]]
    witnesses: dict[bytes, str]  # public key -> name; two exchanges may use one name
    quorum: int

    @classmethod
    def of(cls, file: Mapping[str, Any], quorum: int | None) -> "Trust":
        exchanges = {each["name"]: each["keys"] for each in file["exchanges"]}
        witnesses = {each["publicKey"]: each["name"] for each in file["witnesses"]}
        named = [[(key["use"], key["keyId"]) for key in keys] for keys in (file["operator"]["keys"], *exchanges.values())]
        if any(len(set(keys)) < len(keys) for keys in named) or len(exchanges) < len(file["exchanges"]):
            raise UnreadableError("trust file: two keys or two exchanges have the same name")
        if len(witnesses) < len(file["witnesses"]):
            raise UnreadableError("trust file: two witnesses have the same key")
        least = min(1, len(witnesses)) if quorum is None else quorum
        return cls(file["operator"]["id"], file["operator"]["keys"], exchanges, witnesses, least)

    def witnessed(self, checkpoint: Checkpoint) -> int | None:
        """When enough witnesses had seen it, Unix seconds; None where they have not."""
        times = sorted(at for key, name in self.witnesses.items() if (at := cosigned_at(checkpoint, name, key)) is not None)
        return times[max(self.quorum, 1) - 1] if len(times) >= max(self.quorum, 1) else None

    def seen(self, heads: Iterable[Checkpoint], origin: str, index: int) -> int | None:
        """When the first head that covers that entry was witnessed."""
        covering = (self.witnessed(head) for head in heads if head.origin == origin and index < head.size)
        return next((at for at in covering if at is not None), None)


def signer(envelope: Mapping[str, Any], keys: Iterable[Key], use: str, name: str) -> Key:
    """The key that signed the envelope."""
    need(len(envelope["signatures"]) == 1, f"{name}: signatures must be one")
    by, signature = envelope["signatures"][0]["keyid"], envelope["signatures"][0]["sig"]
    key = next((key for key in keys if (key["use"], key["keyId"]) == (use, by)), None)
    if key is None or not verifies(key["publicKey"], signature, pae(envelope["payloadType"], envelope["payload"])):
        raise RefusedError(f"{name}: the signature is of no key for {use} that is trusted as {by!r}")
    return key


def valid(key: Key, at: int) -> bool:
    return bool(key.get("validFrom", 0) <= at < key.get("revokedAt", FOREVER))
