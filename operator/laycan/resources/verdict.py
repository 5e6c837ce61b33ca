"""What findings mean for delivery: the verdict on a GPU under a health policy (contract.md 8).

The industry disagrees about what makes a GPU unusable, so the lists are data: a policy is part of a product, versioned, and the one
that a contract was accepted under stays with it. `spells` is pure, and says the same to the agent, the operator and an auditor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from laycan.resources.signals import Signal

# XIDs after which a GPU needs a reset or a repair: contract.md 8, from NVIDIA's catalogue and the lists of EKS and NVSentinel.
FATAL_XIDS = (46, 48, 54, 62, 63, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 142, 143, 151, 155, 156, 158)
DEFAULT_POLICY: Mapping[str, Any] = {
    "version": "default",
    "fatalXids": list(FATAL_XIDS),
    "acceptDegraded": [],
    "cleanSeconds": 900,
    "degradedSharePpm": 50_000,
}
_ALWAYS_FATAL = frozenset(
    {
        Signal.MISSING,
        Signal.RECOVERY_ACTION,
        Signal.UNCORRECTABLE_ECC,
        Signal.ROW_REMAP_PENDING,
        Signal.ROW_REMAP_FAILED,
        Signal.NVLINK_DOWN,
        Signal.FABRIC_NOT_READY,
    }
)


class Verdict(StrEnum):
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"
    UNHEALTHY = "Unhealthy"


class Found(NamedTuple):
    """A finding as the API tells it, times in Unix seconds; `end` None while it lasts."""

    gpu: str
    signal: str
    code: int
    value: int
    start: int
    end: int | None


class Spell(NamedTuple):
    """A GPU's verdict in [start, end), Unix seconds; `end` None while it lasts."""

    gpu: str
    start: int
    end: int | None
    verdict: Verdict
    reason: str  # the signal, with its code: Xid79

    def covers(self, instant: int) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)


@dataclass(frozen=True, slots=True)
class Policy:
    """A health policy with nothing left open."""

    version: str
    fatal_xids: frozenset[int]
    accept_degraded: frozenset[str]  # reasons of Degraded that still count as delivered
    clean_seconds: int  # without fault after an Unhealthy spell before the GPU is Healthy again
    degraded_share_ppm: int  # of a stretch under hardware slowdown, more than which is Degraded

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None) -> Policy:
        """From `spec.health` of a product or `status.healthPolicy` of a contract; what it leaves open is the default."""
        full = resolved(raw)
        return cls(
            full["version"], frozenset(full["fatalXids"]), frozenset(full["acceptDegraded"]), full["cleanSeconds"], full["degradedSharePpm"]
        )

    def delivers(self, spell: Spell) -> bool:
        """Whether the GPU counts as delivered in it."""
        return spell.verdict is Verdict.DEGRADED and spell.reason in self.accept_degraded


def resolved(raw: Mapping[str, Any] | None) -> dict[str, Any]:
    """The policy as JSON with every field said: what is pinned at acceptance, and what its digest is of."""
    given = {key: value for key, value in (raw or {}).items() if value is not None and key in DEFAULT_POLICY}
    full = {**DEFAULT_POLICY, **given}
    return full | {"fatalXids": sorted(set(full["fatalXids"])), "acceptDegraded": sorted(set(full["acceptDegraded"]))}


def spells(findings: Iterable[Found], policy: Policy) -> list[Spell]:
    """When which GPU was not Healthy, by start; spells may overlap, then the worst counts."""
    found = [spell for finding in findings if (spell := _spell(finding, policy)) is not None]
    return sorted(found, key=lambda spell: (spell.start, spell.gpu, spell.reason))


def _spell(finding: Found, policy: Policy) -> Spell | None:
    signal, end = finding.signal, finding.end
    if signal == Signal.XID:
        if finding.code not in policy.fatal_xids:
            return None
        return Spell(finding.gpu, finding.start, _clean(end, policy), Verdict.UNHEALTHY, f"Xid{finding.code}")
    if signal in _ALWAYS_FATAL:
        return Spell(finding.gpu, finding.start, _clean(end, policy), Verdict.UNHEALTHY, signal)
    if signal == Signal.SLOWDOWN:
        if finding.value <= policy.degraded_share_ppm:
            return None
        return Spell(finding.gpu, finding.start, end, Verdict.DEGRADED, signal)
    if signal == Signal.PCIE_DEGRADED:
        return Spell(finding.gpu, finding.start, end, Verdict.DEGRADED, signal)
    return Spell(finding.gpu, finding.start, end, Verdict.UNKNOWN, signal)  # unreadable, or a signal that this version does not know


def _clean(end: int | None, policy: Policy) -> int | None:
    return None if end is None else end + policy.clean_seconds
