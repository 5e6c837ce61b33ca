"""Snapshots: the problem of a bundle is the one that the operator plans, and nothing confidential is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.control import admission
from laycan.control.quotes import Desk, standing
from laycan.control.snapshot import promises, take
from laycan.control.specs import Specs
from laycan.kube.device_views import slice_view
from laycan.kube.views import contract_view, fence_view, namespace_view, node_view
from laycan.kube.world import World
from laycan.planning.bundle import bundle, reduced
from laycan.planning.case import problem_of
from laycan.planning.manifests import load, read
from laycan.resources.times import format_time
from laycan_solver.model import Problem
from tests.laycan.control.town import HOUR, NOW, SETTINGS, Fleet

GRADES = {"h100": "NVIDIA-H100-80GB-HBM3", "h200": "NVIDIA-H200"}
SECRETS = ("hush-hush", "MARGIN", "margin", "webhook", "outbox-body")
Raw = dict[str, Any]


def node(number: int, said: Raw) -> Raw:
    labels = {
        "laycan.dev/managed": "true",
        "nvidia.com/gpu.product": GRADES[said["grade"]],
        "topology.kubernetes.io/zone": f"z{number % 2}",
    }
    meta = {"name": f"n{number}", "uid": f"u{number}", "labels": labels, "annotations": {"example.com/margin": "1"}, "managedFields": [{}]}
    ready = {"type": "Ready", "status": "True" if said["ready"] else "Unknown", "lastTransitionTime": format_time(NOW - HOUR)}
    counts = {"capacity": {"nvidia.com/gpu": "8", "cpu": "96"}, "allocatable": {"nvidia.com/gpu": str(said["gpus"])}}
    spec = {"unschedulable": said["cordoned"], "podCIDR": "10.0.0.0/24"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": {**counts, "conditions": [ready]}}


def product(name: str) -> Raw:
    spec = {"gpuProducts": [GRADES[name]], "nodeGpus": 8, "turnaroundSeconds": 60, "interruption": {"noticeSeconds": 600, "maxHours": 3}}
    spec |= {"equivalents": [{"product": "h200", "costPerGpuHour": "0.08"}]} if name == "h100" else {}
    counted = {"since": format_time(NOW - 90 * 24 * HOUR), "until": format_time(NOW), "nodeSeconds": 50_000_000, "failures": 9}
    status = {"reliability": {**counted, "repairs": 8, "repairSeconds": 500_000}} if name == "h100" else {}
    spec |= {"target": {"shortfallPpm": 100}} if name == "h100" else {}
    return {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeProduct", "metadata": {"name": name}, "spec": spec, "status": status}


def card(number: int, said: str) -> Raw:
    """The ResourceSlice of a node: its cards, of which one is tainted, or none of which is known."""
    uuid = {} if said == "unnamed" else {"uuid": {"string": f"GPU-{number}"}}
    taints = {"taints": [{"key": "gpu.nvidia.com/xid", "effect": "NoExecute", "value": "margin"}]} if said == "tainted" else {}
    devices = [{"name": "gpu-0", "attributes": uuid}, {"name": "gpu-1", "attributes": uuid, **taints}]
    pool = {"name": f"n{number}", "generation": 2, "resourceSliceCount": 2 if said == "half" else 1}
    spec = {"driver": "gpu.nvidia.com", "nodeName": f"n{number}", "pool": pool, "devices": devices}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"s{number}"}, "spec": spec}


def contract(number: int, said: Raw, nodes: list[int]) -> Raw:
    start, end = (format_time(NOW + HOUR * hour) for hour in (said["start"], said["start"] + said["hours"]))
    phase = said["phase"]
    quote = phase.startswith("Quoted")
    meta = {
        "name": f"c{number}",
        "namespace": "desk",
        "uid": f"c-{number}",
        "generation": 1,
        "creationTimestamp": format_time(NOW - 60 * number),
    }
    meta |= {"deletionTimestamp": format_time(NOW)} if said["leaving"] else {}
    delivery = {"start": start, "end": end, "gpus": 8, "lotGpus": 8, "handover": {"namespace": "acme"}}
    terms = {
        "contractId": f"id-{number}",
        "productRef": {"name": said["product"]},
        "delivery": delivery,
        "uti": "MARGIN1234567890123456789",
    }
    terms |= {"firmness": {"class": said["class"]}, "price": {"amount": "2.10", "currency": "USD"}}
    status: Raw = {"phase": phase.partition("/")[0]} if phase else {}
    if phase in ("Accepted", "Delivering", "Settled"):
        row = {"product": said["product"], "gpus": 8, "level": said["level"], "devices": ["hush-hush"], "lots": [0]}
        status["bindings"] = [{"node": f"n{n}", "start": start, "end": end, **row} for n in nodes]
        status["outbox"] = [{"id": "c/1", "sequence": 1, "type": "x", "body": "outbox-body"}]
    if quote:
        lasts = NOW + (60 if "held" in phase else -60 if "late" in phase else 0)
        status["offer"] = {"promise": "Full", "validUntil": format_time(lasts), "held": "unheld" not in phase}
    spec = {"intent": "Quote" if quote else "Firm", "terms": terms}
    return {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeContract", "metadata": meta, "spec": spec, "status": status}


PHASES = [
    "",
    "Received",
    "Accepted",
    "Accepted",
    "Accepted",
    "Delivering",
    "Delivering",
    "Rejected",
    "Settled",
    "Quoted/held",
    "Quoted/unheld",
    "Quoted/late",
    "Quoted/last",
]
NODES = st.lists(
    st.fixed_dictionaries(
        {"grade": st.sampled_from(sorted(GRADES)), "ready": st.booleans(), "cordoned": st.booleans(), "gpus": st.sampled_from([7, 8])}
    ),
    min_size=1,
    max_size=6,
)
CONTRACTS = st.lists(
    st.fixed_dictionaries(
        {
            "phase": st.sampled_from(PHASES),
            "product": st.sampled_from(sorted(GRADES)),
            "class": st.sampled_from(["Firm", "Interruptible"]),
            "start": st.integers(-2, 3),
            "hours": st.integers(1, 4),
            "level": st.sampled_from(["Node", "Device"]),
            "leaving": st.sampled_from([False, False, False, True]),
        }
    ),
    max_size=6,
)


def cluster(data: st.DataObject) -> list[Raw]:
    nodes, contracts = data.draw(NODES), data.draw(CONTRACTS)
    objects = [node(i, said) for i, said in enumerate(nodes)] + [product(name) for name in GRADES]
    objects += [contract(i, said, [i] if i < len(nodes) else []) for i, said in enumerate(contracts)]
    slices = data.draw(st.lists(st.sampled_from(["", "whole", "tainted", "half", "unnamed"]), max_size=len(nodes)))
    objects += [card(i, said) for i, said in enumerate(slices) if said]
    owners = data.draw(st.dictionaries(st.sampled_from([f"n{i}" for i in range(len(nodes))]), st.sampled_from(["acme", "quarantine.1"])))
    fence = {
        "apiVersion": "laycan.dev/v1alpha1",
        "kind": "NodeFence",
        "metadata": {"name": "cluster"},
        "spec": {"nodes": owners, "epoch": 3},
    }
    outages = [outage(i, said) for i, said in enumerate(data.draw(st.lists(OUTAGES, max_size=2)))]
    return [*objects, fence, *outages]


OUTAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Planned", "Planned", "Forced", "Retirement"]),
        "start": st.sampled_from([-60, 0, 60]),
        "verdict": st.sampled_from(["", "Covered", "AtRisk", "Blocked"]),
        "accepted": st.booleans(),
        "edited": st.booleans(),
    }
)


def outage(number: int, said: Raw) -> Raw:
    end = {} if said["type"] == "Retirement" else {"end": format_time(NOW + HOUR)}
    spec = {"type": said["type"], "nodeSelector": {"topology.kubernetes.io/zone": "z0"}, "start": format_time(NOW + said["start"]), **end}
    spec |= {"acceptRisk": True} if said["accepted"] else {}
    meta = {"name": f"o{number}", "generation": 2}
    status = {"verdict": said["verdict"], "observedGeneration": 1 if said["edited"] else 2} if said["verdict"] else {}
    return {"apiVersion": "laycan.dev/v1alpha1", "kind": "Outage", "metadata": meta, "spec": spec, "status": status}


def operators(objects: list[Raw]) -> Problem:
    """What the operator makes of them, in a quiet hour: what is not Ready or in quarantine has failed."""
    of = {kind: [raw for raw in objects if raw["kind"] == kind] for kind in ("Node", "ComputeProduct", "ComputeContract", "Outage")}
    nodes, contracts = [node_view(raw) for raw in of["Node"]], [contract_view(raw) for raw in of["ComputeContract"]]
    fence = fence_view(next(raw for raw in objects if raw["kind"] == "NodeFence"))
    namespace = namespace_view({"metadata": {"name": "acme", "labels": {"laycan.dev/desk": "desk"}}})
    made = World(
        nodes={view.name: view for view in nodes},
        contracts={view.key: view for view in contracts},
        namespaces={"acme": namespace},
        products={raw["metadata"]["name"]: raw for raw in of["ComputeProduct"]},
        outages={raw["metadata"]["name"]: raw for raw in of["Outage"]},
        resource_slices={raw["metadata"]["name"]: view for raw in objects if raw["kind"] == "ResourceSlice" and (view := slice_view(raw))},
        fence=fence,
        no_devices="",
    )
    fleet = Counted(made)
    fleet.failed = frozenset(view.name for view in nodes if not view.ready or fence.nodes.get(view.name, "").startswith("quarantine."))
    kept = promises(made, {}, {}, frozenset(), NOW)
    specs = Specs()
    found = admission.screen(made, specs, SETTINGS, NOW, kept.keys())
    desk = Desk(tuple(found.candidates), holds=tuple(standing(made, {}, NOW).values()))
    return take(made, specs, kept, desk, fleet, NOW).problem


class Counted(Fleet):
    def planning_gpus(self, name: str) -> int:
        return self.world.gpus(self.world.nodes[name])


@settings(max_examples=400)
@given(st.data())
def test_the_problem_of_a_bundle_is_the_operators(data: st.DataObject) -> None:
    """Nodes with their levels and health, products, promises, holds, candidates, outages and announced bindings, one by one."""
    objects = cluster(data)
    told = json.dumps(bundle([kept for raw in objects if (kept := reduced(raw)) is not None], NOW))
    assert not [word for word in SECRETS if word in told]
    found, expected = problem_of(read([("cluster", json.loads(told))]), now=NOW), operators(objects)
    assert found.nodes == expected.nodes
    assert found.contracts == expected.contracts
    assert found == expected


def test_the_bundle_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    """Lists may come in any order; a file of it reads as the cluster itself, and reducing twice changes nothing."""
    objects = [node(i, {"grade": "h100", "ready": True, "cordoned": False, "gpus": 8}) for i in range(12)] + [product("h100")]
    once = bundle([kept for raw in objects if (kept := reduced(raw))], NOW)
    again = bundle([kept for raw in reversed(once["items"]) if (kept := reduced(raw))], NOW)
    assert json.dumps(once, sort_keys=True) == json.dumps(again, sort_keys=True)
    (tmp_path / "state.json").write_text(json.dumps(once))
    (from_file, from_cluster) = load([str(tmp_path / "state.json")]), read([("cluster", once)])
    assert problem_of(from_file, now=NOW) == problem_of(from_cluster, now=NOW)
    assert from_file.taken == NOW


@pytest.mark.parametrize(("phase", "is_error"), [("Rejected", False), ("", False), ("Accepted", True)])
def test_what_is_wrong_in_a_cluster(phase: str, is_error: bool) -> None:
    """A broken contract that nobody was promised is passed over; one that was promised must not be planned over."""
    from laycan.planning.manifests import BadInputError

    said = {"phase": phase, "product": "h100", "class": "Firm", "start": 1, "hours": 1, "level": "Node", "leaving": False}
    broken = contract(0, said, [])
    broken["spec"]["terms"]["delivery"]["gpus"] = -8
    document = bundle([kept for raw in (broken, product("h100")) if (kept := reduced(raw))], NOW)
    if is_error:
        with pytest.raises(BadInputError, match=r"cluster: ComputeContract desk/c0: spec\.terms\.delivery\.gpus: must be at least 1"):
            read([("cluster", document)])
    else:
        assert not read([("cluster", document)]).contracts
