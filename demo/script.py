"""What happens in the demo, and when: tenants, their pods, intruders, dead nodes. Only public means: manifests and API calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
DESK = "desk"
INTRUDER = "mallory"
START, END = "laycan.dev/demo-start", "laycan.dev/demo-end"  # annotations of examples/contracts.yaml, e.g. "+20s"


def load(path: Path) -> list[Object]:
    return [obj for obj in yaml.safe_load_all(path.read_text()) if obj]


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shifted(contract: Object, now: datetime) -> Object:
    """The example with its window moved next to now, where its annotations say so."""
    notes = contract["metadata"].get("annotations") or {}
    delivery = contract["spec"]["terms"]["delivery"]
    for annotation, field in ((START, "start"), (END, "end")):
        if annotation in notes:
            delivery[field] = stamp(now + timedelta(seconds=int(notes[annotation].removeprefix("+").removesuffix("s"))))
    return contract


def is_short(contract: Object) -> bool:
    """Whether its window begins and ends while the demo runs."""
    return END in (contract["metadata"].get("annotations") or {})


def namespace(name: str, *, desk: str = "") -> Object:
    labels = {"laycan.dev/desk": desk} if desk else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def workload(namespace: str, name: str, replicas: int, gpus: int, **pod: Any) -> Object:
    """A Deployment whose pods ask for `gpus` GPUs each."""
    labels = {"app": name}
    container = {"name": "main", "image": "example.invalid/train:1", "resources": {"limits": {"nvidia.com/gpu": gpus} if gpus else {}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def holders_workloads(contracts: list[Object]) -> list[Object]:
    """One Deployment per namespace that gets GPUs soon, as large as its largest contract, in pods of one lot each."""
    largest: dict[str, tuple[int, int]] = {}  # namespace -> replicas, GPUs of each
    for obj in filter(is_short, contracts):
        delivery = obj["spec"]["terms"]["delivery"]
        size = (delivery["gpus"] // delivery["lotGpus"], delivery["lotGpus"])
        name = delivery.get("handover", {}).get("namespace", "")
        if name and size[0] <= 12:
            largest[name] = max(largest.get(name, (0, 0)), size)
    return [workload(name, "train", replicas, gpus) for name, (replicas, gpus) in sorted(largest.items())]


TOLERATES_ALL = [{"operator": "Exists"}]


def intruders() -> list[Object]:
    """Somebody else's pods: they want GPUs anywhere, tolerate everything, and outrank the holders."""
    urgent: Object = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "very-important"},
        "value": 1_000_000,
    }
    return [
        urgent,
        workload(INTRUDER, "flood", 60, 8, tolerations=TOLERATES_ALL, priorityClassName="very-important"),
        workload(INTRUDER, "idlers", 6, 0, tolerations=TOLERATES_ALL),
    ]


def pod_on(node: str, name: str) -> Object:
    """A pod that skips the scheduler and names a node itself."""
    container = {"name": "main", "image": "example.invalid/miner:1", "resources": {"limits": {"nvidia.com/gpu": 8}}}
    meta = {"name": name, "namespace": INTRUDER}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": node, "tolerations": TOLERATES_ALL, "containers": [container]},
    }


@dataclass(frozen=True)
class Cue:
    """Something that the script does at a second of the demo."""

    at: int
    what: str  # kill | revive | sneak


CUES = (Cue(32, "sneak"), Cue(40, "kill"), Cue(58, "kill"), Cue(85, "revive"))
