"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from laycan.control.metrics import Metrics
from laycan.delivery.protocol import Delivery
from laycan.kube.client import Client
from laycan.kube.credentials import Credentials
from laycan.kube.views import ContractView, FenceView
from laycan.kube.world import World
from laycan.resources.signals import Signal
from laycan.resources.times import format_time
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


def test_risks_and_outages() -> None:
    """Contracts short and at risk, not those that ended so; outages that are not over, by verdict, None where nobody has judged yet."""
    risky = {"type": "AtRisk", "status": "True", "reason": "Reserve", "message": "", "lastTransitionTime": format_time(NOW)}
    short = {**risky, "type": "Shortfall"}
    statuses = [("a", "Accepted", [risky]), ("b", "Accepted", []), ("c", "Delivering", [short]), ("d", "Settled", [risky, short])]
    seen = world([contract(name, status={"phase": phase, "conditions": conditions}) for name, phase, conditions in statuses])
    for name, verdict, end in (("o1", "Blocked", NOW + 60), ("o2", "Blocked", NOW), ("o3", "", NOW + 60), ("o4", "Covered", NOW + 60)):
        spec = {"type": "Planned", "start": format_time(NOW - 60), "end": format_time(end)}
        seen.outages[name] = {"metadata": {"name": name}, "spec": spec, "status": {"verdict": verdict} if verdict else {}}
    found = took(Metrics(), seen)
    assert (found["laycan_contracts_at_risk", ""], found["laycan_contracts_short", ""]) == (1, 1)
    verdicts = {label: value for (name, label), value in found.items() if name == "laycan_outages"}
    assert verdicts == {"Covered": 1, "AtRisk": 0, "Blocked": 1, "None": 1}


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
    """Agents that are silent or were never heard, unfit GPUs by what was found (the code is no label) and strangers; only of the fleet."""
    seen = world([], ["n1", "n2", "n3"])
    assert took(Metrics(), seen)["laycan_agents_silent", ""] == 0, "there are no agents"
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
    assert (told["laycan_agents_silent", ""], told["laycan_stranger_processes", ""]) == (2, 2)
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


def test_who_waits_for_an_answer() -> None:
    """Contracts and quotes without one, and for how long the oldest has waited; one that goes, and a quote that was answered, do not."""
    phases = (("a", NOW - 90, ""), ("b", NOW - 40, "Received"), ("c", NOW - 500, "Quoted"), ("d", NOW - 500, "Accepted"))
    seen = world([contract(name, created=created, status={"phase": phase} if phase else {}) for name, created, phase in phases])
    going = contract("e", created=NOW - 900, meta={"deletionTimestamp": format_time(NOW)})
    seen.contracts[going.key] = going
    found = took(Metrics(), seen)
    assert (found["laycan_contracts_undecided", ""], found["laycan_undecided_seconds", ""]) == (2, 90)


def test_described() -> None:
    """What the page is told of each metric is what a scraper sees: name, type and words; and labels, where there is a sample."""
    metrics = Metrics()
    families = {f.name: f for f in text_string_to_metric_families(metrics.text().decode()) if f.name.startswith("laycan_")}
    told = {each.name.removesuffix("_total"): each for each in metrics.exposition.described}
    assert {name: (each.type, each.words) for name, each in told.items()} == {n: (f.type, f.documentation) for n, f in families.items()}
    for name, family in families.items():
        assert all(set(sample.labels) - {"le"} == set(told[name].labels) for sample in family.samples), name
