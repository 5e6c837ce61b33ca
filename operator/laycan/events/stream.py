"""Which entries of a log its receiver has, and whose turn it is: bookkeeping without I/O or a clock of its own.

    read from the log:   0 1 2 3 4 5 6 7 8 9        cursor 3: the receiver has 0 to 3, but for those that are parked
                               ^   x   x            x: acknowledged or parked beyond it

Entries of one contract form a lane: one is in flight, in the log's order, and who fails holds up his lane only. An entry that the
receiver refuses for too long is parked: its lane goes on, the cursor passes it, and it is tried now and then. What a receiver says it
has may lie behind the cursor: it lost something. Then all after that is sent again, in order. A statement goes when all before it has
gone: whoever gets it has what it names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from laycan.events.retries import DELAYS, Attempts, Verdict
from laycan.ledger.log import Logged

WINDOW = 1024  # entries in memory that the receiver does not have yet
STATEMENTS = "statement"  # their lane
REWIND_SECONDS = 60.0  # at most one in this time

Jitter = Callable[[float, float], float]


class Mark(NamedTuple):
    """Where the stream stood when something was sent."""

    cursor: int
    rewinds: int  # each makes void what was under way


@dataclass(frozen=True, slots=True)
class Job:
    """An attempt to be made. What became of it is told to `acked`, `failed` or `dropped`, once."""

    index: int
    lane: str
    entry: Logged | None  # None: a parked one, to be read from the log
    mark: Mark


@dataclass(slots=True)
class _Lane:
    entries: deque[Logged] = field(default_factory=deque)
    attempts: Attempts = field(default_factory=Attempts)  # of the first one


def lane_of(entry_id: str) -> str:
    """The contract's uid, of an event's id."""
    return entry_id.partition("/")[0]


class Stream:
    """Times are seconds of the caller's clock."""

    def __init__(self, cursor: int, parked: Mapping[int, str]) -> None:
        """`parked`: index -> id of the entry."""
        self.cursor = self.read = cursor  # index of the last entry that the receiver has, and that was read from the log
        self.parked: dict[int, tuple[str, Attempts]] = {}  # index -> (lane, its failures since)
        self.in_flight = 0
        self.hold = 0.0  # the receiver asked to be left alone until then
        self._lanes: dict[str, _Lane] = {}
        self._busy: set[str] = set()
        self._beyond: set[int] = set()  # acknowledged or parked, after the cursor
        self._rewinds, self._rewound_at = 0, float("-inf")
        for index, entry_id in parked.items():
            self._park(index, lane_of(entry_id), 0.0)

    # --- what there is

    @property
    def mark(self) -> Mark:
        return Mark(self.cursor, self._rewinds)

    @property
    def room(self) -> int:
        """How many more entries may be read from the log."""
        return WINDOW - sum(len(lane.entries) for lane in self._lanes.values())

    def pending(self, size: int) -> int:
        """Entries of a log of this size that the receiver does not have."""
        return size - 1 - self.cursor - len(self._beyond) + len(self.parked)

    def add(self, entries: Iterable[Logged]) -> None:
        """The entries that follow `read`."""
        for entry in entries:
            assert entry.index == self.read + 1, "entries must be read without a gap"
            self.read = entry.index
            if entry.index not in self._beyond:
                self._lanes.setdefault(lane_of(entry.id), _Lane()).entries.append(entry)
        self._advance()

    # --- whose turn it is

    def next(self, now: float) -> Job | None:
        """The attempt to make now, of the oldest entry whose turn it is; its lane is busy until the outcome is told."""
        best: tuple[int, str, Logged | None] | None = None
        for name, lane in self._lanes.items():
            if self._ready(name, lane) and lane.attempts.not_before <= now and (best is None or lane.entries[0].index < best[0]):
                best = lane.entries[0].index, name, lane.entries[0]
        if best is None:
            due = (i for i, (name, attempts) in self.parked.items() if attempts.not_before <= now and name not in self._busy)
            index = min(due, default=None)
            best = (index, self.parked[index][0], None) if index is not None else None
        if best is None or self.hold > now:
            return None
        self._busy.add(best[1])
        self.in_flight += 1
        return Job(*best, self.mark)

    def _ready(self, name: str, lane: _Lane) -> bool:
        """Whether nothing but the clock is in its way."""
        return name not in self._busy and (name != STATEMENTS or lane.entries[0].index == self.cursor + 1)

    def wait(self, now: float) -> float | None:
        """Seconds until somebody's turn comes by the clock alone; None: nobody's does."""
        times = [lane.attempts.not_before for name, lane in self._lanes.items() if self._ready(name, lane)]
        times += [attempts.not_before for name, attempts in self.parked.values() if name not in self._busy]
        return max(0.0, max(min(times), self.hold) - now) if times else None

    def hurry(self) -> None:
        """Nobody waits for his turn any longer: the endpoint was put right, or its receiver is heard again."""
        for attempts in (*(lane.attempts for lane in self._lanes.values()), *(attempts for _, attempts in self.parked.values())):
            attempts.not_before = 0.0

    # --- what became of it

    def acked(self, job: Job) -> bool:
        """The receiver has it; whether it was parked."""
        self._free(job)
        if job.mark.rewinds != self._rewinds:
            return False  # it was rewound since: it comes again, in order
        was_parked = self.parked.pop(job.index, None) is not None
        if not was_parked:
            self._pass(job)
        return was_parked

    def failed(self, job: Job, verdict: Verdict, now: float, asked: float, jitter: Jitter) -> Attempts | None:
        """Its failures so far, with the next attempt set; None when they do not count any more. `parked` is new at most once."""
        self._free(job)
        self.hold = max(self.hold, now + asked) if asked else self.hold
        if job.index in self.parked:
            self.parked[job.index][1].failed(Verdict.RETRY, now, asked, jitter)
            return self.parked[job.index][1]
        lane = self._lanes.get(job.lane)
        if job.mark.rewinds != self._rewinds or lane is None:
            return None
        attempts = lane.attempts
        attempts.failed(verdict, now, asked, jitter)
        if attempts.parked:
            self._pass(job)
            self._park(job.index, job.lane, attempts.not_before)
            self._advance()
        return attempts

    def dropped(self, job: Job) -> None:
        """It was not made after all."""
        self._free(job)

    def rewind(self, have: int, mark: Mark, now: float) -> bool:
        """The receiver says that it has all up to `have`, in answer to what was sent at `mark`; whether it is sent again from there.

        Believed only below what it had acknowledged when it was asked: what is in flight beside it is not lost. Where what it lacks
        first is what it refuses, its count says nothing.
        """
        if mark.rewinds != self._rewinds or not -1 <= have < mark.cursor or have + 1 in self.parked:
            return False
        if now < self._rewound_at + REWIND_SECONDS:
            return False
        self._rewinds, self._rewound_at = self._rewinds + 1, now
        self.cursor = self.read = have
        self._lanes.clear()
        self._beyond = {index for index in self.parked if index > have}
        return True

    # --- inside

    def _free(self, job: Job) -> None:
        self._busy.remove(job.lane)
        self.in_flight -= 1

    def _pass(self, job: Job) -> None:
        """The first of its lane leaves it."""
        lane = self._lanes[job.lane]
        assert lane.entries[0].index == job.index, "a lane is sent in order"
        lane.entries.popleft()
        lane.attempts = Attempts()
        if not lane.entries:
            del self._lanes[job.lane]
        self._beyond.add(job.index)
        self._advance()

    def _park(self, index: int, lane: str, not_before: float) -> None:
        self.parked[index] = lane, Attempts(failures=len(DELAYS), not_before=not_before)
        if index > self.cursor:
            self._beyond.add(index)

    def _advance(self) -> None:
        while self.cursor + 1 in self._beyond:
            self.cursor += 1
            self._beyond.remove(self.cursor)
        self.read = max(self.read, self.cursor)
