"""What the agent reads of NVML, through the true pynvml.

With `LAYCAN_NVML=real` what any driver must pass runs on the driver of this machine, and its answers are written to
tests/fixtures/nvml/<driver>.json; all else runs on the stand-in.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from laycan.agent.nvml import Nvml
from laycan.agent.sample import Fabric, GpuSample, NoDriverError, NvmlError, Pcie, StaleLibraryError, XidEvent
from tests.nvml.standin import LOST, NOT_LOADED, NOT_SUPPORTED, RESET_REQUIRED, UNKNOWN, VERSION_MISMATCH, Gpu, StandIn

REAL = os.environ.get("LAYCAN_NVML") == "real"
RECORDS = Path(__file__).parents[2] / "fixtures" / "nvml"
COUNTERS = ("energy_millijoules", "slowdown_nanoseconds", "uncorrectable_ecc", "pcie_replays")
IDENTITY = {"uuid", "serial", "board", "product", "index"}


@pytest.fixture
def session(nvml: StandIn) -> Iterator[Nvml]:
    """Open on the stand-in."""
    reader = Nvml()
    reader.open()
    yield reader
    reader.close()


@pytest.fixture
def any_driver(request: pytest.FixtureRequest) -> Iterator[Nvml]:
    """Open on the driver of this machine, or on the stand-in."""
    if not REAL:
        request.getfixturevalue("nvml")
    reader = Nvml()
    reader.open()
    yield reader
    reader.close()


def look(nvml: StandIn, session: Nvml, gpu: Gpu) -> GpuSample:
    """What a new session tells of this card."""
    nvml.gpus = [gpu]
    nvml.write()
    session.open()
    (sample,) = session.sample().gpus
    return sample


def without(thing: Any, attribute: str) -> Any:
    return replace(thing, **{attribute: None})


class TestAnyDriver:
    def test_every_card_says_who_it_is(self, any_driver: Nvml) -> None:
        """Driver, uuid, index and product are there on every machine, and a uuid is one card's."""
        sample = any_driver.sample()
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", sample.driver)
        assert sample.gpus
        assert [gpu.index for gpu in sample.gpus] == list(range(len(sample.gpus)))
        assert len({gpu.uuid for gpu in sample.gpus}) == len(sample.gpus)
        assert all(re.fullmatch(r"GPU-[-0-9a-f]+", gpu.uuid) and gpu.product for gpu in sample.gpus)
        assert (sample.lost, sample.unreadable) == ((), ())

    def test_counters_do_not_fall(self, any_driver: Nvml) -> None:
        """A second sample is of the same cards, tells the same counters, and none of them has fallen."""
        first, second = any_driver.sample(), any_driver.sample()
        for before, after in zip(first.gpus, second.gpus, strict=True):
            assert (before.uuid, before.serial, before.board) == (after.uuid, after.serial, after.board)
            for counter in COUNTERS:
                earlier, later = getattr(before, counter), getattr(after, counter)
                assert (earlier is None) == (later is None)
                assert earlier is None or 0 <= earlier <= later

    def test_values_are_possible(self, any_driver: Nvml) -> None:
        """What a card does not support is None, and never some number that stands for it."""
        for gpu in any_driver.sample().gpus:
            assert gpu.recovery_action is None or 0 <= gpu.recovery_action < 16
            assert gpu.active_nvlinks is None or 0 <= gpu.active_nvlinks <= pynvml.NVML_NVLINK_MAX_LINKS
            assert gpu.fabric is None or 1 <= gpu.fabric.state <= 3
            assert gpu.pcie is None or (1 <= gpu.pcie.width <= gpu.pcie.max_width <= 32)
            assert gpu.pcie is None or (1 <= gpu.pcie.generation <= gpu.pcie.max_generation <= 10)
            assert gpu.power_limit_milliwatts is None or 1_000 <= gpu.power_limit_milliwatts <= 5_000_000
            assert all(pid > 0 for pid in gpu.pids)

    def test_no_event_is_no_error(self, any_driver: Nvml) -> None:
        """Where nothing happens, waiting ends with nothing."""
        assert any_driver.events(0.05) == []

    @pytest.mark.skipif(not REAL, reason="needs a GPU: LAYCAN_NVML=real")
    def test_record(self, any_driver: Nvml) -> None:
        """What this driver says is kept, without what names the cards."""
        sample = any_driver.sample()
        cards = [replace(gpu, uuid=f"GPU-{gpu.index}", serial=gpu.serial and "0", pids=()) for gpu in sample.gpus]
        RECORDS.mkdir(parents=True, exist_ok=True)
        record = RECORDS / f"{sample.driver}.json"
        record.write_text(json.dumps(asdict(replace(sample, gpus=tuple(cards))), indent=2) + "\n")


class TestFields:
    def test_every_field_comes_through(self, nvml: StandIn, session: Nvml) -> None:
        """Each value is where it belongs."""
        gpu = Gpu(
            slot=0,
            energy=2**40 + 1,
            thermal=2**35,
            power_brake=3,
            ecc=5,
            remap_pending=1,
            remap_failed=1,
            recovery_action=2,
            links=[1, 1, 0, 1],
            fabric=(2, 7),
            pcie=(8, 16, 4, 5),
            replays=11,
            utilisation=0,
            compute=(300, 20),
            graphics=(20, 4),
            mps=(5,),
            power_limit=650_000,
        )
        assert look(nvml, session, gpu) == GpuSample(
            uuid="GPU-00000000-0000-4000-8000-000000000000",
            serial="1652523000000",
            board="692-2G520-0200-000",
            product="NVIDIA H100 80GB HBM3",
            index=0,
            energy_millijoules=2**40 + 1,
            slowdown_nanoseconds=2**35 + 3,
            uncorrectable_ecc=5,
            remap_pending=True,
            remap_failed=True,
            recovery_action=2,
            active_nvlinks=3,
            fabric=Fabric(2, 7),
            pcie=Pcie(8, 16, 4, 5),
            pcie_replays=11,
            busy=False,
            pids=(4, 5, 20, 300),
            power_limit_milliwatts=650_000,
        )

    @pytest.mark.parametrize(
        ("lacking", "told"),
        [
            ("serial", "serial"),
            ("board", "board"),
            ("name", "product"),
            ("energy", "energy_millijoules"),
            ("ecc", "uncorrectable_ecc"),
            ("remap_pending", "remap_pending"),
            ("remap_failed", "remap_failed"),
            ("recovery_action", "recovery_action"),
            ("links", "active_nvlinks"),
            ("fabric", "fabric"),
            ("pcie", "pcie"),
            ("replays", "pcie_replays"),
            ("utilisation", "busy"),
            ("power_limit", "power_limit_milliwatts"),
        ],
    )
    def test_what_a_card_does_not_support_is_none(self, nvml: StandIn, session: Nvml, lacking: str, told: str) -> None:
        """One question that has no answer leaves all others as they are."""
        whole = look(nvml, session, Gpu(slot=0))
        assert look(nvml, session, without(Gpu(slot=0), lacking)) == without(whole, told)

    def test_a_card_that_supports_nothing(self, nvml: StandIn, session: Nvml) -> None:
        """It is there, and all that is not its uuid is None."""
        faults = {key: NOT_SUPPORTED for key in Gpu(0).answers() if not key.endswith(("UUID", "ByIndex_v2"))}
        gpu = look(nvml, session, Gpu(0, faults=faults))
        told = {field.name for field in fields(gpu) if getattr(gpu, field.name) not in (None, ())}
        assert told == {"uuid", "index"}

    def test_a_text_that_is_none(self, nvml: StandIn, session: Nvml) -> None:
        """Bytes that are no text, as from a damaged InfoROM, are no serial number, and stop nothing."""
        assert look(nvml, session, Gpu(slot=0, serial="\udcff\udcfe")).serial is None

    def test_who_a_card_is_stays_within_a_session(self, nvml: StandIn, session: Nvml) -> None:
        """Serial and the like are asked once; a new session asks again."""
        nvml.gpus[0].serial = "7"
        session.sample()
        nvml.gpus[0].serial = "8"
        nvml.write()
        assert session.sample().gpus[0].serial == "1652523000000"
        session.open()
        assert session.sample().gpus[0].serial == "8"

    def test_processes_are_told_once_each(self, nvml: StandIn, session: Nvml) -> None:
        """However many there are, and in however many lists they stand."""
        nvml.gpus[0].compute = tuple(range(100, 120))
        nvml.gpus[0].graphics = tuple(range(110, 125))
        nvml.write()
        assert session.sample().gpus[0].pids == tuple(range(100, 125))


class TestSlowdown:
    @pytest.mark.parametrize(
        ("driver", "gpu", "nanoseconds"),
        [
            ("580.105.08", Gpu(0, thermal=5, power_brake=7, thermal_violation=1000), 12),
            ("580.105.08", Gpu(0, thermal=5, power_brake=None, thermal_violation=1000), 5),
            ("580.105.08", Gpu(0, thermal=None, power_brake=None, thermal_violation=1000), 1000),
            ("580.105.08", Gpu(0, thermal=None, power_brake=None, thermal_violation=None), None),
            ("580.65.06", Gpu(0, thermal=5, power_brake=7, thermal_violation=1000), 1000),  # where 270 and 271 are something else
            ("570.172.08", Gpu(0, thermal=5, power_brake=7, thermal_violation=1000), 1000),
            ("610.43.02", Gpu(0, thermal=5, power_brake=7, thermal_violation=1000), 12),
            ("unheard of", Gpu(0, thermal=5, power_brake=7, thermal_violation=1000), 1000),
        ],
    )
    def test_counters_of_hardware_slowdown_come_first(
        self, nvml: StandIn, session: Nvml, driver: str, gpu: Gpu, nanoseconds: int | None
    ) -> None:
        """Hardware thermal and power-brake time where card and driver count them, else the older thermal counter."""
        nvml.driver = driver
        assert look(nvml, session, gpu).slowdown_nanoseconds == nanoseconds

    def test_a_session_keeps_to_one_counter(self, nvml: StandIn, session: Nvml) -> None:
        """A counter that does not answer once is None once: the other one's value would look like a leap."""
        nvml.gpus[0].thermal_violation = 10**12
        nvml.gpus[0].faults = {"271": UNKNOWN}
        nvml.write()
        assert session.sample().gpus[0].slowdown_nanoseconds is None

    def test_recovery_action_is_one_only_where_its_number_is(self, nvml: StandIn, session: Nvml) -> None:
        """Before driver 570 field 230 was not this."""
        nvml.driver = "565.57.01"
        assert look(nvml, session, Gpu(0, recovery_action=1)).recovery_action is None


class TestLinks:
    @pytest.mark.parametrize(
        ("gpu", "active"),
        [
            (Gpu(0, links=[1, 1, 1, 1]), 4),
            (Gpu(0, links=[1, 0, 2, 1]), 3),  # one down, one asleep
            (Gpu(0, links=[1, 1, 3]), 2),  # traffic disabled
            (Gpu(0, links=[0, 0]), 0),
            (Gpu(0, links=[]), None),
            (Gpu(0, links=[1, 1], faults={"165.1": UNKNOWN}), None),
            (Gpu(0, links=[1, 1], faults={"165": NOT_SUPPORTED, "165.1": NOT_SUPPORTED}), None),
        ],
    )
    def test_links_that_are_up(self, nvml: StandIn, session: Nvml, gpu: Gpu, active: int | None) -> None:
        """Active and sleeping links count; where one does not answer there is no number."""
        assert look(nvml, session, gpu).active_nvlinks == active

    def test_links_that_are_not_told_as_fields(self, nvml: StandIn, session: Nvml) -> None:
        """The older call is asked where the fields say nothing."""
        older = {"165": NOT_SUPPORTED, "165.1": NOT_SUPPORTED, "nvmlDeviceGetNvLinkState": "1", "nvmlDeviceGetNvLinkState.1": "0"}
        assert look(nvml, session, Gpu(0, links=[0, 0], faults=older)).active_nvlinks == 1

    def test_no_fabric_is_none(self, nvml: StandIn, session: Nvml) -> None:
        """A card that needs no fabric manager says so by a state."""
        assert look(nvml, session, Gpu(0, fabric=(0, 0))).fabric is None


class TestTrouble:
    @pytest.mark.parametrize("where", ["*", "nvmlDeviceGetFieldValues", "83", "nvmlDeviceGetUtilizationRates"])
    def test_a_lost_card_stops_no_other(self, nvml: StandIn, session: Nvml, where: str) -> None:
        """Whichever call says so first, the card is lost, by its uuid, and the seven others are read."""
        before = session.sample()
        nvml.gpus[3].faults = {where: LOST}
        nvml.write()
        sample = session.sample()
        assert sample.gpus == before.gpus[:3] + before.gpus[4:]
        assert (sample.lost, sample.unreadable) == ((before.gpus[3].uuid,), ())

    @pytest.mark.parametrize("error", [UNKNOWN, RESET_REQUIRED])
    @pytest.mark.parametrize("where", ["*", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetFieldValues"])
    def test_a_card_that_answers_nothing_is_unreadable(self, nvml: StandIn, session: Nvml, where: str, error: str) -> None:
        """It is neither healthy nor lost, and stops no other."""
        nvml.gpus[3].faults = {where: error}
        nvml.write()
        sample = session.sample()
        assert (len(sample.gpus), sample.lost, sample.unreadable) == (7, (), (nvml.gpus[3].uuid,))

    def test_a_card_none_of_whose_fields_answers(self, nvml: StandIn, session: Nvml) -> None:
        """A call that succeeds with errors only is no answer."""
        nvml.gpus[3].faults = dict.fromkeys(nvml.gpus[3].fields(), UNKNOWN)
        nvml.write()
        assert session.sample().unreadable == (nvml.gpus[3].uuid,)

    @pytest.mark.parametrize(("where", "told"), [("4", "uncorrectable_ecc"), ("nvmlDeviceGetEnforcedPowerLimit", "power_limit_milliwatts")])
    def test_one_question_in_trouble_is_none(self, nvml: StandIn, session: Nvml, where: str, told: str) -> None:
        """A card that answers all else is read."""
        expected = without(session.sample().gpus[3], told)
        nvml.gpus[3].faults = {where: UNKNOWN}
        nvml.write()
        assert session.sample().gpus[3] == expected

    def test_a_card_that_is_gone_is_nowhere(self, nvml: StandIn, session: Nvml) -> None:
        """Those behind it move up, and keep their own values."""
        for gpu in nvml.gpus:
            gpu.energy = 1_000 * gpu.slot
        gone = nvml.gpus.pop(3)
        nvml.write()
        sample = session.sample()
        assert [(gpu.uuid, gpu.index, gpu.energy_millijoules) for gpu in sample.gpus] == [
            (gpu.uuid, index, 1_000 * gpu.slot) for index, gpu in enumerate(nvml.gpus)
        ]
        assert gone.uuid not in sample.lost + sample.unreadable

    def test_a_card_that_comes_back_is_read(self, nvml: StandIn, session: Nvml) -> None:
        """In the same session or in the next."""
        nvml.gpus[3].faults = {"*": LOST}
        nvml.write()
        session.sample()
        nvml.gpus[3].faults = {}
        nvml.write()
        assert len(session.sample().gpus) == 8
        session.open()
        assert len(session.sample().gpus) == 8

    def test_a_card_that_is_lost_in_a_new_session_is_known_by_its_place(self, nvml: StandIn, session: Nvml) -> None:
        """It told its uuid in the session before."""
        nvml.gpus[3].faults = {"*": LOST}
        nvml.write()
        session.open()
        assert session.sample().lost == (nvml.gpus[3].uuid,)

    @pytest.mark.parametrize(("gone", "fitted"), [((2, 3), []), ((2,), [Gpu(9)])])
    def test_a_place_that_another_card_took_names_nobody(
        self, nvml: StandIn, session: Nvml, gone: tuple[int, ...], fitted: list[Gpu]
    ) -> None:
        """Card 4 is lost, and stands where another did that is gone or has moved: it is not called by that one's name."""
        nvml.gpus[4].faults = {"*": LOST}
        nvml.gpus = [gpu for gpu in nvml.gpus if gpu.slot not in gone] + fitted
        nvml.write()
        session.open()
        sample = session.sample()
        assert (len(sample.gpus), sample.lost, sample.unreadable) == (len(nvml.gpus) - 1, (), ())

    def test_a_card_that_never_told_its_name_has_none(self, nvml: StandIn) -> None:
        """All others are read."""
        nvml.gpus[3].faults = {"*": LOST}
        nvml.write()
        reader = Nvml()
        reader.open()
        sample = reader.sample()
        reader.close()
        assert (len(sample.gpus), sample.lost, sample.unreadable) == (7, (), ())


class TestDriver:
    def test_no_library(self, tmp_path: Path) -> None:
        """Without NVML's library there is no driver."""
        if REAL:
            pytest.skip("the library is there")
        program = "from laycan.agent.nvml import *\ntry: Nvml().open()\nexcept NoDriverError as error: print(error)"
        environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
        run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        assert run.stdout == "NVML Shared Library Not Found\n"

    def test_no_driver(self, nvml: StandIn) -> None:
        """A library without a driver is none."""
        nvml.unload()
        with pytest.raises(NoDriverError, match="Driver Not Loaded"):
            Nvml().open()

    def test_a_driver_that_goes_and_comes_back(self, nvml: StandIn, session: Nvml) -> None:
        """No sample while it is away, none in the old session, and a new session reads on."""
        nvml.unload()
        for ask in (session.sample, lambda: session.events(0), session.open, session.sample):
            with pytest.raises(NoDriverError):
                ask()
        session.close()
        nvml.reload()
        session.open()
        assert len(session.sample().gpus) == 8

    def test_a_driver_that_was_reloaded_between_samples(self, nvml: StandIn, session: Nvml) -> None:
        """The session ended with the old one."""
        nvml.reload()
        with pytest.raises(NoDriverError, match="Uninitialized"):
            session.sample()
        session.open()
        assert len(session.sample().gpus) == 8

    def test_a_driver_that_goes_away_within_a_sample(self, nvml: StandIn, session: Nvml) -> None:
        """Half a sample is none."""
        nvml.gpus[3].faults = {"nvmlDeviceGetUtilizationRates": NOT_LOADED}
        nvml.write()
        with pytest.raises(NoDriverError):
            session.sample()

    @pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlSystemGetDriverVersion"])
    def test_another_version_of_the_driver(self, nvml: StandIn, call: str) -> None:
        """A library that is not the driver's cannot be helped within this process."""
        nvml.faults[call] = VERSION_MISMATCH
        nvml.write()
        with pytest.raises(StaleLibraryError):
            Nvml().open()

    def test_no_right_to_the_devices(self, nvml: StandIn) -> None:
        """An NVML that fails otherwise is no missing driver."""
        nvml.faults["nvmlInitWithFlags"] = UNKNOWN
        nvml.write()
        with pytest.raises(NvmlError, match="Unknown Error") as caught:
            Nvml().open()
        assert type(caught.value) is NvmlError

    def test_no_session(self, nvml: StandIn) -> None:
        """Before `open` and after `close` there is no driver; to close twice does no harm."""
        reader = Nvml()
        reader.close()
        with pytest.raises(NoDriverError):
            reader.sample()
        reader.open()
        reader.close()
        reader.close()
        for ask in (reader.sample, lambda: reader.events(0)):
            with pytest.raises(NoDriverError):
                ask()


class TestEvents:
    def test_xids_are_told_once_and_in_order(self, nvml: StandIn, session: Nvml) -> None:
        """All there are at once, with the card."""
        for slot, xid in ((3, 79), (0, 13), (3, 154)):
            nvml.xid(slot, xid)
        assert session.events(5) == [XidEvent(nvml.gpus[3].uuid, 79), XidEvent(nvml.gpus[0].uuid, 13), XidEvent(nvml.gpus[3].uuid, 154)]
        assert session.events(0.01) == []

    def test_what_was_before_is_nobodys_event(self, nvml: StandIn, session: Nvml) -> None:
        """A session tells what happens in it."""
        nvml.xid(3, 79)
        session.open()
        assert session.events(0.01) == []

    def test_waiting_ends_with_the_event(self, nvml: StandIn, session: Nvml) -> None:
        """In another thread than the samples are taken in, and long before the timeout."""
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(session.events, 60)
            assert len(session.sample().gpus) == 8
            nvml.xid(5, 48)
            assert waiting.result(30) == [XidEvent(nvml.gpus[5].uuid, 48)]

    def test_a_sample_that_hangs_holds_up_no_event(self, nvml: StandIn, session: Nvml) -> None:
        """A call into a driver that does not return leaves the interpreter to the others."""
        nvml.gpus[0].faults = {"nvmlDeviceGetFieldValues": "~2 0"}
        nvml.write()
        hanging = threading.Thread(target=session.sample)
        hanging.start()
        nvml.xid(0, 119)
        assert session.events(60) == [XidEvent(nvml.gpus[0].uuid, 119)]
        assert hanging.is_alive()
        hanging.join()

    def test_a_card_without_events_is_left_out(self, nvml: StandIn, session: Nvml) -> None:
        """The others' come."""
        nvml.gpus[3].events = 0
        nvml.gpus[4].faults = {"nvmlDeviceRegisterEvents": NOT_SUPPORTED}
        nvml.write()
        session.open()
        for slot in (3, 4, 5):
            nvml.xid(slot, 48)
        assert session.events(5) == [XidEvent(nvml.gpus[5].uuid, 48)]

    def test_a_lost_card_stops_no_event(self, nvml: StandIn, session: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its last XID comes; then waiting fails at once for its sake, once, which makes no busy loop; and the others' XIDs go on."""
        slept: list[float] = []
        monkeypatch.setattr("laycan.agent.nvml.time", SimpleNamespace(sleep=slept.append))
        nvml.gpus[3].faults = {"*": LOST}
        nvml.xid(3, 79)
        assert session.events(5) == [XidEvent(nvml.gpus[3].uuid, 79)]
        for _ in range(3):
            assert session.events(0.05) == []
        assert slept == [0.05]
        nvml.xid(4, 48)
        assert session.events(5) == [XidEvent(nvml.gpus[4].uuid, 48)]

    def test_no_events_at_all(self, nvml: StandIn, session: Nvml) -> None:
        """Where NVML has no event sets, samples are taken all the same, and waiting takes its time."""
        nvml.faults["nvmlEventSetCreate"] = NOT_SUPPORTED
        nvml.write()
        session.open()
        begin = time.monotonic()
        assert session.events(0.1) == []
        assert time.monotonic() - begin >= 0.1
        assert len(session.sample().gpus) == 8

    def test_events_that_fail(self, nvml: StandIn, session: Nvml) -> None:
        """An error that is no timeout is raised."""
        nvml.faults["nvmlEventSetWait_v2"] = UNKNOWN
        nvml.write()
        with pytest.raises(NvmlError, match="Unknown Error"):
            session.events(5)


class TestStandIn:
    @pytest.mark.parametrize(
        ("name", "struct"),
        [
            ("nvmlFieldValue_t", pynvml.c_nvmlFieldValue_t),
            ("nvmlUtilization_t", pynvml.c_nvmlUtilization_t),
            ("nvmlViolationTime_t", pynvml.c_nvmlViolationTime_t),
            ("nvmlProcessInfo_v2_t", pynvml.c_nvmlProcessInfo_v3_t),
            ("nvmlEventData_t", pynvml.c_nvmlEventData_t),
            ("nvmlGpuFabricInfo_v2_t", pynvml.c_nvmlGpuFabricInfoV_t),
        ],
    )
    def test_structs_are_pynvmls(self, nvml: StandIn, name: str, struct: type[Any]) -> None:
        """The stand-in writes as many bytes as pynvml has room for."""
        library = ctypes.CDLL(str(nvml.library))
        assert ctypes.c_uint.in_dll(library, f"sizeof_{name}").value == ctypes.sizeof(struct)

    def test_a_process_of_its_own_finds_it(self, nvml: StandIn) -> None:
        """The environment is all that it takes."""
        program = "from laycan.agent.nvml import *\nreader = Nvml()\nreader.open()\nprint(len(reader.sample().gpus))"
        run = subprocess.run([sys.executable, "-c", program], env=nvml.environment(), capture_output=True, text=True, check=True)
        assert run.stdout == "8\n"

    def test_pynvml_is_nvidias(self) -> None:
        """The distribution `pynvml` of another maker has no such module, and hooks itself into every start of the interpreter."""
        assert "pynvml.py" in {str(file) for file in distribution("nvidia-ml-py").files or ()}
        with pytest.raises(PackageNotFoundError):
            distribution("pynvml")
