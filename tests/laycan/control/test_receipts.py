"""Receipts of a contract's days: in order, without a gap, adding up, corrected where an outage is judged otherwise after midnight."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from laycan.control.receipts import Seal
from laycan.resources.times import format_time, parse_time
from laycan_verify.classes import Class, Stretch, Terms
from laycan_verify.classify import classify
from laycan_verify.merkle import root
from tests.laycan.control.desk import T0, Desk
from tests.laycan.control.test_status_agent import meter, reports

DAY = 86_400
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OUTAGE = tuple[int, int, int]


class Signer:
    key_id, public_key = "receipts-1", KEY.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return KEY.sign(data)


def seal(**more: Any) -> Seal:
    return Seal(Signer(), "oper-1", "sha256:" + "0" * 64, lambda exchange: b"salt of " + exchange.encode(), **more)


def desk(seconds: int = 2 * DAY + 3600, agents: bool = True, **more: Any) -> Desk:
    """Two lots on `a` and `b`, handed over, with receipts."""
    made = Desk(seconds=seconds, price={"amount": "2.10", "currency": "USD", "shortfallMultiplePpm": 1_500_000}, **more)
    made.seal = seal()
    made.nodes("a", "b", "spare")
    made.bind(T0 - 7000, ("a", T0, made.end), ("b", T0, made.end))
    made.at(T0 - 7000)
    made.hand_over("a", "b")
    for name in ("a", "b", "spare") if agents else ():
        meter(made, name, T0 - 40)
    made.at(T0 - 30)
    made.at(T0)
    return made


def receipts(made: Desk) -> list[dict[str, Any]]:
    """The predicates, with every signature and the chain checked."""
    found: list[dict[str, Any]] = []
    head = None
    for event in made.told:
        if event["type"] != "dev.laycan.receipt.issued.v1":
            continue
        envelope = event["data"]["change"]["envelope"]
        payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
        pae = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        (signature,) = envelope["signatures"]
        KEY.public_key().verify(base64.b64decode(signature["sig"]), pae)
        said = json.loads(payload)["predicate"]
        assert said["sequence"] == len(found) + 1
        assert said.get("previousReceiptDigest") == head
        head = "sha256:" + sha256(payload).hexdigest()
        found.append(said)
    return found


def readings(made: Desk, said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The readings behind a receipt, which are kept under their root."""
    assert made.seal is not None
    raw = json.loads(made.seal.kept[said["meter"]["rootSha256"]])
    leaves = [json.dumps(each, sort_keys=True, separators=(",", ":")).encode() for each in raw]
    assert root(leaves).hex() == said["meter"]["rootSha256"]
    assert len(raw) == said["meter"]["readings"]
    yield from raw


def recomputed(made: Desk, up_to: int) -> dict[Class, int]:
    """What `classify` makes of all readings, as a verifier does."""
    said = [each for each in receipts(made) if "corrects" not in each]
    stretches = [
        Stretch(each["lot"], parse_time(each["start"]), parse_time(each["end"]), Class(each["class"]), bool(each.get("estimated")))
        for one in said
        for each in readings(made, one)
    ]
    tolerance = made.world.products["h100"]["spec"]["tolerance"]
    terms = Terms(T0, made.end, 2, 8, tolerance["graceSeconds"], tolerance["graceCapPpm"])
    delivered = [s for s in stretches if s.cls is Class.DELIVERED]
    return dict(classify(delivered, terms, [s for s in stretches if s.cls is not Class.DELIVERED], up_to).gpu_seconds)


def check(made: Desk) -> list[dict[str, Any]]:
    """The latest receipts of all periods tile the window and add up to the status."""
    said = receipts(made)
    latest = {each["period"]["start"]: each for each in said}
    days = [latest[start] for start in sorted(latest)]
    edges = [T0, *(day for day in range(T0 + DAY, made.end, DAY)), made.end]
    assert [(d["period"]["start"], d["period"]["end"]) for d in days] == [(format_time(a), format_time(b)) for a, b in pairwise(edges)]
    for name in days[0]["quantities"]:
        assert sum(day["quantities"][name] for day in days) == made.status["quantities"].get(name, 0), name
        assert said[-1]["cumulative"][name] == made.status["quantities"].get(name, 0)
    for day in days:
        amounts = dict(day["quantities"])
        assert amounts.pop("estimatedGpuSeconds") <= amounts["deliveredGpuSeconds"]
        assert 2 * amounts["contractedGpuSeconds"] == sum(amounts.values())
    whole = recomputed(made, made.end)
    assert whole.get(Class.DELIVERED, 0) == made.status["quantities"]["deliveredGpuSeconds"]
    assert whole.get(Class.SHORTFALL, 0) == made.status["quantities"]["shortfallGpuSeconds"]
    return said


def quarter_hours(made: Desk, start: int, end: int, *names: str) -> None:
    """As `reports`, every quarter of an hour."""
    for now in range(start, end + 1, 900):
        reports(made, now, now, *names)


class TestPlain:
    def test_a_receipt_for_each_day(self) -> None:
        """Two days and an hour: three receipts, nothing but delivery, one reading for each lot and day, GPUs as commitments."""
        made = desk()
        quarter_hours(made, T0, made.end + 900, "a", "b")
        said = check(made)
        assert [each["meter"]["readings"] for each in said] == [2, 2, 2]
        assert said[0]["meter"] == {"kind": "agent", "readings": 2, "rootSha256": said[0]["meter"]["rootSha256"], "missedSamples": 0}
        assert said[0]["devices"]["count"] == 16
        first, _ = readings(made, said[0])
        assert first["devices"] == sorted(sha256(b"salt of desk/gcx" + f"GPU-a-{i}".encode()).hexdigest() for i in range(8))
        assert said[0]["credit"] == {"amount": "0.00", "currency": "USD"}
        assert said[0]["contract"]["due"] == {"start": format_time(T0), "end": format_time(made.end)}
        assert "receipts" not in made.status or "readings" not in made.status["receipts"]

    def test_before_it_is_settled(self) -> None:
        """The last receipt comes before `contract.settled`."""
        made = desk(seconds=7200)
        quarter_hours(made, T0, made.end + 3600, "a", "b")
        assert made.phase == "Settled"
        assert made.news.index("receipt.issued") < made.news.index("contract.settled")

    def test_without_agents(self) -> None:
        """The node is the verdict, the receipt says so, and no GPU is named."""
        made = desk(seconds=7200, agents=False)
        made.run(T0 + 1, made.end + 600)
        (said,) = check(made)
        assert (said["meter"]["kind"], said["devices"]["count"]) == ("node", 0)

    def test_nobody_signs(self) -> None:
        """Without a key there are no receipts, and nothing else changes."""
        made = desk(seconds=7200)
        made.seal = None
        quarter_hours(made, T0, made.end + 3600, "a", "b")
        assert made.phase == "Settled"
        assert receipts(made) == []

    def test_a_clock_that_is_not_to_be_trusted(self) -> None:
        """Receipts wait, delivery and its events go on; once the clock is right all come."""
        made, right = desk(), [False]
        made.seal = seal(trusted_clock=lambda endpoint, nodes: right[0])
        quarter_hours(made, T0, made.end + 3600, "a", "b")
        assert made.phase == "Delivered"
        assert receipts(made) == []
        right[0] = True
        made.at(made.end + 4000)
        assert len(check(made)) == 3

    def test_whose_clocks(self) -> None:
        """Asked about are the contract's exchange, and the nodes whose agents' word counts; without agents no node's."""
        for agents in (True, False):
            asked: list[tuple[str, set[str]]] = []

            def agree(endpoint: str, nodes: Any, asked: list[tuple[str, set[str]]] = asked) -> bool:
                asked.append((endpoint, set(nodes)))
                return True

            made = desk(seconds=7200, agents=agents)
            made.seal = seal(trusted_clock=agree)
            quarter_hours(made, T0, made.end + 900, *(("a", "b") if agents else ()))
            assert ("desk/gcx", {"a", "b"} if agents else set()) in asked
            assert {endpoint for endpoint, _ in asked} == {"desk/gcx"}

    def test_a_full_outbox(self) -> None:
        """A receipt waits for room, and none is lost."""
        made = desk(seconds=6 * DAY)
        made.deaf = True
        quarter_hours(made, T0, made.end + 3600, "a", "b")
        assert len(made.status["outbox"]) == 8
        made.deaf = False
        for second in range(12):
            made.at(made.end + 3700 + second)
        check(made)


class TestFaults:
    def outage(self, made: Desk, start: int, end: int) -> None:
        """Node `a` is NotReady in [start, end)."""
        quarter_hours(made, T0, start - 1, "a", "b")
        reports(made, start, start, "b")
        made.fail("a", at=start, heartbeat=start)
        made.at(start + 1)
        for now in range(start + 60, end, 60):
            reports(made, now, now, "a", "b")
        made.recover("a", at=end)
        reports(made, end, end, "a", "b")

    def test_incidents(self) -> None:
        """An outage within the day: class, lots, cause and GPU-seconds; damages by price and multiple."""
        made = desk(seconds=DAY)
        self.outage(made, T0 + 3600, T0 + 7200)
        quarter_hours(made, T0 + 7260, made.end + 900, "a", "b")
        (said,) = check(made)
        assert said["incidents"] == [
            {
                "class": "Shortfall",
                "start": format_time(T0 + 3600),
                "end": format_time(T0 + 7200),
                "lots": "0",
                "cause": "NodeNotReady",
                "gpuSeconds": 28_800,
            }
        ]
        assert said["credit"] == {"amount": "25.20", "currency": "USD"}

    @pytest.mark.parametrize(("before", "after", "corrected"), [(10, 10, False), (20, 40, True), (10, 21, True), (40, 40, False)], ids=str)
    def test_across_midnight(self, before: int, after: int, corrected: bool) -> None:
        """An outage that is within grace at midnight and beyond it later is Shortfall from its onset: the first day is corrected."""
        made = desk()
        midnight = T0 + DAY
        quarter_hours(made, T0, midnight - 120, "a", "b")
        made.fail("a", at=midnight - before, heartbeat=midnight - before)
        made.at(midnight - before + 1)
        made.recover("a", at=midnight + after)
        reports(made, midnight + after, midnight + after, "a", "b")
        # What was known at midnight decides the first receipt: one is made at every second of the time around it.
        for now in range(midnight + after, midnight + after + 200):
            made.at(now)
        quarter_hours(made, midnight + 900, made.end + 900, "a", "b")
        said = check(made)
        assert any("corrects" in each for each in said) == corrected
        for each in (each for each in said if "corrects" in each):
            assert (each["corrects"], each["period"]["end"]) == (1, format_time(midnight))
            assert each["incidents"][0]["class"] == "Shortfall"

    def test_a_substitute_of_another_grade(self) -> None:
        """The receipt names the grade that was delivered instead, for those lots and that time."""
        made = desk(seconds=DAY)
        quarter_hours(made, T0, T0 + 3600, "a", "b")
        made.fail("a", at=T0 + 3600, heartbeat=T0 + 3600)
        made.at(T0 + 3601)
        made.bind(T0 + 3602, ("spare", T0 + 3602, made.end), ("b", T0, made.end), product="h200")
        made.at(T0 + 3602)
        made.hand_over("spare")
        reports(made, T0 + 3610, T0 + 3610, "b", "spare")
        quarter_hours(made, T0 + 4500, made.end + 900, "b", "spare")
        (said,) = check(made)
        assert {"lots": "0", "product": "h200", "start": format_time(T0 + 3610), "end": format_time(made.end)} in said["substitutions"]

    def test_estimated(self) -> None:
        """Seconds without a sample are named, with how many samples were missed."""
        from laycan.kube.meter_views import MissedView

        made = desk(seconds=DAY)
        quarter_hours(made, T0, T0 + 3600, "a", "b")
        gap = MissedView(T0 + 3600, T0 + 4200, True, 600, 80, 600)
        meter(made, "a", T0 + 4200, missed=(gap,))
        meter(made, "b", T0 + 4200)
        made.at(T0 + 4201)
        quarter_hours(made, T0 + 4260, made.end + 900, "a", "b")
        (said,) = check(made)
        assert said["quantities"]["estimatedGpuSeconds"] == 432 * 8
        assert said["quantities"]["shortfallGpuSeconds"] == 168 * 8
        assert said["meter"]["missedSamples"] == 60
        assert said["incidents"][0]["cause"] == "NotSampled"

    def test_terminated(self) -> None:
        """A contract that is deleted in its window has a last receipt that ends with it, before it is Terminated."""
        made = desk(agents=False)
        made.run(T0 + 1, T0 + DAY + 600)
        made.delete()
        for second in range(601, 610):
            made.at(T0 + DAY + second)
        assert made.phase == "Terminated"
        made.end = T0 + DAY + 601
        said = check(made)
        assert said[-1]["contract"]["due"]["end"] == format_time(made.end)
        assert made.news[-1] == "contract.terminated"


class TestLateNews:
    """A node turns NotReady long after its last heartbeat: the node controller was stalled for longer than the meter trails."""

    def lost(self, heartbeat: int, known: int, back: int, seconds: int = 7200, sealed: bool = True) -> Desk:
        """`a` was last heard at `heartbeat`, which is known at `known`; it is back at `back`. All in seconds after T0."""
        made = desk(seconds=seconds, agents=False)
        made.seal = made.seal if sealed else None
        made.run(T0 + 1, T0 + known - 1)
        made.fail("a", at=T0 + known)
        made.at(T0 + known)
        made.world.last_seen["a"], made.world.lost["a"] = T0 + heartbeat, T0 + known
        made.at(T0 + known + 1)
        made.run(T0 + known + 2, T0 + back - 1)
        made.recover("a", at=T0 + back)
        made.at(T0 + back)
        made.run(T0 + back + 1, made.end + 600)
        return made

    def test_what_was_metered_meanwhile_is_taken_back(self) -> None:
        """From the last heartbeat on nothing was delivered, though the meter had passed it: status, receipt and readings say so."""
        made = self.lost(heartbeat=800, known=1000, back=1100)
        (said,) = check(made)
        assert made.quantities == {"contracted": 16 * 7200, "delivered": 16 * 7200 - 8 * 300, "shortfall": 8 * 300}
        assert [(i["start"], i["end"], i["gpuSeconds"], i["cause"]) for i in said["incidents"]] == [
            (format_time(T0 + 800), format_time(T0 + 1100), 2400, "NodeNotReady")
        ]

    def test_it_is_written_at_once(self) -> None:
        """Where the lot has another node by then, within grace, only counters change; who comes next knows the heartbeat no more."""
        made = desk(seconds=7200, agents=False, tolerance={"graceSeconds": 600, "cureSeconds": 3600})
        made.world.products["h100"]["spec"]["tolerance"]["graceSeconds"] = 600
        made.run(T0 + 1, T0 + 999)
        made.fail("a", at=T0 + 880)
        made.at(T0 + 1000)
        made.bind(T0 + 1002, ("spare", T0 + 1002, made.end), ("b", T0, made.end))
        made.at(T0 + 1002)
        made.hand_over("spare")
        made.run(T0 + 1003, T0 + 1009)
        made.world.last_seen["a"], made.world.lost["a"] = T0 + 800, T0 + 880
        assert made.at(T0 + 1010) is not None
        made.world.last_seen.clear()
        made.run(T0 + 1011, made.end + 600)
        check(made)
        assert made.quantities["excused"] == 8 * 203

    def test_a_receipt_stands(self) -> None:
        """What is out already is not restated: of the outage counts what came after the last receipt."""
        made = self.lost(heartbeat=DAY - 40, known=DAY + 200, back=DAY + 300, seconds=DAY + 3600)
        check(made)
        assert made.quantities["shortfall"] == 8 * 300

    def test_it_joins_the_outage_of_a_receipt(self) -> None:
        """A node was well again for one heartbeat only: the outage of midnight is beyond grace now, and the first day is corrected."""
        made, midnight = desk(seconds=DAY + 3600, agents=False), T0 + DAY
        made.run(T0 + 1, midnight - 21)
        made.fail("a", at=midnight - 20, heartbeat=midnight - 20)
        made.at(midnight - 19)
        made.recover("a", at=midnight + 9)
        made.run(midnight + 9, midnight + 199)
        assert made.quantities["excused"] == 8 * 29
        made.fail("a", at=midnight + 200, heartbeat=midnight + 9)
        made.run(midnight + 200, midnight + 299)
        made.recover("a", at=midnight + 300)
        made.run(midnight + 300, made.end + 600)
        assert [each.get("corrects", 0) for each in check(made)] == [0, 1, 0]
        assert (made.quantities["shortfall"], made.quantities.get("excused", 0)) == (8 * 320, 0)

    def test_in_a_contract_that_is_deleted(self) -> None:
        """The news comes while its end waits to be metered: its last receipt says what is known."""
        made = desk(seconds=7200, agents=False)
        made.run(T0 + 1, T0 + 1000)
        made.fail("a", at=T0 + 1000, heartbeat=T0 + 800)
        made.delete()
        made.run(T0 + 1001, T0 + 1010)
        made.end = T0 + 1001
        check(made)
        assert made.quantities["shortfall"] == 8 * 201

    def test_without_receipts(self) -> None:
        """There are no readings that could be judged again: what the meter has not passed yet is told."""
        made = self.lost(heartbeat=800, known=1000, back=1100, sealed=False)
        assert 8 * 160 <= made.quantities["shortfall"] <= 8 * 220
