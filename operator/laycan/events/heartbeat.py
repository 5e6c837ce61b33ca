"""Every minute (`heartbeatSeconds`) the signed head of its log, to each exchange: silence shows, and nothing said can be changed unseen.

It is outside the log and is not repeated: the next one says more. The exchange may answer with its own signature of the head, having
checked that it continues the one before; what it has seen so is witnessed.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import rfc8785

from laycan.events.attempt import Answer, Message
from laycan.events.channel import Channel
from laycan.events.retries import Verdict
from laycan.ledger.checkpoints import CosignatureError, add_cosignatures, sign_checkpoint
from laycan.ledger.keys import Signer
from laycan.ledger.log import LedgerError
from laycan.resources.times import parse_time

log = logging.getLogger(__name__)

CONTRADICTED = (409, 422)  # as the kit answers a checkpoint that is not the head of what it holds, or not by a key that it trusts


class Heartbeat:
    """Of one channel. `signer` gives the key for checkpoints, None while there is none: then there are no heartbeats."""

    def __init__(
        self,
        channel: Channel,
        signer: Callable[[], Signer | None],
        clock: Callable[[], int],
        every: float,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`every`: seconds; `refused` is told of each checkpoint that the receiver contradicts."""
        self.cosigned = self.forged = 0  # since the start
        self._channel, self._signer, self._clock, self._every, self._refused = channel, signer, clock, every, refused
        self._told = ""

    async def run(self) -> None:
        await self._channel.opened.wait()
        while True:
            with suppress(LedgerError):  # the alarm was raised
                await self.beat()
            await asyncio.sleep(self._every)

    async def beat(self) -> None:
        """One, unless the receiver asked to be left alone. Raises LedgerError."""
        channel, signer, now = self._channel, self._signer(), asyncio.get_running_loop().time()
        if signer is None or channel.stream is None or channel.paused or channel.stream.hold > now:
            return
        note = await channel.ledgers.use(channel.place, lambda log: sign_checkpoint(log, signer))
        origin, size = note.split("\n")[:2]
        mark = channel.stream.mark
        body = rfc8785.dumps({"checkpoint": note, "origin": origin})
        sent = Message(f"checkpoint/{origin}/{size}/{self._clock()}", body, "application/json")
        answer = await channel.post(sent)
        if answer.status in CONTRADICTED:
            self._contradicted(answer, size)
            return
        if answer.verdict is Verdict.REFUSED:  # a receiver that knows events only
            self._tell(f"it refuses checkpoints ({answer.detail})")
        elif answer.verdict is not Verdict.ACK:
            channel.stream.hold = max(channel.stream.hold, asyncio.get_running_loop().time() + answer.asked)
            channel.unheard(answer)
        else:
            channel.health.contradicted("")
            channel.heard(answer, mark)
            if size != "0":  # of an empty log none is kept
                await self._witness(note, answer.reply.get("cosignature"))

    def _contradicted(self, answer: Answer, size: str) -> None:
        """The receiver holds something else than we say that we said: for a person, at both ends."""
        self._refused()
        words = f"the checkpoint of {size} entries is refused ({answer.detail}): {str(answer.reply.get('error', ''))[:300]!r}"
        if self._channel.health.contradicted(words):
            log.error("ALARM %s does not have the log that we have: %s", self._channel.endpoint, words)

    async def _witness(self, note: str, line: object) -> None:
        if not isinstance(line, str):
            return
        now = self._clock()
        trusted = witnesses(self._channel.spec, now)
        work = partial(add_cosignatures, note=note, lines=line, witnesses=trusted, now=now)
        try:
            added = await self._channel.ledgers.use(self._channel.place, work)
        except CosignatureError as error:
            self.forged += 1
            self._tell(f"its cosignature does not count: {error}")
        else:
            self.cosigned += len(added)

    def _tell(self, words: str) -> None:
        """Once, not every minute."""
        if words != self._told:
            log.warning("%s: %s", self._channel.endpoint, words)
        self._told = words


def witnesses(spec: Mapping[str, Any], now: int) -> dict[str, bytes]:
    """The endpoint's keys that are trusted at `now`, Unix seconds, raw, by their keyId: that is the name in a cosignature."""
    found = {}
    for key in spec.get("trustedKeys") or ():
        try:
            begun = not key.get("validFrom") or parse_time(key["validFrom"]) <= now
            revoked = bool(key.get("revokedAt")) and parse_time(key["revokedAt"]) <= now
            if begun and not revoked:
                found[str(key["keyId"])] = base64.b64decode(key["publicKey"], validate=True)
        except (KeyError, ValueError, AttributeError):
            log.warning("a trusted key cannot be read: %s", key)
    return found
