"""Which GPUs a plan counts on where a cluster tells more than a Node object does: its fence, its DRA driver and its agents.

The operator's own judgement (`laycan.delivery.faults`) also waits: a node that has fallen silent a moment ago keeps what it has for its
product's detection time, and a lost GPU for the dwell. One look at a cluster has no such memory, so here what is wrong now counts now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from laycan.kube.device_views import ResourceSliceView, published, slice_view
from laycan.kube.meter_views import meter_view
from laycan.planning.manifests import Manifests
from laycan.planning.problem import grade_of, healthy_gpus, is_ready
from laycan.resources.fence import QUARANTINE
from laycan.resources.signals import SLOWDOWN_SECONDS
from laycan.resources.verdict import Policy, Verdict, spells

Raw = Mapping[str, Any]
_SLOW = SLOWDOWN_SECONDS + 30  # a share of slowdown is the latest word until that of the next stretch is known


def quarantined(manifests: Manifests) -> frozenset[str]:
    """Nodes that failed and that nobody has given back yet."""
    return frozenset(node for node, owner in manifests.owners.items() if owner.startswith(QUARANTINE))


def usable(raw: Raw, away: frozenset[str]) -> bool:
    return is_ready(raw) and raw["metadata"]["name"] not in away


class Cards:
    """The GPUs of each node, card by card where its driver lists them."""

    def __init__(self, manifests: Manifests, now: int) -> None:
        self._manifests, self._now = manifests, now
        self._slices: dict[str, list[ResourceSliceView]] = defaultdict(list)
        for raw in manifests.slices:
            if view := slice_view(raw) if isinstance(raw.get("metadata"), dict) and raw["metadata"].get("name") else None:
                self._slices[view.node].append(view)

    def exact(self, node: str) -> bool:
        """Whether its driver tells all of its cards, each by its uuid."""
        return any(device.uuid for device in published(self._slices.get(node, ())))

    def gpus(self, raw: Raw) -> int:
        """GPUs that are there and fit."""
        name = raw["metadata"]["name"]
        if not self._slices.get(name):
            return max(0, healthy_gpus(raw) - len(self._unfit(raw)))
        unfit = self._unfit(raw)
        return sum(not device.unfit and device.uuid not in unfit for device in published(self._slices[name]))

    def _unfit(self, raw: Raw) -> set[str]:
        """uuids that the agent of this machine found wrong, under the health policies of what the node is sold as."""
        spec = self._manifests.meters.get(raw["metadata"]["name"])
        meter = meter_view({"metadata": raw["metadata"], "spec": spec}) if spec and spec.get("findings") else None
        if meter is None or meter.node_uid != str(raw["metadata"].get("uid", "")):
            return set()
        found: set[str] = set()
        for policy in self._policies(grade_of(raw)):
            for spell in spells(meter.findings, policy):
                holds = _SLOW if spell.verdict is Verdict.DEGRADED else 0
                lasts = spell.end is None or spell.end + holds > self._now
                if lasts and spell.verdict in (Verdict.UNHEALTHY, Verdict.DEGRADED) and not policy.delivers(spell):
                    found.add(spell.gpu)
        return found

    def _policies(self, grade: str) -> Iterable[Policy]:
        sold = [spec.health for spec in self._manifests.products.values() if grade in spec.gpu_products]
        return [Policy.of(health.model_dump(by_alias=True, exclude_none=True) if health else None) for health in sold] or [Policy.of(None)]
