"""Every second of every lot has one class; the numbers of the acceptance scenarios; cuts change nothing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan_verify import classify as module
from laycan_verify.classes import Class, Counters, Stretch, Terms
from laycan_verify.classify import classify, judge


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


START, END = at("2027-01-04T00:00:00"), at("2027-02-03T00:00:00")
CONTRACT = Terms(START, END, lots=8, lot_gpus=8)  # 64 GPUs for 720 h
WHOLE = 165_888_000  # GPU-seconds


def served(*outages: tuple[int, int, int], lots: int = 8) -> list[Stretch]:
    """Samples of a contract that is delivered but for these outages: (lot, from, until)."""
    found = []
    for lot in range(lots):
        begin = START
        for _, first, last in sorted(o for o in outages if o[0] == lot):
            found.append(Stretch(lot, begin, first))
            begin = last
        found.append(Stretch(lot, begin, END))
    return found


class TestScenarios:
    def test_plain_delivery(self) -> None:
        """Scenario 1: without a fault everything contracted is delivered."""
        assert classify(served(), CONTRACT).gpu_seconds == {Class.DELIVERED: WHOLE}

    def test_inside_grace(self) -> None:
        """Scenario 3: 210 s without one lot are 1,680 GPU-seconds of grace and no shortfall."""
        outage = (3, at("2027-01-10T13:02:10"), at("2027-01-10T13:05:40"))
        assert classify(served(outage), CONTRACT).gpu_seconds == {Class.DELIVERED: WHOLE - 1_680, Class.GRACE: 1_680}

    def test_beyond_grace_counts_from_onset(self) -> None:
        """Scenario 4: 810 s without one lot are 6,480 GPU-seconds of shortfall, the first 300 s included."""
        outage = (0, at("2027-01-10T13:00:00"), at("2027-01-10T13:13:30"))
        assert classify(served(outage), CONTRACT).gpu_seconds == {Class.DELIVERED: WHOLE - 6_480, Class.SHORTFALL: 6_480}

    def test_rack_loss(self) -> None:
        """Scenario 5: four lots out for seven hours are 806,400 GPU-seconds of shortfall; 99.5139 % are delivered."""
        first, last = at("2027-01-15T02:00:00"), at("2027-01-15T09:00:00")
        counters = classify(served(*((lot, first, last) for lot in range(4))), CONTRACT)
        assert counters.gpu_seconds == {Class.DELIVERED: WHOLE - 806_400, Class.SHORTFALL: 806_400}
        assert (WHOLE - 806_400) * 1_000_000 // WHOLE == 995_138

    def test_curtailed_by_right(self) -> None:
        """Scenario 4, the other side: a lot withdrawn for 85,775 s under notice is 686,200 GPU-seconds curtailed, none of it short."""
        cleared = at("2027-01-10T13:10:25")
        events = [Stretch(2, cleared, cleared + 85_775, Class.CURTAILED)]
        counters = classify(served((2, cleared, cleared + 85_775)), CONTRACT, events)
        assert counters.gpu_seconds == {Class.DELIVERED: WHOLE - 686_200, Class.CURTAILED: 686_200}


class TestEstimates:
    def test_a_silent_agent(self) -> None:
        """Scenario 12 (d): 25 min without samples; 0.5 % of the day are estimated, 27,648 GPU-seconds, the other 68,352 are short."""
        first = at("2027-01-10T13:00:00")
        gap = [(lot, first, first + 1_500) for lot in range(8)]
        counters = classify([*served(*gap), *(Stretch(*one, estimated=True) for one in gap)], CONTRACT)
        assert counters.gpu_seconds == {Class.DELIVERED: WHOLE - 68_352, Class.SHORTFALL: 68_352}
        assert counters.estimated == 27_648

    def test_nothing_speaks_for_it(self) -> None:
        """Without that evidence every second of the gap is short: 96,000 GPU-seconds."""
        first = at("2027-01-10T13:00:00")
        counters = classify(served(*((lot, first, first + 1_500) for lot in range(8))), CONTRACT)
        assert (counters.gpu_seconds[Class.SHORTFALL], counters.estimated) == (96_000, 0)

    def test_each_day_has_its_own_cap(self) -> None:
        """What midnight (UTC) cuts in two is capped twice; what is due of a short day is capped by its length."""
        terms = Terms(80_000, 180_000, lots=1, lot_gpus=4, estimate_cap_ppm=5_000)
        samples = [Stretch(0, 80_000, 86_000), Stretch(0, 86_000, 87_000, estimated=True), Stretch(0, 87_000, 180_000)]
        counters = classify(samples, terms)
        assert counters.estimated == (32 + 432) * 4
        assert counters.gpu_seconds[Class.SHORTFALL] + counters.gpu_seconds.get(Class.GRACE, 0) == (400 - 32 + 600 - 432) * 4

    def test_a_sample_needs_no_estimate(self) -> None:
        """Where samples prove delivery, none of the cap is used."""
        terms = Terms(0, 1_000, lots=1, lot_gpus=1)
        assert classify([Stretch(0, 0, 1_000), Stretch(0, 0, 1_000, estimated=True)], terms).estimated == 0


class TestGrace:
    TERMS = Terms(0, 10_000, lots=2, lot_gpus=1, grace_seconds=10, grace_cap_ppm=1_000_000)

    @pytest.mark.parametrize(("seconds", "cls"), [(1, Class.GRACE), (10, Class.GRACE), (11, Class.SHORTFALL)])
    def test_franchise(self, seconds: int, cls: Class) -> None:
        """Up to grace an outage is excused whole, one second more and it is short whole."""
        samples = [Stretch(0, 0, 100), Stretch(0, 100 + seconds, 10_000), Stretch(1, 0, 10_000)]
        assert classify(samples, self.TERMS).gpu_seconds[cls] == seconds

    def test_cap(self) -> None:
        """0.1 % of 20,000 GPU-seconds are 20: the third outage of 8 s in a contract-month is no longer excused."""
        terms = Terms(0, 10_000, lots=2, lot_gpus=1, grace_seconds=10, grace_cap_ppm=1_000)
        samples = [Stretch(1, 0, 10_000), Stretch(0, 8, 100), Stretch(0, 108, 200), Stretch(0, 208, 10_000)]
        counters = classify(samples, terms)
        assert (counters.gpu_seconds[Class.GRACE], counters.gpu_seconds[Class.SHORTFALL]) == (16, 8)

    def test_new_month_new_cap(self) -> None:
        """What a contract-month has used up does not burden the next."""
        month = 30 * 86_400
        terms = Terms(0, 2 * month, lots=1, lot_gpus=1, grace_seconds=2_000, grace_cap_ppm=1_000)  # cap 2,592
        samples = [Stretch(0, 2_000, 5_000), Stretch(0, 7_000, month), Stretch(0, month + 2_000, 2 * month)]
        counters = classify(samples, terms)
        assert (counters.gpu_seconds[Class.GRACE], counters.gpu_seconds[Class.SHORTFALL]) == (4_000, 2_000)

    def test_open_outage_counts_as_if_it_ended_now(self) -> None:
        """While it lasts an outage is grace, then as a whole shortfall: nothing is hidden and nothing counted twice."""
        samples = [Stretch(0, 0, 100), Stretch(1, 0, 10_000)]
        early = classify(samples, self.TERMS, until=110)
        late = classify(samples, self.TERMS, until=111, opening=early)
        assert (early.gpu_seconds.get(Class.GRACE), early.gpu_seconds.get(Class.SHORTFALL)) == (10, None)
        assert (late.gpu_seconds.get(Class.GRACE), late.gpu_seconds.get(Class.SHORTFALL)) == (None, 11)
        assert [(o.lot, o.since, o.seconds) for o in late.outages] == [(0, 100, 11)]

    def test_curtailment_splits_no_outage(self) -> None:
        """A second of curtailment inside an outage does not make two short outages of a long one."""
        samples = [Stretch(0, 0, 100), Stretch(0, 118, 10_000), Stretch(1, 0, 10_000)]
        counters = classify(samples, self.TERMS, [Stretch(0, 109, 110, Class.CURTAILED)])
        assert (counters.gpu_seconds[Class.SHORTFALL], counters.gpu_seconds[Class.CURTAILED]) == (17, 1)

    def test_delivery_wins_over_notice(self) -> None:
        """Seconds delivered under notice are delivered."""
        assert classify([Stretch(0, 0, 10_000), Stretch(1, 0, 10_000)], self.TERMS, [Stretch(0, 5, 50, Class.CURTAILED)]).gpu_seconds == {
            Class.DELIVERED: 20_000
        }


def test_nothing_before_or_after_the_window() -> None:
    """Samples outside the window are NotDue: not counted at all."""
    terms = Terms(100, 200, lots=1, lot_gpus=4)
    assert classify([Stretch(0, 0, 1_000), Stretch(7, 100, 200)], terms).gpu_seconds == {Class.DELIVERED: 400}


def test_corrupt_opening_is_refused() -> None:
    """Counters that do not add up to what was contracted are never written on."""
    terms = Terms(0, 100, lots=1, lot_gpus=1)
    with pytest.raises(ArithmeticError, match="do not add up"):
        classify([], terms, until=60, opening=Counters(50, {Class.DELIVERED: 49}))


# --- against a reference that looks at every second by itself

LOTS, LAST, MONTH, DAY = 3, 60, 25, 17
instants = st.integers(-5, LAST + 5)
EXCUSES = (Class.CURTAILED, Class.BUYER_CAUSED, Class.FORCE_MAJEURE, Class.PLANNED_OUTAGE)


def stretches(*classes: Class) -> st.SearchStrategy[list[Stretch]]:
    made = st.builds(
        lambda lot, a, b, c, e: Stretch(lot, min(a, b), max(a, b), c, e and c is Class.DELIVERED),
        st.integers(0, LOTS - 1),
        instants,
        instants,
        st.sampled_from(classes),
        st.booleans(),
    )
    return st.lists(made, max_size=8)


tolerances = st.builds(
    lambda grace, cap, gpus, estimates: Terms(0, LAST, LOTS, gpus, grace, cap, estimates),
    st.integers(0, 12),
    st.sampled_from([0, 30_000, 150_000, 1_000_000]),
    st.sampled_from([1, 8]),
    st.sampled_from([0, 100_000, 300_000, 1_000_000]),
)


def naive(samples: list[Stretch], terms: Terms, events: list[Stretch]) -> tuple[Counter[Class], int]:
    """GPU-seconds by class, and how many of the delivered ones are estimated."""
    classes: dict[tuple[int, int], Class] = {}
    ended: list[tuple[int, int, list[int]]] = []
    guessed: Counter[tuple[int, int]] = Counter()
    for lot in range(terms.lots):
        run: list[int] = []
        for second in range(terms.start, terms.end):
            around = [s for s in samples + events if s.lot == lot and s.start <= second < s.end]
            here = [s.cls for s in around if not s.estimated]
            day = second // DAY
            cap = len([s for s in range(terms.start, terms.end) if s // DAY == day]) * terms.estimate_cap_ppm // 1_000_000
            if Class.DELIVERED not in here and any(s.estimated for s in around) and guessed[lot, day] < cap:
                guessed[lot, day] += 1
                here.append(Class.DELIVERED)
            if here:
                classes[lot, second] = min(here, key=list(Class).index)
            else:
                run.append(second)
            if classes.get((lot, second)) is Class.DELIVERED and run:
                ended.append((second, lot, run))
                run = []
        if run:
            ended.append((terms.end, lot, run))
    used: Counter[int] = Counter()
    for end, lot, run in sorted(ended):
        month = (end - 1) // MONTH
        contracted = sum(terms.lots * terms.lot_gpus for s in range(terms.start, terms.end) if s // MONTH == month)
        size = len(run) * terms.lot_gpus
        fits = used[month] + size <= contracted * terms.grace_cap_ppm // 1_000_000
        excused = len(run) <= terms.grace_seconds and fits
        used[month] += size if excused else 0
        classes |= {(lot, second): Class.GRACE if excused else Class.SHORTFALL for second in run}
    total: Counter[Class] = Counter()
    for cls in classes.values():
        total[cls] += terms.lot_gpus
    return total, guessed.total() * terms.lot_gpus


@given(samples=stretches(Class.DELIVERED), events=stretches(*EXCUSES), terms=tolerances)
@settings(max_examples=300, deadline=None)
def test_each_second_has_one_class(samples: list[Stretch], events: list[Stretch], terms: Terms) -> None:
    """Identity, and equality with a reference that classifies second by second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MONTH_SECONDS", MONTH)
        patch.setattr(module, "DAY_SECONDS", DAY)
        counters = classify(samples, terms, events)
    assert (Counter(counters.gpu_seconds), counters.estimated) == naive(samples, terms, events)
    assert sum(counters.gpu_seconds.values()) == LAST * LOTS * terms.lot_gpus


@given(
    samples=stretches(Class.DELIVERED),
    events=stretches(*EXCUSES),
    terms=tolerances,
    cuts=st.lists(st.integers(0, LAST), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_cuts_change_nothing(samples: list[Stretch], events: list[Stretch], terms: Terms, cuts: list[int]) -> None:
    """Classified in pieces, as after restarts, the counters are those of the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MONTH_SECONDS", MONTH)
        patch.setattr(module, "DAY_SECONDS", DAY)
        counters = None
        for until in [*sorted(cuts), LAST]:
            counters = classify(samples, terms, events, until, counters)
        assert counters == classify(samples, terms, events)


@given(samples=stretches(Class.DELIVERED), events=stretches(*EXCUSES), terms=tolerances, cut=st.integers(0, LAST))
@settings(max_examples=200, deadline=None)
def test_pieces_tile_the_time(samples: list[Stretch], events: list[Stretch], terms: Terms, cut: int) -> None:
    """After any opening each second of each lot lies in one piece; with the open outages, judged, they add up to the gain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MONTH_SECONDS", MONTH)
        patch.setattr(module, "DAY_SECONDS", DAY)
        opening = classify(samples, terms, events, cut)
        made, counters, carried = judge(samples, terms, events, opening=opening)
    seconds = Counter((piece.lot, second) for piece in made for second in range(piece.start, piece.end))
    assert seconds == Counter({(lot, second): 1 for lot in range(LOTS) for second in range(cut, LAST)})
    total = Counter(opening.gpu_seconds)
    for before, now in zip(sorted(opening.outages), carried, strict=True):
        assert (before.since, before.lot, before.seconds) == (now.since, now.lot, now.seconds)
        total[before.cls] -= before.seconds * terms.lot_gpus
        total[now.cls] += now.seconds * terms.lot_gpus
    for piece in made:
        total[piece.cls] += (piece.end - piece.start) * terms.lot_gpus
    assert +total == Counter(counters.gpu_seconds)


def test_a_lot_that_flaps() -> None:
    """A month of outages, one each minute, is judged in a moment: the work grows with their number, not with its square."""
    made = [Stretch(0, 60 * each, 60 * each + 30) for each in range(43_200)]
    counted = classify(made, Terms(0, 60 * len(made), 1, 8, 30, 1_000_000))
    assert counted.gpu_seconds == {Class.DELIVERED: 43_200 * 30 * 8, Class.GRACE: 43_200 * 30 * 8}
