"""What NVML says of this node's GPUs: the only module that imports pynvml.

Everything here is read, nothing is judged. What a card or a driver does not tell is None, and a card that is lost or does not answer
never stops the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class NvmlError(Exception):
    """NVML gave no sample: nothing is known about any GPU (no right to the devices, say). `str()` is NVML's own word."""


class NoDriverError(NvmlError):
    """Library or driver is not there. `open()` may be tried again."""


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
    active_nvlinks: int | None
    fabric: Fabric | None
    pcie: Pcie | None
    pcie_replays: int | None
    busy: bool | None  # utilisation > 0 in NVML's last sampling period
    pids: tuple[int, ...]  # of compute and graphics processes, ascending
    power_limit_milliwatts: int | None


@dataclass(frozen=True, slots=True)
class NodeSample:
    """All GPUs at one time, each in exactly one of the three; a known GPU that is in none of them is not enumerated."""

    driver: str
    gpus: tuple[GpuSample, ...]  # by index
    lost: tuple[str, ...]  # uuids: NVML says GPU_IS_LOST
    unreadable: tuple[str, ...]  # uuids: enumerated, but NVML answers nothing about it


class XidEvent(NamedTuple):
    uuid: str
    xid: int


class Nvml:
    """A session with the driver. `events` may run in another thread than the rest.

    A call into a hanging driver never returns, nor does it hold the interpreter: whoever must not hang calls from a thread of its own.
    NVML enumerates cards once per session: close and open again to see one that came back.
    """

    def open(self) -> None:
        """Start a session; one that is open already is ended before. Raises NvmlError and its kinds."""
        raise NotImplementedError

    def close(self) -> None:
        """End the session, never raises; waits for `events` to return."""
        raise NotImplementedError

    def sample(self) -> NodeSample:
        """All GPUs now. Raises NvmlError; after NoDriverError (the driver went away) `open()` may be called again."""
        raise NotImplementedError

    def events(self, timeout_seconds: float) -> list[XidEvent]:
        """XIDs since the last call, as soon as there is one, or [] after the timeout. Raises NvmlError like `sample`."""
        raise NotImplementedError
