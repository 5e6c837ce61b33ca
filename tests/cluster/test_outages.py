"""Scenario 10: maintenance is judged before it is planned. Played in January 2027 on a real API server by a real operator.

64 nodes, of which 58 are committed Firm until 02-03; the target is 1e-4. Eight nodes out leave two lots short. Four leave two spares, and
60 x 6.5e-3 x 4/24 x P(Poisson(0.39) >= 2) = 3.8e-3. After 02-03 nobody minds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane.api import Object
from controlplane.waiting import until
from laycan.resources.times import format_time
from tests.cluster.operator import GROUP
from tests.cluster.year import END, START, Year, january, machines

pytestmark = pytest.mark.xdist_group("outages")

SOLD = {f"c{i}": 64 for i in range(7)} | {"c7": 16}  # 58 nodes of eight
LATER = "2027-03-05T00:00:00Z"
INTERVAL, HYSTERESIS = 300, 900  # seconds: of settlement; of sound time until a node counts as repaired


@pytest.fixture(scope="module")
def year(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """58 of 64 nodes sold until 02-03, and one from then on."""
    with january(tools, tmp_path_factory.mktemp("outages")) as made:
        made.age.add(machines("atp", 64))
        made.offer("atp", target={"shortfallPpm": 100})
        for name, gpus in SOLD.items():
            made.trade(name, "atp", gpus)
        made.trade("after", "atp", 8, END, LATER)
        for name in (*SOLD, "after"):
            until(f"{name} is accepted", lambda name=name: made.phase(name) == "Accepted")  # type: ignore[misc]
        yield made


def path(name: str) -> str:
    return f"{GROUP}/outages/{name}"


def announce(year: Year, name: str, nodes: list[str], start: str, end: str | None, kind: str = "Planned", **more: Any) -> None:
    spec = {"type": kind, "nodes": nodes, "start": start, **({"end": end} if end else {}), **more}
    year.admin.create({"apiVersion": "laycan.dev/v1alpha1", "kind": "Outage", "metadata": {"name": name}, "spec": spec})


def judged(year: Year, name: str) -> Object:
    """Its status, once it is about the object as it is."""

    def status() -> Object | None:
        raw = year.admin.get(path(name))
        found = raw.get("status", {})
        return dict(found) if found.get("observedGeneration") == raw["metadata"]["generation"] else None

    return until(f"{name} is judged", status) or {}


def words(status: Object) -> tuple[str, str]:
    """(the condition that is True, reason and message)."""
    (true,) = [c for c in status["conditions"] if c["status"] == "True"]
    return true["type"], f"{true['reason']}: {true['message']}"


def bound(year: Year) -> dict[str, list[tuple[str, str, str]]]:
    """Contract -> (node, start, end) of what it is bound to."""
    return {n: sorted((b["node"], b["start"], b["end"]) for b in year.status(n)["bindings"]) for n in (*SOLD, "after")}


def serving(year: Year, count: int) -> list[str]:
    """The first so many nodes on which something is sold, by contract."""
    now = format_time(year.age.now)
    return list(dict.fromkeys(node for name in SOLD for node, _, end in bound(year)[name] if end > now))[:count]


def told(year: Year, name: str) -> list[Object]:
    """What the exchange heard of outages that touch the contract."""
    mine = [event for event in year.exchange.ledger.events if event["subject"] == name]
    return [event["data"]["change"] for event in mine if event["type"] == "dev.laycan.outage.planned.v1"]


def made_plans(year: Year) -> int:
    return year.operator.log.read_text().count(": plan ") + year.operator.log.read_text().count("] plan ")


def clear_of(year: Year, nodes: list[str], start: str, end: str) -> bool:
    """Nothing is bound to these nodes then."""
    rows = [row for name in (*SOLD, "after") for row in bound(year)[name]]
    return not any(node in nodes and a < end and start < b for node, a, b in rows)


def test_eight_nodes_are_blocked_and_nothing_moves(year: Year) -> None:
    """Two lots short, and whose; what would do instead; nobody hears of it."""
    before, eight = bound(year), serving(year, 8)
    announce(year, "eight", eight, "2027-01-12T02:00:00Z", "2027-01-12T06:00:00Z")
    status = judged(year, "eight")
    kind, text = words(status)
    assert (kind, status["verdict"], status["lotsShort"]) == ("Blocked", "Blocked", 2)
    assert "2 lots short from 2027-01-12T02:00:00Z to 2027-01-12T06:00:00Z: desk/c" in text
    assert "spare nodes needed: 2; it is not planned, and nothing moves" in text
    assert "shift it after 2027-02-03T00:00:00Z, make it two halves, one after the other (AtRisk)" in text
    plans = made_plans(year)
    year.age.set(year.age.now + 10)
    until("all is planned thoroughly", lambda: made_plans(year) > plans)
    assert bound(year) == before
    assert not any(told(year, name) for name in SOLD)
    year.admin.delete(path("eight"))


def test_halves_are_at_risk_and_go_ahead_when_that_is_accepted(year: Year) -> None:
    """2 spares for four hours: 3.8e-3. With acceptRisk those on them are told, and moved before it begins."""
    before, eight = bound(year), serving(year, 8)
    halves = {"first": (eight[:4], "2027-01-12T02:00:00Z", "2027-01-12T06:00:00Z")}
    halves |= {"second": (eight[4:], "2027-01-12T06:00:00Z", "2027-01-12T10:00:00Z")}
    for name, half in halves.items():
        announce(year, name, *half)
    for name in halves:
        status = judged(year, name)
        kind, text = words(status)
        assert (kind, status["lotsShort"], status["shortfallProbabilityPpm"]) == ("AtRisk", 0, 3_900)
        assert "3900 ppm, the target 100 ppm, 2 spare nodes left" in text
        assert "or set spec.acceptRisk: true" in text
    assert bound(year) == before
    for name in halves:
        year.admin.patch(path(name), {"spec": {"acceptRisk": True}})
    for name, (nodes, start, end) in halves.items():
        until(f"{name} is clear", partial(clear_of, year, nodes, start, end))
        assert words(judged(year, name))[1].startswith("RiskAccepted: ")
    touched = [name for name in SOLD if {node for node, _, _ in before[name]} & set(eight)]
    for name in touched:
        until(f"{name} hears of it", partial(told, year, name))
        assert all(each["covered"] is True for each in told(year, name))
    assert not any(year.condition(name, "AtRisk").startswith("True PoolShort") for name in SOLD)


def test_what_the_moves_cost(year: Year) -> None:
    """Through both halves, with the clock where something happens: make before break, so nobody is short of a second."""
    year.age.set("2027-01-03T23:50:00Z")
    year.age.set(START)
    for name in SOLD:
        until(f"{name} is delivering", partial(year.complete, name))
    for hour in ("01:50", "02:00", "05:50", "06:00", "10:00"):
        year.age.set(f"2027-01-12T{hour}:00Z")
        for name in SOLD:
            until(f"{name} is complete at {hour}", partial(year.complete, name))
    year.age.set("2027-01-12T12:00:00Z")
    for name in SOLD:
        until(f"{name} is metered", lambda name=name: year.status(name)["meter"]["until"] > "2027-01-12T11:50:00Z")  # type: ignore[misc]
        counted = year.quantities(name)
        moved = told(year, name)
        assert counted.get("shortfall", 0) <= INTERVAL * sum(each["gpus"] for each in moved)
        assert counted.get("shortfall", 0) == 0
        assert counted["delivered"] + counted.get("excused", 0) == counted["contracted"]


def test_after_the_contracts_it_is_covered(year: Year) -> None:
    """All eight at once, the node of the one contract that runs then among them: it is told that it is covered, and moved."""
    (row,) = bound(year)["after"]
    eight = [row[0], *[machine.name for machine in machines("atp", 64) if machine.name != row[0]][:7]]
    window = "2027-02-04T02:00:00Z", "2027-02-04T06:00:00Z"
    announce(year, "shifted", eight, *window)
    status = judged(year, "shifted")
    assert (words(status)[0], status["lotsShort"]) == ("Covered", 0)
    until("it is clear", partial(clear_of, year, eight, *window))
    (change,) = until("it is told", lambda: told(year, "after"))
    assert (change["covered"], change["window"]) == (True, {"start": window[0], "end": window[1]})
    assert year.condition("after", "AtRisk") == ""


def test_a_retirement_says_what_it_breaks_and_from_when(year: Year) -> None:
    """Eight nodes go on 01-25, while 58 are sold: a fact, planned as it is, and told as not covered."""
    eight = serving(year, 8)
    announce(year, "retired", eight, "2027-01-25T00:00:00Z", None, kind="Retirement")
    status = judged(year, "retired")
    kind, text = words(status)
    assert (kind, status["lotsShort"]) == ("Blocked", 2)
    assert "2 lots short from 2027-01-25T00:00:00Z to 2027-02-03T00:00:00Z" in text
    assert "it is a fact all the same" in text
    until("nothing is bound there", partial(clear_of, year, eight, "2027-01-25T00:00:00Z", END))
    risky = until("somebody is at risk", lambda: [n for n in SOLD if year.condition(n, "AtRisk") == "True OutagePlanned"])
    heard = [each for name in SOLD for each in told(year, name) if each["type"] == "Retirement"]
    assert heard
    assert all(each["covered"] is False for each in heard)
    year.admin.delete(path("retired"))
    for name in risky:
        until(f"{name} is not at risk of that any more", lambda name=name: "OutagePlanned" not in year.condition(name, "AtRisk"))  # type: ignore[misc]


def test_a_failure_is_counted_once(year: Year) -> None:
    """An idle node is lost, the operator dies and comes back, and so does the node: one failure, one repair, of as long as it took."""
    year.age.add(machines("atp", 65)[64:])
    idle, begun = "atp64", year.age.now
    year.lost(idle)
    year.age.set(begun + 60)
    until("its failure is counted", lambda: recorded(year)["failures"] == 1)
    assert recorded(year)["down"] == [{"node": idle, "since": format_time(begun)}]
    year.operator.kill()
    year.age.set(begun + 7200)
    year.operator.start()
    year.back(idle)
    year.age.set(begun + 4 * 3600)
    until("its repair is counted", lambda: recorded(year)["repairs"] == 1)
    found = recorded(year)
    assert (found["failures"], found["down"]) == (1, [])
    assert found["repairSeconds"] == 7200 + HYSTERESIS
    assert found["nodeSeconds"] > 63 * 4 * 3600


def recorded(year: Year) -> Object:
    return dict(year.admin.get(f"{GROUP}/computeproducts/atp")["status"]["reliability"])
