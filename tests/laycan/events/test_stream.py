"""Whose turn it is, against a plain model: order per contract, nothing passed over, rewinds."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from laycan.events.retries import PARK_SECONDS, Verdict
from laycan.events.stream import REWIND_SECONDS, Job, Stream, lane_of
from laycan.ledger.log import Logged

HOUR = 3600.0


def steady(low: float, high: float) -> float:
    return (low + high) / 2


def log(*ids: str) -> list[Logged]:
    return [Logged(index, entry_id, b"") for index, entry_id in enumerate(ids)]


def stream(*ids: str) -> Stream:
    made = Stream(-1, {})
    made.add(log(*ids))
    return made


def jobs(made: Stream, now: float = 0.0) -> list[Job]:
    """All whose turn it is."""
    return list(iter(lambda: made.next(now), None))


def indices(found: list[Job]) -> list[int]:
    return [job.index for job in found]


class TestOrder:
    def test_one_of_a_contract_at_a_time(self) -> None:
        """The oldest of each contract is in flight; the next follows its acknowledgement."""
        made = stream("a/1", "a/2", "b/1", "a/3")
        first = jobs(made)
        assert indices(first) == [0, 2]
        made.acked(first[0])
        assert indices(jobs(made)) == [1]

    def test_the_cursor_passes_what_is_contiguous(self) -> None:
        """An acknowledgement beyond a gap is remembered until the gap is closed."""
        made = stream("a/1", "b/1", "c/1")
        a, b, c = jobs(made)
        made.acked(c)
        made.acked(b)
        assert (made.cursor, made.pending(3)) == (-1, 1)
        made.acked(a)
        assert (made.cursor, made.pending(3)) == (2, 0)

    def test_a_statement_goes_when_all_before_it_has_gone(self) -> None:
        """Whoever gets it has what it names, or refuses it; those behind it do not wait for it."""
        made = stream("a/1", "b/1", "statement/x/1", "statement/x/2", "c/1")
        a, b, c = jobs(made)
        assert indices([a, b, c]) == [0, 1, 4]
        made.acked(b)
        made.acked(c)
        assert (jobs(made), made.wait(0.0)) == ([], None)
        made.acked(a)
        for part in (2, 3):
            (job,) = jobs(made)
            assert job.index == part
            made.acked(job)
        assert made.cursor == 4

    def test_a_failure_holds_up_its_contract_only(self) -> None:
        """The others go on; it is tried again when its time has come, and before those behind it."""
        made = stream("a/1", "a/2", "b/1", "b/2")
        a, b = jobs(made)
        made.acked(b)
        for _ in range(3):
            assert made.failed(a, Verdict.RETRY, 0.0, 0.0, steady) is not None
            a = made.next(HOUR) or a
        made.failed(a, Verdict.RETRY, 0.0, 0.0, steady)
        assert indices(jobs(made, 0.0)) == [3]
        assert made.wait(0.0) == 30.0
        assert indices(jobs(made, 30.0)) == [0]

    def test_who_asks_to_be_left_alone_is(self) -> None:
        """Retry-After holds all contracts of the endpoint."""
        made = stream("a/1", "b/1")
        job = made.next(0.0)
        assert job is not None
        made.failed(job, Verdict.RETRY, 0.0, 120.0, steady)
        assert made.next(119.9) is None
        assert made.wait(0.0) == 120.0
        assert indices(jobs(made, 120.0)) == [0, 1]


def refuse_until_parked(made: Stream) -> float:
    """The first entry is refused for an hour; when it was parked."""
    now = 0.0
    while True:
        job = made.next(now)
        assert job is not None
        attempts = made.failed(job, Verdict.REFUSED, now, 0.0, steady)
        if attempts is not None and attempts.parked:
            return now
        now += made.wait(now) or 0.0


class TestParked:
    def test_after_an_hour_those_behind_go_on(self) -> None:
        """To the second; the cursor passes it, and it is tried hourly beside them."""
        made = stream("a/1", "a/2")
        now = refuse_until_parked(made)
        assert now == PARK_SECONDS
        assert list(made.parked) == [0]
        (second,) = jobs(made, now)
        made.acked(second)
        assert (made.cursor, made.pending(2)) == (1, 1)
        (again,) = jobs(made, now + HOUR)
        assert (again.index, again.entry) == (0, None)
        assert made.failed(again, Verdict.REFUSED, now + HOUR, 0.0, steady) is not None
        assert made.wait(now + HOUR) == HOUR
        (again,) = jobs(made, now + 2 * HOUR)
        assert made.acked(again)
        assert (made.parked, made.pending(2)) == ({}, 0)

    def test_an_absent_receiver_parks_nothing(self) -> None:
        """A day of 503 changes no order; the hour counts from the first refusal."""
        made, now = stream("a/1", "a/2"), 0.0
        for _ in range(30):
            (job,) = jobs(made, now)
            made.failed(job, Verdict.RETRY, now, 0.0, steady)
            now += made.wait(now) or 0.0
        assert now > 20 * HOUR
        (job,) = jobs(made, now)
        made.failed(job, Verdict.REFUSED, now, 0.0, steady)
        assert not made.parked
        assert made.wait(now) == PARK_SECONDS

    def test_after_a_restart(self) -> None:
        """Parked entries are known from the log, before and after the cursor, and tried at once."""
        made = Stream(1, {0: "a/1", 3: "b/1"})
        made.add([Logged(2, "a/2", b""), Logged(3, "b/1", b""), Logged(4, "b/2", b"")])
        assert made.pending(5) == 4
        found = jobs(made)
        assert indices(found) == [2, 4], "one of each contract, and those that are not parked first"
        for job in found:
            made.acked(job)
        assert (made.cursor, indices(jobs(made))) == (4, [0, 3])


class TestRewind:
    def sent(self, *ids: str) -> Stream:
        """All of it acknowledged."""
        made = stream(*ids)
        while found := jobs(made):
            for job in found:
                made.acked(job)
        return made

    def test_all_after_it_is_sent_again_in_order(self) -> None:
        """The receiver has 1: 2 and on are read again from the log."""
        made = self.sent("a/1", "b/1", "a/2", "b/2", "a/3")
        assert made.rewind(1, made.mark, 0.0)
        assert (made.cursor, made.read, made.pending(5)) == (1, 1, 3)
        made.add(log("a/1", "b/1", "a/2", "b/2", "a/3")[2:])
        assert indices(jobs(made)) == [2, 3]

    @pytest.mark.parametrize("have", [-2, 4, 5, 10**12])
    def test_nonsense_and_what_is_no_loss(self, have: int) -> None:
        """Below nothing, what we know, and what was never sent: the stream stays where it is, and never goes beyond the log."""
        made = self.sent("a/1", "b/1", "a/2", "b/2", "a/3")
        assert not made.rewind(have, made.mark, 0.0)
        assert (made.cursor, made.read) == (4, 4)

    def test_nothing_at_all(self) -> None:
        """A receiver that begins anew has -1."""
        made = self.sent("a/1", "b/1")
        assert made.rewind(-1, made.mark, 0.0)
        assert made.pending(2) == 2

    def test_once_a_minute(self) -> None:
        """A receiver that says so all the time gets everything once a minute."""
        made = self.sent("a/1")
        assert made.rewind(-1, made.mark, 0.0)
        made.add(log("a/1"))
        made.acked(jobs(made)[0])
        assert not made.rewind(-1, made.mark, REWIND_SECONDS - 0.1)
        assert made.rewind(-1, made.mark, REWIND_SECONDS)

    def test_what_is_in_flight_beside_it_is_not_lost(self) -> None:
        """The answer to 2 counts to 0 while 1 is on its way: nothing is sent twice."""
        made = stream("a/1", "b/1", "c/1")
        a, b, c = jobs(made)
        made.acked(a)
        assert not made.rewind(0, c.mark, 0.0)
        made.acked(c)
        made.acked(b)
        assert made.cursor == 2

    def test_acknowledgements_of_before_do_not_count(self) -> None:
        """What was under way at the rewind is sent again behind what was lost, as its contract's order asks."""
        made = self.sent("a/1", "a/2")
        made.add([Logged(2, "a/3", b"")])
        (late,) = jobs(made)
        assert made.rewind(0, made.mark, 0.0)
        made.add(log("a/1", "a/2", "a/3")[1:])
        assert jobs(made) == [], "its contract is busy"
        assert not made.rewind(-1, late.mark, REWIND_SECONDS + 1)
        made.acked(late)
        assert indices(jobs(made)) == [1]

    def test_a_parked_entry_is_no_loss(self) -> None:
        """A receiver that counts without gaps never counts past what it refuses: no reason to send everything behind it each minute."""
        made = stream("a/1", "a/2", "b/1")
        now = refuse_until_parked(made)
        while found := jobs(made, now):
            for job in found:
                made.acked(job)
        assert made.cursor == 2
        assert not made.rewind(-1, made.mark, now)

    def test_parked_entries_stay_parked(self) -> None:
        """A rewind behind them does not bring them back into the order."""
        made = stream("z/1", "a/1", "a/2")
        made.acked(jobs(made)[0])
        made.rewind(-1, made.mark, 0.0)
        made = Stream(2, {1: "a/1"})
        assert made.rewind(-1, made.mark, 0.0)
        made.add(log("z/1", "a/1", "a/2"))
        assert indices(jobs(made)) == [0, 2]


class AnyHistory(RuleBasedStateMachine):
    """Whatever comes back in whatever order: a contract's entries are sent in order, and the cursor passes nothing but what is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Logged] = []
        self.stream = Stream(-1, {})
        self.flying: list[Job] = []
        self.settled: set[int] = set()  # acknowledged or parked, since the last rewind
        self.received: list[int] = []  # by the receiver since the last rewind
        self.now = 0.0

    @rule(contract=st.sampled_from("abc"), count=st.integers(1, 4))
    def say(self, contract: str, count: int) -> None:
        for _ in range(count):
            self.log.append(Logged(len(self.log), f"{contract}/{len(self.log)}", b""))

    @rule()
    def send(self) -> None:
        self.stream.add(self.log[self.stream.read + 1 :])
        self.flying += jobs(self.stream, self.now)
        assert len({job.lane for job in self.flying}) == len(self.flying), "one of each contract"

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=st.sampled_from(["ack", "retry", "refuse", "drop"]))
    def comes_back(self, data: st.DataObject, outcome: str) -> None:
        job = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        current, parked = job.mark.rewinds == self.stream.mark.rewinds, job.index in self.stream.parked
        if outcome == "ack":
            self.stream.acked(job)
            if current:
                self.settled.add(job.index)
            if current and not parked:
                before = [index for index in self.received if self.log[index].id[0] == job.lane]
                assert before == sorted(before)
                assert not before or before[-1] < job.index, "a contract's entries come in order, and once"
                self.received.append(job.index)
        elif outcome == "drop":
            self.stream.dropped(job)
        else:
            verdict = Verdict.REFUSED if outcome == "refuse" else Verdict.RETRY
            attempts = self.stream.failed(job, verdict, self.now, 0.0, steady)
            if attempts is not None and attempts.parked:
                self.settled.add(job.index)

    @rule(seconds=st.sampled_from([1.0, 61.0, 1800.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        have = data.draw(st.integers(-1, max(-1, self.stream.cursor)))
        if self.stream.rewind(have, self.stream.mark, self.now):
            self.settled = set(range(have + 1)) | set(self.stream.parked)
            self.received = [index for index in self.received if index <= have]

    @invariant()
    def cursor_is_right(self) -> None:
        expected = next((i - 1 for i in range(len(self.log) + 1) if i not in self.settled), -1)
        assert self.stream.cursor == expected
        assert self.stream.pending(len(self.log)) == len(self.log) - len(self.settled - set(self.stream.parked))

    def teardown(self) -> None:
        """Once the receiver takes everything, it has everything."""
        for job in self.flying:
            self.stream.dropped(job)
        for _ in range(2 * len(self.log) + 2):
            self.stream.add(self.log[self.stream.read + 1 :])
            self.now += 2 * HOUR
            for job in jobs(self.stream, self.now):
                self.stream.acked(job)
        assert self.stream.pending(len(self.log)) == 0


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_lanes() -> None:
    """The contract's uid; an event about no contract has a lane of its kind."""
    assert [lane_of(each) for each in ("uid-c/12", "key.rotated/a/b", "log/2/1")] == ["uid-c", "key.rotated", "log"]
