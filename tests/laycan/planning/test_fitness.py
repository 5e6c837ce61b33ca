"""What agents found counts in a plan of a cluster: for the machine that they found it on, by the health policy of what it is sold as."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.planning.bundle import reduced
from laycan.planning.fitness import Cards
from laycan.planning.manifests import read

NOW = 1_800_000_000
Raw = dict[str, Any]


def gpus(*findings: Raw, uid: str = "u0", health: Raw | None = None) -> int:
    """GPUs of a node of eight that a plan counts on, after these findings."""
    meta = {"name": "n0", "uid": "u0", "labels": {"nvidia.com/gpu.product": "NVIDIA-H100"}}
    counts = {"capacity": {"nvidia.com/gpu": "8"}, "allocatable": {"nvidia.com/gpu": "8"}}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": counts}
    spec = {"gpuProducts": ["NVIDIA-H100"], "nodeGpus": 8, **({"health": health} if health else {})}
    product = {"apiVersion": "laycan.dev/v1alpha1", "kind": "ComputeProduct", "metadata": {"name": "h100"}, "spec": spec}
    cards = [{"uuid": f"GPU-{i}", "strangers": 0} for i in range(8)]
    told = {"nodeUid": uid, "since": "2027-01-01T00:00:00Z", "at": "2027-01-15T08:00:00Z", "gpus": cards, "findings": list(findings)}
    meter = {"apiVersion": "laycan.dev/v1alpha1", "kind": "GpuMeter", "metadata": {"name": "n0"}, "spec": {**told, "bootId": "b"}}
    manifests = read([("cluster", kept) for raw in (node, product, meter) if (kept := reduced(raw))])
    return Cards(manifests, NOW).gpus(manifests.nodes["n0"])


def finding(gpu: int, signal: str, code: int = 0, **more: Any) -> Raw:
    return {"gpu": f"GPU-{gpu}", "signal": signal, "code": code, "start": "2027-01-15T07:00:00Z", **more}


def test_without_findings() -> None:
    """All that the node reports."""
    assert gpus() == 8


def test_a_gpu_that_is_broken() -> None:
    """Each counts once, however much is wrong with it."""
    assert gpus(finding(0, "Xid", 79), finding(0, "Missing"), finding(3, "Missing")) == 6


@pytest.mark.parametrize(("end", "left"), [("2027-01-15T07:44:59Z", 8), ("2027-01-15T07:45:01Z", 7)])
def test_until_it_was_clean_for_long_enough(end: str, left: int) -> None:
    """Fifteen minutes after the fault, by the default policy."""
    assert gpus(finding(0, "Xid", 79, end=end)) == left


def test_another_machine_of_the_name() -> None:
    """What was found on it says nothing of this one."""
    assert gpus(finding(0, "Xid", 79), uid="u1") == 8


def test_the_products_policy_decides() -> None:
    """An XID that it does not list is none of a plan's concern."""
    assert gpus(finding(0, "Xid", 79), health={"version": "1", "fatalXids": [48]}) == 8


def test_what_cannot_be_read_moves_nobody() -> None:
    """NVML that answers nothing for a moment takes no GPU away: the operator waits, and a look at one instant cannot."""
    assert gpus(finding(0, "Unreadable")) == 8
