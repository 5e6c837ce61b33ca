"""Notices when somebody touches the chart's policies, and says so once: an ALARM in the log and an Event on the policy.

Nothing is repaired here (an admission policy that rewrites itself would be worse than a broken one), and nothing needs to stop:
whether the fence holds is what the probe asks the API server itself, before every step. This is for the parts that no probe sees,
such as the policy that keeps strangers' pods off before the scheduler preempts for them, and for whoever looks for the cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from laycan.delivery.policies import API_VERSION, COLLECTIONS, PATH, REMEDY, Drift, drifts
from laycan.kube.client import ApiError, Client
from laycan.resources.times import format_time
from laycan.settings import Settings

log = logging.getLogger(__name__)

_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"  # where those on cluster-scoped objects live


class DriftWatch:
    """`drifts` is what was found last. Four lists for each look: the objects are few and small, and change once a year."""

    def __init__(self, client: Client, settings: Settings, instance: str, clock: Callable[[], int]) -> None:
        self.drifts: frozenset[Drift] = frozenset()
        self._client, self._settings, self._instance, self._clock = client, settings, instance, clock

    async def run(self) -> None:
        """Looks now and then until cancelled; an API server that does not answer is asked again."""
        while True:
            try:
                await self.look()
            except ApiError as error:
                log.warning("the policies could not be read: %s", error)
            await asyncio.sleep(self._settings.reconcile_seconds)

    async def look(self) -> None:
        """One look; tells what is new in it. Raises ApiError."""
        lists = await asyncio.gather(*(self._client.get(f"{PATH}/{plural}") for plural in COLLECTIONS))
        found = {plural: answer["items"] for plural, answer in zip(COLLECTIONS, lists, strict=True)}
        now = frozenset(drifts(found, self._settings.mode, self._settings.policy_managers))
        new, mended, self.drifts = now - self.drifts, self.drifts - now, now
        for drift in sorted(new):
            log.error("ALARM %s; %s", drift, REMEDY)
            await self._announce(drift)
        for drift in sorted(mended):
            log.warning("no longer: %s", drift)

    async def _announce(self, drift: Drift) -> None:
        try:
            await self._client.create(_EVENTS, event(drift, self._instance, self._clock()))
        except ApiError as error:
            log.warning("no Event on %s %s: %s", drift.kind, drift.name, error)


def event(drift: Drift, instance: str, at: int) -> dict[str, Any]:
    """The Event that `kubectl events` and `kubectl describe` show."""
    regarding = {"apiVersion": API_VERSION, "kind": drift.kind, "name": drift.name, **({"uid": drift.uid} if drift.uid else {})}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "default", "generateName": f"{drift.name}-"},
        "eventTime": format_time(at).removesuffix("Z") + ".000000Z",
        "reportingController": "laycan.dev/operator",
        "reportingInstance": instance[:128],
        "action": "Look",
        "reason": "PolicyDrift",
        "type": "Warning",
        "note": f"{drift}; {REMEDY}"[:1024],
        "regarding": regarding,
    }
