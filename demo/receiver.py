"""An exchange's end of the webhooks, as a newcomer would write it: `python -m demo.receiver --port P --secret-file F [--ledger L]`.

It trusts nothing of the sender's code. Signatures are verified with the public `standardwebhooks` library; an event seen before is
acknowledged and counted, not taken twice; per contract the sequence must go up by one. Every event is one line of the ledger. Checkpoints
of the log, which come once a minute, are acknowledged and counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(slots=True)
class Ledger:
    """What was received. `events` holds each event once, in the order of arrival."""

    events: list[dict[str, Any]] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)  # webhook-id -> bytes of its first arrival
    last: dict[str, int] = field(default_factory=dict)  # contract uid -> highest sequence
    requests: int = 0
    duplicates: int = 0
    gaps: int = 0  # a number was left out
    disorder: int = 0  # a number came after a higher one
    altered: int = 0  # the same id with other bytes
    bad_signatures: int = 0
    checkpoints: int = 0
    file: TextIO | None = None

    def refuse(self, message_id: str, why: str) -> None:
        self.bad_signatures += 1
        self._write({"id": message_id, "verified": False, "duplicate": False, "error": why})

    def take(self, message_id: str, body: bytes, event: dict[str, Any]) -> bool:
        """False for an event that is here already."""
        known = self.bodies.get(message_id)
        if known is not None:
            self.duplicates += 1
            self.altered += known != body
            self._write({"id": message_id, "verified": True, "duplicate": True})
            return False
        self.bodies[message_id] = body
        if "sequence" in event:  # else it is about no contract
            contract, number = event["id"].rsplit("/", 1)[0], int(event["sequence"])
            before = self.last.get(contract, 0)
            self.gaps += number > before + 1
            self.disorder += number <= before
            self.last[contract] = max(before, number)
        self.events.append(event)
        self._write({"id": message_id, "verified": True, "duplicate": False, "event": event})
        return True

    def _write(self, line: dict[str, Any]) -> None:
        if self.file is not None:
            self.file.write(json.dumps(line, sort_keys=True) + "\n")
            self.file.flush()

    def summary(self) -> str:
        return (
            f"{len(self.events)} events verified, {self.duplicates} duplicates, {self.gaps} gaps, {self.disorder} out of order, "
            f"{self.altered} altered, {self.bad_signatures} bad signatures"
        )


def application(secret: str, ledger: Ledger, tell: Callable[[dict[str, Any]], None] | None = None) -> web.Application:
    """The receiver; `tell` is called with each event once, after it was verified."""
    verifier = Webhook(secret)

    async def receive(request: web.Request) -> web.Response:
        body, message_id = await request.read(), request.headers.get("webhook-id", "")
        ledger.requests += 1
        try:
            event = verifier.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError) as error:
            ledger.refuse(message_id, str(error))
            return web.Response(status=401, text=str(error))
        if request.content_type != "application/cloudevents+json":
            ledger.checkpoints += 1
            return web.Response(status=204)
        if event["id"] != message_id:
            ledger.refuse(message_id, f"the body is event {event['id']}")
            return web.Response(status=400, text="webhook-id is not the event's id")
        if ledger.take(message_id, body, event) and tell is not None:
            tell(event)
        return web.Response(status=204)

    app = web.Application(client_max_size=1 << 17)
    app.router.add_post("/{path:.*}", receive)
    return app


def one_line(event: dict[str, Any]) -> str:
    """An event for people: when, which contract, what, and where the contract stands."""
    name = event["type"].removeprefix("dev.laycan.").removesuffix(".v1")
    if "sequence" not in event:
        return f"{event['time']}  {event['subject']:<24}      {name}"
    contract = event["data"]["contract"]
    true = ", ".join(contract["conditions"])
    return f"{event['time']}  {event['subject']:<24} #{int(event['sequence']):<3} {name:<22} {contract['phase']:<11} {true}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret-file", type=Path, required=True, help="holds whsec_<base64>")
    parser.add_argument("--ledger", type=Path, help="file to which each request is appended as a line of JSON")
    parser.add_argument("--quiet", action="store_true", help="do not print the events")
    args = parser.parse_args()
    ledger = Ledger(file=args.ledger.open("a") if args.ledger else None)
    tell = None if args.quiet else lambda event: print(one_line(event), flush=True)
    app = application(args.secret_file.read_text().strip(), ledger, tell)
    try:
        web.run_app(app, host="127.0.0.1", port=args.port, print=None)
    finally:
        print(ledger.summary(), file=sys.stderr)
        if ledger.file is not None:
            ledger.file.close()


if __name__ == "__main__":
    main()
