"""Receipts and checkpoints: what is wrong in them is found when it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.examples.exchange import office
from tests.examples.exchange.kit import ME, Exchange
from tests.examples.exchange.office import Post, cosignature_time, key, note, raw, tree_hash


class TestReceipts:
    def test_a_chain(self, exchange: Exchange) -> None:
        """Each cites the one before; two contracts have two chains."""
        for uid in ("c1", "c2", "c1", "c1", "c2"):
            assert exchange.send(exchange.office.receipt(uid)) == (200, {})
        assert exchange.ledger.alarms() == []

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"signer": "stranger"}, "no key for receipts"),
            ({"signer": "webhooks"}, "no key for receipts"),
            ({"life": 2}, "no key for receipts"),
            ({"kind": "text/plain"}, "payloadType is not that of a statement"),
            ({"previousReceiptDigest": "sha256:" + "1" * 64}, "does not cite the one before"),
            ({"previousReceiptDigest": None}, "does not cite the one before"),
            ({"sequence": 1}, "is not the one that we have"),
            ({"operator": {"id": "oper-2", "keyId": "receipts-1", "softwareDigest": "sha256:" + "0" * 64}}, "names another signer"),
            ({"operator": {"id": "oper-1", "keyId": "receipts-9", "softwareDigest": "sha256:" + "0" * 64}}, "names another signer"),
        ],
        ids=str,
    )
    def test_one_that_is_wrong(self, exchange: Exchange, changed: dict[str, Any], why: str) -> None:
        """Signed by the wrong key, or at the wrong place of its chain: 422 and an alarm, and it is not kept."""
        exchange.send(exchange.office.receipt("c1"))
        status, reply = exchange.send(exchange.office.receipt("c1", **changed))
        assert (status, why in reply["error"]) == (422, True), reply
        assert len(exchange.ledger.alarms()) == 1
        assert exchange.ids == ["c1/1", "warm-up/1"]

    def test_one_of_another_contract(self, exchange: Exchange) -> None:
        """What stands in the envelope must be about the contract of the event."""
        exchange.office.receipt("c2")
        _, body = exchange.office.log[-1]
        change = json.loads(body)["data"]["change"]
        status, reply = exchange.send(exchange.office.say("c1", "receipt.issued", change))
        assert (status, reply["error"]) == (422, "receipt 1 of C1 is about another contract")

    def test_the_one_before_comes_late(self, exchange: Exchange) -> None:
        """Refused at first, it comes after its successor: then it must be the one that the successor cites."""
        one, two = exchange.office.receipt("c1"), exchange.office.receipt("c1")
        assert [exchange.send(two)[0], exchange.send(one)[0]] == [200, 200]
        exchange.office.receipts["c2"] = []
        wrong = exchange.office.receipt("c2")
        exchange.office.receipts["c2"] = [b"another first one"]
        assert [exchange.send(exchange.office.receipt("c2"))[0], exchange.send(wrong)[0]] == [200, 422]

    def test_no_canonical_form(self, exchange: Exchange) -> None:
        """A payload that could be written in two ways is none, and a field that version 1 does not know neither."""
        assert exchange.send(exchange.office.receipt("c1", sneaked="in"))[0] == 400

    def test_a_key_that_the_old_one_announces(self, exchange: Exchange, new_exchange: Callable[..., Exchange]) -> None:
        """It signs receipts from then on, after a restart too; one that a stranger announces does not."""
        exchange.send(exchange.office.receipt("c1"))
        assert exchange.send(exchange.office.rotate("receipts"))[0] == 200
        assert exchange.send(exchange.office.receipt("c1"))[0] == 200
        again = new_exchange()
        assert again.send(again.office.receipt("c1"))[0] == 200
        assert again.send(again.office.rotate("receipts", signer="stranger"))[0] == 422
        assert again.send(again.office.receipt("c1"))[0] == 422

    def test_successors_of_successors(
        self, exchange: Exchange, new_exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a restart keys are learnt in the order in which they were announced, whatever they are called."""
        names = {1: "receipts-1", 2: "receipts-z", 3: "receipts-b", 4: "receipts-a"}
        monkeypatch.setattr(office, "key_id", lambda use, life=1: names[life])
        for _ in range(3):
            assert exchange.send(exchange.office.rotate("receipts"))[0] == 200
        again = new_exchange()
        assert again.send(again.office.receipt("c1"))[0] == 200


class TestCheckpoints:
    def test_it_cosigns_what_it_has(self, exchange: Exchange) -> None:
        """At every size: the root is that of its own entries, and the cosignature is one of C2SP over the very note."""
        for size in range(1, 18):
            head = exchange.office.head()
            status, reply = exchange.post.heartbeat(exchange.office)
            assert status == 200
            at = cosignature_time(reply["cosignature"], head, ME, raw(key("witness")))
            assert abs(at - time.time()) < 60
            assert exchange.ledger.has_checkpoint(size)
            exchange.say()

    def test_an_empty_log(self, new_exchange: Callable[..., Exchange]) -> None:
        """Of nothing there is a history too."""
        made = new_exchange()
        status, reply = made.post.heartbeat(made.office)
        assert (status, set(reply)) == (200, {"cosignature", "have"})

    def fork(self, exchange: Exchange) -> str:
        """A head over other entries than those that were sent, as long as they are."""
        bodies = [body for _, body in exchange.office.log]
        bodies[1] = bodies[1].replace(b"Accepted", b"Rejected")
        return note(exchange.office.origin, len(bodies), tree_hash(bodies), key("checkpoints"))

    def test_two_histories(self, exchange: Exchange) -> None:
        """The operator has signed a head of other entries: no cosignature, and the note that proves it is kept."""
        exchange.say()
        exchange.say()
        fork = self.fork(exchange)
        status, reply = exchange.post.heartbeat(exchange.office, fork)
        assert (status, set(reply)) == (409, {"error"})
        ((what, proof),) = exchange.rows("SELECT what, proof FROM alarm")
        assert "two histories" in what
        assert json.loads(proof)["checkpoint"] == fork
        assert not exchange.ledger.has_checkpoint(3)
        assert "cosignature" in exchange.post.heartbeat(exchange.office)[1]

    def test_a_log_that_has_become_shorter(self, exchange: Exchange) -> None:
        """Consistent or not: what was cosigned is not there any more. The same head again, or late, is none of that."""
        for _ in range(5):
            exchange.say()
        old = exchange.office.head(3)
        exchange.post.heartbeat(exchange.office, exchange.office.head(2))
        exchange.post.heartbeat(exchange.office)
        assert exchange.post.heartbeat(exchange.office, old)[0] == 409
        assert exchange.ledger.alarms() == ["the checkpoint of 3 entries comes after one of 6: entries are gone"]
        assert exchange.post.heartbeat(exchange.office, exchange.office.head(2))[0] == 200
        assert exchange.post.heartbeat(exchange.office)[0] == 200

    def test_it_waits_for_what_is_on_its_way(self, new_exchange: Callable[..., Exchange]) -> None:
        """A head over entries that arrive a moment later is cosigned then: else a busy log would never be."""
        made = new_exchange(hold=10.0)
        for _ in range(3):
            made.office.say("c1")
        with ThreadPoolExecutor(1) as other, Post(made.server.server_port) as post:
            heartbeat = other.submit(post.heartbeat, made.office)
            for index in range(3):
                assert not heartbeat.done()
                assert made.send(index)[0] == 200
            assert "cosignature" in heartbeat.result()[1]

    def test_heads_that_are_not_the_operators(self, exchange: Exchange) -> None:
        """By another key, under another name, or nothing of the sort."""
        root = tree_hash([body for _, body in exchange.office.log])
        for head in (
            note(exchange.office.origin, 1, root, key("stranger")),
            note(exchange.office.origin, 1, root, key("receipts")),
            note("oper-1/desk/gcx/2", 1, root, key("checkpoints"), exchange.office.origin),
            note(exchange.office.origin, 1, root, key("checkpoints"), "oper-1/desk/other"),
        ):
            status, reply = exchange.post.heartbeat(exchange.office, head)
            assert (status, set(reply)) == (422, {"error"})
        assert exchange.post.heartbeat(exchange.office, "hello")[0] == 400
        assert exchange.ledger.longest == 0
        assert exchange.say()[0] == 200

    def test_a_head_of_another_log(self, exchange: Exchange) -> None:
        """Two endpoints lead here, or the operator has begun anew: nothing more is taken until a person has looked."""
        root = tree_hash([body for _, body in exchange.office.log])
        other = note("oper-1/desk/other", 1, root, key("checkpoints"))
        assert [exchange.post.heartbeat(exchange.office, other)[0], exchange.say()[0]] == [409, 409]


class TestReplaced:
    """The operator has lost its log."""

    def test_a_person_decides(self, exchange: Exchange, new_exchange: Callable[..., Exchange]) -> None:
        """Until somebody starts the receiver with the new name, nothing of the new log is taken; then the history goes on in it."""
        exchange.say("c1")
        one = exchange.office.log[1][1]
        exchange.office.replace(2, {"c1": (1, one), "c9": (4, b"of which we have nothing")})
        again = exchange.office.append("c1/1", one)
        status, reply = exchange.send(0)
        assert (status, "oper-1/desk/gcx/2" in reply["error"]) == (409, True)
        assert [exchange.send(again)[0], exchange.post.heartbeat(exchange.office)[0], exchange.say("c1")[0]] == [409] * 3
        accepted = new_exchange()
        assert [accepted.send(index) for index in range(3)] == [(200, {"have": 0}), (200, {}), (200, {})]
        assert "cosignature" in accepted.post.heartbeat(accepted.office)[1]
        assert accepted.ids == ["c1/1", "c1/2", "log/2/1", "warm-up/1"]

    @pytest.mark.parametrize("stood", [(1, b"other bytes"), (0, b"")])
    def test_it_says_something_else(self, exchange: Exchange, new_exchange: Callable[..., Exchange], stood: tuple[int, bytes]) -> None:
        """A new log that forgets events which we have, or says that they were others, is not taken."""
        exchange.say("c1")
        exchange.office.replace(2, {"c1": stood})
        accepted = new_exchange()
        assert accepted.send(0)[0] == 409
