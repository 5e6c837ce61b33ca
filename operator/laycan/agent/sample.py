"""What one look at a node's GPUs gives. Facts only; what is wrong with a card, and what follows from it, is judged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class NvmlError(Exception):
    """NVML gave no sample: nothing is known about any GPU (no right to the devices, say). `str()` is NVML's own word."""


class NoDriverError(NvmlError):
    """Library or driver is not there, or was unloaded. `open()` may be tried again."""


class NoLibraryError(NoDriverError):
    """NVML's library is not in this container. That says nothing about the GPUs: a container without NVIDIA's runtime is blind."""


class StaleLibraryError(NvmlError):
    """The driver was changed under the library that this process has loaded: only a new process can ask it."""


class Fabric(NamedTuple):
    state: int  # nvmlGpuFabricState_t: 1 not started, 2 in progress, 3 completed
    status: int  # nvmlReturn_t of the registration, of meaning once completed: 0 is success


class Pcie(NamedTuple):
    width: int  # lanes
    max_width: int
    generation: int
    max_generation: int  # of card and slot together


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU as NVML told it, None where card or driver does not; counters fall when the driver is loaded anew or the GPU is reset."""

    uuid: str
    serial: str | None
    board: str | None
    product: str | None
    index: int  # NVML's, as of this sample
    energy_millijoules: int | None  # since the driver was loaded
    slowdown_nanoseconds: int | None  # under hardware thermal or power-brake slowdown, since the driver was loaded
    uncorrectable_ecc: int | None  # volatile: since the driver was loaded
    remap_pending: bool | None
    remap_failed: bool | None
    recovery_action: int | None  # nvmlDeviceGpuRecoveryAction_t: 0 none
    active_nvlinks: int | None  # None without NVLink, too
    fabric: Fabric | None  # None where the card needs no fabric manager, too
    pcie: Pcie | None
    pcie_replays: int | None
    busy: bool | None  # utilisation > 0 in NVML's last sampling period
    pids: tuple[int, ...]  # of compute, MPS and graphics processes, ascending
    power_limit_milliwatts: int | None


@dataclass(frozen=True, slots=True)
class NodeSample:
    """All GPUs at one time, each in exactly one of the three; a known GPU that is in none of them is not enumerated."""

    driver: str
    gpus: tuple[GpuSample, ...]  # by index
    lost: tuple[str, ...]  # uuids: NVML says GPU_IS_LOST, or RESET_REQUIRED
    unreadable: tuple[str, ...]  # uuids: enumerated, but NVML answers nothing about it


class XidEvent(NamedTuple):
    uuid: str
    xid: int
