"""An operator between decision and exchange as a process of its own, to be killed: `python -m tests.laycan.events.mortal FOLDER URL`.

The API server is a folder with a file for each contract, replaced whole with each status write. Ends with 0 when every contract has all
its events and the exchange has acknowledged them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from laycan.events import retries
from laycan.events.outbox import CAPACITY
from tests.laycan.events.exchange import Exchange
from tests.laycan.events.house import House, key, until

CONTRACTS, EVENTS = 6, 40


class FiledHouse(House):
    """Every status write is a file that is there whole, or not at all."""

    def __init__(self, exchange: Exchange, folder: Path) -> None:
        self.files = folder / "api"
        self.files.mkdir(exist_ok=True)
        super().__init__(exchange, folder / "ledger", checkpoints=key(1), heartbeat_seconds=0.1)
        for path in self.files.glob("*.json"):
            super().put(path.stem, json.loads(path.read_text()))

    def put(self, name: str, status: dict[str, Any], spec: Any = None) -> None:
        path = self.files / f"{name}.json"
        path.with_suffix(".new").write_text(json.dumps(status))
        path.with_suffix(".new").replace(path)
        super().put(name, status, spec)

    def status(self, name: str) -> dict[str, Any]:
        contract = self.world.contracts.get(f"desk/{name}")
        return dict(contract.status) if contract else {"outbox": [], "ledger": {"sequence": 0}}

    def decide(self) -> bool:
        """One more event for each contract that has room; whether all have all."""
        done = True
        for i in range(CONTRACTS):
            status = self.status(f"c{i}")
            if status["ledger"]["sequence"] < EVENTS:
                done = False
                if len(status["outbox"]) < CAPACITY:
                    self.say(f"c{i}")
        return done


async def main(folder: Path, url: str) -> None:
    retries.DELAYS = (0.0, 0.01, 0.05)  # type: ignore[assignment]
    house = FiledHouse(Exchange(url=url), folder)
    async with house.running():
        with (folder / "lives").open("a") as lives:
            lives.write(".")
        await until(house.decide, 60)
        await house.all_sent()
        await until(lambda: house.channel.stream is not None and house.channel.stream.cursor == CONTRACTS * EVENTS - 1)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
