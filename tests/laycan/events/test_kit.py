"""Our sender and the kit that we give to exchanges, with all that they prove to each other."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from examples.exchange.receiver import Witness
from laycan.ledger.log import Checkpoint, origin_of
from laycan.ledger.sqlite import open_log, path_of
from tests.laycan.events.exchange import Exchange
from tests.laycan.events.house import GCX, House, key, until

ORIGIN = origin_of("op", *GCX)
HEADS, HOOKS = key(1), key(2, "webhooks")
WITNESS = Witness("gcx.example", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def new_exchange() -> Exchange:
    keys = [
        {"keyId": signer.key_id, "use": use, "publicKey": base64.b64encode(signer.public_key).decode()}
        for use, signer in {"checkpoints": HEADS, "webhooks": HOOKS}.items()
    ]
    trust = {"version": 1, "operator": {"id": "op", "keys": keys}, "exchanges": [], "witnesses": []}
    return Exchange(trust_file=json.dumps(trust).encode(), origin=ORIGIN, witness=WITNESS)


def run(exchange: Exchange, *acts: tuple[Path, Callable[[House], Awaitable[None]]]) -> None:
    """One operator after the other, each on its own folder of logs."""
    public = base64.b64encode(WITNESS.key.public_key().public_bytes_raw()).decode()
    trusted = [{"keyId": WITNESS.name, "algorithm": "Ed25519", "publicKey": public}]

    async def main() -> None:
        async with exchange.open():
            for folder, act in acts:
                house = House(exchange, folder, signers=[HOOKS], checkpoints=HEADS, heartbeat_seconds=0.05)
                house.point(exchange.url, trustedKeys=trusted)
                async with house.running():
                    await act(house)

    asyncio.run(main())


def latest(folder: Path) -> Checkpoint | None:
    log = open_log(path_of(folder, *GCX), read_only=True)
    try:
        return log.latest_checkpoint()
    finally:
        log.close()


async def witnessed(house: House, size: int) -> None:
    await until(lambda: (found := latest(house.folder)) is not None and found.cosigned and found.size >= size)


def test_all_is_witnessed(tmp_path: Path) -> None:
    """Every event is signed twice and taken once; the head over all of them comes to be cosigned, and is kept so."""
    exchange = new_exchange()

    async def test(house: House) -> None:
        for name in ("c", "d", "e"):
            house.say(name, 5)
        await house.all_sent()
        await witnessed(house, 15)

    run(exchange, (tmp_path, test))
    assert len(exchange.ledger.events) == 15
    assert set(exchange.ledger.answers) == {200}


def test_an_exchange_that_lost_its_ledger(tmp_path: Path) -> None:
    """It says that it has nothing, is sent all of it again, and cosigns what it cosigned before."""
    exchange = new_exchange()

    async def test(house: House) -> None:
        house.say("c", 8)
        await house.all_sent()
        await witnessed(house, 8)
        bare = new_exchange()
        exchange.store, exchange.kit = bare.store, bare.kit
        await until(lambda: exchange.store.have == 7)
        house.say("d", 1)
        await house.all_sent()
        await witnessed(house, 9)
        assert exchange.store.alarms() == []

    run(exchange, (tmp_path, test))
    assert exchange.ledger.duplicates >= 8


def test_an_operator_that_rewrites_its_log(tmp_path: Path) -> None:
    """A log that begins anew under the old name contradicts what the exchange holds: no event is taken, and no head is cosigned."""
    exchange, other = new_exchange(), tmp_path / "rewritten"

    async def first(house: House) -> None:
        house.say("c", 4)
        await house.all_sent()
        await witnessed(house, 4)

    async def again(house: House) -> None:
        house.say("z", 4)
        await until(lambda: any("two histories" in what for what in exchange.store.alarms()))
        await until(lambda: any("uid-z/1 is entry 0 now, where uid-c/1 was" in what for what in exchange.store.alarms()))
        assert house.channel.pending == 4
        await until(lambda: "there are two histories" in house.channel.health.contradiction)
        assert house.sender.refused >= 1

    run(exchange, (tmp_path / "first", first), (other, again))
    assert [event["subject"] for event in exchange.ledger.events] == ["C"] * 4
    found = latest(other)
    assert found is None or not found.cosigned
