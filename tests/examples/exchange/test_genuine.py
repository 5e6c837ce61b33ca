"""Who is believed, over real HTTP and against a sender that was written from the specifications alone."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

from examples.exchange.keys import Keys, secrets_of
from examples.exchange.ledger import Ledger
from examples.exchange.receiver import Receiver
from tests.examples.exchange.kit import Exchange
from tests.examples.exchange.office import SECRET, Office, b64, dumps, key


class TestGenuine:
    def test_it_is_kept_before_it_is_acknowledged(self, exchange: Exchange) -> None:
        """A good event: 200, and whoever opens the file then finds its very bytes."""
        status, reply = exchange.say()
        assert (status, reply) == (200, {})
        assert exchange.rows("SELECT body FROM event WHERE id = 'c1/1'") == [(exchange.office.log[1][1],)]

    def test_the_sender_of_these_tests_is_right(self, office: Office) -> None:
        """Stock libraries verify its HMAC and parse its bodies: what the kit takes is what the specifications say."""
        for index in (office.say("c1"), office.receipt("c1"), office.rotate("receipts")):
            event_id, body = office.log[index]
            assert Webhook(SECRET).verify(body, office.headers(event_id, body)) == json.loads(body)
            event = from_http_event(HTTPMessage({"content-type": "application/cloudevents+json"}, body))
            assert event.get_id() == event_id

    def test_a_ping(self, new_exchange: Callable[..., Exchange]) -> None:
        """What an operator sends to see whether it is heard: acknowledged and forgotten, and not taken for the first event of all."""
        made = new_exchange()
        event = {"specversion": "1.0", "id": "ping/7", "source": "urn:laycan:8a1c", "subject": "desk/gcx", "type": "dev.laycan.ping"}
        body = dumps(event | {"time": "2027-01-04T00:00:00Z", "datacontenttype": "application/json", "data": {}})
        assert made.post(made.office.headers("ping/7", body), body) == (200, {})
        assert made.post(made.office.headers("ping/8", body), body)[0] == 400
        assert made.ids == []
        assert made.say() == (200, {"have": 0})

    @pytest.mark.parametrize("seconds", [-301, 302, -90_000, 10**9])
    def test_too_old_or_too_early(self, exchange: Exchange, seconds: int) -> None:
        """The signature is right, the time is not: nothing older than five minutes is taken, and nothing from the future."""
        index = exchange.office.say("c1")
        assert exchange.send(index, at=int(time.time()) + seconds)[0] == 401
        assert exchange.ids == ["warm-up/1"]
        assert exchange.send(index, at=int(time.time()) + (290 if seconds > 0 else -290))[0] == 200

    def forgeries(self, office: Office, index: int) -> Iterator[dict[str, str]]:
        """Headers of an entry that somebody else might have made, or none at all."""
        event_id, body = office.log[index]
        good = office.headers(event_id, body, index=index)
        public, shared = good["webhook-signature"].split()
        at = good["webhook-timestamp"]
        stranger = "v1a," + b64(key("stranger").sign(f"{event_id}.{at}.".encode() + body))
        other_use = "v1a," + b64(key("receipts").sign(f"{event_id}.{at}.".encode() + body))
        for signatures in (
            public, shared, "", " ", "v1a", "v1a, v1,", f"{stranger} {shared}", f"{other_use} {shared}", f"{public} v1,{b64(b'x' * 32)}",
            f"{public.replace('v1a', 'v1')} {shared.replace('v1', 'v1a')}", f"{public},{shared}", f"{public[:-6]} {shared}", "v1a,é v1,é",
        ):  # fmt: skip
            yield good | {"webhook-signature": signatures.encode().decode("latin-1")}
        yield good | {"webhook-timestamp": str(int(at) - 1)}
        yield good | {"webhook-timestamp": f"{at}.0"}
        yield good | {"webhook-timestamp": "9" * 40}
        yield good | {"webhook-id": "c1/2"}
        yield good | {"webhook-id": ""}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            yield {k: v for k, v in good.items() if k != name}

    def test_forged(self, exchange: Exchange) -> None:
        """Each signature alone, a stranger's, one of another use, one over another id, time or body: 401, and not a trace in the ledger."""
        index = exchange.office.say("c1")
        for headers in self.forgeries(exchange.office, index):
            assert exchange.post(headers, exchange.office.log[index][1])[0] == 401, headers
        assert exchange.send(index, headers=exchange.office.headers("c1/1", b"{}"))[0] == 401
        assert (exchange.ids, exchange.ledger.alarms()) == (["warm-up/1"], [])

    def test_several_signatures(self, exchange: Exchange) -> None:
        """While a key is replaced there are two of a kind, and one of them is enough."""
        index = exchange.office.say("c1")
        headers = exchange.office.headers(*exchange.office.log[index], index=index)
        headers["webhook-signature"] = f"v1a,{b64(b'0' * 64)} v1,{b64(b'1' * 32)} v2,new {headers['webhook-signature']}"
        assert exchange.post(headers, exchange.office.log[index][1])[0] == 200

    def test_a_key_that_was_revoked(self, new_exchange: Callable[..., Exchange]) -> None:
        """From `revokedAt` on its signatures are worth nothing."""
        assert new_exchange(webhooks="2020-01-01T00:00:00Z").say()[0] == 401


def test_without_a_trust_file(tmp_path: Path, office: Office) -> None:
    """An operator without evidence keys signs by HMAC only: its events are kept, and nothing is said about its history."""
    with pytest.raises(ValueError, match="believe anybody"):
        Keys()
    receiver = Receiver(Ledger(tmp_path / "l.sqlite"), Keys(secrets_of(SECRET)))
    event_id, body = office.log[office.say("c1")]
    headers = office.headers(event_id, body)
    headers["webhook-signature"] = headers["webhook-signature"].split()[1]
    assert receiver.receive(headers, body, time.time()) == (200, {})
    assert receiver.receive(headers, body + b" ", time.time()).status == 401
    assert base64.b64encode(receiver.ledger.body(event_id) or b"") == base64.b64encode(body)
