"""Whatever is sent: never a 2xx for what is not understood, never a traceback."""

from __future__ import annotations

import json
import socket
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.exchange.__main__ import LARGEST
from tests.examples.exchange.kit import Exchange
from tests.examples.exchange.office import dumps

NAMES = ["id", "type", "data", "subject", "sequence", "specversion", "source", "checkpoint", "origin"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["c1/1", "1.0", f"{1:020d}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)
BODIES = st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode())
IDS = st.sampled_from(["c1/1", "checkpoint/x", "ping", "\x7f", "a/b/c", "/"])
INDICES = st.sampled_from(["1", "", "-1", "x", "9" * 30])


class TestFuzzed:
    def test_signed_nonsense(self, exchange: Exchange) -> None:
        """Whatever the operator signs by mistake: never a 2xx, never a 500, never a trace in the ledger."""

        @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(BODIES, IDS, INDICES)
        def fuzz(body: bytes, message_id: str, index: str) -> None:
            headers = exchange.office.headers(message_id, body) | {"laycan-log-index": index}
            assert 400 <= exchange.post(headers, body)[0] < 500

        fuzz()
        assert exchange.ids == ["warm-up/1"]

    def test_damaged_events(self, exchange: Exchange) -> None:
        """A good event or heartbeat of which some bytes were changed before it was signed: a 4xx, unless it still says something."""
        office = exchange.office
        good = [office.log[index] for index in (office.say("c1"), office.receipt("c1"), office.rotate("webhooks"))]
        office.lives.clear()
        good.append((f"checkpoint/{office.origin}/1/0", dumps({"checkpoint": office.head(1), "origin": office.origin})))
        before = [exchange.ids, exchange.ledger.longest]

        @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.data())
        def fuzz(data: st.DataObject) -> None:
            message_id, body = data.draw(st.sampled_from(good))
            place = data.draw(st.integers(0, len(body) - 1))
            length = data.draw(st.integers(0, 3))
            damaged = body[:place] + data.draw(st.binary(max_size=3)) + body[place + length :]
            if damaged != body and not self.harmless(message_id, body, damaged):
                status, _ = exchange.post(exchange.office.headers(message_id, damaged, index=1), damaged)
                assert 400 <= status < 500

        fuzz()
        assert [exchange.ids, exchange.ledger.longest] == before

    @staticmethod
    def harmless(message_id: str, body: bytes, damaged: bytes) -> bool:
        """Still the same head, or an event in canonical form with another text: only its signer can say that it is not meant."""
        try:
            value = json.loads(damaged)
            if message_id.startswith("checkpoint/"):
                return bool(value == json.loads(body) | {k: v for k, v in value.items() if k not in ("checkpoint", "origin")})
            return bool(dumps(value) == damaged and value.get("id") == message_id)
        except (ValueError, AttributeError, UnicodeEncodeError):
            return False

    @pytest.mark.parametrize(
        "request_line",
        [
            b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"\x00\xff\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (LARGEST + 1), b"POST / HTTP/9.9\r\n\r\n", b"POST\r\n\r\n",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nshort",
        ],
        ids=lambda line: repr(line[:60]),
    )  # fmt: skip
    def test_bad_http(self, exchange: Exchange, request_line: bytes, capfd: pytest.CaptureFixture[str]) -> None:
        """Requests that are none, or end early: never a 2xx, never a traceback, and the next one is served."""
        with socket.create_connection(("127.0.0.1", exchange.server.server_port), timeout=10) as raw_socket:
            raw_socket.sendall(request_line)
            raw_socket.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := raw_socket.recv(4096):
                answer += chunk
        assert b" 200 " not in answer.split(b"\n")[0]
        assert "Traceback" not in capfd.readouterr().err
        assert exchange.say()[0] == 200

    def test_the_disk_is_full(self, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
        """What cannot be kept is not acknowledged."""
        index = exchange.office.say("c1")

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(exchange.ledger, "put", full)
            assert exchange.send(index)[0] == 500
        assert exchange.ids == ["warm-up/1"]
        assert exchange.send(index)[0] == 200
