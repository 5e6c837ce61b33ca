"""Samples, gaps and notices: what the meter reads from bindings and the observed world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laycan.delivery.metering.gaps import CONFIRM_SECONDS, find_gaps, overlooked, possessed, readable_until
from laycan.delivery.metering.meter import Account, Notice, curtailed, samples
from laycan.delivery.metering.reading import Gap, Reading, dump_meter, dump_quantities, parse_reading
from laycan.delivery.metering.served import Bound
from laycan.kube.views import ContractView, FenceView, NodeView
from laycan.kube.world import World
from laycan_verify.classes import Class, Stretch, Terms

T = 1_798_000_000


def world(**nodes: NodeView) -> World:
    made = World(fence=FenceView(1, {name: view.holder for name, view in nodes.items() if view.holder}, {}))
    made.nodes.update(nodes)
    return made


def heard(seen: World, at: int, name: str = "a") -> None:
    """The Lease of a node that is NotReady was read."""
    seen.last_seen[name], seen.lost[name] = at, seen.nodes[name].ready_since


def node(name: str, *, ready: bool = True, since: int = T - 9_000, holder: str = "acme", gpus: int = 8, managed: bool = True) -> NodeView:
    return NodeView(name, "uid", 1, {"status": {"capacity": {"nvidia.com/gpu": "8"}}}, managed, ready, since, gpus, holder, {})


def bound(name: str = "a", lots: tuple[int, ...] = (0,), start: int = T, end: int = T + 1000, handed_over: int | None = T) -> Bound:
    return Bound(name, "h100", 8, lots, start, end, T - 100, handed_over)


class TestSamples:
    def test_from_hand_over_to_the_end(self) -> None:
        """A lot is delivered from its hand-over, never before its start, never after its end."""
        bounds = [bound(handed_over=T + 7), bound("b", (1,), handed_over=T - 30), bound("c", (2,), handed_over=None)]
        assert samples(bounds, (), T, T + 5000) == [Stretch(0, T + 7, T + 1000), Stretch(1, T, T + 1000)]

    def test_gaps_are_cut_out(self) -> None:
        """What was lost is not delivered, for those lots on that node only; an open gap has no end."""
        gaps = [Gap("a", T + 10, T + 20, (0,)), Gap("a", T + 15, T + 30, (0, 1)), Gap("b", T + 500, None, (2,))]
        found = samples([bound(lots=(0, 1)), bound("b", (2,))], gaps, T, T + 600)
        assert [(s.lot, s.start - T, s.end - T) for s in found] == [(0, 0, 10), (0, 30, 600), (1, 0, 15), (1, 30, 600), (2, 0, 500)]


class TestPossession:
    @pytest.mark.parametrize(
        ("view", "lots"),
        [
            (node("a"), (0, 1)),
            (node("a", ready=False), ()),
            (node("a", managed=False), ()),
            (node("a", gpus=7), (0,)),
            (node("a", gpus=3), ()),
            (node("a", holder="other"), ()),
            (node("a", holder="quarantine.uid-1"), ()),
            (node("a", holder=""), ()),
        ],
    )
    def test_of_two_lots_of_four(self, view: NodeView, lots: tuple[int, ...]) -> None:
        """Ready, managed, the holder's, and as many lots as there are GPUs."""
        assert possessed(world(a=view), bound(lots=(0, 1)), "acme", 4, "desk/c", 0) == lots

    def test_label_and_fence_disagree(self) -> None:
        """A node that the fence gives to somebody else is not the holder's, whatever its label says."""
        seen = world(a=node("a"))
        seen.fence = FenceView(2, {"a": "other"}, {})
        assert possessed(seen, bound(), "acme", 8, "desk/c", 0) == ()

    def test_sharing_a_node_that_lost_gpus(self) -> None:
        """Two contracts of one holder share eight GPUs of which seven are left: together they are counted for seven at most."""
        seen = world(a=node("a", gpus=7))
        first, second = bound(lots=(0,)), bound(lots=(0,))
        raw = {"bindings": [{**first.dump(), "gpus": 4}]}
        for name in ("c", "d"):
            seen.put("contracts", f"desk/{name}", ContractView("desk", name, name, 1, 1, T, False, (), {}, {}, raw))
        assert possessed(seen, first, "acme", 4, "desk/c", T + 5) == (0,)
        assert possessed(seen, second, "acme", 4, "desk/d", T + 5) == ()
        assert possessed(seen, second, "acme", 4, "desk/d", T + 5000) == (0,), "the other's window is over"


class TestGaps:
    def gaps(self, seen: World, reading: Reading, now: int, *bounds: Bound) -> tuple[Gap, ...]:
        found = find_gaps(seen, bounds or (bound(),), reading, "acme", 8, "desk/c", now)
        assert find_gaps(seen, bounds or (bound(),), replace(reading, gaps=found), "acme", 8, "desk/c", now) == found
        return found

    def test_nothing_lost(self) -> None:
        assert self.gaps(world(a=node("a")), Reading(), T + 100) == ()

    @pytest.mark.parametrize(
        ("heartbeat", "onset"),
        [(None, 140), (100, 100), (150, 140), (-50, 0)],
        ids=["unknown", "known", "after NotReady", "before the hand-over"],
    )
    def test_onset(self, heartbeat: int | None, onset: int) -> None:
        """The last heartbeat, if it lies between hand-over and NotReady; else the change of the condition."""
        seen = world(a=node("a", ready=False, since=T + 140))
        if heartbeat is not None:
            heard(seen, T + heartbeat)
        assert self.gaps(seen, Reading(), T + 150) == (Gap("a", T + onset, None, (0,)),)

    def test_silent_since_before_the_hand_over(self) -> None:
        """A kubelet whose last heartbeat came just before the buyer's time began was not there in any second of it."""
        seen = world(a=node("a", ready=False, since=T + 30))
        heard(seen, T - 10)
        assert self.gaps(seen, Reading(), T + 31) == (Gap("a", T, None, (0,)),)
        assert self.gaps(seen, Reading(), T + 31, bound(end=T + 20)) == (Gap("a", T, T + 20, (0,)),)

    def test_a_heartbeat_of_the_failure_before(self) -> None:
        """Until the new one is read, the last heartbeat known is of the failure before: it says nothing about this one."""
        seen = world(a=node("a", ready=False, since=T + 100))
        seen.last_seen["a"] = T + 20
        before = Gap("a", T + 20, T + 70, (0,))
        assert self.gaps(seen, Reading(gaps=(before,)), T + 101) == (before, Gap("a", T + 100, None, (0,)))

    def test_older_than_what_was_read(self) -> None:
        """The news came later than the meter trails: of what it has not read yet, nothing was delivered."""
        seen, terms = world(a=node("a", ready=False, since=T + 170)), Terms(T, T + 1000, lots=1, lot_gpus=8)
        reading = Reading(Account(terms, (bound(),), Reading()).read(T + 120))
        unread = self.gaps(seen, reading, T + 180)
        assert unread == (Gap("a", T + 170, None, (0,)),)
        heard(seen, T + 100)
        assert self.gaps(seen, replace(reading, gaps=unread), T + 181) == (Gap("a", T + 120, None, (0,)),)
        assert [*overlooked(seen, [bound()], T + 120)] == [Gap("a", T + 100, T + 120, (0,))]

    def test_the_heartbeat_comes_after_the_new_node(self) -> None:
        """The Lease is read only when the lot is bound elsewhere: its outage begins with the last heartbeat all the same."""
        seen = world(a=node("a", ready=False, since=T + 140), b=node("b", holder=""))
        over, new = bound(end=T + 142), bound("b", start=T + 142, handed_over=None)
        reading = Reading(gaps=self.gaps(seen, Reading(gaps=(Gap("a", T + 140, None, (0,)),)), T + 142, over, new))
        assert reading.gaps == (Gap("a", T + 140, T + 142, (0,)),)
        heard(seen, T + 100)
        assert self.gaps(seen, reading, T + 150, over, new) == (Gap("a", T + 100, T + 142, (0,)),)

    def test_lots_of_an_earlier_failure_stay_as_they_were(self) -> None:
        """A gap that ended before this NotReady is not part of it, and bounds it."""
        seen = world(a=node("a", ready=False, since=T + 140))
        heard(seen, T + 60)  # of a Lease that was written again after the first failure, by a clock that is late
        before, cut = Gap("a", T + 50, T + 70, (0,)), Gap("a", T + 140, T + 142, (0,))
        found = self.gaps(seen, Reading(gaps=(before, cut)), T + 150, bound(end=T + 142))
        assert found == (before, Gap("a", T + 70, T + 142, (0,)))

    def test_lots_with_an_outage_of_their_own_bound_no_other(self) -> None:
        """An earlier gap of one lot on the node hides nothing of what the other lost with it."""
        seen, over = world(a=node("a", ready=False, since=T + 140)), bound(lots=(0, 1), end=T + 142)
        heard(seen, T + 100)
        before, cut = Gap("a", T + 50, T + 130, (1,)), Gap("a", T + 140, T + 142, (0, 1))
        assert self.gaps(seen, Reading(gaps=(before, cut)), T + 150, over) == (before, Gap("a", T + 100, T + 142, (0, 1)))

    def test_overlooked(self) -> None:
        """Bindings that were handed over lose what lies in their time and before `until`, where their node says since when it is away."""
        seen = world(a=node("a", ready=False, since=T + 140), b=node("b"), c=node("c", ready=False, since=0))
        others = bound("b"), bound("c"), bound("gone"), bound(handed_over=None), bound(end=T + 120)
        assert [*overlooked(seen, [bound(), *others], T + 150)] == [Gap("a", T + 140, T + 150, (0,))]
        heard(seen, T + 100)
        assert [(gap.start, gap.end) for gap in overlooked(seen, [bound(), *others], T + 150)] == [(T + 100, T + 150), (T + 100, T + 120)]
        seen.silent["b"] = T + 130
        assert [*overlooked(seen, [bound("b", start=T + 10)], T + 150)] == [Gap("b", T + 130, T + 150, (0,))]

    def test_closed_when_ready_again(self) -> None:
        """The gap ends when the node turned Ready, not when that was noticed."""
        reading = Reading(gaps=(Gap("a", T + 100, None, (0,)),))
        assert self.gaps(world(a=node("a", since=T + 130)), reading, T + 150) == (Gap("a", T + 100, T + 130, (0,)),)

    def test_re_bound_elsewhere(self) -> None:
        """A gap of a binding that was cut ends; the lot's time without GPUs goes on until the next hand-over."""
        reading = Reading(gaps=(Gap("a", T + 100, None, (0,)),))
        cut, new = bound(end=T + 150), bound("b", start=T + 150, handed_over=None)
        seen = world(a=node("a", ready=False, since=T + 100), b=node("b", holder=""))
        found = self.gaps(seen, reading, T + 150, cut, new)
        assert found == (Gap("a", T + 100, T + 150, (0,)),)
        assert samples([cut, replace(new, handed_over_at=T + 170)], found, T, T + 200) == [
            Stretch(0, T, T + 100),
            Stretch(0, T + 170, T + 200),
        ]

    def test_away_and_back_before_the_end(self) -> None:
        """Nobody looked before the binding was over: its node has been Ready since a moment inside it, so all until then is out."""
        seen, over = world(a=node("a", since=T + 70)), bound(end=T + 100)
        assert self.gaps(seen, Reading(), T + 150, over) == (Gap("a", T, T + 70, (0,)),)
        seen.last_seen["a"] = T + 30
        assert self.gaps(seen, Reading(), T + 150, over) == (Gap("a", T + 30, T + 70, (0,)),)

    def test_not_ready_since_before_the_end(self) -> None:
        """The change of the condition stands for a heartbeat that nobody knows, when nobody looked before the binding was over, too."""
        seen = world(a=node("a", ready=False, since=T + 70))
        assert self.gaps(seen, Reading(), T + 150, bound(end=T + 100)) == (Gap("a", T + 70, T + 100, (0,)),)

    def test_lots_that_were_out_already(self) -> None:
        """A lot's own outage up to the end hides nothing of what the other lots on its node lost."""
        seen, over = world(a=node("a", ready=False, since=T + 70)), bound(lots=(0, 1), end=T + 100)
        lost = Gap("a", T + 40, T + 110, (1,))
        assert self.gaps(seen, Reading(gaps=(lost,)), T + 150, over) == (lost, Gap("a", T + 70, T + 100, (0,)))

    @pytest.mark.parametrize(("closing", "out"), [(True, (Gap("a", T, T + 100, (0,)),)), (False, ())], ids=["unseen", "seen well"])
    @pytest.mark.parametrize("known", [{"a": node("a", since=T + 120)}, {}], ids=["back", "deleted"])
    def test_what_happened_after_the_end(self, known: dict[str, NodeView], closing: bool, out: tuple[Gap, ...]) -> None:
        """A node that went away since the end says nothing about the time before, but where nobody looked in between nothing else does."""
        assert find_gaps(world(**known), [bound(end=T + 100)], Reading(), "acme", 8, "desk/c", T + 150, closing=closing) == out

    def test_the_meter_waits_for_a_heartbeat(self) -> None:
        """A fresh NotReady holds the meter back a lag before it, but not for ever."""
        seen, gaps = world(a=node("a", ready=False, since=T + 100)), [Gap("a", T + 100, None, (0,))]
        assert readable_until(seen, gaps, T + 150, 60) == T + 40
        moved = [replace(gaps[0], end=T + 110)]
        assert readable_until(seen, moved, T + 150, 60) == T + 40, "its lot was bound elsewhere meanwhile"
        heard(seen, T + 70)
        assert readable_until(seen, gaps, T + 150, 60) == readable_until(seen, moved, T + 150, 60) == T + 90
        seen.lost["a"] = T + 20  # it was another failure
        assert readable_until(seen, gaps, T + 100 + CONFIRM_SECONDS, 60) == T + 40 + CONFIRM_SECONDS


class TestCurtailed:
    TERMS = Terms(T, T + 1000, lots=3, lot_gpus=8)

    def test_as_many_lots_as_were_noticed(self) -> None:
        """Notice for 8 GPUs covers one lot of two that are out, and none that is served."""
        proven = [Stretch(0, T, T + 1000)]
        found = curtailed(proven, [Notice(8, T + 100, T + 200, T)], self.TERMS, T, T + 1000, 10_000)
        assert found == [Stretch(1, T + 100, T + 200, Class.CURTAILED)]

    def test_until_the_budget_is_used(self) -> None:
        """Two lots share 150 lot-seconds: 75 seconds each, then no more."""
        found = curtailed([Stretch(0, T, T + 1000)], [Notice(16, T, T + 1000, T)], self.TERMS, T, T + 1000, 150)
        assert [(s.lot, s.end - s.start) for s in found] == [(1, 75), (2, 75)]


def test_kept_in_the_status() -> None:
    """What a status says of the meter is all it takes to go on: written, read and gone on with, the counters are the same."""
    terms = Terms(T, T + 1000, lots=2, lot_gpus=8, grace_seconds=50, grace_cap_ppm=1_000_000)
    bounds, gaps = (bound(), bound("b", (1,))), (Gap("a", T + 100, T + 130, (0,)), Gap("b", T + 300, None, (1,)))
    whole = Account(terms, bounds, Reading(gaps=gaps)).read(T + 900)
    for cut in (T, T + 1, T + 115, T + 130, T + 320, T + 351, T + 899):
        early = Reading(Account(terms, bounds, Reading(gaps=gaps)).read(cut), gaps)
        assert early.counters is not None
        kept = parse_reading({"quantities": dump_quantities(early.counters), "meter": dump_meter(early)})
        assert Account(terms, bounds, kept).read(T + 900) == whole
    assert whole.gpu_seconds == {Class.DELIVERED: 8 * (870 + 300), Class.GRACE: 240, Class.SHORTFALL: 4_800}
