"""The node's clock beside the kernel's word and the API server's."""

from __future__ import annotations

import ctypes

import pytest

from laycan.agent.clock import kernel_synchronized, offset_milliseconds

NOON = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"  # NOON


@pytest.mark.parametrize(
    ("sent", "received", "offset"), [(0.5, 0.5, 0), (0.4, 0.6, 0), (2.5, 2.5, 2000), (-9.5, -9.5, -10_000), (0.0, 1.6, 300)]
)
def test_offset(sent: float, received: float, offset: int) -> None:
    """Ours in the middle of the round trip, less theirs in the middle of its second."""
    assert offset_milliseconds(NOON + sent, NOON + received, DATE) == offset


@pytest.mark.parametrize("date", ["", "soon", "2027-01-15T08:00:00Z"])
def test_no_date(date: str) -> None:
    """What is no `Date` tells nothing."""
    assert offset_milliseconds(NOON, NOON, date) is None


@pytest.mark.parametrize(("state", "synchronized"), [(0, True), (1, True), (5, False), (-1, None)])
def test_kernel(monkeypatch: pytest.MonkeyPatch, state: int, synchronized: bool | None) -> None:
    """adjtimex(2) says whether the clock is synchronized; where it may not be asked, nobody knows."""

    class Library:
        def adjtimex(self, buffer: ctypes.Array[ctypes.c_char]) -> int:
            assert buffer.raw == bytes(len(buffer))  # reads only
            assert len(buffer) >= 208
            return state

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library())
    assert kernel_synchronized() is synchronized


def test_this_kernel() -> None:
    """The call itself works: it answers, or says that it may not."""
    assert kernel_synchronized() in (True, False, None)
