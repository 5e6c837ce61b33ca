"""GpuMeter: what the agent of one node has measured of its GPUs, cumulative, in one object named like the node.

It is a meter as in power: registers that only rise, so a reader that comes late has missed nothing. Beside them stands what was
*found* (a GPU missing, an XID, a link down), each finding from the last good sample before it to the first good one after it, and every
stretch in which no sample was taken. Findings are facts; what they mean for delivery is decided by a health policy (`verdict`), because
two contracts may have been sold under two policies.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Metadata, Model, Time, rules
from laycan.resources.signals import Signal

Uuid = Annotated[str, Field(min_length=1, max_length=96, pattern=r"^[-A-Za-z0-9]+$")]
Text = Annotated[str, Field(max_length=96)]
Register = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]


class GpuRegisters(Model):
    """Counters that never fall, whatever restarts."""

    sampled_seconds: Register = Field(description="Time between good samples that followed each other, seconds.")
    energy_millijoules: Register = Field(description="Energy used, millijoules.")
    slowdown_milliseconds: Register = Field(description="Time under hardware thermal or power-brake slowdown, milliseconds.")
    pcie_replays: Register = Field(description="PCIe replays (a count).")
    uncorrectable_errors: Register = Field(description="Uncorrectable ECC errors (a count).")
    stranger_seconds: Register = Field(description="Time with processes that are not the holder's, seconds.")


class MeteredGpu(Model):
    """One GPU of the node."""

    uuid: Uuid = Field(description="NVML's UUID: the card itself.")
    serial: Text | None = Field(default=None, description="Serial number, where NVML tells it.")
    board: Text | None = Field(default=None, description="Board part number, where NVML tells it.")
    product: Text | None = Field(default=None, description="NVML's product name.")
    strangers: int = Field(description="Processes on it that are not the holder's (a count).", ge=0, le=65_535)
    registers: GpuRegisters = Field(description="Counters that never fall, whatever restarts.")


class Finding(Model):
    """Something wrong with one GPU, from the last good sample before to the first good one after it."""

    gpu: Uuid = Field(description="UUID of the GPU.")
    signal: Signal = Field(description="What was found.")
    code: int = Field(default=0, description="Its code, as NVML numbers it (an ordinal); 0 without.", ge=0, le=65_535)
    value: int = Field(default=0, description="Its size, a count, or millionths, by the signal; 0 without.", ge=0, le=1_000_000_000)
    count: int = Field(default=1, description="How often it was seen since it began (a count).", ge=1)
    start: Time = Field(description="Last good sample before it, RFC 3339 UTC.")
    end: Time | None = Field(default=None, description="First good sample after it, RFC 3339 UTC; absent while it lasts.")


class Missed(Model):
    """A stretch without samples, and what speaks for the GPUs having been there all the same (contract.md 5.7)."""

    start: Time = Field(description="Last sample before it, RFC 3339 UTC.")
    end: Time = Field(description="First sample after it, RFC 3339 UTC.")
    same_boot: bool = Field(description="Whether the node ran through: the boot id is the same, and the driver was not loaded anew.")
    uptime_seconds: int = Field(description="By how much the uptime advanced, seconds.", ge=0)
    least_watts: int = Field(description="Mean power of the GPU that used least in it, watts.", ge=0)
    most_watts: int = Field(description="Mean power of the GPU that used most in it, watts.", ge=0)


class Clock(Model):
    """How the node's clock stands."""

    synchronized: bool | None = Field(default=None, description="Whether the kernel says so (adjtimex); absent where it cannot be asked.")
    offset_milliseconds: int = Field(description="Its lead over the API server, milliseconds.", ge=-1_000_000_000, le=1_000_000_000)


class MeterSpec(Model):
    """The reading."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.nodeUid != oldSelf.nodeUid || self.since == oldSelf.since",
                "since never changes: registers count from it",
            ),
            (
                "self.nodeUid != oldSelf.nodeUid || timestamp(self.at) >= timestamp(oldSelf.at)",
                "at never falls: a reading is never taken back",
            ),
        )
    )

    node_uid: str = Field(description="uid of the Node: another machine of this name has another meter.", min_length=1, max_length=64)
    boot_id: str = Field(description="The kernel's boot id.", min_length=1, max_length=64)
    driver: str = Field(description="Version of NVIDIA's driver; empty while there is none.", max_length=64)
    agent: str = Field(description="Version of the agent.", min_length=1, max_length=64)
    sample_seconds: int = Field(description="How often a sample is taken, seconds.", ge=1, le=300)
    report_seconds: int = Field(description="How often this object is written where nothing changes, seconds.", ge=1, le=3600)
    since: Time = Field(description="First sample that the registers count, RFC 3339 UTC.")
    at: Time = Field(description="Latest sample, RFC 3339 UTC.")
    complete_since: Time = Field(description="All findings and missed stretches that ended later are listed, RFC 3339 UTC.")
    gpus: list[MeteredGpu] = Field(description="The GPUs, by UUID.", max_length=128)
    findings: list[Finding] | None = Field(default=None, description="What is or was wrong, oldest first.", max_length=512)
    missed: list[Missed] | None = Field(default=None, description="Stretches without samples, oldest first.", max_length=128)
    clock: Clock | None = Field(default=None, description="How the node's clock stands.")


class GpuMeter(Model):
    """What the agent of one node has measured of its GPUs."""

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["GpuMeter"] = Field(description="GpuMeter")
    metadata: Metadata = Field(description="Standard metadata; the name is the node's.")
    spec: MeterSpec = Field(description="The reading.")
