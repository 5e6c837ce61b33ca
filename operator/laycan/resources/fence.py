"""NodeFence and LeaderEpoch: the two singletons that the operator writes and the API server's policies read as parameters.

NodeFence maps each held node to its owner: a handover namespace, or `frozen.<uid>`, `quarantine.<uid>`, `end.<uid>`, which no
namespace can be called. LeaderEpoch numbers the writing operator, so that an old one is refused. Both are kinds of ours because a
policy whose parameter is a native kind can be left with a stale copy of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Metadata, Model, Name, rules

FROZEN, QUARANTINE, END = "frozen.", "quarantine.", "end."  # what owners begin with that are no namespace

Owner = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?|(frozen|quarantine|end)\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)$",
    ),
]


class FenceSpec(Model):
    """Who owns which node."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(oldSelf.epoch) || (has(self.epoch) && self.epoch >= oldSelf.epoch)",
                "epoch never falls: a newer operator has taken over",
            ),
        )
    )

    nodes: dict[Name, Owner] | None = Field(
        default=None,
        description="Node name to owner: a namespace, or frozen.<uid>, quarantine.<uid>, end.<uid>.",
        max_length=20_000,
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    epoch: int | None = Field(default=None, description="Epoch of the operator that wrote this (a count); never falls.", ge=0)


class NodeFence(Model):
    """Which nodes are held, and by whom: the parameter of the fence policy."""

    model_config = ConfigDict(json_schema_extra=rules(("self.metadata.name == 'cluster'", "the one NodeFence is named cluster")))

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["NodeFence"] = Field(description="NodeFence")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: FenceSpec = Field(description="Who owns which node.")


class EpochSpec(Model):
    """The epoch that may write."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.epoch >= oldSelf.epoch", "epoch never falls: a newer operator has taken over"))
    )

    epoch: int = Field(description="Number of the operator process that may write (a count); rises with every take-over.", ge=0)


class LeaderEpoch(Model):
    """Which operator process may write: the parameter of the epoch policy."""

    model_config = ConfigDict(json_schema_extra=rules(("self.metadata.name == 'cluster'", "the one LeaderEpoch is named cluster")))

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["LeaderEpoch"] = Field(description="LeaderEpoch")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: EpochSpec = Field(description="The epoch that may write.")
