"""Scenarios 1, 3, 5 and 12 (d), (e): contracts of thirty days, counted, told and proven to the GPU-second.

One timeline; each scenario has a product of its own, so that none takes the other's spare.

Scenario 12's other attacks need a dishonest operator or exchange, and are tested where one can be played, with their exit codes:
(a) a reading rewritten, 5: tests/laycan_verify/test_amounts.py, `TestReadings.test_a_reading_rewritten`, and below on this evidence;
(b) two histories, 4: tests/laycan_verify/test_steps.py, `test_two_histories` and `test_a_log_that_did_not_only_grow`; the exchange
    refuses to cosign: tests/laycan/events/test_kit.py, `test_an_operator_that_rewrites_its_log`;
(c) a device sold twice, 6: tests/laycan_verify/test_amounts.py, `TestDoubleDelivery`; below, that honest contracts pass that step;
(f) a webhook replayed after six minutes: tests/laycan/events/test_signatures.py (the stock verifier), and
    tests/examples/exchange/test_genuine.py (the kit).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from controlplane.api import Object
from controlplane.waiting import until
from demo.evidence import other
from laycan.resources.times import parse_time
from tests.cluster.operator import owners
from tests.cluster.year import END, START, WHOLE, Year, counted, january, machines

pytestmark = pytest.mark.xdist_group("scenarios")

SOLD = ("plain", "spare", "rack", "silent")
DAY = 64 * 86_400  # GPU-seconds


@dataclass
class Seen:
    """What is asserted later, and was to be seen then only."""

    before: dict[int, str] = field(default_factory=dict)  # lot of `spare` -> its node
    after: dict[int, str] = field(default_factory=dict)
    spare: str = ""
    open_before_cure: str = ""
    skewed: tuple[float, int, int] = (-1, -1, -1)  # the metric; receipts of `silent`, and of `plain`
    exported: dict[str, Path] = field(default_factory=dict)


def sell_and_deliver(year: Year) -> None:
    for grade in SOLD:
        year.sell(grade)
    for grade in SOLD:
        until(f"{grade} is accepted", lambda grade=grade: year.phase(grade) == "Accepted")  # type: ignore[misc]
    year.age.set("2027-01-03T23:50:00Z")
    until("their nodes are closed", lambda: len(owners(year.admin)) == 32)
    year.age.set(START)
    for grade in SOLD:
        until(f"{grade} is delivering", partial(year.complete, grade))


def lose_a_gpu(year: Year, seen: Seen) -> None:
    """XID 79 on lot 3 at 13:02:10; the spare is there, and a stranger's pod on it takes until 13:05:40 to end."""
    seen.before = year.nodes("spare", 8)
    (seen.spare,) = {machine.name for machine in machines("spare", 9)} - set(seen.before.values())
    year.age.set("2027-01-10T13:02:00Z")
    year.linger(seen.spare, "beta")
    year.age.set("2027-01-10T13:02:12Z")
    year.xid_79(year.on("spare", 3), "2027-01-10T13:02:10Z")
    until("it is told", partial(year.interrupted, "spare"))
    until("the spare is given", partial(year.bound, "spare", seen.spare))
    year.age.set("2027-01-10T13:05:40Z")
    year.ended(seen.spare, "beta")
    until("access is back", partial(year.complete, "spare"))
    seen.after = year.nodes("spare", 8)


def lose_a_rack(year: Year, seen: Seen) -> None:
    """Four lots from 02:00; new nodes come at 09:00."""
    year.age.set("2027-01-15T02:00:00Z")
    for lot in range(4):
        year.lost(year.on("rack", lot))
    year.age.set("2027-01-15T02:01:00Z")
    until("it is told", partial(year.interrupted, "rack"))
    year.age.set("2027-01-15T02:05:01Z")
    until("it is short", lambda: year.condition("rack", "Shortfall") == "True Open")
    year.age.set("2027-01-15T05:59:59Z")
    seen.open_before_cure = year.condition("rack", "Shortfall")
    year.age.set("2027-01-15T06:00:00Z")
    until("cure has expired", lambda: year.condition("rack", "Shortfall") == "True CureExpired")
    year.age.set("2027-01-15T09:00:00Z")
    year.age.add(machines("rack", 4, prefix="fresh"))
    until("all is back", partial(year.complete, "rack"), seconds=60)


def silence_agents(year: Year) -> None:
    """All of a contract's agents, from 14:00 to 14:25; what they read before and after speaks for delivery."""
    year.age.set("2027-01-20T14:00:00Z")
    mine = [year.age.machines[machine.name] for machine in machines("silent", 8)]
    for machine in mine:
        machine.silent = True
    year.age.set("2027-01-20T14:10:30Z")
    until("it is told", lambda: year.condition("silent", "Shortfall") == "True Open")
    gap = {"start": "2027-01-20T14:00:00Z", "end": "2027-01-20T14:25:00Z", "sameBoot": True, "uptimeSeconds": 1500}
    for machine in mine:
        machine.silent, machine.missed = False, [{**gap, "leastWatts": 90, "mostWatts": 640}]
    year.age.set("2027-01-20T14:25:00Z")
    until("it is heard again", lambda: year.condition("silent", "Shortfall") == "False Cured")


def skew_a_clock(year: Year, seen: Seen) -> None:
    """One node's clock is 30 s ahead when the day ends, and is put right later."""
    year.age.set("2027-01-25T12:00:00Z")
    until("there are receipts up to here", lambda: len(year.receipts("silent")) == len(year.receipts("plain")) == 21)
    year.age.machines["silent0"].clock_offset = 30_000
    year.age.set("2027-01-26T00:05:00Z")
    until("others have their receipts", lambda: len(year.receipts("plain")) == 22)
    until("it is said", lambda: year.operator.metrics()["laycan_receipts_current"] == 0)
    seen.skewed = year.operator.metrics()["laycan_receipts_current"], len(year.receipts("silent")), len(year.receipts("plain"))
    year.age.machines["silent0"].clock_offset = 0
    year.age.set("2027-01-26T00:06:00Z")
    until("they come", lambda: len(year.receipts("silent")) == 22)
    until("that is said too", lambda: year.operator.metrics()["laycan_receipts_current"] == 1)


def end(year: Year, seen: Seen) -> None:
    """One delivery is accepted by the exchange, the others are not disputed within the hour."""
    year.age.set(END)
    year.age.set(parse_time(END) + 600)
    for grade in SOLD:
        until(f"{grade} is delivered", lambda grade=grade: year.phase(grade) == "Delivered")  # type: ignore[misc]
    year.instruct("plain", "AcceptDelivery")
    year.settle("plain")
    assert year.phase("rack") == "Delivered"
    year.age.set(parse_time(END) + 2 * 3600)
    year.settle(*SOLD)
    seen.exported = {grade: year.export(grade) for grade in SOLD}


@pytest.fixture(scope="module")
def lived(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Year, Seen]]:
    """January 2027, played to its end."""
    with january(tools, tmp_path_factory.mktemp("scenarios")) as year:
        seen = Seen()
        year.age.add([each for grade in SOLD for each in machines(grade, 9 if grade == "spare" else 8)])
        sell_and_deliver(year)
        lose_a_gpu(year, seen)
        lose_a_rack(year, seen)
        silence_agents(year)
        skew_a_clock(year, seen)
        end(year, seen)
        yield year, seen


@pytest.fixture
def year(lived: tuple[Year, Seen]) -> Year:
    return lived[0]


@pytest.fixture
def seen(lived: tuple[Year, Seen]) -> Seen:
    return lived[1]


@pytest.mark.parametrize("grade", SOLD)
def test_thirty_receipts(year: Year, seen: Seen, grade: str) -> None:
    """One for each day, chained, which add up to what the status says and to what was contracted; a stranger believes them."""
    said = year.receipts(grade)
    assert [receipt["sequence"] for receipt in said] == list(range(1, 31))
    assert [receipt["period"]["start"][:10] for receipt in said[::29]] == ["2027-01-04", "2027-02-02"]
    total = {key: sum(receipt["quantities"][key] for receipt in said) for key in said[0]["quantities"]}
    assert counted(total) == counted(said[-1]["cumulative"]) == year.quantities(grade)
    assert total["contractedGpuSeconds"] == WHOLE
    verdict = year.verdict(seen.exported[grade])
    assert (verdict.code, verdict.reason) == (0, "What was checked holds.")
    assert f"{grade}.json: 30 receipts tile {START} to {END}, 0 of them corrections" in verdict.lines
    assert f"{grade}.json: 30 receipts are entries of it, each seen by 1 witnesses or more" in verdict.lines


def test_plain_delivery(year: Year, seen: Seen) -> None:
    """Scenario 1: without a fault all is delivered, from the first second on, and the exchange holds the last word of it."""
    assert year.quantities("plain") == {"contracted": WHOLE, "delivered": WHOLE}
    assert year.status("plain")["handover"] == {"lateSeconds": 0, "interruptions": 0, "earlyStopSeconds": 0}
    uid, sequence = seen_uid(seen.exported["plain"]), year.status("plain")["ledger"]["sequence"]
    number, body = year.exchange.store.newest(uid)
    assert (number, json.loads(body)["type"]) == (sequence, "dev.laycan.contract.settled.v1")
    assert year.news("plain", "contract", "delivery", "shortfall", "makegood", "risk") == [
        "contract.received",
        "contract.accepted",
        "contract.delivering",
        "delivery.started",
        "contract.delivered",
        "contract.settled",
    ]


def seen_uid(bundle: Path) -> str:
    return str(json.loads(bundle.read_bytes())["contract"]["uid"])


def withheld(bundle: Object) -> None:
    del bundle["receipts"][16]


def flipped(bundle: Object) -> None:
    """One byte of what receipt 17 says: a digit, where it was signed."""
    event = json.loads(bundle["receipts"][16]["body"])
    envelope = event["data"]["change"]["envelope"]
    envelope["payload"] = envelope["payload"][:400] + other(ord(envelope["payload"][400])).decode() + envelope["payload"][401:]
    bundle["receipts"][16]["body"] = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def rewritten(bundle: Object) -> None:
    """Another reading than the receipt was computed from."""
    next(iter(bundle["readings"].values()))[0]["class"] = "CurtailedByRight"


@pytest.mark.parametrize(("change", "code"), [(withheld, 3), (flipped, 2), (rewritten, 5)], ids=["withheld", "flipped", "rewritten"])
def test_what_is_not_believed(year: Year, seen: Seen, change: Callable[[Object], None], code: int) -> None:
    """Scenario 1: receipt 17 withheld 3, one byte flipped 2. Scenario 12 (a): a reading rewritten 5."""
    bundle = json.loads(seen.exported["plain"].read_bytes())
    change(bundle)
    (copy := year.folder / "copy.json").write_text(json.dumps(bundle))
    verdict = year.verdict(copy)
    assert verdict.code == code
    assert verdict.reason.startswith(f"REFUSED ({code}): copy.json")


def test_all_together(year: Year, seen: Seen) -> None:
    """Scenario 12 (c), the honest case: of all contracts of the exchange together no device is delivered twice in one second."""
    verdict = year.verdict(*seen.exported.values())
    assert verdict.code == 0
    assert "devices, none of them delivered twice in one second" in str(verdict.lines)
    assert year.exchange.store.alarms() == []


def test_a_hot_spare(year: Year, seen: Seen) -> None:
    """Scenario 3: from the last good sample to access on the spare 210 s: 1,680 GPU-seconds of grace, no shortfall, no other lot moved."""
    assert year.quantities("spare") == {"contracted": WHOLE, "delivered": WHOLE - 1_680, "excused": 1_680}
    assert year.status("spare")["handover"]["rebindSeconds"] == 210
    assert seen.after == seen.before | {3: seen.spare}
    assert year.condition("spare", "Shortfall") == ""
    assert year.news("spare", "delivery", "shortfall", "makegood") == ["delivery.started", "delivery.interrupted", "delivery.restored"]
    day = year.receipts("spare")[6]
    span = {"start": "2027-01-10T13:02:10Z", "end": "2027-01-10T13:05:40Z"}
    assert day["incidents"] == [{"class": "Excused:Grace", **span, "lots": "3", "cause": "Xid79", "gpuSeconds": 1_680}]
    assert day["credit"] == {"amount": "0.00", "currency": "USD"}
    assert day["substitutions"] == []


def test_a_rack_without_replacement(year: Year, seen: Seen) -> None:
    """Scenario 5: four lots for seven hours: 806,400 GPU-seconds, $705.60; cure expired at 06:00 sharp, 99.5139 % available."""
    assert year.quantities("rack") == {"contracted": WHOLE, "delivered": WHOLE - 806_400, "shortfall": 806_400}
    assert round((WHOLE - 806_400) / WHOLE * 100, 4) == 99.5139
    assert seen.open_before_cure == "True Open"
    assert year.condition("rack", "Shortfall") == "False CuredLate"
    (expired,) = year.changes("rack", "shortfall.cure_expired")
    assert (expired["time"], expired["lots"]) == ("2027-01-15T06:00:00Z", [0, 1, 2, 3])
    day = year.receipts("rack")[11]
    span = {"start": "2027-01-15T02:00:00Z", "end": "2027-01-15T09:00:00Z"}
    assert day["incidents"] == [{"class": "Shortfall", **span, "lots": "0-3", "cause": "AgentSilent", "gpuSeconds": 806_400}]
    assert counted(day["quantities"]) == {"contracted": DAY, "delivered": DAY - 806_400, "shortfall": 806_400}
    assert {receipt["credit"]["amount"] for receipt in year.receipts("rack")[11:]} == {"705.60"}


def test_silent_agents(year: Year) -> None:
    """Scenario 12 (d): of 96,000 GPU-seconds without samples 27,648 are estimated (0.5 % of the day), 68,352 are short."""
    assert year.quantities("silent") == {"contracted": WHOLE, "delivered": WHOLE - 68_352, "estimated": 27_648, "shortfall": 68_352}
    day = year.receipts("silent")[16]
    assert counted(day["quantities"]) == {"contracted": DAY, "delivered": DAY - 68_352, "estimated": 27_648, "shortfall": 68_352}
    assert [each["class"] for each in day["incidents"]] == ["Shortfall"]
    assert day["credit"] == {"amount": "59.81", "currency": "USD"}  # 68,352 / 3,600 x 2.10 x 1.5


def test_a_skewed_clock(seen: Seen) -> None:
    """Scenario 12 (e): receipts of a contract on a node whose clock is 30 s off wait, the metric says so, and others go on."""
    assert seen.skewed == (0, 21, 22)
