"""Benchmark instances by size, load and seed: as a `Problem`, or as the manifests that `laycan plan` reads.

    python -m bench.instances --nodes N --contracts N --rho RHO [--seed S] [--stress KINDS] --out DIR

`now` is 2027-01-01T00:00:00Z and everything lies on whole hours. The problem is the one that `laycan plan` reads from the manifests;
drawing a large one takes a while, so problems are kept in a cache folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.drawing import (
    GPU_PRODUCT,
    GRADES,
    NODE_GPUS,
    NVLINK_GRADE,
    STRESSES,
    SUBSTITUTES,
    DrawnContract,
    DrawnFleet,
    Place,
    add_stress,
    draw_contracts,
    draw_fleet,
    draw_history,
)
from laycan_solver import model
from laycan_solver.model import Binding, Contract, Node, Outage, OutageType, Problem, Product, Scope

CACHE = Path(".run/bench")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
API = "laycan.dev/v1alpha1"
SCOPES = {Place.ANY: Scope.ANY, Place.RACK: Scope.RACK, Place.ZONE: Scope.ZONE, Place.SPREAD: Scope.ANY}


@dataclass(frozen=True)
class Size:
    """What is drawn; `name` is its file's."""

    nodes: int
    contracts: int
    rho: float
    seed: int = 0
    stress: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return f"{self.nodes}-{self.contracts}-{round(self.rho * 100)}-{self.seed}" + "".join(f"-{kind}" for kind in sorted(self.stress))


NAMED = {
    "10k-80": Size(12_500, 10_000, 0.80),
    "10k-85": Size(12_500, 10_000, 0.85),
    "20k-95": Size(12_500, 20_000, 0.95),
    "10k-105": Size(12_500, 10_000, 1.05),
    "20k-105": Size(12_500, 20_000, 1.05),
    "3k-95": Size(1_000, 3_000, 0.95),
    "40k-85": Size(50_000, 40_000, 0.85),
    "small": Size(200, 300, 0.95),
}
"""By contracts and percentage of rho; `small` is for trying things out."""


@dataclass(frozen=True)
class Drawn:
    fleet: DrawnFleet
    contracts: dict[int, DrawnContract]  # by number, as drawn; who should run by now but fitted nowhere is left out
    history: dict[int, list[tuple[int, int]]]  # contract -> (node, GPUs)
    seed: int


def draw(size: Size) -> Drawn:
    rng = np.random.default_rng(size.seed)
    fleet = draw_fleet(size.nodes, rng)
    contracts = draw_contracts(size.contracts, size.rho, fleet, rng)
    history = draw_history(contracts, fleet, rng)
    add_stress(size.stress, contracts, fleet, np.random.default_rng(size.seed + 1_000_003))
    return Drawn(fleet, {i: c for i, c in enumerate(contracts) if c.start >= 0 or i in history}, history, size.seed)


SHAPE = hashlib.sha256(Path(model.__file__).read_bytes()).hexdigest()[:12]  # of what is kept: another model reads it no more


def instance(size: Size, cache: Path = CACHE) -> Problem:
    """The problem of that size, from the cache if it was drawn before."""
    file = cache / f"{size.name}-{SHAPE}.pickle"
    if file.exists():
        kept = pickle.loads(file.read_bytes())  # noqa: S301  (written below)
        assert isinstance(kept, Problem)
        return kept
    problem = problem_of(draw(size))
    cache.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(problem))
    partial.replace(file)
    return problem


def named(name: str, seed: int, cache: Path = CACHE) -> Problem:
    """The instance of `NAMED` with that seed."""
    return instance(replace(NAMED[name], seed=seed), cache)


def node_name(v: int) -> str:
    return f"n{v:05d}"


def domain_labels(fleet: DrawnFleet, v: int) -> tuple[str, str, str]:
    """Zone, leaf and NVLink domain of a node, "" where it has none."""
    nvlink = f"nvl-{fleet.rack[v]:04d}.0" if fleet.grade[v] == NVLINK_GRADE else ""
    return f"zone-{fleet.zone[v]}", f"leaf-{fleet.rack[v]:04d}", nvlink


def seconds(hour: int) -> int:
    return int(NOW.timestamp()) + 3_600 * hour


def problem_of(drawn: Drawn) -> Problem:
    fleet = drawn.fleet
    nodes = [_node(fleet, v) for v in range(len(fleet.grade))]
    products = [
        Product(GRADES[g], frozenset({GPU_PRODUCT[g]}), equivalents={GRADES[d]: cost * 1_000 for d, cost in SUBSTITUTES[g]})
        for g in range(5)
    ]
    outages = [
        Outage(f"maintenance-{node_name(v)}-{a}", OutageType.PLANNED, frozenset({node_name(v)}), seconds(a), seconds(b))
        for v, a, b in fleet.outages
    ]
    previous = [
        Binding(f"desk/c{i:05d}", node_name(v), GRADES[c.grade], gpus, seconds(c.start), seconds(c.end))
        for i, c in drawn.contracts.items()
        for v, gpus in drawn.history.get(i, ())
    ]
    return Problem(
        int(NOW.timestamp()), tuple(nodes), tuple(sorted(products, key=lambda p: p.name)),
        tuple(_contract(drawn.seed, i, c) for i, c in drawn.contracts.items()), tuple(outages), tuple(sorted(previous)),
    )  # fmt: skip


def _node(fleet: DrawnFleet, v: int) -> Node:
    zone, leaf, nvlink = domain_labels(fleet, v)
    alone = f"node/{node_name(v)}"
    return Node(
        name=node_name(v),
        grade=GPU_PRODUCT[fleet.grade[v]],
        gpus=int(fleet.healthy[v]),
        domains=(zone, alone, leaf, nvlink or alone),
        usable=v not in fleet.lost,
        cordoned=bool(fleet.cordoned[v]),
    )


def _contract(seed: int, i: int, c: DrawnContract) -> Contract:
    spread = c.place is Place.SPREAD
    contract_id = f"GEN-{seed}-{i:05d}"
    return Contract(
        f"desk/c{i:05d}", contract_id, GRADES[c.grade], seconds(c.start), seconds(c.end), c.gpus, c.lot,
        scope=SCOPES[c.place],
        spread_level=Scope.RACK if spread else Scope.ANY,
        spread_domains=c.domains if spread else 1,
        all_or_nothing=c.whole or c.place is not Place.ANY,
        firm=c.firm,
        substitution=c.substitution,
        price_micros=c.penalty * 1_000,
        admission_order=("~", "~", contract_id),
    )  # fmt: skip


def write_manifests(drawn: Drawn, folder: Path) -> None:
    """fleet, products and contracts, each a List, and previous.json, the plan of what already runs."""
    fleet, products = drawn.fleet, [_product_manifest(g) for g in range(5)]
    items = [_node_manifest(fleet, v) for v in range(len(fleet.grade))] + [_outage_manifest(*outage) for outage in fleet.outages]
    contracts = [_contract_manifest(drawn.seed, i, c) for i, c in drawn.contracts.items()]
    bindings = [_binding_manifest(i, c, v, gpus) for i, c in drawn.contracts.items() for v, gpus in drawn.history.get(i, ())]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    (folder / "products.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": products}))
    (folder / "contracts.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": contracts}))
    (folder / "previous.json").write_text(json.dumps({"apiVersion": API, "kind": "Plan", "now": stamp(0), "bindings": bindings}))


def stamp(hour: int) -> str:
    return (NOW + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _node_manifest(fleet: DrawnFleet, v: int) -> dict[str, Any]:
    zone, leaf, nvlink = domain_labels(fleet, v)
    product = GPU_PRODUCT[fleet.grade[v]]
    labels = {"nvidia.com/gpu.product": product, "topology.kubernetes.io/zone": zone, "network.topology.nvidia.com/leaf": leaf}
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node_name(v), "labels": labels | ({"nvidia.com/gpu.clique": nvlink} if nvlink else {})},
        "spec": {"unschedulable": True} if fleet.cordoned[v] else {},
        "status": {
            "capacity": {"nvidia.com/gpu": str(NODE_GPUS[fleet.grade[v]])},
            "allocatable": {"nvidia.com/gpu": str(fleet.healthy[v])},
            "conditions": [{"type": "Ready", "status": "Unknown" if v in fleet.lost else "True"}],
        },
    }  # fmt: skip


def _outage_manifest(v: int, first: int, end: int) -> dict[str, Any]:
    spec = {"type": "Planned", "nodes": [node_name(v)], "start": stamp(first), "end": stamp(end)}
    return {"apiVersion": API, "kind": "Outage", "metadata": {"name": f"maintenance-{node_name(v)}-{first}"}, "spec": spec}


def _binding_manifest(i: int, c: DrawnContract, v: int, gpus: int) -> dict[str, Any]:
    window = {"start": stamp(c.start), "end": stamp(c.end)}
    return {"contract": f"desk/c{i:05d}", "node": node_name(v), "product": GRADES[c.grade], "gpus": gpus, **window}


def _product_manifest(g: int) -> dict[str, Any]:
    equivalents = [{"product": GRADES[d], "costPerGpuHour": f"{cost / 1000:.3f}"} for d, cost in SUBSTITUTES[g]]
    spec = {"gpuProducts": [GPU_PRODUCT[g]], "nodeGpus": int(NODE_GPUS[g]), "equivalents": equivalents}
    return {"apiVersion": API, "kind": "ComputeProduct", "metadata": {"name": GRADES[g]}, "spec": spec}


def _contract_manifest(seed: int, i: int, c: DrawnContract) -> dict[str, Any]:
    delivery: dict[str, Any] = {"start": stamp(c.start), "end": stamp(c.end), "gpus": c.gpus, "lotGpus": c.lot}
    if c.place in (Place.RACK, Place.ZONE):
        delivery["scope"] = c.place.name.capitalize()
    elif c.place is Place.SPREAD:
        delivery["spread"] = {"level": "Rack", "minDomains": c.domains}
    if c.whole:
        delivery["partial"] = "AllOrNothing"
    terms = {
        "contractId": f"GEN-{seed}-{i:05d}",
        "productRef": {"name": GRADES[c.grade]},
        "delivery": delivery,
        "firmness": {"class": "Firm" if c.firm else "Interruptible"},
        "substitution": {"policy": "EquivalentGrade" if c.substitution else "None"},
        "price": {"amount": f"{c.penalty / 1000:.3f}", "currency": "USD", "shortfallMultiplePpm": 1_000_000},
    }
    return {
        "apiVersion": API, "kind": "ComputeContract", "metadata": {"name": f"c{i:05d}", "namespace": "desk"},
        "spec": {"intent": "Firm", "terms": terms},
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--contracts", type=int, required=True)
    parser.add_argument("--rho", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stress", default="", help=f"of {', '.join(STRESSES)}, separated by commas, or all")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    stress = frozenset(STRESSES if given.stress == "all" else filter(None, given.stress.split(",")))
    if unknown := stress - set(STRESSES):
        raise SystemExit(f"--stress: no {', '.join(sorted(unknown))}; known are {', '.join(STRESSES)}")
    drawn = draw(Size(given.nodes, given.contracts, given.rho, given.seed, stress))
    write_manifests(drawn, given.out)
    print(f"{len(drawn.fleet.grade)} nodes, {len(drawn.contracts)} contracts, {len(drawn.history)} of them running -> {given.out}")


if __name__ == "__main__":
    main()
