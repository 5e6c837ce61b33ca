"""Each event once, in its place, and nothing missing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from examples.exchange.receiver import PATIENCE
from tests.examples.exchange.kit import Exchange
from tests.examples.exchange.office import Post, dumps


class TestOnce:
    def test_a_duplicate(self, exchange: Exchange) -> None:
        """The same event again, even hours later: acknowledged, and kept once."""
        assert [exchange.say()[0], exchange.send(1)[0], exchange.at(7200, 1)[0]] == [200, 200, 200]
        assert exchange.ids == ["c1/1", "warm-up/1"]
        assert exchange.ledger.alarms() == []

    def test_a_duplicate_that_was_changed(self, exchange: Exchange) -> None:
        """One id, other bytes: an alarm with the bytes that prove it, and the first ones stay."""
        exchange.say()
        first = exchange.office.log[1][1]
        changed = first.replace(b"Accepted", b"Rejected")
        assert exchange.send(1, body=changed)[0] == 409
        assert exchange.ledger.body("c1/1") == first
        (what,) = exchange.ledger.alarms()
        assert "other bytes" in what
        assert exchange.rows("SELECT proof, times FROM alarm") == [(changed, 1)]
        exchange.send(1, body=changed)
        assert exchange.rows("SELECT times FROM alarm") == [(2,)]

    def test_an_entry_at_another_place(self, exchange: Exchange) -> None:
        """An index belongs to one event, and an event to one index: anything else is a changed history."""
        exchange.say()
        exchange.office.say("c2")
        assert [exchange.send(1, place=7)[0], exchange.send(2, place=1)[0]] == [409, 409]
        assert len(exchange.ledger.alarms()) == 2
        assert exchange.ids == ["c1/1", "warm-up/1"]

    def test_an_older_event_that_comes_late(self, exchange: Exchange) -> None:
        """A contract stands where its highest sequence says, whatever came last."""
        one, two, three = (exchange.office.say("c1") for _ in range(3))
        for index in (one, three, two):
            assert exchange.send(index)[0] == 200
        assert json.loads(exchange.ledger.newest("c1")[1])["id"] == "c1/3"
        assert exchange.ids == ["c1/1", "c1/2", "c1/3", "warm-up/1"]


class TestMissing:
    def test_it_asks_for_what_is_missing(self, exchange: Exchange) -> None:
        """Entries that come side by side are no gap; one that stays away for a minute is asked for, once a minute, until it is here."""
        for _ in range(6):
            exchange.office.say("c1")
        assert [exchange.send(index)[1] for index in (1, 3, 4)] == [{}, {}, {}]
        assert exchange.at(PATIENCE - 2, 5)[1] == {}
        assert exchange.at(PATIENCE + 1, 5)[1] == {"have": 1}
        assert exchange.at(PATIENCE + 2, 6)[1] == {}
        assert exchange.at(2 * PATIENCE + 2, 6)[1] == {"have": 1}
        assert exchange.send(2)[1] == {}
        assert exchange.ledger.have == 6
        assert exchange.at(9 * PATIENCE, 6)[1] == {}

    def test_the_heartbeat_tells_of_it(self, exchange: Exchange) -> None:
        """Where nothing comes any more, the length of the log says that something is missing; nothing is cosigned meanwhile."""
        exchange.office.say("c1")
        status, reply = exchange.post.heartbeat(exchange.office)
        assert (status, reply) == (200, {})
        body = dumps({"checkpoint": exchange.office.head(), "origin": exchange.office.origin})
        now = time.time() + PATIENCE + 1
        headers = exchange.office.headers("checkpoint/x", body, int(now))
        assert exchange.receiver.receive(headers, body, now) == (200, {"have": 0})

    def test_what_it_refused_is_not_missing(self, exchange: Exchange) -> None:
        """It would only be sent again and again, with all that follows: the operator tries it by itself."""
        bad = exchange.office.receipt("c1", signer="stranger")
        good = exchange.office.say("c2")
        assert [exchange.send(bad)[0], exchange.send(good)[0]] == [422, 200]
        assert exchange.at(10 * PATIENCE, good) == (200, {})

    def test_after_a_restart(self, exchange: Exchange, new_exchange: Callable[..., Exchange]) -> None:
        """The first answer says where it stands, the next ones do not."""
        exchange.say()
        exchange.say()
        again = new_exchange()
        assert [again.say("c2"), again.say("c2")] == [(200, {"have": 3}), (200, {})]

    def test_a_ledger_that_was_put_back(self, exchange: Exchange, new_exchange: Callable[..., Exchange]) -> None:
        """From a backup it is short of entries: its first answer says so, and the operator sends them again."""
        backup = exchange.path.with_name("backup")
        exchange.say()
        exchange.rows(f"VACUUM INTO '{backup}'")
        for _ in range(3):
            exchange.say()
        exchange.close()
        for suffix in ("", "-wal", "-shm"):
            exchange.path.with_name(exchange.path.name + suffix).unlink(missing_ok=True)
        backup.rename(exchange.path)
        again = Exchange(exchange.path, exchange.office)
        try:
            assert again.say("c2") == (200, {"have": 1})
            assert [again.send(index)[0] for index in range(2, 6)] == [200] * 4
            assert "cosignature" in again.post.heartbeat(again.office)[1]
        finally:
            again.close()


def test_ten_thousand_events(new_exchange: Callable[..., Exchange]) -> None:
    """An exchange that was away for days catches up: every event once, nothing missing, and the whole history is cosigned."""
    made = new_exchange()
    for index in range(10_000):
        made.office.say(f"c{index % 500}")
    threads = [threading.Thread(target=tell, args=(made, range(part, 10_000, 4))) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.ledger.have == 9_999
    assert len(set(made.ids)) == len(made.ids) == 10_000
    assert json.loads(made.ledger.newest("c7")[1])["id"] == "c7/20"
    assert "cosignature" in made.post.heartbeat(made.office)[1]
    assert made.ledger.alarms() == []


def tell(made: Exchange, indices: range) -> None:
    with Post(made.server.server_port) as post:
        for index in indices:
            assert post.event(made.office, index)[0] == 200
