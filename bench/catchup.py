"""How fast an exchange that was away gets what it missed, and how fast receipts are signed.

    python -m bench.catchup [--events 10000]

The sender reads a log on disk and posts over loopback to the kit of examples/exchange, a process of its own with a file of its own
that it syncs for each event. The CPU is the sender's alone; the wall time is that of both, on this disk.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.budgets import judged
from bench.measure import Row, Stopwatch, apart, show
from laycan.events.attempt import Courier
from laycan.events.cloudevents import event_body, event_id
from laycan.events.sender import Sender
from laycan.evidence.receipt import sealed
from laycan.kube.world import World
from laycan.ledger.keys import Ed25519Signer
from laycan.ledger.ledgers import Beginning, Ledgers, Place
from laycan.ledger.log import Entry, Log
from tests.laycan_verify.writer import DAY, Story

ROWS = ("catch-up", "receipts-signed")
CONTRACTS, SIGNED = 1_000, 2_000
BEGIN = 1_900_000_000
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
GCX = Place("desk", "gcx")


def events(count: int) -> list[Entry]:
    """Of a thousand contracts in turn, 1.2 kB each."""
    found = []
    for number in range(count):
        uid, sequence = f"{number % CONTRACTS:08d}-8a52-4a0c-9d0a-4f6a5e1c7b11", number // CONTRACTS + 1
        contract: dict[str, Any] = {"phase": "Delivering", "conditions": ["Ready", "HandedOver"], "note": "x" * 700}
        body = event_body(
            uid=uid, sequence=sequence, name="risk.cleared", source="urn:laycan:bench", contract_id=f"GCX-{uid[:8]}", time=BEGIN,
            data={"contract": contract, "change": {"condition": "AtRisk", "status": "False", "reason": "Planned", "message": ""}},
        )  # fmt: skip
        found.append(Entry(event_id(uid, sequence), body.encode()))
    return found


@contextmanager
def exchange(folder: Path) -> Iterator[int]:
    """Its port."""
    (folder / "secret").write_text(SECRET)
    argv = [sys.executable, "-m", "examples.exchange", "--port", "0", "--ledger", str(folder / "exchange.sqlite")]
    with subprocess.Popen([*argv, "--secret-file", str(folder / "secret")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["listening"]
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        try:
            yield port
        finally:
            process.kill()
            drain.wait()


async def sent(folder: Path, port: int, count: int) -> Row:
    """From the first look at the endpoint until the last event is acknowledged."""
    world, ledgers = World(), Ledgers(folder, lambda place: Beginning("bench/desk/gcx"))
    await ledgers.use(GCX, _filled(events(count)), writes=True)

    async def secret(namespace: str, name: str, key: str) -> bytes:
        return SECRET.encode()

    world.put(
        "endpoints", "desk/gcx", {"metadata": {}, "spec": {"url": f"http://127.0.0.1:{port}/", "secretRef": {"name": "k", "key": "k"}}}
    )
    sender = Sender(world, ledgers, Courier(secret, lambda: (), lambda: int(time.time())), lambda: None, lambda: int(time.time()))
    watch, task = Stopwatch(), asyncio.create_task(sender.run())
    while not _all_sent(sender):  # noqa: ASYNC110 - nobody is told when the last one is acknowledged
        await asyncio.sleep(0.01)
    cpu, wall = watch.cpu_us(), watch.wall_ms()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ledgers.close()
    return {"row": "catch-up", "events": count, "wall_ms": wall, "cpu_us_per_event": cpu // count, "events_per_s": 1_000 * count // wall}


def _all_sent(sender: Sender) -> bool:
    channel = sender.channels.get(str(GCX))
    return channel is not None and channel.opened.is_set() and not channel.pending


def _filled(entries: Sequence[Entry]) -> Any:
    def fill(log: Log) -> None:
        log.append(entries)

    return fill


def catch_up(count: int) -> Row:
    with tempfile.TemporaryDirectory() as name, exchange(Path(name)) as port:
        return asyncio.run(sent(Path(name), port, count))


def signed() -> Row:
    """Canonical bytes, digest and signature of receipts as they are, one after the other."""
    story = Story(gpus=64, start=Story().start, end=Story().start + DAY).days().bundle()
    event = json.loads(story["receipts"][0]["body"])
    said = json.loads(base64.b64decode(event["data"]["change"]["envelope"]["payload"]))
    signer = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)), "receipts")
    watch = Stopwatch()
    for _ in range(SIGNED):
        sealed(said, signer)
    spent = watch.cpu_us()
    return {"row": "receipts-signed", "receipts": SIGNED, "cpu_us": spent // SIGNED, "receipts_per_s": SIGNED * 10**6 // spent}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    count = parser.parse_args(arguments).events
    rows = [apart(catch_up, count), apart(signed)]
    show("catchup", rows, limits=judged(rows))


if __name__ == "__main__":
    main()
