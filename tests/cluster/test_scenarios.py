"""Contracts of thirty days on a real API server, in January 2027: what is counted and told, to the second.

One timeline; each scenario has a product of its own, so that none takes the other's spare. The clock stands still while the operator works.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Object
from controlplane.local import ControlPlane
from controlplane.waiting import until
from laycan.resources.times import parse_time
from tests.cluster.operator import contract, owners, phase, product, read
from tests.cluster.policies.installed import Installed
from tests.cluster.warp import Age, Machine, Warped

pytestmark = pytest.mark.xdist_group("scenarios")

START, END = "2027-01-04T00:00:00Z", "2027-02-03T00:00:00Z"
WHOLE = 165_888_000  # GPU-seconds of 64 GPUs for 720 h
SOLD = ("plain", "spare", "rack", "silent")
GRADES = {name: f"NVIDIA-{name.upper()}" for name in SOLD}


def machines(grade: str, count: int, prefix: str = "") -> list[Machine]:
    """`<grade>0`, …; four to a rack."""
    name = prefix or grade
    return [Machine(f"{name}{i}", GRADES.get(grade, grade), rack=f"{name}-r{i // 4}") for i in range(count)]


class Year:
    """The control plane, the machines, the clock, and an operator that lives by it."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.admin, self.installed = plane.admin, Installed(plane)
        self.installed.install()
        self.installed.people()
        for player in ("kube-controller-manager", "kube-scheduler", "kwok"):  # they live today
            plane.kill(player)
        self.age = Age(self.admin, folder / "clock", "2027-01-03T12:00:00Z")
        self.operator = Warped(plane, folder, folder / "clock")
        self.before: dict[int, str] = {}  # lot of `spare` -> its node
        self.after: dict[int, str] = {}
        self.spare = self.open_before_cure = ""

    def sell(self, grade: str, equivalents: list[Object] | None = None, **more: Any) -> None:
        """A product of that grade, and contract of the same name for 64 GPUs of it in lots of 8."""
        spec: dict[str, Any] = {"gpuProducts": [GRADES[grade]], "detection": {"seconds": 40}}
        self.admin.apply(product(grade, **spec, **({"equivalents": equivalents} if equivalents else {})))
        self.trade(grade, grade, 64, **more)

    def trade(self, name: str, grade: str, gpus: int, **more: Any) -> None:
        terms = {"price": {"amount": "2.10", "currency": "USD", "shortfallMultiplePpm": 1_500_000}, **more}
        made = contract(name, START, END, gpus=gpus, **terms)
        made["spec"]["terms"]["productRef"]["name"] = grade
        self.admin.create(made)

    def status(self, name: str) -> Object:
        return dict((read(self.admin, name) or {})["status"])

    def quantities(self, name: str) -> dict[str, int]:
        found = self.status(name).get("quantities", {})
        return {key.removesuffix("GpuSeconds"): value for key, value in found.items() if value}

    def condition(self, name: str, kind: str) -> str:
        found = [c for c in self.status(name)["conditions"] if c["type"] == kind]
        return f"{found[0]['status']} {found[0]['reason']}" if found else ""

    def on(self, name: str, lot: int) -> str:
        """The node that serves a lot now."""
        bound = [
            b for b in self.status(name)["bindings"] if lot in b["lots"] and parse_time(b["start"]) <= self.age.now < parse_time(b["end"])
        ]
        return str(bound[0]["node"]) if bound and "handedOverAt" in bound[0] else ""

    def accepted(self, name: str) -> bool:
        return phase(self.admin, name) == "Accepted"

    def complete(self, name: str) -> bool:
        return self.condition(name, "HandedOver") == "True Complete"

    def over(self, name: str) -> bool:
        return phase(self.admin, name) == "Delivered"

    def lost(self, name: str) -> None:
        """A node without power, from now on: no agent, no kubelet."""
        self.age.machines[name].silent = True
        self.age.ready(name, False, self.age.now)

    def linger(self, node: str, namespace: str) -> None:
        """A pod on a node that takes its time to end: it goes when it is `ended`."""
        self.admin.create(fleet.pod(namespace, f"slow-{node}", gpus=8, nodeName=node))

    def ended(self, node: str, namespace: str) -> None:
        self.admin.delete(f"/api/v1/namespaces/{namespace}/pods/slow-{node}", gracePeriodSeconds=0)


def sell_and_deliver(year: Year) -> None:
    for grade in SOLD:
        year.sell(grade)
    for grade in SOLD:
        until(f"{grade} is accepted", partial(year.accepted, grade))
    year.age.set("2027-01-03T23:50:00Z")
    until("their nodes are closed", lambda: len(owners(year.admin)) == 32)
    year.age.set(START)
    for grade in SOLD:
        until(f"{grade} is delivering", partial(year.complete, grade))


def lose_a_gpu(year: Year) -> None:
    """XID 79 on lot 3 at 13:02:10; the spare is there, and a stranger's pod on it takes until 13:05:40 to end."""
    (free,) = {machine.name for machine in machines("spare", 9)} - {year.on("spare", lot) for lot in range(8)}
    year.before = {lot: year.on("spare", lot) for lot in range(8)}
    year.age.set("2027-01-10T13:02:00Z")
    year.linger(free, "beta")
    year.age.set("2027-01-10T13:02:12Z")
    broken = year.age.machines[year.on("spare", 3)]
    broken.findings = [{"gpu": broken.gpu(5), "signal": "Xid", "code": 79, "value": 0, "count": 1, "start": "2027-01-10T13:02:10Z"}]
    year.age.report(broken, year.age.now)
    until("it is told", lambda: year.condition("spare", "HandedOver") == "False Interrupted")
    until("the spare is given", lambda: any(b["node"] == free for b in year.status("spare")["bindings"]))
    year.age.set("2027-01-10T13:05:40Z")
    year.ended(free, "beta")
    until("access is back", partial(year.complete, "spare"))
    year.after = {lot: year.on("spare", lot) for lot in range(8)}
    year.spare = free


def lose_a_rack(year: Year) -> None:
    """Four lots from 02:00; new nodes come at 09:00."""
    year.age.set("2027-01-15T02:00:00Z")
    for lot in range(4):
        year.lost(year.on("rack", lot))
    year.age.set("2027-01-15T02:01:00Z")
    until("it is told", lambda: year.condition("rack", "HandedOver") == "False Interrupted")
    year.age.set("2027-01-15T02:05:01Z")
    until("it is short", lambda: year.condition("rack", "Shortfall") == "True Open")
    year.age.set("2027-01-15T05:59:59Z")
    year.open_before_cure = year.condition("rack", "Shortfall")
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


def end(year: Year) -> None:
    year.age.set(END)
    year.age.set(parse_time(END) + 3600)
    for grade in SOLD:
        until(f"{grade} is delivered", partial(year.over, grade))


@pytest.fixture(scope="module")
def year(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """January 2027, played to its end."""
    folder = tmp_path_factory.mktemp("scenarios")
    with ControlPlane(folder / "control-plane", tools=tools, fsync=False) as plane:
        made = Year(plane, folder)
        made.age.add([each for grade in SOLD for each in machines(grade, 9 if grade == "spare" else 8)])
        made.operator.start()
        try:
            for scene in (sell_and_deliver, lose_a_gpu, lose_a_rack, silence_agents, end):
                scene(made)
            yield made
        finally:
            made.operator.kill()


def test_plain_delivery(year: Year) -> None:
    """Scenario 1: without a fault all is delivered, from the first second on."""
    assert year.quantities("plain") == {"contracted": WHOLE, "delivered": WHOLE}
    assert year.status("plain")["handover"] == {"lateSeconds": 0, "interruptions": 0, "earlyStopSeconds": 0}


def test_a_hot_spare(year: Year) -> None:
    """Scenario 3: from the last good sample to access on the spare 210 s: 1,680 GPU-seconds of grace, no shortfall, no other lot moved."""
    assert year.quantities("spare") == {"contracted": WHOLE, "delivered": WHOLE - 1_680, "excused": 1_680}
    assert year.status("spare")["handover"]["rebindSeconds"] == 210
    assert year.after == year.before | {3: year.spare}
    assert year.condition("spare", "Shortfall") == ""


def test_a_rack_without_replacement(year: Year) -> None:
    """Scenario 5: four lots for seven hours: 806,400 GPU-seconds of shortfall, cure expired at 06:00 sharp, 99.5139 % available."""
    assert year.quantities("rack") == {"contracted": WHOLE, "delivered": WHOLE - 806_400, "shortfall": 806_400}
    assert round((WHOLE - 806_400) / WHOLE * 100, 4) == 99.5139
    assert year.open_before_cure == "True Open"
    assert year.condition("rack", "Shortfall") == "False CuredLate"


def test_silent_agents(year: Year) -> None:
    """Scenario 12 (d): of 96,000 GPU-seconds without samples 27,648 are estimated (0.5 % of the day), 68,352 are short."""
    assert year.quantities("silent") == {"contracted": WHOLE, "delivered": WHOLE - 68_352, "estimated": 27_648, "shortfall": 68_352}
