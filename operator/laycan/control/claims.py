"""Who holds which node when, as far as the API server knows or soon may know: release before acquire.

A plan swaps nodes between contracts in one instant, but the statuses that say so are written one by one, and the process may die
between any two. So a status that acquires a node is written only when nobody else's *written* status holds that node for an
overlapping time, and a write on its way counts as written until its answer says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from laycan.control.lifecycle import COMMITTED
from laycan.kube.sound import text_at
from laycan.kube.views import ContractView
from laycan.resources.times import parse_time
from laycan_solver.spans import peak


class Claim(NamedTuple):
    """`gpus` GPUs of a node for [start, end).

    Whole nodes have one holder at a time, with at least `turnaround` seconds between two. Where exact GPUs are delivered, holders
    share the node; which GPUs is chosen late, and `devices` is empty until then.
    """

    node: str
    holder: str
    gpus: int
    start: int
    end: int
    turnaround: int
    exact: bool = False
    devices: frozenset[str] = frozenset()  # uuids


def holder_of(spec: Mapping[str, Any]) -> str:
    return text_at(spec, "terms", "delivery", "handover", "namespace")


def claims_of(contract: ContractView, status: Mapping[str, Any], turnaround: Callable[[str], int]) -> tuple[Claim, ...]:
    """What this status of the contract holds; `turnaround` looks up a product's, in seconds."""
    if status.get("phase") not in COMMITTED or not status.get("bindings"):
        return ()
    holder, gap = holder_of(contract.spec), turnaround(text_at(contract.spec, "terms", "productRef", "name"))
    return tuple(
        Claim(
            node=b["node"],
            holder=holder,
            gpus=b["gpus"],
            start=parse_time(b["start"]),
            end=parse_time(b["end"]),
            turnaround=gap,
            exact=b.get("level") == "Device",
            devices=frozenset(b.get("devices") or ()),
        )
        for b in status["bindings"]
    )


@dataclass(slots=True)
class Claims:
    written: dict[str, tuple[Claim, ...]] = field(default_factory=dict)  # contract key -> claims of its observed status
    in_flight: dict[str, tuple[Claim, ...]] = field(default_factory=dict)  # contract key -> claims of the write on its way
    _on: dict[str, set[str]] = field(default_factory=dict)  # node -> keys of the contracts that claim it

    def observe(self, key: str, claims: tuple[Claim, ...]) -> None:
        """Replaces what the contract's observed status holds; () forgets it."""
        self._replace(self.written, key, claims)

    def begin(self, key: str, claims: tuple[Claim, ...]) -> None:
        """A status with these claims is being sent."""
        self._replace(self.in_flight, key, claims)

    def settle(self, key: str) -> None:
        """It is known what became of the write: the observed status tells."""
        self._replace(self.in_flight, key, ())

    def contracts_on(self, node: str) -> frozenset[str]:
        return frozenset(self._on.get(node, ()))

    def blockers(self, key: str, wanted: Iterable[Claim], now: int, capacity: Mapping[str, int]) -> dict[Claim, set[str]]:
        """What of `wanted` may not be written yet for `key`, and the contracts that must let go before; what it holds already may."""
        wanted, own = list(wanted), list(self.written.get(key, ()))
        found: dict[Claim, set[str]] = {}
        for claim in wanted:
            held = next((o for o in own if _covers(o, claim)), None)
            if held is not None:
                own.remove(held)
            elif keys := self._in_the_way(key, claim, wanted, now, capacity.get(claim.node, 0)):
                found[claim] = keys
        return found

    def _in_the_way(self, key: str, claim: Claim, wanted: list[Claim], now: int, capacity: int) -> set[str]:
        others = [(k, c) for k in self._on.get(claim.node, ()) if k != key for c in self._live(k, claim.node, now)]
        found = {k for k, c in others if _excludes(c, claim) or _same_device(c, claim)}
        shared = [(k, c) for k, c in others if _at_once(c, claim)]
        mine = [c for c in wanted if c.node == claim.node and _at_once(c, claim)]
        if shared and _most([*mine, *(c for _, c in shared)]) > capacity:
            found |= {k for k, _ in shared}
        return found

    def double_held(self, now: int, capacity: Mapping[str, int]) -> list[tuple[str, tuple[str, ...]]]:
        """(node, contracts) that the written statuses hold twice at some instant from now on: must always be empty."""
        found = []
        for node, keys in sorted(self._on.items()):
            rows = [(k, c) for k in sorted(keys) for c in self.written.get(k, ()) if c.node == node and c.end > now]
            pairs = [(a, b) for i, (_, a) in enumerate(rows) for _, b in rows[i + 1 :] if _at_once(a, b)]
            crossed = any(_excludes(a, b) or _same_device(a, b) for a, b in pairs)
            shared = len({k for k, _ in rows}) > 1 and _most(c for _, c in rows) > capacity.get(node, 1 << 30)
            if crossed or shared:
                found.append((node, tuple(sorted({k for k, _ in rows}))))
        return found

    def _live(self, key: str, node: str, now: int) -> list[Claim]:
        either = Counter(self.written.get(key, ())) | Counter(self.in_flight.get(key, ()))
        return [c for c in either.elements() if c.node == node and c.end > now]

    def _replace(self, table: dict[str, tuple[Claim, ...]], key: str, claims: tuple[Claim, ...]) -> None:
        old = table.pop(key, ())
        if claims:
            table[key] = claims
        kept = {c.node for c in (*self.written.get(key, ()), *self.in_flight.get(key, ()))}
        for node in {c.node for c in old} - kept:
            self._on[node].discard(key)
        for node in kept:
            self._on.setdefault(node, set()).add(key)


def _covers(own: Claim, wanted: Claim) -> bool:
    there = own.node == wanted.node and own.start <= wanted.start and wanted.end <= own.end
    return there and own.gpus >= wanted.gpus and own.exact == wanted.exact and own.devices >= wanted.devices


def _at_once(a: Claim, b: Claim) -> bool:
    return a.start < b.end and b.start < a.end


def _excludes(a: Claim, b: Claim) -> bool:
    """Whether two claims on one node are of holders who may not both have it so near to each other."""
    gap = max(a.turnaround, b.turnaround)
    return a.holder != b.holder and not (a.exact and b.exact) and a.start < b.end + gap and b.start < a.end + gap


def _same_device(a: Claim, b: Claim) -> bool:
    return not a.devices.isdisjoint(b.devices) and _at_once(a, b)


def _most(claims: Iterable[Claim]) -> int:
    """GPUs that they hold at one instant."""
    return peak((c.start, c.end, c.gpus) for c in claims)
