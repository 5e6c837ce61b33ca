"""The exchange's kit on a port of this machine, for its tests."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from examples.exchange.__main__ import Server
from examples.exchange.keys import Keys, secrets_of
from examples.exchange.ledger import Ledger
from examples.exchange.receiver import Receiver, Witness
from tests.examples.exchange.office import SECRET, Office, Post, key

ME = "gcx.example/witness"
Answer = tuple[int, dict[str, Any]]


def rows(ledger: Path, sql: str) -> list[Any]:
    """As any other process reads it."""
    with closing(sqlite3.connect(ledger)) as other:
        return other.execute(sql).fetchall()


class Exchange:
    """The kit on a port of this machine, in a thread. A checkpoint waits for `hold` seconds for entries that are not here."""

    def __init__(self, ledger: Path, office: Office, hold: float = 0.0, **trust: str) -> None:
        self.path, self.office = ledger, office
        self.ledger = Ledger(ledger, office.origin)
        keys = Keys(secrets_of(SECRET), office.trust_file(**trust))
        self.receiver = Receiver(self.ledger, keys, office.origin, Witness(ME, key("witness")), hold)
        self.server = Server(("127.0.0.1", 0), self.receiver)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.post = Post(self.server.server_port)

    def send(self, index: int, **changed: Any) -> Answer:
        return self.post.event(self.office, index, **changed)

    def say(self, uid: str = "c1", **more: Any) -> Answer:
        return self.send(self.office.say(uid, **more))

    def at(self, seconds: float, index: int) -> Answer:
        """The answer that an entry would get so much later."""
        event_id, body = self.office.log[index]
        now = time.time() + seconds
        return tuple(self.receiver.receive(self.office.headers(event_id, body, int(now), index), body, now))  # type: ignore[return-value]

    def close(self) -> None:
        self.post.__exit__()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        self.ledger.close()

    def rows(self, sql: str) -> list[Any]:
        return rows(self.path, sql)

    @property
    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for body, _ in self.ledger.events()]
