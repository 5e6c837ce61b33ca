"""A machine's clock that is set while the operator runs moves nothing, unless the API server agrees with it."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.kube.clock import Dated
from laycan.kube.steady import STEP_SECONDS, ClockError, SteadyClock

NOW, DAY = 1_800_000_000.0, 86_400
MONTH = 30 * DAY


class Machine:
    """True time goes on; its own clock may be set."""

    def __init__(self) -> None:
        self.true, self.off = NOW, 0.0
        self.clock = SteadyClock(lambda: self.true + self.off, lambda: self.true - NOW)

    def answer(self, trip: float = 0.02, off: float | None = None) -> Dated:
        """Of an API server whose clock is right; `off`: the machine's when it was asked."""
        asked = self.true - trip + (self.off if off is None else off)
        return asked, self.true + self.off, formatdate(int(self.true - trip / 2), usegmt=True)

    @property
    def lead(self) -> float:
        return self.clock() - self.true


@pytest.mark.parametrize("step", [MONTH, -DAY, 3600, -60])
def test_a_step_is_not_believed(step: float, caplog: pytest.LogCaptureFixture) -> None:
    """Forward by a month or back by a day: time goes on, with one alarm, for as long as the clock is wrong; and when it is right again."""
    machine = Machine()
    machine.off = step
    for _ in range(600):
        machine.true += 1
        machine.clock.heard(machine.answer())
        assert -1 <= machine.lead <= 0
    assert caplog.text.count("ALARM") == 1
    machine.off = 0
    assert -1 <= machine.lead <= 0


def test_an_answer_from_before_the_step_confirms_nothing() -> None:
    """Neither one that was there already, nor one that was under way, whose round trip seems to have taken a month."""
    machine = Machine()
    old = machine.answer()
    machine.off = MONTH
    machine.clock.heard(old)
    machine.clock.heard(machine.answer(off=0))
    assert -1 <= machine.lead <= 0


def test_a_machine_that_stood_still(caplog: pytest.LogCaptureFixture) -> None:
    """A virtual machine that was paused for an hour finds its clock set right; the API server says so."""
    machine = Machine()
    machine.clock = SteadyClock(lambda: machine.true + machine.off, lambda: min(machine.true, NOW + 5) - NOW)
    machine.true += 3600
    assert machine.lead < -3500
    machine.clock.heard(machine.answer())
    assert -1 <= machine.lead <= 0


@given(st.lists(st.floats(-STEP_SECONDS, STEP_SECONDS), max_size=20))
def test_small_corrections_are_followed(steps: list[float]) -> None:
    machine = Machine()
    for step in steps:
        machine.true += 60
        machine.off += step
        assert -1.001 <= machine.lead - machine.off <= 0.001


@pytest.mark.parametrize(("off", "agrees"), [(0, True), (STEP_SECONDS - 2, True), (MONTH, False), (-DAY, False)])
def test_a_clock_that_is_wrong_from_the_start(off: float, agrees: bool) -> None:
    """Nothing may be decided by it. Where the API server gives no `Date`, nobody knows better."""
    machine = Machine()
    machine.off = off
    machine.clock.begin(None)
    machine.clock.begin((machine.true, machine.true, ""))
    if agrees:
        machine.clock.begin(machine.answer())
    else:
        with pytest.raises(ClockError, match="nothing is decided"):
            machine.clock.begin(machine.answer())
