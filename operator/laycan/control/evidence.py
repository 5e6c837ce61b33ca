"""What receipts are signed with now, and what keeps any from being issued: missing keys, or clocks that do not agree.

Delivery and its events never wait for any of it. Keys and clocks are looked at anew with each reconcile; what changed is logged once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator

from laycan.control.receipts import Seal
from laycan.control.software import software_digest
from laycan.events.evidence_keys import EvidenceKeys, Keyring, Rotation
from laycan.kube.client import Client
from laycan.kube.clock import Clock
from laycan.kube.world import World
from laycan.ledger.log import origin_of
from laycan.settings import Settings

log = logging.getLogger(__name__)

API_SERVER = "the API server"


class Evidence:
    """`look` once before the first receipt, then `run`. `announced`: does every log hold the announcement of a new key?"""

    def __init__(
        self,
        client: Client,
        world: World,
        settings: Settings,
        operator: str,
        announced: Callable[[Rotation], bool] = lambda rotation: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.operator = operator
        self.keyring = Keyring(client, settings.namespace)
        self.clock = Clock(settings.clock_bound_milliseconds, now)
        self._client, self._world, self._period, self._announced = client, world, settings.reconcile_seconds, announced
        self._software = software_digest()
        self._told: set[str] = set()

    @property
    def keys(self) -> EvidenceKeys | None:
        """Those to sign with; None while there are none."""
        return None if self.keyring.keys is None else self.keyring.keys.in_use(self._announced)

    def seal(self) -> Seal | None:
        """What the next receipt is signed with; None while nobody signs."""
        keys = self.keys
        if keys is None:
            return None
        return Seal(keys.receipts, self.operator, self._software, lambda key: keys.salt_of(self.origin(key)), self.clocks_agree)

    def origin(self, endpoint: str) -> str:
        """Of the first log of an endpoint, by its key `<namespace>/<name>`; "" is that of contracts without an exchange."""
        namespace, _, name = endpoint.partition("/")
        return origin_of(self.operator, namespace, name)

    def pending(self) -> int:
        """New keys that some log does not announce yet (a count)."""
        keys = self.keyring.keys
        return sum(not self._announced(each) for each in keys.rotations) if keys else 0

    def clocks_agree(self, endpoint: str, nodes: Collection[str]) -> bool:
        """Whether receipts of a contract with this exchange on these nodes may be issued."""
        return not any(self._own_clock()) and not self.clock.trouble(exchange(endpoint)) and not any(self._agents(nodes))

    def heard(self, endpoint: str, answer: tuple[float, float, str]) -> None:
        """To be told of each answer of an exchange: (asked at, answered at, its `Date`), in Unix seconds of ours."""
        self.clock.heard(exchange(endpoint), answer)

    def waits(self) -> list[str]:
        """Why receipts wait, of some contracts or of all; empty: they are current."""
        return [*([] if self.keyring.keys else [self.keyring.trouble]), *self._clocks()]

    def _clocks(self) -> list[str]:
        found = list(filter(None, self._own_clock()))
        found += filter(None, (self.clock.trouble(exchange(key)) for key in self._world.endpoints))
        found += self._agents(node for node, contracts in sorted(self._world.contracts_on.items()) if contracts)
        return found

    async def look(self) -> None:
        """Reads the keys, and the API server's clock with them."""
        await self.keyring.look()
        self.clock.heard(API_SERVER, self._client.dated)
        found = self._clocks()
        if (kinds := {words.partition(" by ")[0] for words in found}) != self._told:  # not by how much, which is another each time
            self._told = kinds
            log.log(
                logging.WARNING if found else logging.INFO, "%s", f"receipts wait: {'; '.join(found)}" if found else "clocks agree again"
            )

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            await self.look()

    def _own_clock(self) -> Iterator[str]:
        yield self.clock.trouble(API_SERVER)
        yield self.clock.blind(API_SERVER)

    def _agents(self, nodes: Collection[str] | Iterator[str]) -> Iterator[str]:
        """What the agents say of their nodes' clocks, where it is beyond the bound."""
        for node in nodes:
            meter = self._world.meters.get(node)
            if meter is not None and meter.clock_offset_milliseconds is not None:
                words = self.clock.beyond(meter.clock_offset_milliseconds, f"the clock of node {node} is off {API_SERVER}'s")
                yield from filter(None, [words])


def exchange(endpoint: str) -> str:
    """An exchange as the clock names it."""
    return f"exchange {endpoint}"
