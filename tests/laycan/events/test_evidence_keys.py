"""The Secret of the evidence: whole, half written, missing, put right again; and one key taking over from another."""

from __future__ import annotations

import asyncio
import base64
import hmac
from typing import Any, cast

import pytest

from laycan.events.evidence_keys import EvidenceKeys, Keyring, Rotation, decoded, read_keys
from laycan.kube.client import ApiError, Client


def raw_key(number: int) -> bytes:
    return bytes((number * 37 + 101 * i) % 256 for i in range(32))


WHOLE = {
    "receipts.key": raw_key(1),
    "checkpoints.key": raw_key(2),
    "webhooks.key": raw_key(3),
    "salt": base64.b64encode(bytes(range(32))),
}


def whole(**more: bytes) -> EvidenceKeys:
    keys, trouble = read_keys({**WHOLE, **{name.replace("_", "."): value for name, value in more.items()}})
    assert keys is not None
    assert trouble == ""
    return keys


def test_whole() -> None:
    """Three keys named by their uses, no rotation; the words for it hold no salt."""
    keys = whole()
    assert [signer.key_id.split("-")[0] for signer in (keys.receipts, keys.checkpoints, keys.webhooks)] == [
        "receipts",
        "checkpoints",
        "webhooks",
    ]
    assert keys.rotations == ()
    assert keys.webhook_signers == (keys.webhooks,)
    assert "salt" not in repr(keys)


def test_salt_of_an_exchange() -> None:
    """Each exchange has its own salt, which follows from the Secret's and the origin."""
    keys = whole()
    assert keys.salt_of("op/desk/gcx") == hmac.digest(bytes(range(32)), b"op/desk/gcx", "sha256")
    assert keys.salt_of("op/desk/gcx") != keys.salt_of("op/desk/other")


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("state", ["missing", "empty", "half"])
def test_not_whole(name: str, state: str) -> None:
    """One part that is missing or half written makes all of it unusable; the words name the part and say what to do."""
    data = dict(WHOLE)
    if state == "missing":
        del data[name]
    else:
        data[name] = b"" if state == "empty" else WHOLE[name][:15]
    keys, trouble = read_keys(data)
    assert keys is None
    assert trouble.startswith(name)
    assert any(word in trouble for word in ("add", "write", "put back"))


def test_one_key_for_two_uses() -> None:
    """A key for webhooks that is the receipts' too is refused."""
    keys, trouble = read_keys({**WHOLE, "webhooks.key": WHOLE["receipts.key"]})
    assert keys is None
    assert trouble == "receipts.key and webhooks.key are the same key: each needs its own"


class TestRotation:
    def test_waits_for_its_announcement(self) -> None:
        """The new key for receipts signs once every log announces it, not before."""
        keys = whole(receipts_next_key=raw_key(9))
        (rotation,) = keys.rotations
        assert (rotation.use, rotation.old) == ("receipts", keys.receipts)
        assert keys.in_use(lambda each: False).receipts is keys.receipts
        after = keys.in_use(lambda each: True)
        assert after.receipts is rotation.new
        assert after.checkpoints is keys.checkpoints

    def test_webhooks_carry_both(self) -> None:
        """Both keys sign webhooks while both are there, announced or not; the old one comes first."""
        keys = whole(webhooks_next_key=raw_key(9))
        assert keys.in_use(lambda each: True).webhook_signers == (keys.webhooks, keys.rotations[0].new)

    @pytest.mark.parametrize("coming", [b"", raw_key(1), raw_key(3)], ids=["empty", "the same", "another use's"])
    def test_broken_next_key(self, coming: bytes) -> None:
        """A new key that cannot be used leaves the old ones at work, and is told."""
        keys, trouble = read_keys({**WHOLE, "receipts.next.key": coming})
        assert keys is not None
        assert keys.rotations == ()
        assert "receipts.next.key" in trouble

    def test_many_at_once(self) -> None:
        """Each use rotates by itself."""
        keys = whole(receipts_next_key=raw_key(9), checkpoints_next_key=raw_key(10))

        def announced(rotation: Rotation) -> bool:
            return rotation.use == "checkpoints"

        assert keys.in_use(announced).receipts is keys.receipts
        assert keys.in_use(announced).checkpoints is not keys.checkpoints


class Server:
    """Answers with what `secret` is: an object, or a refusal."""

    def __init__(self) -> None:
        self.secret: dict[str, Any] | ApiError = ApiError(404, "NotFound", "not found")

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/laycan-system/secrets/laycan-evidence"
        if isinstance(self.secret, ApiError):
            raise self.secret
        return self.secret

    def hold(self, version: int, data: dict[str, bytes]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self.secret = {"metadata": {"resourceVersion": str(version)}, "data": encoded}


class TestKeyring:
    def look(self, ring: Keyring) -> bool:
        return asyncio.run(ring.look())

    def test_life(self, caplog: pytest.LogCaptureFixture) -> None:
        """Missing, half written, whole, taken away: each is seen at the next look and logged once, with the way out."""
        server = Server()
        ring = Keyring(cast(Client, server), "laycan-system")
        assert self.look(ring)
        assert not self.look(ring)
        assert "laycan keys --new --namespace laycan-system" in ring.trouble
        server.hold(1, {**WHOLE, "receipts.key": b""})
        assert self.look(ring)
        assert ring.trouble == "Secret laycan-system/laycan-evidence: receipts.key cannot sign: it is empty; write the whole key again"
        assert ring.keys is None
        server.hold(2, WHOLE)
        assert self.look(ring)
        assert (ring.keys is not None, ring.trouble) == (True, "")
        assert not self.look(ring)
        server.secret = ApiError(404, "NotFound", "not found")
        assert self.look(ring)
        assert ring.keys is None
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "ERROR"]

    def test_away(self) -> None:
        """While the API server is away, what was read last stays; a right that was taken away does not."""
        server = Server()
        ring = Keyring(cast(Client, server), "laycan-system")
        server.hold(1, WHOLE)
        assert self.look(ring)
        server.secret = ApiError(0, "AnswerLost", "no answer")
        assert not self.look(ring)
        assert ring.keys is not None
        server.secret = ApiError(403, "Forbidden", "no right to get secrets")
        assert self.look(ring)
        assert "no right to get secrets" in ring.trouble


def test_data_that_is_no_base64() -> None:
    """Reads as empty, which no part may be."""
    assert decoded({"data": {"salt": "%%%"}}) == {"salt": b""}
    assert decoded({}) == {}
