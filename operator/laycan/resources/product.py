"""ComputeProduct: a grade as it is sold.

The promise (hardware, GPUs per node, lot size, level, tolerance, detection, interruption) is immutable: a better grade is a new product.
Equivalents, turnaround, health policy, target and planning are the operator's to change; the health policy is versioned and its
digest pinned in each contract at acceptance.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Conditions, Decimal, Metadata, Model, Name, NodeGpus, Ppm, Seconds, Time, rules, unchanged
from laycan.resources.terms import Interruption, Tolerance

GradeName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
Xid = Annotated[int, Field(ge=1, le=1023)]
DegradedReason = Annotated[str, Field(min_length=1, max_length=64)]


class Detection(Model):
    """When a node counts as failed."""

    seconds: Seconds = Field(description="A node that is NotReady for longer has failed, seconds.")
    heartbeat_seconds: Annotated[int, Field(ge=15, le=86_400)] | None = Field(
        default=None,
        description="A node whose Lease is not renewed for so long has failed, whatever Ready says, seconds. Absent: Ready alone.",
    )


class Equivalent(Model):
    """A grade that may be delivered instead."""

    product: Name = Field(description="Name of the ComputeProduct that is delivered.")
    cost_per_gpu_hour: Decimal = Field(
        description="What delivering it instead costs the operator per GPU-hour, in the plan's currency, as a decimal."
    )


class Health(Model):
    """The health policy: which signals make a GPU undeliverable."""

    version: str = Field(description="Version of this policy; changes with every change of it.", min_length=1, max_length=64)
    fatal_xids: list[Xid] | None = Field(
        default=None, description="XID codes after which a GPU is Unhealthy (NVIDIA's numbers). Absent: the default list.", max_length=256
    )
    accept_degraded: list[DegradedReason] | None = Field(
        default=None, description="Reasons of Degraded with which a GPU still counts as delivered. Absent: none.", max_length=32
    )
    clean_seconds: Seconds | None = Field(
        default=None, description="Fault-free time after a reset before a GPU is Healthy again, seconds. Absent: 900."
    )
    degraded_share_ppm: Ppm | None = Field(
        default=None, description="Share of an interval under hardware slowdown that makes a GPU Degraded, millionths. Absent: 50000."
    )


class Target(Model):
    """How sure the operator wants to be."""

    shortfall_ppm: int = Field(description="Chance that a lot is out beyond cure in 30 days, millionths.", ge=1, le=1_000_000)


class MovePlanning(Model):
    """What moving lots weighs, and when it is allowed."""

    seconds: Seconds | None = Field(
        default=None, description="Weight of one interruption, seconds of the contract's whole capacity. Absent: 900."
    )
    policy: Literal["Forced", "Rescue", "Any"] | None = Field(
        default=None,
        description="Planned moves of running lots: Forced none, Rescue those that lower what is owed, Any all. Absent: Rescue.",
    )
    per_month: int | None = Field(
        default=None, description="Most planned interruptions of a contract in 30 days (a count). Absent: 4.", ge=0, le=1000
    )


class Planning(Model):
    """The operator's own knobs."""

    move: MovePlanning | None = Field(default=None, description="What moving lots weighs, and when it is allowed. Absent: as said of each.")
    dead_nodes: Literal["Wait", "OutOfService"] | None = Field(
        default=None,
        description="Pods of a node that failed: Wait until it is heard again, deleted or confirmed to be off; OutOfService gives them up."
        " Absent: Wait.",
    )


_PROMISE_KEPT = " && ".join(
    ["self.gpuProducts == oldSelf.gpuProducts", "self.nodeGpus == oldSelf.nodeGpus"]
    + [unchanged(field) for field in ("lotGpus", "level", "tolerance", "detection", "interruption")]
)


CURE_SECONDS = 14_400  # of contracts and products that name none (contract.md 5)


class ProductSpec(Model):
    """The promise, and how the operator keeps it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                _PROMISE_KEPT,
                "gpuProducts, nodeGpus, lotGpus, level, tolerance, detection and interruption are the promise and immutable;"
                " make a new product",
            ),
            ("!has(self.lotGpus) || self.lotGpus <= self.nodeGpus", "lotGpus must not be more than nodeGpus: a lot is always on one node"),
            (
                "!has(self.health) || !has(oldSelf.health) || self.health == oldSelf.health"
                " || self.health.version != oldSelf.health.version",
                "a changed health policy needs a new health.version",
            ),
        )
    )

    gpu_products: list[GradeName] = Field(
        description="Hardware that is this grade: values of the node label nvidia.com/gpu.product.",
        min_length=1,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    node_gpus: NodeGpus = Field(description="GPUs of one intact node.")
    lot_gpus: NodeGpus | None = Field(default=None, description="Contracts' lotGpus must be multiples of it, GPUs. Absent: 1.")
    level: Literal["Node", "Device"] | None = Field(
        default=None,
        description="How exactly it is delivered. Device: exact GPUs by DRA, from nodes that give them. Node: whole nodes. Absent: either.",
    )
    tolerance: Tolerance | None = Field(
        default=None, description="Grace and cure of contracts that name none, seconds. Absent: 300 and 14400."
    )
    detection: Detection | None = Field(default=None, description="When a node counts as failed, seconds. Absent: 40.")
    interruption: Interruption | None = Field(
        default=None, description="Interruption terms of Interruptible contracts that name none. Absent: no right of curtailment."
    )
    turnaround_seconds: Seconds | None = Field(
        default=None, description="Time a node stays empty between different holders, seconds. Absent: 0."
    )
    equivalents: list[Equivalent] | None = Field(
        default=None, description="Grades that may be delivered instead where a contract allows it. Absent: none.", max_length=32
    )
    health: Health | None = Field(default=None, description="Versioned health policy. Absent: the default policy.")
    target: Target | None = Field(
        default=None, description="How sure the operator wants to be. Absent: admission by count, without reserve."
    )
    planning: Planning | None = Field(
        default=None, description="The operator's own knobs; no part of the promise. Absent: as said of each."
    )


class DownNode(Model):
    """A node that has failed and is not back."""

    node: Name = Field(description="Name of the node.")
    since: Time = Field(description="Onset, RFC 3339 UTC.")


class Reliability(Model):
    """How often the product's nodes failed here, and for how long: counts, from which the planner works out what it expects."""

    since: Time = Field(description="Since when it is counted, RFC 3339 UTC.")
    until: Time = Field(description="Up to when, RFC 3339 UTC.")
    node_seconds: int = Field(description="Time that its nodes were up, all together, seconds.", ge=0)
    failures: int = Field(description="Failures that were nobody's plan (a count).", ge=0)
    repairs: int = Field(description="Those that are over (a count).", ge=0)
    repair_seconds: int = Field(description="From their onsets to the nodes' return, all together, seconds.", ge=0)
    down: list[DownNode] | None = Field(default=None, description="Those that last.", max_length=4096)


class ProductStatus(Model):
    """What the operator found about the product."""

    observed_generation: int | None = Field(default=None, description="metadata.generation that this status answers.", ge=0)
    conditions: Conditions | None = Field(default=None, description="Ready: the product can be planned.")
    reliability: Reliability | None = Field(default=None, description="How often its nodes failed here. Absent: nothing is counted yet.")


class ComputeProduct(Model):
    """A grade of GPUs as it is sold."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.spec.equivalents) || self.spec.equivalents.all(e, e.product != self.metadata.name)",
                "a product is no equivalent of itself",
            ),
        )
    )

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["ComputeProduct"] = Field(description="ComputeProduct")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: ProductSpec = Field(description="The promise, and how the operator keeps it.")
    status: ProductStatus | None = Field(default=None, description="What the operator found about the product.")
