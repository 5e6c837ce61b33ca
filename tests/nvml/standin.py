"""NVIDIA's NVML without a GPU: pynvml, unchanged, on a small library of ours that answers from a control file.

`libnvidia-ml.c` beside this file tells what the control file holds. A test in this process calls `preload`; a process of its own gets
`environment`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("libnvidia-ml.c")
LIBRARY = "libnvidia-ml.so.1"  # what pynvml loads
CONTROL = "LAYCAN_NVML_CONTROL"
DRIVER = "580.105.08"
LINKS = 18  # NVLinks of an H100

# Values that are faults: nvmlReturn_t
NOT_SUPPORTED, NOT_LOADED, LOST, RESET_REQUIRED, VERSION_MISMATCH, UNKNOWN = "!3", "!9", "!15", "!16", "!18", "!999"


@dataclass
class Gpu:
    """A card, by default one of eight in a sound HGX H100 that is busy. What is None is not supported; `faults` has the last word."""

    slot: int
    uuid: str = ""
    serial: str | None = ""
    board: str | None = "692-2G520-0200-000"
    name: str | None = "NVIDIA H100 80GB HBM3"
    energy: int | None = 1_000_000  # mJ
    thermal: int | None = 0  # ns
    power_brake: int | None = 0  # ns
    thermal_violation: int | None = 0  # ns, the older counter
    ecc: int | None = 0
    remap_pending: int | None = 0
    remap_failed: int | None = 0
    recovery_action: int | None = 0
    links: list[int] | None = field(default_factory=lambda: [1] * LINKS)  # nvmlNvLinkState
    fabric: tuple[int, int] | None = (3, 0)  # state, status
    pcie: tuple[int, int, int, int] | None = (16, 16, 5, 5)  # width, its maximum, generation, its maximum
    replays: int | None = 0
    utilisation: int | None = 97  # per cent
    compute: tuple[int, ...] | None = ()  # pids
    graphics: tuple[int, ...] | None = ()
    mps: tuple[int, ...] | None = ()
    power_limit: int | None = 700_000  # mW
    events: int | None = 0x8  # supported types
    faults: Mapping[str, str] = field(default_factory=dict)  # key -> value of the control file

    def __post_init__(self) -> None:
        self.uuid = self.uuid or f"GPU-{self.slot:08x}-0000-4000-8000-{self.slot:012x}"
        self.serial = f"16525230{self.slot:05d}" if self.serial == "" else self.serial

    def answers(self) -> dict[str, object]:
        """Key -> value of the control file."""
        width, widest, generation, newest = self.pcie or (None,) * 4
        fixed: dict[str, object] = {
            "nvmlDeviceGetHandleByIndex_v2": 0,
            "nvmlDeviceGetUUID": self.uuid,
            "nvmlDeviceGetSerial": self.serial,
            "nvmlDeviceGetBoardPartNumber": self.board,
            "nvmlDeviceGetName": self.name,
            "nvmlDeviceGetCurrPcieLinkWidth": width,
            "nvmlDeviceGetMaxPcieLinkWidth": widest,
            "nvmlDeviceGetCurrPcieLinkGeneration": generation,
            "nvmlDeviceGetMaxPcieLinkGeneration": newest,
            "nvmlDeviceGetEnforcedPowerLimit": self.power_limit,
            "nvmlDeviceGetUtilizationRates": self.utilisation,
            "nvmlDeviceGetGpuFabricInfoV": self.fabric and f"{self.fabric[0]} {self.fabric[1]}",
            "nvmlDeviceGetViolationStatus.1": self.thermal_violation,
            "nvmlDeviceGetComputeRunningProcesses_v3": pids(self.compute),
            "nvmlDeviceGetGraphicsRunningProcesses_v3": pids(self.graphics),
            "nvmlDeviceGetMPSComputeRunningProcesses_v3": pids(self.mps),
            "nvmlDeviceGetSupportedEventTypes": self.events,
            "nvmlDeviceRegisterEvents": 0,
            "nvmlEventSetWait_v2": 0,
            "nvmlDeviceGetFieldValues": 0,
        }
        return fixed | self.fields() | dict(self.faults)

    def fields(self) -> dict[str, object]:
        """The field values; `u`: the type is unsigned int, else unsigned long long."""
        short = {"94": self.replays, "144": self.remap_pending, "145": self.remap_failed, "230": self.recovery_action}
        long: dict[str, object] = {"4": self.ecc, "83": self.energy, "270": self.thermal, "271": self.power_brake}
        states = self.links or []
        links: dict[str, object] = {f"165.{link}" if link else "165": f"{state}u" for link, state in enumerate(states)}
        count: dict[str, object] = {} if self.links is None else {"91": f"{len(states)}u"}
        return long | {key: None if value is None else f"{value}u" for key, value in short.items()} | links | count


def pids(of: tuple[int, ...] | None) -> str | None:
    return None if of is None else " ".join(map(str, of)) or "0"


def eight() -> list[Gpu]:
    return [Gpu(slot) for slot in range(8)]


class StandIn:
    """A node's driver and its GPUs. Change the attributes, then `write`."""

    def __init__(self, library: Path, control: Path) -> None:
        self.library = library
        self.control = control
        self.gpus = eight()
        self.driver: str = DRIVER
        self.load = 0  # another number: the driver was loaded anew
        self.faults: dict[str, str] = {}  # of the node: key -> value
        self.events: list[tuple[int, int]] = []  # slot, xid: all that ever happened
        self.write()

    def write(self) -> None:
        """At once, or not at all: a reader sees the old file or the new one."""
        node = {
            "nvmlInitWithFlags": 0,
            "nvmlSystemGetDriverVersion": self.driver,
            "nvmlDeviceGetCount_v2": 0,
            "nvmlEventSetCreate": 0,
            "nvmlEventSetWait_v2": 0,
            "load": self.load,
        }
        lines = [f"-1 {key} {value}" for key, value in (node | self.faults).items()]
        lines += [f"-1 event {number} {slot} {xid}" for number, (slot, xid) in enumerate(self.events, 1)]
        lines += [f"{gpu.slot} {key} {value}" for gpu in self.gpus for key, value in gpu.answers().items() if value is not None]
        fresh = self.control.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n", errors="surrogateescape")
        fresh.replace(self.control)

    def xid(self, slot: int, xid: int) -> None:
        """The card reports an XID, now."""
        self.events.append((slot, xid))
        self.write()

    def unload(self) -> None:
        """The driver goes away; sessions that are open end."""
        self.load += 1
        self.faults["*"] = NOT_LOADED
        self.write()

    def reload(self) -> None:
        """The driver is loaded anew."""
        self.load += 1
        self.faults.pop("*", None)
        self.write()

    def preload(self) -> None:
        """pynvml of this process finds the stand-in: what is loaded under a name is not looked for again."""
        ctypes.CDLL(str(self.library), mode=ctypes.RTLD_GLOBAL)

    def environment(self) -> dict[str, str]:
        """For a process of its own."""
        return os.environ | {"LD_LIBRARY_PATH": str(self.library.parent), CONTROL: str(self.control)}


def build(folder: Path) -> Path:
    """The library, compiled into this folder."""
    library = folder / LIBRARY
    options = ("-shared", "-fPIC", "-pthread", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{LIBRARY}")
    subprocess.run(["cc", *options, "-o", str(library), str(SOURCE)], check=True)
    return library


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, compiled once per test process."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Eight sound GPUs for this process's pynvml."""
    if os.environ.get("LAYCAN_NVML") == "real":
        pytest.skip("needs the stand-in")
    standin = StandIn(nvml_library, tmp_path / "control")
    monkeypatch.setenv(CONTROL, str(standin.control))
    standin.preload()
    yield standin
    standin.control.unlink()  # from here on there is no driver
