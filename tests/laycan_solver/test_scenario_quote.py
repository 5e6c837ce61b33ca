"""Scenario 2 of the acceptance list: 57 of 64 nodes are sold to 3 February, and a desk asks for three more.

Nodes of 8 GPUs in racks of 4, 6.5 failures per 1,000 node-days, repair in a day, a target of 100 ppm.
"""

from __future__ import annotations

from laycan_solver.alternatives import Alternative, Kind
from laycan_solver.model import Contract, Problem, Reliability
from laycan_solver.offers import Answer, Promise, answer
from laycan_solver.planner import Planner
from tests.laycan_solver.small import HOUR, NOW, contract, node, problem, product

DAY = 24
START, END = 3 * DAY, 33 * DAY  # 2027-01-04 to 2027-02-03, hours from now
TARGET = Reliability(failures_ppm=6_500, repair_seconds=86_400, cure_seconds=14_400, target_ppm=100)
H100 = product(reliability=TARGET, notice_seconds=600, curtailable_seconds=72 * HOUR)


def sold(nodes: int) -> Problem:
    """The base contract of eight nodes with others, all to 3 February."""
    fleet = [node(f"n{i:02}", rack=f"r{i // 4}") for i in range(64)]
    contracts = [contract("base", START, END, 64), contract("others", START, END, 8 * (nodes - 8))]
    return problem(fleet, contracts, products=[H100])


def asked(gpus: int) -> Contract:
    return contract("q-17", START, END, gpus, accepted=False)


def the(kind: Kind, found: Answer) -> Alternative:
    return next(a for a in found.alternatives if a.kind is kind)


def test_counter_offers() -> None:
    """N = 60 would miss the target at 1.1e-2; 8 GPUs Firm, 24 Interruptible, and 24 from the day another contract ends would not."""
    found = answer(Planner(sold(57)).kept(), asked(24))
    assert found.promise is Promise.PARTIAL
    assert found.risk is not None
    assert (found.risk.ppm, found.risk.spare_nodes) == (11_192, 4)
    assert [a.kind for a in found.alternatives[:3]] == [Kind.FEWER, Kind.INTERRUPTIBLE, Kind.LATER]

    fewer = the(Kind.FEWER, found)
    assert (fewer.gpus, fewer.start, fewer.end, fewer.firm) == (8, NOW + START * HOUR, NOW + END * HOUR, True)
    assert fewer.risk.ppm == 63

    interruptible = the(Kind.INTERRUPTIBLE, found)
    assert (interruptible.gpus, interruptible.firm, interruptible.contracts[0].notice_seconds) == (24, False, 600)
    assert "600 s" in interruptible.reason

    later = the(Kind.LATER, found)
    assert (later.gpus, later.firm, later.start) == (24, True, NOW + END * HOUR)
    assert "2027-02-03" in later.reason
    assert "desk/others ends" in later.reason
    print(found)
