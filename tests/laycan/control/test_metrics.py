"""What Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from laycan.control.metrics import Metrics
from laycan.delivery.protocol import Delivery
from laycan.kube.client import Client
from laycan.kube.credentials import Credentials
from laycan.kube.views import ContractView, FenceView
from laycan.kube.world import World
from laycan.main import metrics_app
from laycan.resources.signals import Signal
from laycan.resources.verdict import Found
from tests.laycan.control.town import NOW, SETTINGS, bound, contract, world
from tests.laycan.delivery.worlds import meter


@contextmanager
def delivery(seen: World) -> Iterator[Delivery]:
    """As the office has it, of which only what it knows is asked."""
    made = Delivery(Client(Credentials("http://127.0.0.1:1", None, str)), seen, SETTINGS, lambda: 0)
    yield made
    made.situation.close()


def read(metrics: Metrics) -> dict[tuple[str, str], float]:
    """(name, value of its label) -> value, of Laycan's own samples."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("laycan_")]
    return {(sample.name, ",".join(sample.labels.values())): sample.value for sample in samples}


def took(metrics: Metrics, seen: World) -> dict[tuple[str, str], float]:
    with delivery(seen) as made:
        metrics.take(seen, made, SETTINGS, NOW)
    return read(metrics)


def with_handover(**record: Any) -> ContractView:
    return contract("a", status={"phase": "Delivering", "handover": record})


def test_counts() -> None:
    """Contracts by phase and nodes by state, as they are now, also when they become none."""
    seen = world([contract("a", status=bound("n1")), contract("b", status=bound("n2", phase="Delivering"))], ["n1", "n2", "n3", "n4"])
    seen.fence = FenceView(1, {"n1": "frozen.uid-a", "n2": "acme", "n4": "quarantine.uid-b"}, {})
    metrics = Metrics()
    found = took(metrics, seen)
    assert (found["laycan_contracts", "Accepted"], found["laycan_contracts", "Delivering"], found["laycan_contracts", "Settled"]) == (
        1,
        1,
        0,
    )
    assert [found["laycan_nodes", state] for state in ("free", "held", "frozen", "quarantine", "ending")] == [1, 1, 1, 1, 0]
    assert (found["laycan_fence_live", ""], found["laycan_lead_seconds", ""]) == (1, SETTINGS.lead_seconds)
    seen.contracts.clear()
    assert took(metrics, seen)["laycan_contracts", "Accepted"] == 0


def test_agents() -> None:
    """Silent agents, unfit GPUs by what was found (the code is no label) and strangers; machines that are not of the fleet are none."""
    seen = world([], ["n1", "n2", "n3"])
    rows = [("GPU-0", "Xid", 79), ("GPU-1", "Xid", 48), ("GPU-2", "Missing", 0), ("GPU-3", "Xid", 13), ("GPU-4", "Crumbling", 0)]
    found = [Found(gpu, signal, code, 0, NOW - 500, None) for gpu, signal, code in rows]
    seen.meters["n1"] = replace(meter("n1", *found, at=NOW), strangers=2)
    seen.meters["n2"] = meter("n2", at=NOW - 630)
    seen.meters["elsewhere"] = replace(meter("elsewhere", at=NOW - 9000), strangers=5)
    with delivery(seen) as made:
        made.situation.look(NOW)
        metrics = Metrics()
        metrics.take(seen, made, SETTINGS, NOW)
    told = read(metrics)
    assert (told["laycan_agents_silent", ""], told["laycan_stranger_processes", ""]) == (1, 2)
    unfit = {reason: told["laycan_gpus_unfit", reason] for name, reason in told if name == "laycan_gpus_unfit"}
    assert unfit.keys() == {*Signal, "Other"}
    assert {reason: count for reason, count in unfit.items() if count} == {"Xid": 2, "Missing": 1, "Other": 1}


def test_no_series_per_object() -> None:
    """A hundred contracts and nodes make no more series than none."""
    none, metrics = took(Metrics(), world([], [])), Metrics()
    many = world([contract(f"c{i}", status=bound(f"n{i}")) for i in range(100)], [f"n{i}" for i in range(100)])
    for each in many.contracts.values():
        metrics.told(each, each)
    assert took(metrics, many).keys() == none.keys()


def test_punctuality() -> None:
    """Each late start, mended interruption and early stop is observed once, when the status first says it."""
    metrics = Metrics()
    steps = [
        with_handover(),
        with_handover(lateSeconds=3),
        with_handover(lateSeconds=3, interruptedSince="2027-01-04T00:10:00Z"),
        with_handover(lateSeconds=3, rebindSeconds=60),
        with_handover(lateSeconds=3, rebindSeconds=60, interruptedSince="2027-01-04T00:20:00Z"),
        with_handover(lateSeconds=3, rebindSeconds=60),
        with_handover(lateSeconds=3, rebindSeconds=60, interruptedSince="2027-01-04T00:50:00Z"),
        with_handover(lateSeconds=3, rebindSeconds=60, earlyStopSeconds=600),
        with_handover(lateSeconds=3, rebindSeconds=60, earlyStopSeconds=600),
    ]
    for old, new in pairwise(steps):
        metrics.told(old, new)
    found = read(metrics)
    sums = {name: (found[f"laycan_{name}_seconds_count", ""], found[f"laycan_{name}_seconds_sum", ""]) for name in ("late_start", "rebind")}
    assert sums == {"late_start": (1, 3), "rebind": (2, 120)}
    assert found["laycan_early_stop_seconds_sum", ""] == 600


def test_documented() -> None:
    """The table in docs/delivery.md lists exactly these metrics, under the names that they are served by, with their types and words."""
    families = text_string_to_metric_families(Metrics().text().decode())
    ours = sorted((family for family in families if family.name.startswith("laycan_")), key=lambda family: family.name)
    named = {family.name: f"{family.name}_total" if family.type == "counter" else family.name for family in ours}
    rows = [f"| `{named[family.name]}` | {family.type} | {family.documentation} |" for family in ours]
    page = (Path(__file__).parents[3] / "docs" / "delivery.md").read_text().splitlines()
    assert [line for line in page if line.startswith("| `laycan_")] == rows


def test_served() -> None:
    """A scraper gets the text under /metrics in the format that it knows."""

    async def scrape() -> tuple[str, str]:
        runner = web.AppRunner(metrics_app(Metrics()))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/metrics") as answer:
            found = answer.headers["Content-Type"], await answer.text()
        await runner.cleanup()
        return found

    kind, text = asyncio.run(scrape())
    assert kind.startswith("text/plain; version=0.0.4")
    assert "# TYPE laycan_rebind_seconds histogram" in text
