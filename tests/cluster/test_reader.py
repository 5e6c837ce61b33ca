"""The independent reader is tested itself: each broken operator is caught, a sound one is not.

No cluster is needed: the reader is fed the events that it would read.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from controlplane.api import Api, Object
from tests.cluster.reader import Reader

START, END, LATER = "2027-01-04T00:00:00Z", "2027-01-04T02:00:00Z", "2027-01-04T03:00:00Z"

QUANTITIES = [f"{kind}GpuSeconds" for kind in ("contracted", "delivered", "curtailed", "buyerCaused", "excused", "shortfall")]


def contract(name: str, *nodes: str, phase: str = "Accepted", holder: str = "acme", gpus: int = 8, **status: Any) -> Object:
    delivery = {"start": START, "end": END, "gpus": gpus, "lotGpus": 8, "handover": {"namespace": holder}}
    bindings = [{"node": node, "gpus": 8, "start": START, "end": END} for node in nodes]
    wrote = {"manager": "laycan", "subresource": "status", "time": "2027-01-03T00:00:00Z"}
    made: Object = {
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2027-01-02T00:00:00Z", "managedFields": [wrote]},
        "spec": {"terms": {"delivery": delivery}},
    }
    if phase:
        made["status"] = {"phase": phase, "epoch": 2, "termsDigest": "d", "bindings": bindings, **status}
    return made


class Restarted:
    """An API server that no longer knows what was before it; `items` is what it has."""

    def __init__(self, *items: Object) -> None:
        self._items = list(items)

    def watch(self, path: str, **query: Any) -> list[Object]:
        return [{"type": "ERROR", "object": {"code": 410}}]

    def get(self, path: str) -> Object:
        return {"metadata": {"resourceVersion": "9"}, "items": self._items}


def test_a_restarted_api_server_hides_nothing_that_lasts() -> None:
    """What was doubled, lost or moved while the watch was down is seen from the list; what is as it was is no fault."""
    reader = Reader(cast(Api, Restarted(contract("a", "n1"), contract("b", "n1", holder="beta"))), ["n1", "n2", "n3"])
    for known in (contract("a", "n1"), contract("b", "n2", holder="beta"), contract("c", "n3")):
        reader._now[known["metadata"]["uid"]] = known
    reader._follow()
    assert [fault.split()[:2] for fault in reader.faults] == [["I1", "n1"], ["I10", "b:"], ["I1", "n1"], ["I2", "c"]]
    assert reader.leaps == 1


def faults(*events: tuple[str, Object]) -> list[str]:
    reader = Reader(cast(Api, None), ["n1", "n2", "n3"])
    for what, found in events:
        if what == "MODIFIED" and found["metadata"]["uid"] not in reader._now:
            reader._see("ADDED", contract(found["metadata"]["name"], phase=""))
        reader._see(what, copy.deepcopy(found))
    return reader.faults


def test_a_sound_operator_is_not_accused() -> None:
    """Bound, handed over, delivered; another one cancelled and gone."""
    quantities = dict.fromkeys(QUANTITIES, 0)
    story = [
        ("MODIFIED", contract("a", "n1")),
        ("MODIFIED", contract("b", "n2", holder="beta")),
        (
            "MODIFIED",
            contract("a", "n1", phase="Delivering", quantities=quantities | {"contractedGpuSeconds": 8, "shortfallGpuSeconds": 8}),
        ),
        ("MODIFIED", contract("b", phase="Cancelled")),
        ("DELETED", contract("b", phase="Cancelled")),
        ("MODIFIED", contract("c", "n2", holder="beta")),
        ("MODIFIED", contract("a", phase="Delivered")),
    ]
    assert faults(*story) == []


@pytest.mark.parametrize(
    ("invariant", "story"),
    [
        ("I1", [contract("a", "n1"), contract("b", "n1", holder="beta")]),
        ("I1", [contract("a", "n1"), contract("b", "n1")]),
        ("I2", [contract("a", "n1"), contract("a", "n1", termsDigest="other")]),
        ("I3", [contract("a", "n9")]),
        ("I4", [contract("a", "n1"), contract("a", phase="Received")]),
        ("I4", [contract("a", "n1"), contract("a", phase="Rejected")]),
        ("I8", [contract("a", "n1", quantities=dict.fromkeys(QUANTITIES, 1))]),
        ("I10", [contract("a", "n1"), contract("a", "n2")]),
        ("I12", [contract("a", "n1"), contract("a", "n1", epoch=1)]),
        ("I13", [contract("a", "n1", gpus=16)]),
    ],
)
def test_each_broken_operator_is_caught(invariant: str, story: list[Object]) -> None:
    """One seeded defect per invariant."""
    found = faults(*(("MODIFIED", state) for state in story))
    assert {fault.split()[0] for fault in found} == {invariant}, found


def test_a_promise_that_vanishes_is_caught() -> None:
    """I2: it must end in a final phase first."""
    assert [fault.split()[0] for fault in faults(("MODIFIED", contract("a", "n1")), ("DELETED", contract("a", "n1")))] == ["I2"]
