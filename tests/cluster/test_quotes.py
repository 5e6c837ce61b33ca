"""Scenario 2: a desk asks before it sells. The numbers are those of reserve.md's formula, answered by a real operator through the API.

64 nodes, of which 57 are committed: one more can be promised at 6.3e-5, three would come to 1.1e-2, and the target is 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane.api import Object
from controlplane.waiting import until
from laycan.resources.times import format_time, parse_time
from tests.cluster.operator import contract
from tests.cluster.year import END, ENDPOINT, PRICE, START, Year, january, machines

pytestmark = pytest.mark.xdist_group("quotes")

VALID_SECONDS = 600
LATER = format_time(parse_time(END) + 30 * 86_400)


@pytest.fixture(scope="module")
def year(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """Grade `atp` has the target, `last` two nodes and no target."""
    with january(tools, tmp_path_factory.mktemp("quotes")) as made:
        made.age.add([*machines("atp", 64), *machines("last", 2)])
        made.admin.patch(ENDPOINT, {"spec": {"quote": {"validitySeconds": VALID_SECONDS, "maxHeldGpus": 64}}})
        interruption = {"noticeSeconds": 600, "maxHours": 72}
        made.offer("atp", target={"shortfallPpm": 100}, interruption=interruption)
        made.offer("last")
        made.trade("sold", "atp", 57 * 8)
        until("57 nodes are committed", lambda: made.phase("sold") == "Accepted")
        yield made


def ask(year: Year, name: str, grade: str, gpus: int, **more: Any) -> Object:
    """The answer to a quote, as it stands in the status."""
    made = contract(name, START, END, gpus=gpus, price=PRICE, **more)
    made["spec"] |= {"intent": "Quote", "exchangeRef": {"name": "gcx"}}
    made["spec"]["terms"]["productRef"]["name"] = grade
    year.admin.create(made)
    until(f"{name} is answered", lambda: year.phase(name) == "Quoted")
    return dict(year.status(name)["offer"])


def confirm(year: Year, name: str, grade: str, gpus: int, of: str = "", **more: Any) -> None:
    """A Firm contract in the same window, which may name a quote."""
    made = contract(name, START, END, gpus=gpus, price=PRICE, **more)
    made["spec"] |= {"exchangeRef": {"name": "gcx"}} | ({"quoteRef": {"name": of}} if of else {})
    made["spec"]["terms"]["productRef"]["name"] = grade
    year.admin.create(made)


def decided(year: Year, name: str) -> bool:
    return year.phase(name) in ("Accepted", "Rejected")


def test_three_nodes_more_are_too_many_and_the_offer_says_what_would_do(year: Year) -> None:
    """One node Firm, three Interruptible, or three from the day on which the contract ends."""
    offer = ask(year, "three", "atp", 24)
    assert (offer["promise"], offer["held"]) == ("Partial", False)
    assert offer["shortfallProbabilityPpm"] == 11_192
    found = {(a["gpus"], a["class"], a["start"], a["end"]) for a in offer["alternatives"]}
    assert {(8, "Firm", START, END), (24, "Interruptible", START, END), (24, "Firm", END, LATER)} <= found
    reason = year.status("three")["reason"]
    assert reason["code"] == "NoCapacity"
    assert "11192 ppm" in reason["message"]
    assert "the target is 100 ppm (proved)" in reason["message"]
    told = until("the exchange has the offer", lambda: year.changes("three", "contract.quoted"))
    assert told[0]["offer"]["promise"] == "Partial"


def test_a_full_promise_is_held_and_taken_up_by_the_contract_that_names_it(year: Year) -> None:
    """Somebody who comes meanwhile is refused for the same node; the quote ends with the contract."""
    offer = ask(year, "one", "atp", 8)
    assert (offer["promise"], offer["held"], offer["spareNodes"]) == ("Full", True, 6)
    assert offer["shortfallProbabilityPpm"] == 63
    assert offer["validUntil"] == format_time(year.age.now + VALID_SECONDS)
    confirm(year, "meanwhile", "atp", 8)
    until("the other is decided", partial(decided, year, "meanwhile"))
    assert year.status("meanwhile")["reason"]["code"] == "NoCapacity"
    confirm(year, "taker", "atp", 8, of="one")
    until("it is accepted", lambda: year.phase("taker") == "Accepted")
    until("the quote is over", lambda: year.phase("one") == "Expired")
    told = until("the exchange knows", lambda: year.changes("one", "contract.expired"))
    assert told[0]["cause"] == "TakenUp"


def test_a_hold_ends_a_second_after_its_last_second(year: Year) -> None:
    """Until then its node is nobody else's, from then on the first one's who comes."""
    offer = ask(year, "held", "last", 16)
    assert (offer["promise"], offer["held"]) == ("Full", True)
    year.age.set(offer["validUntil"])
    confirm(year, "too-early", "last", 8)
    until("it is refused", lambda: year.phase("too-early") == "Rejected")
    assert year.phase("held") == "Quoted"
    year.age.set(parse_time(offer["validUntil"]) + 1)
    until("it lapses", lambda: year.phase("held") == "Expired")
    confirm(year, "first", "last", 8)
    until("the node is free", lambda: year.phase("first") == "Accepted")


def test_of_two_that_race_for_the_last_node_exactly_one_has_it(year: Year) -> None:
    """Both name the quote that holds it."""
    assert ask(year, "last-one", "last", 8)["held"]
    for name in ("racer-a", "racer-b"):
        confirm(year, name, "last", 8, of="last-one")
    for name in ("racer-a", "racer-b"):
        until(f"{name} is decided", partial(decided, year, name))
    assert sorted(year.phase(name) for name in ("racer-a", "racer-b")) == ["Accepted", "Rejected"]
