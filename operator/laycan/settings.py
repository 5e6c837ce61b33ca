"""The operator's settings, as the chart renders them into `settings.yaml`. Every duration is in whole seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Breaker(_Model):
    """No more than this share of the fleet is given up as failed within the window without a human."""

    share_ppm: int = Field(default=50_000, ge=0, le=1_000_000)
    window_seconds: int = Field(default=600, ge=1)


class Settings(_Model):
    mode: Literal["Observe", "Enforce"] = "Observe"
    namespace: str = "laycan-system"  # the release's own
    probe_namespace: str = "laycan-probe"
    exempt_namespaces: tuple[str, ...] = ("kube-system", "kube-node-lease", "kube-public", "laycan-system", "gpu-operator")
    agent_namespaces: tuple[str, ...] = ("monitoring",)
    lead_seconds: int = Field(default=60, ge=0)  # how long before a window its nodes are frozen and drained
    drain_seconds: int = Field(default=30, ge=0)  # PodDisruptionBudgets are respected for so long after a re-bind
    hysteresis_seconds: int = Field(default=900, ge=0)  # a node that returns stays in quarantine for so long
    dwell_seconds: int = Field(default=120, ge=0)  # fewer healthy GPUs for longer than this is a failure
    breaker: Breaker = Breaker()
    meter_seconds: int = Field(default=60, ge=1)  # how often quantities are written while a contract is delivered
    meter_lag_seconds: int = Field(default=60, ge=0)  # the meter trails, so that a fault that is noticed late lies in the open period
    reconcile_seconds: int = Field(default=30, ge=1)
    plan_effort: int = Field(default=400, ge=0)
    pause_all: bool = False
    policy_managers: tuple[str, ...] = ("helm",)  # field managers that may write the chart's policies; others are reported as drift


def load_settings(path: Path) -> Settings:
    """Reads the YAML file; raises pydantic's ValidationError that names the key."""
    return Settings.model_validate(yaml.safe_load(path.read_text()) or {})
