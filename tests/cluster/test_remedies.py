"""Scenarios 4 and 6: an Interruptible contract gives way to a Firm one, what was short is made good, and another grade stands in.

One timeline; each scenario has products of its own. The seconds of scenario 4 are the operator's own: a node that is NotReady for the
20 s of its product has failed; the plan that follows at once finds no free node, and the thorough one 5 s later takes B's. A node that
is back is given to somebody when it was well for the hysteresis (900 s): it returns for B at 13:00:00 when its power does at 12:45:00.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from controlplane.waiting import until
from laycan.resources.times import parse_time
from tests.cluster.operator import owners
from tests.cluster.year import END, START, WHOLE, Year, counted, january, machines

pytestmark = pytest.mark.xdist_group("remedies")

CONTRACTS = ("firm", "b", "graded", "worse")
SOLD_16 = WHOLE // 4  # GPU-seconds of 16 GPUs
TOLD = ("contract", "delivery", "shortfall", "makegood")


@dataclass
class Seen:
    """What is asserted later, and was to be seen then only."""

    before: dict[int, str] = field(default_factory=dict)  # lot of C -> its node
    after: dict[int, str] = field(default_factory=dict)
    taken: str = ""  # B's node
    used: dict[str, int] = field(default_factory=dict)  # B's quantities when its node had returned
    exported: dict[str, Path] = field(default_factory=dict)


def sell(year: Year) -> None:
    """`firm` is C, of 64 GPUs beside B's 8, on nine nodes; `graded` has an H200 as a spare, and `worse` an A100."""
    year.buyer("bravo")
    right = {"class": "Interruptible", "interruption": {"noticeSeconds": 600, "maxHours": 72}}
    year.sell("firm", 64, {"detection": {"seconds": 20}})
    year.trade("b", "firm", 8, firmness=right, handover={"namespace": "bravo"})
    for grade in ("h200", "a100"):
        year.offer(grade)
    substitution = {"policy": "EquivalentGrade"}
    year.sell("graded", 16, {"equivalents": [{"product": "h200", "costPerGpuHour": "1.00"}]}, substitution=substitution)
    year.sell("worse", 16, substitution=substitution)
    for name in CONTRACTS:
        until(f"{name} is accepted", lambda name=name: year.phase(name) == "Accepted")  # type: ignore[misc]
    year.age.set("2027-01-03T23:50:00Z")
    until("their nodes are closed", lambda: len(owners(year.admin)) == 13)
    year.age.set(START)
    for name in CONTRACTS:
        until(f"{name} is delivering", partial(year.complete, name))


def curtail(year: Year, seen: Seen) -> None:
    """The node of C's lot 3 loses power at 13:00:00, and there is no spare; B has notice, and its pod takes until 13:13:30 to end."""
    seen.before, seen.taken = year.nodes("firm", 8), year.on("b", 0)
    year.age.set("2027-01-10T13:00:00Z")
    year.linger(seen.taken, "bravo")
    year.lost(seen.before[3])
    until("it is told", partial(year.interrupted, "firm"))
    year.age.set("2027-01-10T13:00:20Z")
    until("no free node is found", lambda: year.condition("firm", "AtRisk").startswith("True"))
    year.age.set("2027-01-10T13:00:25Z")
    until("B has its notice", lambda: year.condition("b", "Curtailed") == "True Noticed")
    year.age.set("2027-01-10T13:05:01Z")
    until("it is short", lambda: year.condition("firm", "Shortfall") == "True Open")
    until("B's lot is to be cleared", partial(year.ending, seen.taken, "bravo"))
    year.age.set("2027-01-10T13:10:25Z")
    until("B is curtailed", lambda: year.condition("b", "Shortfall") == "True Open")
    year.age.set("2027-01-10T13:13:30Z")
    year.ended(seen.taken, "bravo")
    until("C has all again", partial(year.complete, "firm"))
    until("what is owed to it is told", lambda: year.news("firm", "makegood"))
    seen.after = year.nodes("firm", 8)


def give_back(year: Year, seen: Seen) -> None:
    """C's old node is back at 12:45:00 the next day, and given to B at 13:00:00."""
    year.instruct("firm", "ElectMakeGood", makeGood={"mode": "Extend"})
    year.age.set("2027-01-11T12:45:00Z")
    until("the day's receipts are there", lambda: len(year.receipts("b")) == 7)
    year.back(seen.before[3])
    year.age.set("2027-01-11T13:00:00Z")
    until("B has a node again", lambda: year.on("b", 0) == seen.before[3])
    until("that is told", lambda: year.condition("b", "Curtailed") == "False Ended")


def substitute(year: Year) -> None:
    """`graded` and `worse` lose a node each, at 10:00:00; an H200 is free, and an A100; a node of the grade comes at 12:00:00."""
    year.age.set("2027-01-12T10:00:00Z")
    broken = {name: year.on(name, 1) for name in ("graded", "worse")}
    year.age.set("2027-01-12T10:00:12Z")
    for node in broken.values():
        year.xid_79(node, "2027-01-12T10:00:00Z")
    for name in broken:
        until(f"it is told of {name}", lambda name=name: "delivery.interrupted" in year.news(name))  # type: ignore[misc]
    until("an H200 stands in", partial(year.complete, "graded"))
    year.age.set("2027-01-12T10:05:01Z")
    until("it is short", lambda: year.condition("worse", "Shortfall") == "True Open")
    year.age.set("2027-01-12T12:00:00Z")
    year.age.add(machines("worse", 1, prefix="fresh"))
    until("it is cured", partial(year.complete, "worse"))


def make_good(year: Year, seen: Seen) -> None:
    """C's window is over and metered at 00:10; what is owed is delivered from 00:15 to 00:30 on a node that is free by now."""
    year.age.set(END)
    year.age.set(parse_time(END) + 600)
    until("it is planned", lambda: any(b["start"] == "2027-02-03T00:15:00Z" for b in year.status("firm")["bindings"]))
    year.age.set(parse_time(END) + 900)
    until("the buyer has it", lambda: year.on("firm", 0))
    year.age.set(parse_time(END) + 2000)
    for name in CONTRACTS:
        until(f"{name} is delivered", lambda name=name: year.phase(name) == "Delivered")  # type: ignore[misc]
    year.age.set(parse_time(END) + 7200)
    year.settle(*CONTRACTS)
    seen.exported = {name: year.export(name) for name in CONTRACTS}


@pytest.fixture(scope="module")
def lived(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Year, Seen]]:
    """January 2027, played to its end."""
    with january(tools, tmp_path_factory.mktemp("remedies")) as year:
        seen, fleet_of = Seen(), {"firm": 9, "graded": 2, "h200": 1, "worse": 2, "a100": 1}
        year.age.add([each for grade, count in fleet_of.items() for each in machines(grade, count)])
        sell(year)
        curtail(year, seen)
        give_back(year, seen)
        substitute(year)
        make_good(year, seen)
        yield year, seen


@pytest.fixture
def year(lived: tuple[Year, Seen]) -> Year:
    return lived[0]


@pytest.fixture
def seen(lived: tuple[Year, Seen]) -> Seen:
    return lived[1]


@pytest.mark.parametrize("name", CONTRACTS)
def test_it_is_proven(year: Year, seen: Seen, name: str) -> None:
    """The receipts add up to what the status says, and a stranger believes them."""
    said = year.receipts(name)
    assert counted(said[-1]["cumulative"]) == year.quantities(name)
    assert year.verdict(seen.exported[name]).code == 0


def test_the_firm_contract_is_cured(year: Year, seen: Seen) -> None:
    """Scenario 4, C: 810 s are beyond grace: 6,480 GPU-seconds of shortfall, opened after 13:05:00 and cured, on B's node."""
    assert year.quantities("firm") == {"contracted": WHOLE, "delivered": WHOLE - 6_480, "shortfall": 6_480}
    assert year.status("firm")["handover"]["rebindSeconds"] == 810
    assert seen.after == seen.before | {3: seen.taken}
    times = [(each["type"], each["time"][11:19]) for each in year.changes("firm") if each["type"].startswith(TOLD)][4:-2]
    assert times == [
        ("delivery.interrupted", "13:00:00"),
        ("shortfall.opened", "13:05:01"),
        ("delivery.restored", "13:13:30"),
        ("shortfall.cured", "13:13:30"),
        ("makegood.owed", "13:13:30"),
        ("makegood.delivered", "00:33:20"),
    ]
    (incident,) = year.receipts("firm")[6]["incidents"]
    span = {"start": "2027-01-10T13:00:00Z", "end": "2027-01-10T13:13:30Z"}
    assert incident == {"class": "Shortfall", **span, "lots": "3", "cause": "AgentSilent", "gpuSeconds": 6_480}
    assert year.receipts("firm")[6]["credit"]["amount"] == "5.67"  # 1.8 GPU-hours x 2.10 x 1.5


def test_it_is_made_good(year: Year) -> None:
    """Scenario 4, C: 6,480 are owed; three whole intervals on one lot are 7,200, of which 720 are over-delivery: a credit of its own."""
    (owed,), (good,) = year.changes("firm", "makegood.owed"), year.changes("firm", "makegood.delivered")
    assert (owed["gpuSeconds"], owed["addedGpuSeconds"]) == (6_480, 6_480)
    assert (good["gpuSeconds"], good["owedGpuSeconds"], good["overDeliveredGpuSeconds"]) == (7_200, 6_480, 720)
    assert year.status("firm")["makeGood"] == {"owedGpuSeconds": 6_480, "deliveredGpuSeconds": 7_200, "mode": "Extend", "lots": 1}


def test_the_interruptible_contract_gave_way(year: Year) -> None:
    """Scenario 4, B: curtailed by right from its notice's end on, for 85,775 s: 23.83 of its 72 hours.

    The scenario has B served until then, and no shortfall for it. But the published order (contract.md 6, the objective of interfaces.md)
    puts what a Firm contract is owed (tier 1) before what an Interruptible one is owed beyond its right (tier 2): B's node is taken at
    once, and the 600 s of notice are a shortfall of B, 4,800 GPU-seconds. Its pod is told to go at 13:00:25, and is slow.
    """
    assert year.quantities("b") == {"contracted": WHOLE // 8, "delivered": WHOLE // 8 - 691_000, "curtailed": 686_200, "shortfall": 4_800}
    (notice,) = year.changes("b", "delivery.curtailed")
    times = notice["time"], notice["noticedAt"], notice["start"]
    assert times == ("2027-01-10T13:00:25Z", "2027-01-10T13:00:25Z", "2027-01-10T13:10:25Z")
    assert round(686_200 / 8 / 3600, 2) == 23.83
    assert year.news("b", *TOLD)[4:-2] == [
        "delivery.interrupted",
        "delivery.curtailed",
        "delivery.restored",  # of what is due to it, which is nothing
        "shortfall.opened",  # its time to cure stands still while nothing is due
        "delivery.interrupted",  # it is due again at 13:00:00, and there in the same second
        "delivery.restored",
        "delivery.restored",
        "shortfall.cured",
        "makegood.owed",
    ]
    incidents = [(each["class"], each["gpuSeconds"]) for receipt in year.receipts("b") for each in receipt["incidents"]]
    assert incidents == [("Shortfall", 4_800), ("CurtailedByRight", 311_800), ("CurtailedByRight", 374_400)]


def test_a_better_grade_stands_in(year: Year, seen: Seen) -> None:
    """Scenario 6: an H200 for an H100, told as a substitution; the day's receipt names both grades, and the terms stay as they were."""
    assert year.quantities("graded") == {"contracted": SOLD_16, "delivered": SOLD_16 - 96, "excused": 96}
    (told,) = year.changes("graded", "delivery.substituted")
    assert (told["products"], told["lots"], told["gpus"]) == (["graded", "h200"], [1], 16)
    assert "delivery.restored" not in year.news("graded")
    said, readings = year.receipts("graded"), json.loads(seen.exported["graded"].read_bytes())["readings"]
    assert [bool(receipt["substitutions"]) for receipt in said] == [False] * 8 + [True] * 22
    assert said[8]["substitutions"] == [
        {"lots": "1", "product": "h200", "start": "2027-01-12T10:00:12Z", "end": "2027-01-13T00:00:00Z"},
    ]
    assert {row["product"] for row in readings[said[8]["meter"]["rootSha256"]] if "product" in row} == {"graded", "h200"}
    assert {receipt["contract"]["termsDigest"] for receipt in said} == {year.status("graded")["termsDigest"]}
    assert {receipt["credit"]["amount"] for receipt in said} == {"0.00"}


def test_a_worse_grade_does_not(year: Year) -> None:
    """Scenario 6: an A100 is free all the time; the lot is short for two hours until a node of its own grade comes."""
    assert year.quantities("worse") == {"contracted": SOLD_16, "delivered": SOLD_16 - 57_600, "shortfall": 57_600}
    assert {each["product"] for binding in [year.status("worse")] for each in binding.get("bindings", [])} <= {"worse"}
    assert all(receipt["substitutions"] == [] for receipt in year.receipts("worse"))
    assert "a1000" not in owners(year.admin)
