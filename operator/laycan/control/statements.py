"""When each exchange gets its daily statement: once in a UTC day, within a reconcile of midnight or, where nobody ran then, of the start.

That a day's statement is made stands in the log alone, so a restart makes none twice and forgets none. A day on which no operator ran has
none: nobody can say any more how things stood then. An endpoint that was made in the course of a day gets its first on the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from laycan.events.appender import exchange_of, strayed
from laycan.events.statement import say
from laycan.kube.sound import text_at
from laycan.kube.world import World
from laycan.ledger.ledgers import Ledgers, Place
from laycan.ledger.log import LedgerError
from laycan.resources.times import parse_time
from laycan_verify.classes import DAY_SECONDS

log = logging.getLogger(__name__)


class Statements:
    """`run` until cancelled. `grown` is told of each log that has more, `source` is that of the events, `clock` gives Unix seconds."""

    def __init__(self, world: World, ledgers: Ledgers, grown: Callable[[Place], None], source: str, clock: Callable[[], int]) -> None:
        self._world, self._ledgers, self._grown, self._source, self._clock = world, ledgers, grown, source, clock
        self._made: dict[str, int] = {}  # key of the ExchangeEndpoint -> UTC day since 1970-01-01 whose statement is in its log

    async def run(self, every: float) -> None:
        """Looks again each `every` seconds."""
        while True:
            await self.look()
            await asyncio.sleep(every)

    async def look(self) -> None:
        """Makes each statement that is due."""
        for key in list(self._world.endpoints):
            await self._state(key)

    async def _state(self, key: str) -> None:
        now = self._clock()
        day = now // DAY_SECONDS
        if self._made.get(key) == day or not self._was_there(key, day * DAY_SECONDS):
            return
        place = Place.of(key)
        mine = [each for each in self._world.contracts.values() if exchange_of(each) == place and not strayed(each)]
        try:
            said = await self._ledgers.use(place, partial(say, contracts=mine, endpoint=key, source=self._source, now=now), writes=True)
        except LedgerError:  # the alarm was raised; the next look tries again
            return
        self._made[key] = day
        if said:
            log.info("the log of %s has the statement of the day: %d contracts, %d parts", key, len(mine), len(said))
            self._grown(place)

    def _was_there(self, key: str, at: int) -> bool:
        """Whether the endpoint existed at that second."""
        try:
            return parse_time(text_at(self._world.endpoints.get(key), "metadata", "creationTimestamp")) < at
        except ValueError:
            return False
