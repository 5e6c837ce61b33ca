"""What NVML tells about one card, and how it is asked. Beside `nvml` the only module that imports pynvml (distribution nvidia-ml-py).

A question that the card or the driver does not know is answered None; what ends all answers, loss of the card or of the driver, raises
pynvml.NVMLError.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pynvml

from laycan.agent.sample import Fabric, GpuSample, Pcie

Handle = Any  # nvmlDevice_t, a pointer: the same one for the same card as long as a session lasts
Field = int | tuple[int, int]  # number, or number and link
Values = Mapping[Field, int]

ENERGY = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION  # millijoules
UNCORRECTABLE = pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL
PENDING, FAILED = pynvml.NVML_FI_DEV_REMAPPED_PENDING, pynvml.NVML_FI_DEV_REMAPPED_FAILURE
RECOVERY = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
REPLAYS = pynvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER
LINKS, LINK = pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT, pynvml.NVML_FI_DEV_NVLINK_GET_STATE
THERMAL = pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN  # nanoseconds
POWER_BRAKE = pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN  # nanoseconds
# From which driver on a number means this. NVIDIA has numbered anew within a release: up to 580.65 the slowdowns were 252 and 253, and 270
# and 271 settings of power smoothing (compare nvidia-ml-py 13.580.65 with 13.580.82, which is why pyproject.toml asks for the latter).
SINCE = {RECOVERY: (570, 0), THERMAL: (580, 82), POWER_BRAKE: (580, 82)}

LINK_UP = (pynvml.NVML_NVLINK_STATE_ACTIVE, pynvml.NVML_NVLINK_STATE_SLEEP)
MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")  # of the union nvmlValue_t, by nvmlValueType_t
PROCESSES = (
    pynvml.nvmlDeviceGetComputeRunningProcesses,
    pynvml.nvmlDeviceGetMPSComputeRunningProcesses,
    pynvml.nvmlDeviceGetGraphicsRunningProcesses,
)

LOST = pynvml.NVML_ERROR_GPU_IS_LOST
NO_DRIVER = {pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}
STALE = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
NO_ANSWERS = {LOST, STALE, *NO_DRIVER}
# What a driver says to a question that it does not know, and a card to one that makes no sense for it.
UNKNOWN_QUESTION = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class Card:
    """A card, with what stays as it is while a session lasts."""

    handle: Handle
    uuid: str
    serial: str | None
    board: str | None
    product: str | None
    fields: tuple[Field, ...]  # asked in each sample, all in one call
    links: tuple[tuple[int, int], ...]  # those of `fields` that are the state of an NVLink
    slowdown: tuple[int, ...]  # those that count slowdown; none: the older counter does
    max_width: int | None
    max_generation: int | None

    @classmethod
    def of(cls, handle: Handle, driver: str) -> Self:
        """Asks the card who it is. Raises NVMLError if it does not tell."""
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        there = values_of(handle, meant([LINKS, THERMAL, POWER_BRAKE], driver))
        links = tuple((LINK, link) for link in range(there.get(LINKS, 0)))
        slowdown = tuple(field for field in (THERMAL, POWER_BRAKE) if field in there)
        return cls(
            handle=handle,
            uuid=uuid,
            serial=asked(pynvml.nvmlDeviceGetSerial, handle),
            board=asked(pynvml.nvmlDeviceGetBoardPartNumber, handle),
            product=asked(pynvml.nvmlDeviceGetName, handle),
            fields=(*meant([ENERGY, UNCORRECTABLE, PENDING, FAILED, RECOVERY, REPLAYS], driver), *slowdown, *links),
            links=links,
            slowdown=slowdown,
            max_width=asked(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
            max_generation=asked(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        )

    def sample(self, index: int) -> GpuSample:
        """Everything about it now. Raises NVMLError if it is lost, or answers nothing."""
        values = values_of(self.handle, self.fields)
        use = asked(pynvml.nvmlDeviceGetUtilizationRates, self.handle)
        return GpuSample(
            uuid=self.uuid,
            serial=self.serial,
            board=self.board,
            product=self.product,
            index=index,
            energy_millijoules=values.get(ENERGY),
            slowdown_nanoseconds=self._slowdown(values),
            uncorrectable_ecc=values.get(UNCORRECTABLE),
            remap_pending=flag(values.get(PENDING)),
            remap_failed=flag(values.get(FAILED)),
            recovery_action=values.get(RECOVERY),
            active_nvlinks=self._active_links(values),
            fabric=asked(fabric_of, self.handle),
            pcie=self._pcie(),
            pcie_replays=values.get(REPLAYS),
            busy=None if use is None else use.gpu > 0,
            pids=tuple(sorted({process.pid for listing in PROCESSES for process in asked(listing, self.handle) or ()})),
            power_limit_milliwatts=asked(pynvml.nvmlDeviceGetEnforcedPowerLimit, self.handle),
        )

    def _slowdown(self, values: Values) -> int | None:
        """Older drivers count thermal slowdown only, and that by software with it."""
        if self.slowdown:
            return sum(values[field] for field in self.slowdown) if all(field in values for field in self.slowdown) else None
        status = asked(pynvml.nvmlDeviceGetViolationStatus, self.handle, pynvml.NVML_PERF_POLICY_THERMAL)
        return None if status is None else status.violationTime

    def _active_links(self, values: Values) -> int | None:
        """Links that are up; None unless all of them answer."""
        states = [values.get(field) for field in self.links]
        if None in states:  # not told as a field
            states = [asked(pynvml.nvmlDeviceGetNvLinkState, self.handle, link) for _, link in self.links]
        return None if None in states or not states else sum(state in LINK_UP for state in states)

    def _pcie(self) -> Pcie | None:
        width = asked(pynvml.nvmlDeviceGetCurrPcieLinkWidth, self.handle)
        generation = asked(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, self.handle)
        if width is None or generation is None or self.max_width is None or self.max_generation is None:
            return None
        return Pcie(width, self.max_width, generation, self.max_generation)


def meant(fields: Sequence[int], driver: str) -> list[int]:
    """Those whose numbers mean to this driver what they mean to us."""
    version = tuple(int(part) for part in driver.split(".")[:2] if part.isdecimal())
    return [field for field in fields if version >= SINCE.get(field, ())]


def asked(question: Callable[..., Any], *about: Any) -> Any:
    """The answer, None if there is none. Raises NVMLError where there will be none to any question."""
    try:
        return question(*about)
    except UnicodeDecodeError:
        return None
    except pynvml.NVMLError as error:
        if error.value in NO_ANSWERS:
            raise
        return None


def values_of(handle: Handle, fields: Sequence[Field]) -> dict[Field, int]:
    """What the card answers. Raises NVMLError if it answers nothing, and not for want of knowing the fields."""
    try:
        answers = pynvml.nvmlDeviceGetFieldValues(handle, fields)
    except pynvml.NVMLError as error:
        if error.value in UNKNOWN_QUESTION:
            return {}
        raise
    values = {field: number(answer) for field, answer in zip(fields, answers, strict=True) if answer.nvmlReturn == pynvml.NVML_SUCCESS}
    troubles = {answer.nvmlReturn for answer in answers} - UNKNOWN_QUESTION - {pynvml.NVML_SUCCESS}
    if fatal := troubles & NO_ANSWERS or (troubles if not values else set()):
        raise pynvml.NVMLError(min(fatal))
    return values


def number(answer: Any) -> int:
    return int(getattr(answer.value, MEMBERS[answer.valueType]))


def fabric_of(handle: Handle) -> Fabric | None:
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return None if info.state == pynvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED else Fabric(info.state, info.status)


def flag(value: int | None) -> bool | None:
    return None if value is None else value != 0
