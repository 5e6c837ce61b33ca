"""Outage: a window in which nodes cannot serve: maintenance, a known fault, or retirement for good."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Conditions, Metadata, Model, Name, Ppm, Time, rules

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class OutageSpec(Model):
    """Which nodes are out, and when."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.nodes) != has(self.nodeSelector)", "give either nodes or nodeSelector"),
            ("self.type != 'Planned' || has(self.end)", "a Planned outage needs an end"),
            ("self.type != 'Retirement' || !has(self.end)", "a Retirement has no end"),
            ("!has(self.end) || self.start < self.end", "start must be earlier than end"),
        )
    )

    type: Literal["Planned", "Forced", "Retirement"] = Field(description="Planned: maintenance. Forced: a fault. Retirement: for good.")
    nodes: list[Name] | None = Field(
        default=None,
        description="Names of the nodes. Absent: nodeSelector says which.",
        min_length=1,
        max_length=4096,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    node_selector: dict[LabelKey, LabelValue] | None = Field(
        default=None, description="Labels that the nodes carry, all of them. Absent: nodes says which.", min_length=1, max_length=16
    )
    start: Time = Field(description="First second of the outage, RFC 3339 UTC.")
    end: Time | None = Field(default=None, description="First second after it, RFC 3339 UTC. Absent: it does not end.")
    reason: str | None = Field(default=None, description="What is done, for a person. Absent: not said.", max_length=1024)
    accept_risk: bool | None = Field(
        default=None, description="Planned even where it leaves contracts at more risk than their target allows. Absent: false."
    )


class OutageStatus(Model):
    """What the outage hits."""

    observed_generation: int | None = Field(default=None, description="metadata.generation that this status answers.", ge=0)
    conditions: Conditions | None = Field(
        default=None,
        description="Exactly one of Covered, AtRisk and Blocked: nobody misses anything, a target is exceeded, or lots would be short.",
    )
    verdict: Literal["Covered", "AtRisk", "Blocked"] | None = Field(default=None, description="Which of the conditions is True.")
    judged_start: Time | None = Field(default=None, description="spec.start that the verdict is about, RFC 3339 UTC.")
    lots_short: int | None = Field(default=None, description="Lots that accepted contracts would miss because of it (a count).", ge=0)
    affected_contracts: int | None = Field(default=None, description="Contracts that are short because of it (a count).", ge=0)
    shortfall_probability_ppm: Ppm | None = Field(
        default=None, description="Chance that a failure while it lasts finds no spare, the worst product's, millionths."
    )


class Outage(Model):
    """A window in which nodes cannot serve."""

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["Outage"] = Field(description="Outage")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: OutageSpec = Field(description="Which nodes are out, and when.")
    status: OutageStatus | None = Field(default=None, description="What the outage hits.")
