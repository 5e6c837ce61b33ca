"""A session with NVML that is opened anew where that shows more."""

from __future__ import annotations

import threading

import pytest

from laycan.agent.account import NO_DRIVER
from laycan.agent.nvml import Nvml
from laycan.agent.sample import NoLibraryError, NvmlError, XidEvent
from laycan.agent.session import Session
from tests.nvml.standin import UNKNOWN, StandIn


def test_without_a_driver_and_with_one(nvml: StandIn) -> None:
    """No driver is a sample without GPUs; when it is there, the same session finds it."""
    nvml.unload()
    session = Session(Nvml())
    assert session.sample(complete=True) == NO_DRIVER
    nvml.reload()
    assert len(session.sample(complete=True).gpus) == 8
    nvml.unload()
    assert session.sample(complete=True) == NO_DRIVER
    nvml.reload()
    assert len(session.sample(complete=True).gpus) == 8


def test_without_a_library(nvml: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no sample: whoever has no library does not know whether there is a driver."""
    session = Session(Nvml())

    def blind() -> None:
        raise NoLibraryError("NVML Shared Library Not Found")

    monkeypatch.setattr(session._nvml, "open", blind)
    with pytest.raises(NoLibraryError):
        session.sample(complete=True)


def test_a_card_that_came_back(nvml: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML enumerates once per session: while one is missing a new session is opened now and then, and none while all are there."""
    gone = nvml.gpus.pop()
    nvml.write()
    session = Session(Nvml())
    assert len(session.sample(complete=True).gpus) == 7
    opened: list[Nvml] = []

    def again() -> None:
        opened.append(session._nvml)
        Nvml.open(session._nvml)

    monkeypatch.setattr(session._nvml, "open", again)
    nvml.gpus.append(gone)
    nvml.write()
    session.sample(complete=False)
    assert not opened  # not before a minute has passed
    session._opened_at -= 61
    session.sample(complete=True)
    assert not opened
    assert len(session.sample(complete=False).gpus) == 8
    assert len(opened) == 1


def test_a_session_that_fails_is_opened_anew(nvml: StandIn) -> None:
    """Whatever NVML says, the next sample begins with a new session."""
    session = Session(Nvml())
    session.sample(complete=True)
    nvml.faults["nvmlDeviceGetCount_v2"] = UNKNOWN
    nvml.write()
    with pytest.raises(NvmlError):
        session.sample(complete=True)
    del nvml.faults["nvmlDeviceGetCount_v2"]
    nvml.write()
    assert len(session.sample(complete=True).gpus) == 8


def test_xids_come_through_a_driver_that_was_loaded_anew(nvml: StandIn) -> None:
    """The thread that listens waits while there is no session, and hears again afterwards."""
    session, heard, came = Session(Nvml()), list[XidEvent](), threading.Event()

    def hear(events: list[XidEvent]) -> None:
        heard.extend(events)
        came.set()

    threading.Thread(target=session.listen, args=(hear,), daemon=True).start()
    session.sample(complete=True)
    nvml.xid(2, 79)
    assert came.wait(20)
    came.clear()
    nvml.unload()
    session.sample(complete=True)
    nvml.reload()
    session.sample(complete=True)
    nvml.xid(3, 48)
    assert came.wait(20)
    assert [(event.uuid, event.xid) for event in heard] == [(nvml.gpus[2].uuid, 79), (nvml.gpus[3].uuid, 48)]
