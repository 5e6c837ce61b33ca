"""The keys that evidence is signed with, from the Secret `laycan-evidence` in the release's namespace.

Each use has its own key: a receipt must not be forged by whoever got hold of what signs webhooks. A key is changed by putting
the new one beside it as `<use>.next.key`. The old one announces it in every log (`rotation`), then the new one signs; while both are there,
webhooks carry the signatures of both. What the Secret says now is what counts: a key that was taken out signs nothing more.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from laycan.kube.client import ApiError, Client
from laycan.ledger.keys import Signer, UnusableKeyError, signer_of

log = logging.getLogger(__name__)

SECRET = "laycan-evidence"  # noqa: S105 - a name
USES = ("receipts", "checkpoints", "webhooks")
SALT = "salt"  # base64 of 32 random bytes or more: what GPUs' commitments are salted with; it stays for ever
SALT_BYTES = 32
RETIRED = "retired"  # public halves of former keys, a JSON list in the trust file's form: old receipts are checked with them


class Rotation(NamedTuple):
    """A key takes over from another."""

    use: str
    old: Signer
    new: Signer


@dataclass(frozen=True, slots=True)
class EvidenceKeys:
    receipts: Signer
    checkpoints: Signer
    webhooks: Signer
    salt: bytes = field(repr=False)
    rotations: tuple[Rotation, ...] = ()  # under way: the Secret holds both keys

    @property
    def webhook_signers(self) -> tuple[Signer, ...]:
        """Who signs a webhook: two while one key takes over from the other, so that a receiver may change at leisure."""
        return (self.webhooks, *(each.new for each in self.rotations if each.use == "webhooks"))

    def salt_of(self, origin: str) -> bytes:
        """Of one exchange's commitments; `origin` is that of its log without the life, so it outlives a lost log."""
        return hmac.digest(self.salt, origin.encode(), "sha256")

    def in_use(self, announced: Callable[[Rotation], bool]) -> EvidenceKeys:
        """With the new keys for receipts and checkpoints in place where their announcement stands in every log."""
        taken = {each.use: each.new for each in self.rotations if each.use != "webhooks" and announced(each)}
        return replace(self, receipts=taken.get("receipts", self.receipts), checkpoints=taken.get("checkpoints", self.checkpoints))


def key_of(use: str, *, coming: bool = False) -> str:
    """The key of the Secret's data under which a signing key stands."""
    return f"{use}.next.key" if coming else f"{use}.key"


def read_keys(data: Mapping[str, bytes]) -> tuple[EvidenceKeys | None, str]:
    """The keys in a Secret's data, None where it is not whole; and what a person must put right, "" for nothing."""
    try:
        signers = {use: _signer(data, key_of(use), use) for use in USES}
        salt = _salt(data.get(SALT, b""))
        _all_different({key_of(use): signer for use, signer in signers.items()})
    except UnusableKeyError as error:
        return None, str(error)
    keys = EvidenceKeys(signers["receipts"], signers["checkpoints"], signers["webhooks"], salt)
    try:
        coming = {use: _signer(data, key_of(use, coming=True), use) for use in USES if key_of(use, coming=True) in data}
        named = {key_of(use, coming=True): signer for use, signer in coming.items()}
        _all_different({**{key_of(use): signer for use, signer in signers.items()}, **named})
    except UnusableKeyError as error:
        return keys, str(error)
    return replace(keys, rotations=tuple(Rotation(use, signers[use], new) for use, new in coming.items())), ""


def _signer(data: Mapping[str, bytes], name: str, use: str) -> Signer:
    if name not in data:
        raise UnusableKeyError(f"{name} is missing: add an Ed25519 private key under that name (`laycan keys --new` shows the form)")
    try:
        return signer_of(data[name], use)
    except UnusableKeyError as error:
        raise UnusableKeyError(f"{name} cannot sign: {error}; write the whole key again") from None


def _salt(value: bytes) -> bytes:
    try:
        salt = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        salt = b""
    if len(salt) < SALT_BYTES:
        raise UnusableKeyError(
            f"{SALT} is {'cut short or no base64' if value else 'missing'}: it is base64 of {SALT_BYTES} random bytes or more; "
            "where receipts were issued before, put back the one that they were issued with"
        )
    return salt


def _all_different(signers: Mapping[str, Signer]) -> None:
    seen: dict[bytes, str] = {}
    for name, signer in signers.items():
        if (other := seen.setdefault(signer.public_key, name)) != name:
            raise UnusableKeyError(f"{other} and {name} are the same key: each needs its own")


class Keyring:
    """The Secret as it was at the last `look`. Without keys `trouble` says why, and how to mend it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.keys: EvidenceKeys | None = None
        self.trouble = "the Secret was not read yet"
        self._client, self._namespace = client, namespace
        self._version = ""

    async def look(self) -> bool:
        """Reads it again; whether anything changed. While the API server is away what was read last stays."""
        where = f"Secret {self._namespace}/{SECRET}"
        try:
            secret = await self._client.get(f"/api/v1/namespaces/{self._namespace}/secrets/{SECRET}")
        except ApiError as error:
            return self._refused(where, error)
        version = secret["metadata"].get("resourceVersion", "")
        if version and version == self._version:
            return False
        self._version = version
        keys, trouble = read_keys(decoded(secret))
        return self._take(keys, trouble and f"{where}: {trouble}")

    def _refused(self, where: str, error: ApiError) -> bool:
        if error.status not in (403, 404):
            log.warning("%s cannot be read now: %s", where, error)
            return False
        self._version = ""
        make = f"`laycan keys --new --namespace {self._namespace} | kubectl create -f -`"
        found = f"{where} is not there; {make} makes one" if error.status == 404 else f"{where} may not be read: {error.message}"
        return self._take(None, found)

    def _take(self, keys: EvidenceKeys | None, trouble: str) -> bool:
        changed = (keys, trouble) != (self.keys, self.trouble)
        if trouble and trouble != self.trouble:
            log.error("%s%s", "" if keys else "no receipts are issued, and webhooks are signed by HMAC only: ", trouble)
        elif keys and not self.keys:
            log.info("receipts are signed by %s, checkpoints by %s", keys.receipts.key_id, keys.checkpoints.key_id)
        self.keys, self.trouble = keys, trouble
        return changed


def decoded(secret: Mapping[str, object]) -> dict[str, bytes]:
    """A Secret's data; what is no base64 reads as empty."""
    data = secret.get("data")
    found = {}
    for key, value in (data if isinstance(data, Mapping) else {}).items():
        try:
            found[str(key)] = base64.b64decode(str(value), validate=True)
        except binascii.Error:
            found[str(key)] = b""
    return found
