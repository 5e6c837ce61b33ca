"""From a contract's days to a file that a stranger verifies: accepted as it is, refused after any change."""

from __future__ import annotations

import base64
import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan.events.evidence_keys import EvidenceKeys
from laycan.events.trust_file import trust_file
from laycan.evidence.bundle import NoEvidenceError, bundle
from laycan.ledger.log import Entry
from laycan.ledger.sqlite import create_log
from laycan_verify.cli import verify
from laycan_verify.dsse import pae
from tests.laycan.control.desk import T0
from tests.laycan.events.test_evidence_keys import raw_key, whole
from tests.laycan.evidence.story import DAY, OPERATOR, WITNESS_KEY, WITNESS_NAME, Told, checkpoint, deliver, objects, story

KEYS = whole()
ENDPOINT: dict[str, Any] = {"metadata": {"namespace": "desk", "name": "gcx"}, "spec": {}}


def trust(keys: EvidenceKeys = KEYS, *retired: dict[str, str], witnessed: bool = True) -> bytes:
    made = trust_file(OPERATOR, keys, retired, [ENDPOINT])
    public = base64.b64encode(WITNESS_KEY.public_key().public_bytes_raw()).decode()
    made["witnesses"] = [{"name": WITNESS_NAME, "publicKey": public}] if witnessed else []
    return json.dumps(made).encode()


def delivered(root: Path, **more: Any) -> Told:
    """Two days and an hour, a checkpoint after each receipt, cosigned ten minutes later."""
    made = story(root, **more)
    for start, end in ((T0, T0 + DAY + 900), (T0 + DAY + 1800, T0 + 2 * DAY + 900), (T0 + 2 * DAY + 1800, made.end + 900)):
        deliver(made, start, end)
        checkpoint(made.log, KEYS, end + 600)
    return made


@pytest.fixture(scope="module")
def whole_story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = delivered(tmp_path_factory.mktemp("logs"))
    exported = bundle([made.log], "desk/gcx", *objects(made))
    assert exported.notes == []
    return exported.document


def said(document: Any, **more: Any) -> tuple[int, list[str]]:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return verify({"c1.json": data}, more.pop("trust", trust()), **more)


class TestWhole:
    def test_accepted(self, whole_story: dict[str, Any]) -> None:
        """The verifier accepts it offline, with readings for every period and one cosignature for every receipt."""
        code, lines = said(whole_story, quorum=1, all_readings=True)
        assert code == 0, lines
        assert len(whole_story["receipts"]) == 3
        unchecked = [line for line in lines if line.startswith("not checked")]
        assert len(unchecked) == 2
        assert "the terms cite no digest of it" in unchecked[0]
        assert "confirmation" in unchecked[1]

    def test_one_flipped_byte(self, whole_story: dict[str, Any]) -> None:
        """Two hundred flips of one bit anywhere in the file: each is refused, but for those that leave the same document."""
        data = json.dumps(whole_story).encode()
        dice, refused = random.Random(7), 0
        for _ in range(200):
            place = dice.randrange(len(data))
            flipped = data[:place] + bytes([data[place] ^ 1 << dice.randrange(7)]) + data[place + 1 :]
            code, lines = said(flipped, quorum=1, all_readings=True)
            refused += code != 0
            assert code != 0 or _same(flipped, whole_story), (place, lines)
        assert refused > 190

    @pytest.mark.parametrize("number", range(3))
    def test_one_receipt_withheld(self, whole_story: dict[str, Any], number: int) -> None:
        """Without one of them the chain does not hold; only that the last one was ever issued cannot be known."""
        document = deepcopy(whole_story)
        del document["receipts"][number]
        code, lines = said(document)
        assert code == 3 or (number == 2 and code), lines  # of the last one the readings are left over

    def test_not_at_home(self, whole_story: dict[str, Any]) -> None:
        """With the keys of another operator nothing holds."""
        assert said(whole_story, trust=trust(whole(receipts_key=raw_key(20))))[0] == 2


def _same(data: bytes, document: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(data) == document)
    except ValueError:
        return False


class TestParts:
    def test_without_an_exchange(self, tmp_path: Path) -> None:
        """A contract without an exchange is as provable, from the local log."""
        made = delivered(tmp_path, exchange=False)
        document = bundle([made.log], "local", *objects(made)).document
        assert said(document)[0] == 0

    def test_without_readings(self, tmp_path: Path) -> None:
        """On wish readings stay at home; then the amounts are the operator's word, and the verifier says so."""
        made = delivered(tmp_path)
        document = bundle([made.log], "desk/gcx", *objects(made), with_readings=False).document
        assert "readings" not in document
        assert said(document)[0] == 0
        assert said(document, all_readings=True)[0] == 7

    def test_strangers_between(self, tmp_path: Path) -> None:
        """Entries of others stand between; none of them is in the file, and the proofs hold."""
        made = story(tmp_path)
        for day in range(3):
            made.log.append([Entry(f"other/{day}-{n}", f"secret {day} {n}".encode()) for n in range(7)])
            deliver(made, T0 + day * DAY, min(T0 + (day + 1) * DAY + 900, made.end + 900))
            checkpoint(made.log, KEYS, T0 + (day + 1) * DAY + 900)
        document = bundle([made.log], "desk/gcx", *objects(made)).document
        assert "secret" not in json.dumps(document)
        assert said(document)[0] == 0

    def test_no_cosignature(self, tmp_path: Path) -> None:
        """Where nobody cosigned, the first checkpoint over a receipt proves it, and it is said whose word that is."""
        made = story(tmp_path)
        deliver(made, T0, made.end + 900)
        checkpoint(made.log, KEYS)
        document, notes = bundle([made.log], "desk/gcx", *objects(made))
        assert "the operator's word" in notes[0]
        assert said(document, trust=trust(witnessed=False))[0] == 0
        assert said(document)[0] == 4

    def test_checkpoint_not_there_yet(self, tmp_path: Path) -> None:
        """Receipts that no checkpoint covers are left out and told; where there is none at all, one waits."""
        made = story(tmp_path)
        deliver(made, T0, T0 + DAY + 900)
        with pytest.raises(NoEvidenceError, match=r"1 receipts .* try again"):
            bundle([made.log], "desk/gcx", *objects(made))
        checkpoint(made.log, KEYS, T0 + DAY + 1000)
        deliver(made, T0 + DAY + 1800, made.end + 900)
        document, notes = bundle([made.log], "desk/gcx", *objects(made))
        assert notes == ["2 receipts are left out: no checkpoint is over them yet"]
        assert said(document)[0] == 0

    def test_readings_lost(self, tmp_path: Path) -> None:
        """Readings that a log lost are told; the rest holds."""
        made = delivered(tmp_path)
        made.log._database.rows("DELETE FROM reading WHERE root = (SELECT min(root) FROM reading)")
        document, notes = bundle([made.log], "desk/gcx", *objects(made))
        assert notes == ["the readings of 1 receipts are not in the log"]
        assert said(document)[0] == 0
        assert said(document, all_readings=True)[0] == 7


class TestConfirmation:
    """The exchange's signature over the terms."""

    EXCHANGE = Ed25519PrivateKey.from_private_bytes(raw_key(60))

    def confirmed(self, root: Path, terms: bytes | None = None) -> tuple[dict[str, Any], bytes]:
        """A bundle with a confirmation of its terms, or of others, and the trust file of an endpoint that trusts the key."""
        made = delivered(root)
        contract, product = (deepcopy(each) for each in objects(made))
        payload, kind = terms or rfc8785.dumps(contract["spec"]["terms"]), "application/vnd.laycan.terms+json"
        signature = {"keyid": "gcx-1", "sig": base64.b64encode(self.EXCHANGE.sign(pae(kind, payload))).decode()}
        envelope = {"payloadType": kind, "payload": base64.b64encode(payload).decode(), "signatures": [signature]}
        contract["spec"]["confirmation"] = {"envelope": base64.b64encode(json.dumps(envelope).encode()).decode()}
        public = base64.b64encode(self.EXCHANGE.public_key().public_bytes_raw()).decode()
        trusting = {"metadata": {"namespace": "desk", "name": "gcx"}, "spec": {"trustedKeys": [{"keyId": "gcx-1", "publicKey": public}]}}
        trusted = trust_file(OPERATOR, KEYS, (), [trusting])
        trusted["witnesses"] = json.loads(trust())["witnesses"]
        return bundle([made.log], "desk/gcx", contract, product).document, json.dumps(trusted).encode()

    def test_its_own(self, tmp_path: Path) -> None:
        """It goes with the bundle, and the verifier finds the exchange's key in the trust file: only the product is not pinned."""
        document, trusted = self.confirmed(tmp_path)
        code, lines = said(document, trust=trusted)
        assert code == 0, lines
        assert ["the terms cite no digest of it" in line for line in lines if line.startswith("not checked")] == [True]

    def test_another_s(self, tmp_path: Path) -> None:
        """A confirmation of other terms is refused."""
        document, trusted = self.confirmed(tmp_path, b'{"contractId":"GCX-2"}')
        assert said(document, trust=trusted)[0] == 2


class TestLives:
    def test_a_log_that_was_moved_away(self, tmp_path: Path) -> None:
        """Half of the receipts stand in the first life of the log, half in the second: both files together prove all of them."""
        made = story(tmp_path)
        deliver(made, T0, T0 + DAY + 900)
        checkpoint(made.log, KEYS, T0 + DAY + 1000)
        first, made.log = made.log, create_log(tmp_path / "second.sqlite", f"{OPERATOR}/desk/gcx/2", [Entry("log/1", b"{}")])
        deliver(made, T0 + DAY + 1800, made.end + 900)
        checkpoint(made.log, KEYS, made.end + 1000)
        document = bundle([first, made.log], "desk/gcx", *objects(made)).document
        code, lines = said(document, quorum=1, all_readings=True)
        assert code == 0, lines
        assert said(bundle([made.log], "desk/gcx", *objects(made)).document)[0] == 3

    def test_a_key_that_took_over(self, tmp_path: Path) -> None:
        """Receipts before and after a rotation are one chain; the trust file needs both keys."""
        made = story(tmp_path)
        rotating = whole(receipts_next_key=raw_key(9))
        new = rotating.in_use(lambda each: True)
        deliver(made, T0, T0 + DAY + 900)
        assert made.seal is not None
        made.seal = type(made.seal)(new.receipts, OPERATOR, made.seal.software_digest, made.seal.salt)
        deliver(made, T0 + DAY + 1800, made.end + 900)
        checkpoint(made.log, KEYS, made.end + 1000)
        document = bundle([made.log], "desk/gcx", *objects(made)).document
        assert said(document, trust=trust(rotating))[0] == 0
        assert said(document)[0] == 2
        after = whole(receipts_key=raw_key(9))
        old = {"keyId": KEYS.receipts.key_id, "use": "receipts", "publicKey": base64.b64encode(KEYS.receipts.public_key).decode()}
        assert said(document, trust=trust(after, old))[0] == 0
        stolen = {**old, "revokedAt": "2027-01-05T00:00:00Z"}  # before its first receipt was witnessed
        assert said(document, trust=trust(after, stolen))[0] == 2


class TestObjects:
    """What does not belong to the receipts is refused before an auditor sees it."""

    def first_day(self, root: Path) -> Told:
        made = story(root, health={"version": "2", "fatalXids": [79]})
        deliver(made, T0, T0 + DAY + 900)
        checkpoint(made.log, KEYS)
        return made

    @pytest.mark.parametrize("part", ["terms", "promise", "health"])
    def test_another_one(self, tmp_path: Path, part: str) -> None:
        """Terms, promise or health policy that are not those of the receipts: one sentence says which."""
        made = self.first_day(tmp_path)
        contract, product = (deepcopy(each) for each in objects(made))
        if part == "terms":
            contract["spec"]["terms"]["delivery"]["gpus"] = 8
        elif part == "promise":
            product["spec"]["nodeGpus"] = 4
        else:
            contract["status"].pop("healthPolicy")  # accepted before it was pinned there
            product["spec"]["health"] = {"version": "3"}
        with pytest.raises(NoEvidenceError, match="terms" if part == "terms" else "h100"):
            bundle([made.log], "desk/gcx", contract, product)

    def test_a_policy_that_the_product_has_changed(self, tmp_path: Path) -> None:
        """The policy that the contract pinned is exported where the product has another by now."""
        made = self.first_day(tmp_path)
        contract, product = (deepcopy(each) for each in objects(made))
        pinned = bundle([made.log], "desk/gcx", contract, product).document["healthPolicy"]
        contract["status"]["healthPolicy"] = pinned
        product["spec"]["health"] = {"version": "3"}
        assert bundle([made.log], "desk/gcx", contract, product).document["healthPolicy"] == pinned

    def test_nothing_issued(self, tmp_path: Path) -> None:
        """A contract without receipts has no evidence, and the words name the log."""
        made = story(tmp_path)
        with pytest.raises(NoEvidenceError, match="op/desk/gcx hold 0 receipts"):
            bundle([made.log], "desk/gcx", *objects(made))
