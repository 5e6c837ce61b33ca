"""metav1 conditions: what is true of a contract besides its phase, and of products and endpoints.

`lastTransitionTime` moves only when the status flips; reason and message may change without a flip. A condition that was never true
is not listed, except those that readers wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from laycan.kube.views import ContractView
from laycan.resources.times import format_time, parse_time

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
HANDED_OVER, AT_RISK, SHORTFALL, CURTAILED, DEGRADED = "HandedOver", "AtRisk", "Shortfall", "Curtailed", "Degraded"
SUSPENDED = "Suspended"
REACHABLE, EVIDENCE = "Reachable", "Evidence"  # of an ExchangeEndpoint
ORDER = (READY, RECONCILING, STALLED, HANDED_OVER, AT_RISK, SHORTFALL, CURTAILED, DEGRADED, SUSPENDED)
ALWAYS = frozenset({READY, HANDED_OVER, REACHABLE, EVIDENCE})


def is_true(contract: ContractView, name: str) -> bool:
    """By the contract's status as it stands."""
    return any(c["type"] == name and c["status"] == "True" for c in contract.status.get("conditions") or ())


class Conditions:
    """The conditions of one contract while its next status is made."""

    def __init__(self, raw: Iterable[Mapping[str, Any]], generation: int, now: int) -> None:
        self._table: dict[str, dict[str, Any]] = {c["type"]: dict(c) for c in raw}
        self._generation = generation
        self._now = now

    def true(self, name: str) -> bool:
        return bool(self._table.get(name, {}).get("status") == "True")

    def reason(self, name: str) -> str:
        return str(self._table.get(name, {}).get("reason", ""))

    def message(self, name: str) -> str:
        return str(self._table.get(name, {}).get("message", ""))

    def since(self, name: str) -> int:
        """Unix seconds of the last flip, 0 when the condition is not listed."""
        return parse_time(self._table[name]["lastTransitionTime"]) if name in self._table else 0

    def put(self, name: str, holds: bool, reason: str, message: str = "") -> None:
        """States a condition; False for one that was never true adds nothing, unless readers wait for it."""
        old = self._table.get(name)
        if old is None and not holds and name not in ALWAYS:
            return
        status = "True" if holds else "False"
        flipped = old is None or old["status"] != status
        self._table[name] = {
            "type": name,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": format_time(self._now) if flipped or old is None else old["lastTransitionTime"],
            "observedGeneration": self._generation,
        }

    def dump(self) -> list[dict[str, Any]]:
        """In a fixed order; conditions of other writers follow by name."""
        rank = {name: i for i, name in enumerate(ORDER)}
        return [self._table[name] for name in sorted(self._table, key=lambda n: (rank.get(n, len(rank)), n))]
