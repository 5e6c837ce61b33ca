"""Webhooks from a real operator and its log to a receiver that fails: at least once, in order, not lost by a kill."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.waiting import until
from laycan.ledger.keys import signer_of
from laycan.ledger.ledgers import LOCAL, Place
from laycan.ledger.sqlite import open_log, path_of
from laycan_verify.dsse import verifies
from laycan_verify.notes import read_note, signed
from tests.cluster.operator import GROUP, Market, at, await_phase, contract, market, read
from tests.cluster.policies.installed import NAMESPACE
from tests.laycan.events.exchange import SECRET, Exchange, answer, lose_reply, serving
from tests.laycan.events.test_evidence_keys import WHOLE

GCX = Place("desk", "gcx")

pytestmark = pytest.mark.xdist_group("webhooks")


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A market whose operator may read the desk's webhook key."""
    with market(tmp_path_factory.mktemp("webhooks"), tools, nodes=4) as made:
        made.installed.install("upgrade", "Enforce", "--set", "exchangeNamespaces={desk}")
        for name, namespace, keys in (("hook", "desk", {"hmac": SECRET.encode()}), ("laycan-evidence", NAMESPACE, WHOLE)):
            data = {key: base64.b64encode(value).decode() for key, value in keys.items()}
            made.admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data})
        yield made


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    yield town
    town.close()


@contextmanager
def listening(desk: Market, *, faults: int = 0) -> Iterator[Exchange]:
    """The exchange in a thread of its own, with the ExchangeEndpoint `gcx` that points to it."""
    with serving(Exchange(published=True, faults=[answer(503)] * faults)) as exchange:
        spec = {"url": exchange.url, "secretRef": {"name": "hook", "key": "hmac"}, "disputeSeconds": 2}
        meta = {"name": "gcx", "namespace": "desk"}
        desk.admin.apply({"apiVersion": "laycan.dev/v1alpha1", "kind": "ExchangeEndpoint", "metadata": meta, "spec": spec})
        yield exchange
        desk.admin.delete(f"{GROUP}/namespaces/desk/exchangeendpoints/gcx")


def endpoint(desk: Market) -> Object:
    """Its status; {} while there is none."""
    found = desk.admin.find(f"{GROUP}/namespaces/desk/exchangeendpoints/gcx") or {}
    return dict(found.get("status") or {})


def reachable(desk: Market) -> str:
    return next((c["status"] for c in endpoint(desk).get("conditions", ()) if c["type"] == "Reachable"), "")


def logged(desk: Market, place: Place) -> list[str]:
    """Ids of what the log holds, read beside the operator that writes it, or after it."""
    if not path_of(desk.ledger, *place).exists():
        return []
    log = open_log(path_of(desk.ledger, *place), read_only=True)
    try:
        return [entry.id for entry in log.entries(-1, 10_000)]
    finally:
        log.close()


def traded(name: str, start: str, end: str, **more: Any) -> Object:
    made = contract(name, start, end, **more)
    made["spec"]["exchangeRef"] = {"name": "gcx"}
    return made


def news(exchange: Exchange, name: str) -> list[str]:
    """What the exchange has heard of a contract, in order; its sequence has no gap and each id one content."""
    assert (exchange.ledger.gaps, exchange.ledger.disorder, exchange.ledger.altered, exchange.ledger.bad_signatures) == (0, 0, 0, 0)
    events = [e for e in exchange.ledger.events if e["subject"] == name]
    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))
    return [e["type"].removeprefix("dev.laycan.").removesuffix(".v1") for e in events]


def test_a_whole_life_is_told(desk: Market) -> None:
    """From received to settled, through refusals, a lost reply and a kill -9 with events unsent: each event once, in order."""
    with listening(desk, faults=2) as exchange:
        exchange.faults.append(lose_reply)
        operator = desk.operator()
        desk.admin.create(traded("life", at(8), at(20)))
        await_phase(desk.admin, "life", "Accepted")
        operator.kill()
        desk.operator()
        found = await_phase(desk.admin, "life", "Settled", seconds=60)
        until("all is acknowledged", lambda: len(news(exchange, "life")) == found["status"]["ledger"]["sequence"])
        told = news(exchange, "life")
        assert told[:2] == ["contract.received", "contract.accepted"]
        assert told[-2:] == ["contract.delivered", "contract.settled"]
        assert {"contract.delivering", "delivery.started", "receipt.issued"} <= set(told)
        until("the log's entries have left the outbox", lambda: not (read(desk.admin, "life") or {})["status"].get("outbox"), seconds=60)
        last = [e for e in exchange.ledger.events if e["subject"] == "life"][-1]
        assert last["data"]["contract"]["quantities"] == found["status"]["quantities"]
        assert found["status"]["quantities"]["contractedGpuSeconds"] == 12 * 8
        uid = desk.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
        assert last["source"] == f"urn:laycan:{uid}"
        assert {arrival.index for arrival in exchange.events} == set(range(len(logged(desk, GCX)))), "the stream is contiguous"
        until("nothing is pending", lambda: endpoint(desk).get("pendingEvents") == 0, seconds=60)
        assert endpoint(desk)["log"] == {"origin": f"laycan-{uid}/desk/gcx", "size": len(told)}
        assert reachable(desk) == "True"
        note = read_note(json.loads(exchange.checkpoints[-1].body)["checkpoint"])
        assert note.origin == f"laycan-{uid}/desk/gcx"
        assert signed(note, note.origin, signer_of(WHOLE["checkpoints.key"], "checkpoints").public_key)
        for arrival in exchange.arrivals[-3:]:
            first = arrival.headers["webhook-signature"].split(" ")[0].removeprefix("v1a,")
            content = f"{arrival.id}.{arrival.headers['webhook-timestamp']}.".encode() + arrival.body
            assert verifies(signer_of(WHOLE["webhooks.key"], "webhooks").public_key, base64.b64decode(first), content)


def test_an_interruption_is_told(desk: Market) -> None:
    """A node dies under a contract: interrupted, then restored on another node; the exchange learns no node's name."""
    with listening(desk) as exchange:
        desk.operator()
        desk.admin.create(traded("hurt", at(2), at(600)))
        until("it is delivered", lambda: "delivery.started" in news(exchange, "hurt"), seconds=90)
        (binding,) = (read(desk.admin, "hurt") or {})["status"]["bindings"]
        fleet.kill_node(desk.admin, binding["node"])
        until("it is restored", lambda: "delivery.restored" in news(exchange, "hurt"), seconds=60)
        told = news(exchange, "hurt")
        assert told.index("delivery.started") < told.index("delivery.interrupted") < told.index("delivery.restored")
        assert not any(node in str(event["data"]) for event in exchange.ledger.events for node in desk.nodes)


def test_a_contract_that_goes_is_told_of(desk: Market) -> None:
    """Deleted in its window while the exchange is away: it does not wait for the exchange, which hears of its end when it is back."""
    with listening(desk) as exchange:
        operator = desk.operator()
        desk.admin.create(traded("cut", at(2), at(600)))
        until("it is delivered", lambda: "delivery.started" in news(exchange, "cut"), seconds=90)
        uid = (read(desk.admin, "cut") or {})["metadata"]["uid"]
        exchange.faults.extend([answer(503)] * 1000)
        desk.delete("cut")
        until("it is gone", lambda: read(desk.admin, "cut") is None, seconds=60)
        assert "contract.terminated" not in news(exchange, "cut")
        said = [each for each in logged(desk, GCX) if each.startswith(uid)]
        until("the endpoint's status says so", lambda: reachable(desk) == "False" and endpoint(desk).get("pendingEvents"), seconds=60)
        operator.kill()
        exchange.faults.clear()
        desk.operator()
        until("its end is told", lambda: news(exchange, "cut")[-1] == "contract.terminated", seconds=60)
        assert [arrival.id for arrival in exchange.events if arrival.id == said[-1]]
        assert len(news(exchange, "cut")) == len(said)
        until("the endpoint's status says so", lambda: reachable(desk) == "True", seconds=60)


def test_without_an_exchange_it_stands_in_the_log(desk: Market) -> None:
    """A contract that nobody is told of has its events in the local log, and goes when the last one is there."""
    desk.operator()
    made = desk.admin.create(contract("alone", at(2), at(600)))
    await_phase(desk.admin, "alone", "Delivering", seconds=90)
    until("it is handed over", lambda: "handedOverAt" in str((read(desk.admin, "alone") or {})["status"]), seconds=90)
    desk.delete("alone")
    until("it is gone", lambda: read(desk.admin, "alone") is None, seconds=60)
    uid = made["metadata"]["uid"]
    found = logged(desk, LOCAL)
    assert found == [f"{uid}/{number}" for number in range(1, len(found) + 1)]
    assert len(found) >= 4


def test_a_lost_log_is_followed_by_another(desk: Market) -> None:
    """The volume is gone: the operator goes on in a new log, whose first entry tells the exchange which one it follows."""
    with listening(desk) as exchange:
        operator = desk.operator()
        desk.admin.create(traded("before", at(600), at(1200)))
        until("it is told", lambda: news(exchange, "before") == ["contract.received", "contract.accepted"], seconds=90)
        until("the endpoint's status says so", lambda: endpoint(desk).get("log", {}).get("size") == 2, seconds=60)
        operator.kill()
        desk.ledger = desk.ledger.with_name("another-volume")
        desk.operator()
        desk.admin.create(traded("after", at(600), at(1200)))
        until("both are told of", lambda: news(exchange, "after") == ["contract.received", "contract.accepted"], seconds=90)
        (replaced,) = [event for event in exchange.ledger.events if event["type"] == "dev.laycan.log.replaced.v1"]
        change = replaced["data"]
        assert change["replaces"]["size"] == 2
        assert change["origin"] == f"{change['replaces']['origin']}/2"
        until("the endpoint's status says so", lambda: endpoint(desk)["log"]["origin"] == change["origin"], seconds=60)
        assert news(exchange, "before") == ["contract.received", "contract.accepted"]


def test_a_refusal_is_told(desk: Market) -> None:
    """What cannot be delivered is told with code, message and pool."""
    with listening(desk) as exchange:
        desk.operator()
        desk.admin.create(traded("huge", at(600), at(1200), gpus=8 * 5))
        await_phase(desk.admin, "huge", "Rejected")
        until("it is told", lambda: news(exchange, "huge") == ["contract.received", "contract.rejected"], seconds=90)
        reason = exchange.ledger.events[-1]["data"]["change"]["reason"]
        assert (reason["code"], reason["pool"]) == ("ExceedsFleet", "h100")
