"""Everything between the contracts' outboxes and the exchanges: logs, keys, receipts' readings, sending and what endpoints are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from laycan.control.beginnings import Beginnings
from laycan.control.endpoints import EndpointReporter
from laycan.control.evidence import Evidence
from laycan.control.handouts import Handouts
from laycan.control.sealing import Receipts
from laycan.control.statements import Statements
from laycan.events.appender import Appender
from laycan.events.attempt import Courier
from laycan.events.evidence_keys import Rotation
from laycan.events.rotation import announce, entry_id
from laycan.events.secrets import secret_reader
from laycan.events.sender import Sender
from laycan.kube.client import Client
from laycan.kube.world import World
from laycan.ledger.keys import Signer
from laycan.ledger.ledgers import LOCAL, Ledgers, Place
from laycan.ledger.log import LedgerError
from laycan.settings import Settings

log = logging.getLogger(__name__)


class Exchanges:
    """`receipts` is for the writer; `works` run while this process leads, `close` comes after them."""

    def __init__(
        self,
        client: Client,
        world: World,
        settings: Settings,
        operator: str,
        source: str,
        clock: Callable[[], int],
        observe: Callable[[float], None],
    ) -> None:
        """`operator` is its id, `source` the CloudEvents source of this cluster; `observe` is told how long each append took."""
        self.ledgers = Ledgers(settings.ledger_path, Beginnings(world, operator, source, clock))
        self.evidence = Evidence(client, world, settings, operator, self._announced)
        self.receipts = Receipts(self.evidence.seal, world, self.ledgers)
        courier = Courier(secret_reader(client), self._webhook_signers, clock, heard=self.evidence.heard)
        self.sender = Sender(world, self.ledgers, courier, self._checkpoint_signer, clock, heartbeat_seconds=settings.heartbeat_seconds)
        self.statements = Statements(world, self.ledgers, self.sender.grown, source, clock)
        self._world, self._settings, self._source, self._clock = world, settings, source, clock
        self._client, self._observe = client, observe
        self._rotated: frozenset[str] = frozenset()  # ids of announcements that stand in every log

    def works(self, taken: Callable[[str, str], None]) -> dict[str, Coroutine[Any, Any, None]]:
        """`taken` is told of each event that a log has: (contract key, event id)."""
        self.appender = Appender(self._world, self.ledgers, taken, self.sender.grown, self._checkpoint_signer, self._observe)
        reporter = EndpointReporter(self._client, self._world, self.sender, self.ledgers, self._unsigned, self._clock)
        look, settle = self._settings.reconcile_seconds, 2 * self._settings.heartbeat_seconds
        given = Handouts(self._client, self._world, self.ledgers, self._clock, look, settle)
        return {
            "append": self.appender.run(),
            "send": self.sender.run(),
            "endpoints": reporter.run(),
            "evidence": self.evidence.run(),
            "rotate": self._rotate(),
            "hand-out": given.run(),
            "state": self.statements.run(self._settings.reconcile_seconds),
        }

    async def close(self) -> None:
        await self.ledgers.close()

    def _unsigned(self) -> str:
        """Why nothing is signed, "" where all is."""
        return "" if self.evidence.keys else self.evidence.keyring.trouble

    def _webhook_signers(self) -> Sequence[Signer]:
        return keys.webhook_signers if (keys := self.evidence.keys) else ()

    def _checkpoint_signer(self) -> Signer | None:
        return keys.checkpoints if (keys := self.evidence.keys) else None

    def _announced(self, rotation: Rotation) -> bool:
        return entry_id(rotation) in self._rotated

    async def _rotate(self) -> None:
        """Announces new keys in every log, before they sign anything there."""
        while True:
            keys = self.evidence.keyring.keys
            rotations = keys.rotations if keys else ()
            places = [LOCAL, *map(Place.of, self._world.endpoints)] if rotations else []
            if all([await self._announce(place, rotations) for place in places]):
                self._rotated = frozenset(map(entry_id, rotations))
            await asyncio.sleep(self._settings.reconcile_seconds)

    async def _announce(self, place: Place, rotations: Sequence[Rotation]) -> bool:
        say = partial(announce, rotations=rotations, source=self._source, operator=self.evidence.operator, now=self._clock())
        try:
            said = await self.ledgers.use(place, say, writes=True)
        except LedgerError:  # the alarm was raised
            return False
        if said:
            log.info("the log of %s announces new keys: %s", place, ", ".join(said))
            self.sender.grown(place)
        return True
