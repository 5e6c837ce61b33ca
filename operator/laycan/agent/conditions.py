"""What one sample of one GPU says of each signal: that it holds, that it does not, or nothing at all.

A signal that a sample is silent about stays as it was. Below its maximum under no load a PCIe link says nothing: idle links slow
down to save power.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from laycan.agent.sample import Fabric, GpuSample, Pcie
from laycan.resources.signals import Signal

_COMPLETED = 3  # nvmlGpuFabricState_t
_IN_NEED = (1, 2)  # not started, in progress; 0 is a card without a fabric


class Ill(NamedTuple):
    """Code and value of a finding."""

    code: int = 0
    value: int = 0


def conditions(gpu: GpuSample, most_links: int) -> Mapping[Signal, Ill | None]:
    """Signal -> what is wrong, None where nothing is; absent where the sample does not tell. `most_links`: most that were ever up."""
    found: dict[Signal, Ill | None] = {}
    if gpu.recovery_action is not None:
        found[Signal.RECOVERY_ACTION] = Ill(code=gpu.recovery_action) if gpu.recovery_action else None
    if gpu.uncorrectable_ecc is not None:
        found[Signal.UNCORRECTABLE_ECC] = Ill(value=gpu.uncorrectable_ecc) if gpu.uncorrectable_ecc else None
    if gpu.remap_pending is not None:
        found[Signal.ROW_REMAP_PENDING] = Ill() if gpu.remap_pending else None
    if gpu.remap_failed is not None:
        found[Signal.ROW_REMAP_FAILED] = Ill() if gpu.remap_failed else None
    if gpu.active_nvlinks is not None:
        down = most_links - gpu.active_nvlinks
        found[Signal.NVLINK_DOWN] = Ill(value=down) if down > 0 else None
    if gpu.fabric is not None:
        found[Signal.FABRIC_NOT_READY] = _fabric(gpu.fabric)
    if gpu.pcie is not None and (gpu.busy or not _slow(gpu.pcie)):
        found[Signal.PCIE_DEGRADED] = Ill(gpu.pcie.generation, gpu.pcie.width) if _slow(gpu.pcie) else None
    return found


def _fabric(fabric: Fabric) -> Ill | None:
    if fabric.state in _IN_NEED:
        return Ill(code=fabric.state)
    return Ill(fabric.state, fabric.status) if fabric.state == _COMPLETED and fabric.status else None


def _slow(pcie: Pcie) -> bool:
    return pcie.width < pcie.max_width or pcie.generation < pcie.max_generation
