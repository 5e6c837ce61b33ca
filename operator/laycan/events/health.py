"""How it goes with one receiver, as far as its answers tell. Seconds are the event loop's, but for `acked_at`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from laycan.events.retries import Verdict

GONE = "Gone"  # reason of the condition Reachable: the receiver wants nothing any more
FAILING_SECONDS = 30.0  # one event that fails while others are acknowledged makes no receiver unreachable
OUTAGE_SECONDS = 150.0  # more than two heartbeats without an answer; longer where they are rarer


@dataclass(slots=True)
class Health:
    flipped: Callable[[], None] = lambda: None
    reachable: bool | None = None  # None: nothing was tried yet
    reason: str = ""
    message: str = ""
    acked_at: int | None = None  # when an event was acknowledged last, Unix seconds
    contradiction: str = ""  # what it said against our last checkpoint
    outage_seconds: float = OUTAGE_SECONDS
    _heard: float | None = None  # when anything was acknowledged last
    _failed: bool = False  # since then

    def acked(self, now: float) -> bool:
        """Something was acknowledged; whether nothing had been for so long that all who wait should be tried at once."""
        outage = self._failed and (self._heard is None or now - self._heard > self.outage_seconds)
        self._heard, self._failed = now, False
        self._put(True, "Acknowledged", "")
        return outage

    def failed(self, now: float, verdict: Verdict, detail: str) -> None:
        self._failed = True
        if verdict is Verdict.GONE:
            self._put(False, GONE, f"{detail}: nothing is sent until the endpoint is changed")
        elif self._heard is None or now - self._heard >= FAILING_SECONDS:
            self._put(False, "Refused" if verdict is Verdict.REFUSED else "Failing", detail)

    def forget(self) -> None:
        """Somebody changed the endpoint after it was gone: nothing is known of it."""
        self.reachable, self._heard, self._failed = None, None, False

    def contradicted(self, words: str) -> bool:
        """What the receiver says against our checkpoint, "" where nothing; whether that is news."""
        flips, news = bool(words) != bool(self.contradiction), words != self.contradiction
        self.contradiction = words
        if flips:
            self.flipped()
        return news

    def _put(self, reachable: bool, reason: str, message: str) -> None:
        flips = reachable != self.reachable
        self.reachable, self.reason, self.message = reachable, reason, message
        if flips:
            self.flipped()
