"""The operator's settings, as the chart renders them into `settings.yaml`. Every duration is in whole seconds."""

from __future__ import annotations

from functools import cached_property
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


class Flapping(_Model):
    """A node that turns NotReady so many times within the window has failed, though it is Ready in between."""

    times: int = Field(default=3, ge=2)
    window_seconds: int = Field(default=600, ge=1)


class FailureCondition(_Model):
    """A condition of nodes by which a monitoring agent says that the node is broken."""

    type: str = Field(min_length=1, max_length=316)
    status: Literal["True", "False", "Unknown"] = "True"


def _conditions(status: Literal["True", "False"], *types: str) -> tuple[FailureCondition, ...]:
    return tuple(FailureCondition(type=each, status=status) for each in types)


# Conditions that agents set for GPUs or fabric that need a reset, a reboot or a repair; what they only warn of they tell as Events.
KNOWN_CONDITIONS = (
    # NVSentinel, fatal health events (docs.nvidia.com/nvsentinel/getting-started/integrations)
    *_conditions("True", "GpuMemWatch", "GpuPcieWatch", "GpuPowerWatch", "GpuInforomWatch", "GpuSmWatch", "GpuNvlinkWatch"),
    *_conditions("True", "GpuMcuWatch", "GpuPmuWatch", "GpuDriverWatch", "GpuThermalWatch"),
    *_conditions("True", "SysLogsXIDError", "SysLogsSXIDError", "SysLogsGPUFallenOff", "NVSwitchFatalError", "NVSwitchDown"),
    # EKS node monitoring agent (docs.aws.amazon.com/eks/latest/userguide/node-health.html)
    *_conditions("False", "AcceleratedHardwareReady"),
    # AKS, node-problem-detector (learn.microsoft.com/azure/aks/gpu-health-monitoring)
    *_conditions("True", "GPUMissing", "NVLinkStatusInactive", "XIDErrors", "IBLinkFlapping"),
    # Nebius (docs.nebius.com/kubernetes/maintenance/health-checks)
    *_conditions("True", "NebiusGPUError"),
    # node-problem-detector's own kernel and file system monitors (github.com/kubernetes/node-problem-detector)
    *_conditions("True", "KernelDeadlock", "ReadonlyFilesystem"),
)


OPERATOR_ID = r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$"  # part of a log's origin, which holds no space, plus or further slash


class Settings(_Model):
    """All settings, with the defaults that hold where the chart says nothing."""

    mode: Literal["Observe", "Enforce"] = "Observe"
    namespace: str = "laycan-system"  # the release's own
    operator_id: str = Field(default="", pattern=OPERATOR_ID, max_length=128)  # in receipts, origins and the trust file; "": of the cluster
    ledger_path: Path = Path("/var/lib/laycan")  # the folder of the logs
    clock_bound_milliseconds: int = Field(default=1000, ge=1)  # receipts wait while a clock is off by more
    probe_namespace: str = "laycan-probe"
    exempt_namespaces: tuple[str, ...] = ("kube-system", "kube-node-lease", "kube-public", "laycan-system", "gpu-operator")
    agent_namespaces: tuple[str, ...] = ("monitoring",)
    lead_seconds: int = Field(default=60, ge=0)  # how long before a window its nodes are frozen and drained
    longest_lead_seconds: int = Field(default=600, ge=0)  # drains that took longer than the lead allowed lengthen it up to this
    drain_seconds: int = Field(default=30, ge=0)  # PodDisruptionBudgets are respected for so long after a re-bind
    hysteresis_seconds: int = Field(default=900, ge=0)  # a node that returns stays in quarantine for so long
    dwell_seconds: int = Field(default=120, ge=0)  # fewer healthy GPUs for longer than this is a failure
    backfill: Literal["Everybody", "Nobody"] = "Everybody"  # who may use nodes of the fleet that nobody holds
    breaker: Breaker = Breaker()
    flapping: Flapping = Flapping()
    failure_conditions: tuple[FailureCondition, ...] = KNOWN_CONDITIONS  # lasting for the dwell
    meter_seconds: int = Field(default=60, ge=1)  # how often quantities are written while a contract is delivered
    meter_lag_seconds: int = Field(default=60, ge=0)  # the meter trails, so that a fault that is noticed late lies in the open period
    estimate_wait_seconds: int = Field(default=3600, ge=0)  # the meter waits so long for the next sample of an agent that is silent
    heartbeat_seconds: int = Field(default=60, ge=5, le=3600)  # how often each exchange is sent the signed head of its log
    reconcile_seconds: int = Field(default=30, ge=1)
    plan_effort: int = Field(default=400, ge=0)
    pause_all: bool = False
    hold_image: str = "laycan"  # of the pods that take exact GPUs for a claim; they need not start
    policy_managers: tuple[str, ...] = ("helm",)  # field managers that may write the chart's policies; others are reported as drift

    def operator(self, cluster_uid: str) -> str:
        """The operator's name in receipts, origins and the trust file; `cluster_uid` is that of the namespace kube-system."""
        return self.operator_id or f"laycan-{cluster_uid}"

    @cached_property
    def _failing(self) -> frozenset[tuple[str, str]]:
        return frozenset((each.type, each.status) for each in self.failure_conditions)

    def fails(self, condition: str, status: str) -> bool:
        """Whether a node's condition says that it is broken."""
        return (condition, status) in self._failing


def load_settings(path: Path) -> Settings:
    """Reads the YAML file; raises pydantic's ValidationError that names the key."""
    return Settings.model_validate(yaml.safe_load(path.read_text()) or {})
