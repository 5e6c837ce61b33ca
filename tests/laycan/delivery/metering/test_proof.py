"""What an agent's meter proves of a binding, against a reference that looks at every second by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.delivery.metering.meter import samples
from laycan.delivery.metering.proof import metered, readable, unproven
from laycan.delivery.metering.reading import Gap
from laycan.delivery.metering.served import Bound
from laycan.delivery.metering.sharing import Sharing
from laycan.kube.meter_views import MeterView, MissedView
from laycan.kube.views import FenceView, NodeView
from laycan.kube.world import World
from laycan.resources.verdict import Found, Policy, spells
from laycan_verify.classes import Stretch

T = 1_798_000_200  # a multiple of 300
GPUS = tuple(f"GPU-{i}" for i in range(8))
POLICY = Policy.of({"version": "1", "cleanSeconds": 10})
ALONE = Sharing(World(), (), "desk/c")


def meter(
    *findings: Found,
    missed: tuple[MissedView, ...] = (),
    at: int = T + 1000,
    since: int = T - 50,
    complete: int | None = None,
    gpus: tuple[str, ...] = GPUS,
) -> MeterView:
    return MeterView("a", 1, "uid", since, at, complete or since, 60, frozenset(gpus), findings, missed, 0, 0)


def world(view: MeterView | None, *, ready_since: int = T - 9000) -> World:
    node = NodeView("a", "uid", 1, {"status": {"capacity": {"nvidia.com/gpu": "8"}}}, True, True, ready_since, 8, "acme", {})
    return World(nodes={"a": node}, meters={"a": view} if view else {}, fence=FenceView(1, {"a": "acme"}, {}))


def bound(*lots: int, devices: tuple[str, ...] = ()) -> Bound:
    gpus = len(devices) or 8
    return Bound("a", "h100", gpus, lots or (0,), T, T + 1000, T - 100, T, "Device" if devices else "Node", devices, T)


def xid(gpu: str, start: int, end: int | None, code: int = 79) -> Found:
    return Found(gpu, "Xid", code, 0, T + start, None if end is None else T + end)


class TestMetered:
    def test_from_hand_over_or_first_sample(self) -> None:
        """The agent's word counts from the hand-over on, or from its first sample where that is later; for good."""
        fresh = replace(bound(), metered_since=None)
        assert metered(world(meter()), fresh).metered_since == T
        assert metered(world(meter(since=T + 3)), fresh).metered_since == T + 3
        assert metered(world(None), fresh).metered_since is None
        assert metered(world(None), bound()).metered_since == T

    def test_seen_when_it_is_over(self) -> None:
        """An agent that came while nobody looked counts for a binding that has ended by now; one that came after its end does not."""
        fresh = replace(bound(), metered_since=None)
        assert metered(world(meter(since=T + 500)), fresh).metered_since == T + 500
        assert metered(world(meter(since=T + 1000)), fresh).metered_since is None

    def test_another_machine(self) -> None:
        """The meter of an earlier node of that name says nothing about this one."""
        fresh = replace(bound(), metered_since=None)
        assert metered(world(replace(meter(), node_uid="older")), fresh).metered_since is None

    def test_access_taken_back(self) -> None:
        """A binding whose access was taken back before its start begins anew."""
        assert metered(world(meter()), replace(bound(), handed_over_at=None)).metered_since is None


class TestUnproven:
    def gaps(self, view: MeterView | None, each: Bound | None = None, lot_gpus: int = 8, now: int = T + 500) -> list[Gap]:
        return unproven(world(view), each or bound(), POLICY, lot_gpus, ALONE, 0, now)

    def test_all_well(self) -> None:
        assert self.gaps(meter()) == []

    def test_not_metered_by_an_agent(self) -> None:
        """Where the node is the verdict, the agent's findings are not asked."""
        assert self.gaps(meter(xid(GPUS[0], 10, None)), replace(bound(), metered_since=None)) == []

    def test_a_fatal_xid_takes_the_lot(self) -> None:
        """From the last good sample to the first good one after the reset, and the clean time of the policy."""
        assert self.gaps(meter(xid(GPUS[3], 10, 40))) == [Gap("a", T + 10, T + 50, (0,))]
        assert self.gaps(meter(xid(GPUS[3], 10, None))) == [Gap("a", T + 10, None, (0,))]

    def test_an_application_error_takes_nothing(self) -> None:
        """XID 13 is the buyer's own: delivered (take or pay)."""
        assert self.gaps(meter(xid(GPUS[3], 10, None, code=13))) == []

    def test_small_lots_lose_what_the_fit_gpus_do_not_suffice_for(self) -> None:
        """Four lots of two: one bad GPU takes one lot, a second one no further, a third the next."""
        view = meter(xid(GPUS[0], 10, None), xid(GPUS[1], 20, None), xid(GPUS[2], 30, None))
        found = self.gaps(view, bound(0, 1, 2, 3), lot_gpus=2)
        assert [(gap.start - T, gap.end, gap.lots) for gap in found] == [(30, None, (2,)), (10, None, (3,))]

    def test_exact_gpus_are_judged_by_their_own(self) -> None:
        """At level Device another lot's broken card changes nothing, its own everything, and one that no agent knows proves nothing."""
        view = meter(xid(GPUS[0], 10, None))
        assert self.gaps(view, bound(4, devices=GPUS[2:4]), lot_gpus=2) == []
        assert self.gaps(view, bound(4, devices=GPUS[:2]), lot_gpus=2) == [Gap("a", T + 10, None, (4,))]
        assert self.gaps(view, bound(4, devices=("GPU-new", GPUS[5])), lot_gpus=2) == [Gap("a", T, None, (4,))]

    def test_a_node_with_seven(self) -> None:
        """After a reboot with one card less a lot of eight is not there, though nothing is reported as broken."""
        assert self.gaps(meter(gpus=GPUS[:7])) == [Gap("a", T, None, (0,))]

    def test_a_meter_that_vanished(self) -> None:
        """It proves nothing any more: deleting a GpuMeter hides no shortfall."""
        assert self.gaps(None) == [Gap("a", T, None, (0,))]

    def test_what_is_read_already(self) -> None:
        """Nothing before the meter's reading, and nothing after the binding, is open."""
        assert unproven(world(None), bound(), POLICY, 8, ALONE, T + 300, T + 500) == [Gap("a", T + 300, None, (0,))]
        assert unproven(world(meter(xid(GPUS[0], 10, None))), replace(bound(), end=T + 50), POLICY, 8, ALONE, 0, T + 500) == [
            Gap("a", T + 10, T + 50, (0,))
        ]

    def test_nothing_lasts_beyond_the_binding(self) -> None:
        """What its node leaves unproven after its end is of no concern to its lots: they may be elsewhere by then."""
        over = replace(bound(), end=T + 150)
        assert self.gaps(meter(complete=T + 200), over) == [Gap("a", T, T + 150, (0,))]
        assert self.gaps(meter(missed=(MissedView(T + 100, T + 700, False, 0, 0, 0),)), over) == [Gap("a", T + 100, T + 150, (0,))]
        assert self.gaps(meter(xid(GPUS[3], 10, 495)), replace(over, end=T + 499), now=T + 500) == [Gap("a", T + 10, T + 499, (0,))]

    def test_history_that_was_dropped(self) -> None:
        """What the meter no longer lists is not proven."""
        assert self.gaps(meter(complete=T + 100)) == [Gap("a", T, T + 110, (0,))]

    def test_the_clean_time_after_what_was_dropped(self) -> None:
        """A fault that is not listed any more may have been fatal: until its clean time is over nothing is proven."""
        view = replace(meter(complete=T + 100), since=T - 50)
        assert self.gaps(view) == [Gap("a", T, T + 110, (0,))]
        begun_anew = replace(meter(complete=T + 100), since=T + 100)  # its history is lost: the same
        assert self.gaps(begun_anew) == [Gap("a", T, T + 110, (0,))]
        assert self.gaps(replace(meter(), since=T, complete_since=T)) == [], "an agent that began before it was asked"

    def test_silence(self) -> None:
        """Two reports missed: nothing is proven since the last sample. Before that the next report is waited for."""
        view = meter(at=T + 100)
        assert self.gaps(view, now=view.silent_at - 1) == []
        assert self.gaps(view, now=view.silent_at) == [Gap("a", T + 100, None, (0,))]


class TestEstimable:
    GOOD = MissedView(T + 100, T + 200, True, 100, 70, 690)

    def gaps(self, missed: MissedView, **state: int) -> list[Gap]:
        return unproven(world(meter(missed=(missed,)), **state), bound(), POLICY, 8, ALONE, 0, T + 500)

    def test_the_node_ran_through(self) -> None:
        assert self.gaps(self.GOOD) == [Gap("a", T + 100, T + 200, (0,), estimable=True)]

    @pytest.mark.parametrize(
        "missed",
        [
            GOOD._replace(same_boot=False),
            GOOD._replace(uptime_seconds=90),
            GOOD._replace(uptime_seconds=103),
            GOOD._replace(least_watts=9),
            GOOD._replace(most_watts=2001),
        ],
        ids=["boot", "clock stepped ahead", "clock stepped back", "no power", "too much power"],
    )
    def test_what_speaks_against(self, missed: MissedView) -> None:
        """Another boot, an uptime that disagrees with the clock, a GPU without power or with more than there is."""
        assert self.gaps(missed) == [Gap("a", T + 100, T + 200, (0,))]

    def test_its_kubelet_was_not_heard(self) -> None:
        """The node turned Ready within the stretch: its Lease was not renewed all along."""
        assert self.gaps(self.GOOD, ready_since=T + 150) == [Gap("a", T + 100, T + 200, (0,))]

    def test_a_broken_gpu_is_not_estimated(self) -> None:
        """What was found wrong before the silence and is wrong after it was wrong in it."""
        view = meter(xid(GPUS[0], 90, None), missed=(self.GOOD,))
        found = samples([bound()], unproven(world(view), bound(), POLICY, 8, ALONE, 0, T + 500), T, T + 500)
        assert found == [Stretch(0, T, T + 90)]


def test_the_meter_waits_for_the_latest_sample() -> None:
    """It reads as far as all is told, waits for the next, and not for ever; a binding that is over or not metered holds nothing up."""
    seen, each = world(meter(at=T + 300)), bound()
    assert readable(seen, [each], T, T + 500, T + 560, 600) == T + 300
    assert readable(world(meter(at=T + 599)), [each], T, T + 590, T + 650, 600) == T + 300, "slowdown is not told yet"
    assert readable(seen, [each], T, T + 500, T + 900, 600) == T + 500
    assert readable(seen, [replace(each, metered_since=None)], T, T + 500, T + 560, 600) == T + 500
    assert readable(seen, [replace(each, end=T + 290)], T, T + 500, T + 560, 600) == T + 500
    assert readable(world(None), [each], T + 50, T + 500, T + 560, 600) == T + 50
    late = replace(each, start=T + 400, metered_since=T + 400)
    assert readable(seen, [late], T, T + 500, T + 560, 600) == T + 400


def test_a_report_that_may_still_come_is_waited_for() -> None:
    """However short the wait is set: what no sample covers yet is not read before its agent counts as silent, and is unproven then."""
    seen, each = world(meter(at=T + 300)), bound()
    silent = seen.meters["a"].silent_at
    assert readable(seen, [each], T, T + 400, silent - 1, 10) == T + 300
    assert unproven(seen, each, POLICY, 8, ALONE, T, silent) == [Gap("a", T + 300, None, (0,))]
    assert readable(seen, [each], T, T + 400, silent, 10) == T + 400


def test_an_agent_with_a_clock_that_is_ahead() -> None:
    """It proves nothing of time that has not come: when it falls silent that is noticed as soon as with any other."""
    ahead = replace(meter(at=T + 400), clock_offset_milliseconds=300_999)
    seen, each = world(ahead), bound()
    assert (ahead.complete_at, ahead.silent_at) == (T, T + 100 + 150)
    assert readable(seen, [each], T, T + 190, T + 249, 0) == T
    assert unproven(seen, each, POLICY, 8, ALONE, T, T + 250) == [Gap("a", T + 100, None, (0,))]
    assert replace(ahead, clock_offset_milliseconds=-5_000).silent_at == T + 400 + 150, "one that is behind has said what it says"
    assert replace(ahead, clock_offset_milliseconds=None).silent_at == T + 400 + 150


LAST = 60
moments = st.integers(-5, LAST + 5)
findings = st.builds(
    lambda gpu, signal, code, value, a, b: Found(gpu, signal, code, value, T + min(a, b or a), None if b is None else T + max(a, b)),
    st.sampled_from(GPUS),
    st.sampled_from(["Xid", "Missing", "Slowdown", "PcieDegraded", "Unreadable", "New"]),
    st.sampled_from([13, 79]),
    st.sampled_from([10_000, 80_000]),
    moments,
    st.one_of(st.none(), moments),
)
missings = st.builds(
    lambda a, b, good: MissedView(T + min(a, b), T + max(a, b), good, max(a, b) - min(a, b), 70, 700), moments, moments, st.booleans()
)


@given(
    found=st.lists(findings, max_size=6),
    missed=st.lists(missings, max_size=3),
    accept=st.sampled_from([[], ["Slowdown"], ["Slowdown", "PcieDegraded"]]),
    exact=st.booleans(),
    since=st.integers(-5, 30),
    at=st.integers(31, LAST),
)
@settings(max_examples=300, deadline=None)
def test_each_second(found: list[Found], missed: list[MissedView], accept: list[str], exact: bool, since: int, at: int) -> None:
    """A second of a lot is proven iff it was sampled, listed, and enough GPUs were fit; estimated iff only the sample is missing."""
    policy = Policy.of({"version": "1", "cleanSeconds": 4, "acceptDegraded": accept})
    view = replace(meter(*found, missed=tuple(missed), at=T + at, since=T + since), report_seconds=1)
    each = bound(1, devices=GPUS[2:4]) if exact else bound(0, 1, 2, 3)
    made = samples([each], unproven(world(view), each, policy, 2, ALONE, 0, T + LAST), T, T + LAST)
    for second in range(T, T + LAST):
        bad = {s.gpu for s in spells(found, policy) if s.covers(second) and not policy.delivers(s)}
        silent = view.silent_at <= T + LAST and second >= view.at
        listed = second >= view.complete_since + (policy.clean_seconds if since > 0 else 0) and not silent
        holes = [m for m in missed if m.start <= second < m.end]
        for place, lot in enumerate(each.lots):
            fit = not bad & set(each.devices) if exact else (8 - len(bad)) // 2 > place
            whole = all(m.same_boot for m in holes)
            here = {s.estimated for s in made if s.lot == lot and s.start <= second < s.end}
            wanted = {bool(holes)} if fit and listed and whole else set()
            assert here == wanted, (second - T, lot)
