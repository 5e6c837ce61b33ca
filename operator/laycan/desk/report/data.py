"""The page's data for its script: the whole plan as compact columns of numbers, each binding, gap and move once.

Times are seconds after `start`, -1 for none. Names stand once, and everything else refers to them by place:

contracts  one list per field, the same order in all; `flags`: 1 Interruptible, 2 reserve; `risk`: ppm, -1 unknown
racks      [zone, rack, first node, number of nodes]; `nodes` are in order of rack
bindings   one flat list per node: contract, GPUs, start, end, product, contract, ...
gaps       [contract, GPUs, start, end, code, message, kind]; kind 0 owed, 1 by right, 2 refused
moves      [contract, GPUs, from, to, reason]; nodes that are gone stand after those of the fleet
outages    [name, type, start, end, [node, ...]]
cuts       [contract, instant, 1 if nothing forced it]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from laycan.desk.report.lines import Line, State
from laycan.desk.report.racks import Zone, whole_gpus
from laycan.desk.report.scale import Scale
from laycan_solver.model import Plan, Problem

UNSAFE = {b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026", "\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029"}
STATES = tuple(State)


def data_of(problem: Problem, plan: Plan, scale: Scale, zones: Sequence[Zone], lines: Sequence[Line]) -> dict[str, Any]:
    """The document, JSON-able. `lines` give the order of the contracts."""
    racks = [rack for zone in zones for rack in zone.racks]
    nodes = [node for rack in racks for node in rack.nodes]
    names = [n.name for n in nodes]
    gone = sorted({name for m in plan.moves for name in (m.source, m.target)} - set(names))
    place = {name: i for i, name in enumerate((*names, *gone))}
    number = {line.contract.key: i for i, line in enumerate(lines)}
    products = [p.name for p in problem.products]
    product = {name: i for i, name in enumerate(products)}
    whole = whole_gpus(problem)
    first = 0
    rows = []
    for rack in racks:
        rows.append([rack.zone, rack.name, first, len(rack.nodes)])
        first += len(rack.nodes)
    return {
        "start": scale.start,
        "now": scale.now - scale.start,
        "end": scale.end - scale.start,
        "states": [s.value for s in STATES],
        "products": products,
        "contracts": _contracts(lines, product, scale),
        "racks": rows,
        "nodes": [*names, *gone],
        "gpus": [n.gpus for n in nodes],
        "whole": [whole[n.grade] for n in nodes],
        "down": [i for i, n in enumerate(nodes) if not n.usable],
        "cordoned": [i for i, n in enumerate(nodes) if n.cordoned],
        "bindings": _bindings(plan, place, number, product, len(nodes), scale),
        "gaps": _gaps(lines, number, scale),
        "moves": [[number[m.contract], m.gpus, place[m.source], place[m.target], m.reason.value] for m in plan.moves],
        "outages": [
            [o.name, o.type.value, _after(o.start, scale), _after(o.end, scale), sorted(place[n] for n in o.nodes if n in place)]
            for o in sorted(problem.outages, key=lambda o: (o.start, o.name))
        ],
        "cuts": [
            [number[line.contract.key], t - scale.start, int(t in line.account.cuts)]
            for line in lines
            if line.account
            for t in line.account.instants
        ],
    }


def _after(time: int, scale: Scale) -> int:
    """Seconds after the start of the scale; a year beyond its end is as good as never."""
    return min(time, scale.end + 366 * 86_400) - scale.start


def _contracts(lines: Sequence[Line], product: Mapping[str, int], scale: Scale) -> dict[str, list[Any]]:
    of = [line.contract for line in lines]
    accounts = [line.account for line in lines]
    return {
        "key": [c.key for c in of],
        "id": [c.contract_id for c in of],
        "holder": [c.holder for c in of],
        "product": [product[c.product] for c in of],
        "start": [c.start - scale.start for c in of],
        "end": [c.end - scale.start for c in of],
        "gpus": [c.gpus for c in of],
        "lot": [c.lot_gpus for c in of],
        "flags": [(not c.firm) + 2 * c.reserve for c in of],
        "state": [STATES.index(line.state) for line in lines],
        "contracted": [a.contracted if a else 0 for a in accounts],
        "bound": [a.bound if a else 0 for a in accounts],
        "curtailed": [a.curtailed if a else 0 for a in accounts],
        "owed": [a.owed if a else 0 for a in accounts],
        "interruption": [a.interruption if a else 0 for a in accounts],
        "substitution": [a.substitution if a else 0 for a in accounts],
        "value": [a.value if a else 0 for a in accounts],
        "on": [line.nodes for line in lines],
        "risk": [line.risk.ppm if line.risk else -1 for line in lines],
    }


def _bindings(
    plan: Plan, place: Mapping[str, int], number: Mapping[str, int], product: Mapping[str, int], nodes: int, scale: Scale
) -> list[list[int]]:
    rows: dict[int, list[int]] = defaultdict(list)
    for b in sorted(plan.bindings, key=lambda b: (b.node, b.start, b.contract, b)):
        rows[place[b.node]] += (number[b.contract], b.gpus, b.start - scale.start, b.end - scale.start, product[b.product])
    return [rows.get(i, []) for i in range(nodes)]


def _gaps(lines: Sequence[Line], number: Mapping[str, int], scale: Scale) -> list[list[Any]]:
    out = []
    for line in lines:
        c = line.contract
        right = scale.now + c.notice_seconds if line.account and line.account.curtailed and c.notice_seconds is not None else None
        for u in line.gaps:
            kind = 2 if u.refused else 1 if right is not None and u.start >= right else 0
            out.append([number[c.key], u.gpus, u.start - scale.start, u.end - scale.start, u.code.value, u.message, kind])
    return out


def script_json(document: Mapping[str, Any]) -> str:
    """JSON that is safe inside a script element, whatever names it holds."""
    text = orjson.dumps(document)
    for raw, escaped in UNSAFE.items():
        text = text.replace(raw, escaped)
    return text.decode()
