"""Keys, logs and exchanges together, as the office has them: signed from the first heartbeat, through a change of keys, and counted."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from laycan.control.exchanges import Exchanges
from laycan.control.metrics import Metrics
from laycan.events.schema import check
from laycan.kube.world import World
from laycan.ledger.ledgers import LOCAL
from laycan.ledger.sqlite import open_log, path_of
from laycan.resources.times import format_time
from laycan.settings import Settings
from laycan_verify.notes import read_note, signed
from tests.laycan.control.test_metrics import read
from tests.laycan.events.clockwork import unix
from tests.laycan.events.exchange import SECRET, Exchange
from tests.laycan.events.house import GCX, House, until
from tests.laycan.events.test_evidence_keys import WHOLE, raw_key
from tests.laycan.kube.scripted import serving

ALONE = {"terms": {"contractId": "ALONE"}}


class Cluster:
    """The API server's part: the Secret of the keys, the webhook key, and the endpoint's status."""

    def __init__(self, world: World) -> None:
        self.world, self.keys, self.version = world, dict[str, bytes](), 1

    def hold(self, **keys: bytes) -> None:
        self.keys = {name.replace("_", "."): value for name, value in keys.items()}
        self.version += 1

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        if name == "laycan-evidence" and not self.keys:
            return web.json_response({"reason": "NotFound", "message": "no such Secret"}, status=404)
        data = self.keys if name == "laycan-evidence" else {"hmac": SECRET.encode()}
        if request.method == "GET":
            encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "data": encoded})
        endpoint = self.world.endpoints[f"desk/{request.path.split('/')[-2]}"]
        return web.json_response({**endpoint, "status": (await request.json())["status"]})


class Town:
    """`House` gives the contracts and the exchange; the rest is the office's own."""

    def __init__(self, exchange: Exchange, folder: Path) -> None:
        self.exchange, self.house, self.metrics = exchange, House(exchange, folder), Metrics()
        self.world = self.house.world
        self.cluster = Cluster(self.world)
        self.settings = Settings.model_validate({"ledgerPath": str(folder), "reconcileSeconds": 1})
        self.all: Exchanges | None = None

    async def run(self, test: Callable[[Town], Awaitable[None]]) -> None:
        async with serving(self.cluster.handle) as client:
            made = Exchanges(client, self.world, self.settings, "op", "urn:laycan:k", unix, self.metrics.appended)
            self.all = made
            await made.evidence.look()
            tasks = [asyncio.create_task(work, name=name) for name, work in made.works(self.house.on_taken).items()]
            try:
                await test(self)
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                await made.close()
                assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    @property
    def exchanges(self) -> Exchanges:
        assert self.all is not None
        return self.all

    def counts(self) -> dict[tuple[str, str], float]:
        self.metrics.take_events(self.exchanges)
        return read(self.metrics)

    async def all_sent(self) -> None:
        await self.house.all_taken()
        await until(lambda: (channel := self.exchanges.sender.channels["desk/gcx"]).opened.is_set() and channel.pending == 0)


def in_town(folder: Path, test: Callable[[Town], Awaitable[None]]) -> Exchange:
    exchange = Exchange()

    async def main() -> None:
        async with exchange.open():
            await Town(exchange, folder).run(test)

    asyncio.run(main())
    return exchange


def ids(folder: Path, place: Any) -> list[str]:
    log = open_log(path_of(folder, *place))
    found = [entry.id for entry in log.entries(-1, 99)]
    log.close()
    return found


def test_without_keys_then_with_them(tmp_path: Path) -> None:
    """Webhooks by HMAC alone, the endpoint says why; once the Secret is there: `v1a`, heartbeats, and receipts could be signed."""

    async def test(town: Town) -> None:
        town.house.say("c", 2)
        await town.all_sent()
        assert town.exchanges.evidence.seal() is None
        assert town.counts()["laycan_receipts_current", ""] == 0
        await until(lambda: "status" in town.world.endpoints["desk/gcx"])
        (evidence, _) = town.world.endpoints["desk/gcx"]["status"]["conditions"]
        assert (evidence["type"], evidence["status"]) == ("Evidence", "False")
        assert "laycan-evidence" in evidence["message"]
        town.cluster.hold(**WHOLE)
        await until(lambda: town.exchanges.evidence.seal() is not None)
        town.house.say("c", 1)
        await town.all_sent()

    exchange = in_town(tmp_path, test)
    kinds = [[each.split(",")[0] for each in a.headers["webhook-signature"].split(" ")] for a in exchange.events]
    assert kinds == [["v1"], ["v1"], ["v1a", "v1"]]


def test_a_change_of_keys(tmp_path: Path, monkeypatch: Any) -> None:
    """The old key announces the new one in every log, then the new one signs; the exchange is told, and webhooks carry both."""

    async def test(town: Town) -> None:
        keys = {**WHOLE, "receipts_next_key": raw_key(7), "webhooks_next_key": raw_key(8), "checkpoints_next_key": raw_key(9)}
        town.cluster.hold(**WHOLE)
        town.house.say("c", 1)
        town.house.say("alone", 1, ALONE)
        await town.all_sent()
        evidence = town.exchanges.evidence
        await until(lambda: evidence.keys is not None)
        assert evidence.keys is not None
        before = evidence.keys
        town.cluster.hold(**keys)
        await until(lambda: evidence.keys is not None and evidence.keys.receipts.key_id != before.receipts.key_id)
        await town.all_sent()
        town.house.say("c", 1)
        await town.all_sent()
        assert evidence.pending() == 0
        heart = town.exchanges.sender.hearts["desk/gcx"]
        await heart.beat()
        note = read_note(json.loads(town.exchange.checkpoints[-1].body)["checkpoint"])
        assert signed(note, "op/desk/gcx", evidence.keys.checkpoints.public_key)
        assert evidence.keys.checkpoints.key_id != before.checkpoints.key_id

    exchange = in_town(tmp_path, test)
    for place in (GCX, LOCAL):
        assert sum(each.startswith("key.rotated/") for each in ids(tmp_path, place)) == 3
    told = [a for a in exchange.events if a.id.startswith("key.rotated/")]
    assert len(told) == 3
    last = exchange.events[-1]
    assert last.id == "uid-c/2"
    assert [each.split(",")[0] for each in last.headers["webhook-signature"].split(" ")] == ["v1a", "v1a", "v1"]


def test_counted(tmp_path: Path) -> None:
    """What Prometheus reads of logs and events: totals, with one series for each state and none for each endpoint."""

    async def test(town: Town) -> None:
        none = set(town.counts())
        town.world.put("endpoints", "desk/dead", {"metadata": {}, "spec": {**town.house.spec, "url": "http://127.0.0.1:9/"}})
        town.house.say("c", 4)
        town.house.say("d", 3, {"exchangeRef": {"name": "dead"}, "terms": {"contractId": "D"}})
        town.house.say("alone", 2, ALONE)
        await town.all_sent()
        await until(lambda: town.exchanges.sender.channels["desk/dead"].health.reachable is False)
        found = town.counts()
        assert set(found) == none
        assert [found[f"laycan_{name}", ""] for name in ("log_entries", "events_pending", "events_parked", "logs_failing")] == [9, 3, 0, 0]
        assert [found["laycan_endpoints", state] for state in ("reachable", "unreachable", "paused", "untried")] == [1, 1, 0, 0]
        assert found["laycan_log_append_seconds_count", ""] >= 3
        assert (found["laycan_log_conflicts_total", ""], found["laycan_outbox_age_seconds", ""]) == (0, 0)
        town.house.put("c", {"outbox": [{"id": "uid-c/1", "sequence": 1, "type": "t", "body": "{}"}]})
        town.exchanges.appender._known.clear()
        town.house.put("c", {"outbox": [{"id": "uid-c/1", "sequence": 1, "type": "t", "body": '{"forged":1}'}]})
        await until(lambda: town.exchanges.appender.conflicts == 1)
        town.exchanges.sender.refused = 2
        assert town.counts()["laycan_log_conflicts_total", ""] == 1
        assert town.counts()["laycan_checkpoints_refused_total", ""] == 2
        assert town.counts()["laycan_log_conflicts_total", ""] == 1

    in_town(tmp_path, test)


def test_the_statement_of_the_day(tmp_path: Path) -> None:
    """An endpoint of yesterday is told how its contracts stand, in the published form; the kit finds no difference."""

    async def test(town: Town) -> None:
        town.house.say("c", 3)
        await town.all_sent()
        endpoint = town.world.endpoints["desk/gcx"]
        made = format_time(unix() - 86_400)
        town.world.put("endpoints", "desk/gcx", {**endpoint, "metadata": {**endpoint["metadata"], "creationTimestamp": made}})
        await until(lambda: any(event["type"] == "dev.laycan.statement.v1" for event in town.exchange.ledger.events))
        assert town.exchange.store.alarms() == []

    exchange = in_town(tmp_path, test)
    (event,) = [event for event in exchange.ledger.events if event["type"] == "dev.laycan.statement.v1"]
    assert [(line["contractId"], line["sequence"]) for line in event["data"]["lines"]] == [("C", 3)]
    check(event)
    assert sum(each.startswith("statement/op/desk/gcx/") for each in ids(tmp_path, GCX)) == 1
    assert exchange.ledger.answers.keys() == {200}
