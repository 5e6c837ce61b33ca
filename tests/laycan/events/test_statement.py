"""The daily statement: what it says of each contract, in parts that fit an event."""

from __future__ import annotations

import json
from typing import Any

import rfc8785

from laycan.events.statement import statement
from laycan.kube.views import ContractView, contract_view
from laycan.resources.digest import digest
from laycan.resources.times import format_time, parse_time

NOW = parse_time("2027-01-05T00:00:03Z")
Q = dict.fromkeys(("contracted", "delivered", "curtailed", "buyerCaused", "excused", "shortfall"), 8)


def contract(name: str, **status: Any) -> ContractView:
    meta = {"namespace": "desk", "name": name, "uid": f"uid-{name}", "creationTimestamp": format_time(NOW - 9)}
    spec = {"terms": {"contractId": f"GCX-{name}"}, "exchangeRef": {"name": "gcx"}}
    return contract_view({"metadata": meta, "spec": spec, "status": status})


def told(contracts: list[ContractView], now: int = NOW) -> list[tuple[str, dict[str, Any]]]:
    made = statement(contracts, "desk/gcx", "oper-1/desk/gcx", "urn:laycan:x", now)
    assert all(rfc8785.dumps(json.loads(body)).decode() == body for _, body in made)
    return [(id_, json.loads(body)) for id_, body in made]


def test_in_order() -> None:
    """By key; the id follows from log, day and part."""
    ((id_, event),) = told([contract("b"), contract("a")])
    assert id_ == event["id"] == "statement/oper-1/desk/gcx/2027-01-05/1"
    assert (event["type"], event["subject"]) == ("dev.laycan.statement.v1", "desk/gcx")
    assert [line["contractId"] for line in event["data"]["lines"]] == ["GCX-a", "GCX-b"]


def test_a_line() -> None:
    """Phase, the last event's number and digest, counters and how far they go; no node."""
    quantities = {f"{name}GpuSeconds": amount for name, amount in Q.items()}
    row = {"node": "n1", "product": "h100", "gpus": 8, "level": "Node", "start": format_time(NOW), "end": format_time(NOW + 9)}
    status: dict[str, Any] = {
        "phase": "Delivering",
        "bindings": [row],
        "ledger": {"sequence": 7, "headDigest": "sha256:" + "0" * 64},
        "quantities": quantities,
        "meter": {"until": format_time(NOW)},
        "receipts": {"sequence": 2},
    }
    ((_, event),) = told([contract("a", **status)])
    assert event["data"]["lines"] == [
        {
            "contractId": "GCX-a",
            "uid": "uid-a",
            "phase": "Delivering",
            "sequence": 7,
            "headDigest": "sha256:" + "0" * 64,
            "quantities": quantities,
            "meteredUntil": format_time(NOW),
            "receipts": 2,
        }
    ]


def test_parts() -> None:
    """Many contracts are told in parts below 64 kB, which together have one digest; none is lost, and a day has the same ids again."""
    rows = [contract(f"{number:04}", phase="Accepted", ledger={"sequence": number}) for number in range(3000)]
    parts = told(rows)
    assert len(parts) > 3
    assert max(len(rfc8785.dumps(event)) for _, event in parts) < 64_000
    lines = [line for _, event in parts for line in event["data"]["lines"]]
    assert [line["sequence"] for line in lines] == list(range(3000))
    assert {event["data"]["digest"] for _, event in parts} == {digest(lines)}
    assert {(event["data"]["part"], event["data"]["parts"]) for _, event in parts} == {(i + 1, len(parts)) for i in range(len(parts))}
    assert [id_ for id_, _ in told(rows, NOW + 80_000)] == [id_ for id_, _ in parts]


def test_nothing_to_say() -> None:
    """An exchange without contracts hears so."""
    ((_, event),) = told([])
    assert (event["data"]["lines"], event["data"]["parts"]) == ([], 1)
