"""Scenario 9 end to end: an exchange that is away for hours and days, forgets, and wants no more; and an operator that is killed meanwhile.

Timers are real here, and the contracts' clock is not. What needs hours of retries is tested on a loop whose time leaps, with the same
sender: tests/laycan/events/test_outage.py (`test_six_hours_of_503`, `test_retry_after` with 120 s, `test_a_receiver_that_lost_some`
with 412 to 415), tests/laycan/events/test_sender.py (410), tests/laycan/events/test_kill.py (a kill at each step).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controlplane.waiting import until
from laycan.ledger.sqlite import open_log
from laycan.resources.times import parse_time
from tests.cluster.year import ENDPOINT, Year, january, machines
from tests.laycan.events.exchange import Exchange, answer

pytestmark = pytest.mark.xdist_group("outages")

EIGHT = [f"c{i}" for i in range(8)]
ALL = [*EIGHT, "later"]
BEGIN, OVER = "2027-01-03T18:00:00Z", "2027-01-20T00:00:00Z"


@contextmanager
def away(exchange: Exchange, *, silent: bool = False) -> Iterator[None]:
    """It answers 503, or hangs up."""

    async def fault(request: web.Request, handler: Any) -> web.StreamResponse:
        exchange.faults.append(fault)
        if silent:
            assert request.transport is not None
            request.transport.close()
        return await answer(503)(request, handler)

    exchange.faults[:] = [fault]
    try:
        yield
    finally:
        exchange.faults.clear()


@contextmanager
def no_room(log: Path) -> Iterator[None]:
    """Somebody else holds the log: statuses are written, and nothing is said."""
    with closing(sqlite3.connect(log, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        yield
        rival.execute("ROLLBACK")


def logged(year: Year) -> list[str]:
    """Ids of what the log holds."""
    log = open_log(year.log, read_only=True)
    try:
        return [entry.id for entry in log.entries(-1, 10_000)]
    finally:
        log.close()


def told(ids: list[str]) -> list[str]:
    """Without the daily statements."""
    return [each for each in ids if not each.startswith("statement/")]


def killed(year: Year) -> None:
    """As by the kernel; and another one starts."""
    year.operator.kill()
    year.operator.start()


def arrived(year: Year) -> list[str]:
    """Ids as the exchange took them, each once."""
    return [event["id"] for event in year.exchange.ledger.events]


def all_arrived(year: Year) -> bool:
    """Every entry of the log, in the order of each contract (`changes` looks at that), with no number left out."""
    found, heard = logged(year), year.exchange.ledger
    assert len(set(arrived(year))) == len(arrived(year))
    assert (heard.gaps, heard.disorder, heard.altered, year.exchange.store.alarms()) == (0, 0, 0, [])
    return set(arrived(year)) == set(found) and year.exchange.store.have == len(found) - 1


def six_hours(year: Year) -> None:
    """37 events while the endpoint answers 503; the operator is killed before the log has the last of them, and another one tells all."""
    with away(year.exchange):
        for name in EIGHT:
            year.trade(name, "out", 8, BEGIN, OVER)
        for name in EIGHT:
            until(f"{name} is accepted", lambda name=name: year.phase(name) == "Accepted")  # type: ignore[misc]
        year.age.set("2027-01-03T17:50:00Z")
        year.age.set(BEGIN)
        for name in EIGHT:
            until(f"{name} is delivering", partial(year.complete, name))
        year.lost(year.on("c0", 0))
        until("it is told", partial(year.interrupted, "c0"))
        year.age.set("2027-01-03T18:00:40Z")
        until("there is no other node", lambda: year.condition("c0", "AtRisk").startswith("True"))
        year.age.set("2027-01-03T18:05:01Z")
        until("it is short", lambda: year.condition("c0", "Shortfall") == "True Open")
        until("all that is in the log", lambda: len(told(logged(year))) == 35)
        with no_room(year.log):
            year.trade("later", "out", 8, "2027-01-24T00:00:00Z", "2027-01-25T00:00:00Z")
            until("it is accepted", lambda: year.phase("later") == "Accepted")
            assert len(year.status("later")["outbox"]) == 2
            year.operator.kill()
        assert len(told(logged(year))) == 35
        year.operator.start()
        until("the next one has found the rest", lambda: len(told(logged(year))) == 37)
        assert arrived(year) == []
    until("all has arrived", partial(all_arrived, year))
    assert len(told(arrived(year))) == 37
    assert year.news("c0")[2:] == ["contract.delivering", "delivery.started", "delivery.interrupted", "risk.raised", "shortfall.opened"]
    assert year.news("later") == ["contract.received", "contract.accepted"]
    assert year.exchange.ledger.bad_signatures == 0, "timestamps are those of the attempts"
    stamps = {a.headers["webhook-timestamp"] for a in year.exchange.events if a.id == arrived(year)[0]}
    assert len(stamps) > 1, "and not those of the first ones"


def forgetful(year: Year) -> None:
    """It says that it has the log but for the last four: they come again, and then no more."""
    exchange, before, end = year.exchange, len(year.exchange.events), len(logged(year))
    exchange.says = lambda arrival: {"have": end - 5} if len(exchange.events) == before else None
    until("they come again", lambda: len(exchange.events) == before + 4)
    assert sorted(arrival.index for arrival in exchange.events[before:]) == [end - 4, end - 3, end - 2, end - 1]
    assert exchange.ledger.duplicates >= 4
    assert all_arrived(year)


def no_more(year: Year) -> None:
    """410 pauses the endpoint, whatever happens; when somebody has changed it, all that happened is told."""
    year.exchange.faults[:] = [answer(410)]
    until("it is paused", lambda: _reachable(year) == "False Gone")
    requests = len(year.exchange.arrivals)
    year.age.add(machines("out", 1, prefix="fresh"))
    until("c0 is mended", partial(year.complete, "c0"))
    until("that is in the log", lambda: len(told(logged(year))) == sum(year.status(name)["ledger"]["sequence"] for name in ALL) > 37)
    assert len(year.exchange.arrivals) == requests
    year.admin.patch(ENDPOINT, {"metadata": {"annotations": {"resumed": "2027-01-03"}}})
    until("all has arrived", partial(all_arrived, year))
    assert {"delivery.restored", "shortfall.cured", "makegood.owed"} <= set(year.news("c0"))


def _reachable(year: Year) -> str:
    found = year.admin.get(ENDPOINT).get("status", {}).get("conditions", ())
    return next((f"{c['status']} {c['reason']}" for c in found if c["type"] == "Reachable"), "")


def five_days(year: Year) -> None:
    """The exchange hangs up for five days; the operator is killed twice; then all receipts of those days are there, and chained."""
    with away(year.exchange, silent=True):
        for day in range(4, 10):
            year.age.set(f"2027-01-0{day}T00:05:00Z")
            made = partial(_has_receipts, year, 8 * (day - 3))
            until("the day's receipts are made", made, seconds=90)  # the former process may hold the log for a moment: then they wait 30 s
            if day in (6, 9):
                killed(year)
        assert year.receipts("c1") == []
    until("all has arrived", partial(all_arrived, year))
    for name in EIGHT:
        said = year.receipts(name)
        assert [receipt["sequence"] for receipt in said] == [1, 2, 3, 4, 5, 6]
        assert [receipt["quantities"]["contractedGpuSeconds"] for receipt in said] == [8 * 6 * 3600, *[8 * 86_400] * 5]
    assert parse_time(said[-1]["period"]["end"]) == parse_time("2027-01-09T00:00:00Z")
    verdict = year.verdict(*(year.export(name) for name in EIGHT))
    assert verdict.code == 0, verdict.lines


def _has_receipts(year: Year, count: int) -> bool:
    """Whether the contracts have had so many together."""
    return bool(sum(year.status(name).get("receipts", {}).get("sequence", 0) for name in EIGHT) == count)


def test_scenario_nine(tools: dict[str, Path], tmp_path: Path) -> None:
    """One exchange, one trouble after the other; what it has in the end is the operator's log, whole and in order."""
    with january(tools, tmp_path) as year:
        year.age.add(machines("out", 8))
        year.offer("out")
        for trouble in (six_hours, forgetful, no_more, five_days):
            trouble(year)
