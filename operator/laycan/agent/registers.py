"""Registers of one GPU: sums of what NVML's counters gained, which go on when those begin anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from laycan.agent.sample import GpuSample


class Counters(NamedTuple):
    """NVML's own counters at one sample, None where the card or the driver has none; they fall at a reset."""

    energy_millijoules: int | None = None
    slowdown_nanoseconds: int | None = None
    pcie_replays: int | None = None
    uncorrectable_errors: int | None = None

    @classmethod
    def of(cls, gpu: GpuSample) -> Counters:
        return cls(gpu.energy_millijoules, gpu.slowdown_nanoseconds, gpu.pcie_replays, gpu.uncorrectable_ecc)

    def after(self, before: Counters) -> Counters:
        """These, and those of `before` that were not told this time."""
        return Counters(*(old if new is None else new for old, new in zip(before, self, strict=True)))

    def fell_since(self, before: Counters) -> bool:
        """Whether the driver was loaded anew or the GPU reset: energy is never taken back."""
        old, new = before.energy_millijoules, self.energy_millijoules
        return old is not None and new is not None and new < old


RESET = Counters(0, 0, 0, 0)  # where they all begin


def rise(old: int | None, new: int | None) -> int:
    """What a counter gained; 0 if either reading is not there; where it fell it began anew, from 0."""
    if old is None or new is None:
        return 0
    return new if new < old else new - old


@dataclass(slots=True)
class Registers:
    """They never fall."""

    sampled_seconds: int = 0
    energy_millijoules: int = 0
    slowdown_milliseconds: int = 0
    pcie_replays: int = 0
    uncorrectable_errors: int = 0
    stranger_seconds: int = 0

    def add(self, old: Counters, new: Counters) -> None:
        """What NVML's counters gained from one sample to the next."""
        self.energy_millijoules += rise(old.energy_millijoules, new.energy_millijoules)
        # thousandths of each reading, not of the difference: else what is left over is lost sample by sample
        self.slowdown_milliseconds += rise(_milliseconds(old.slowdown_nanoseconds), _milliseconds(new.slowdown_nanoseconds))
        self.pcie_replays += rise(old.pcie_replays, new.pcie_replays)
        self.uncorrectable_errors += rise(old.uncorrectable_errors, new.uncorrectable_errors)


def _milliseconds(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // 1_000_000
