"""Samples for tests: cards of an HGX H100, and whole nodes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from laycan.agent.account import Account, Moment
from laycan.agent.sample import Fabric, GpuSample, NodeSample, Pcie

DRIVER, BOOT = "580.105.08", "boot-1"
NOON = 1_800_000_000  # a boundary of 300 s
SOUND = GpuSample(
    uuid="",
    serial="1652523000001",
    board="692-2G520-0200-000",
    product="NVIDIA H100 80GB HBM3",
    index=0,
    energy_millijoules=1_000_000,
    slowdown_nanoseconds=0,
    uncorrectable_ecc=0,
    remap_pending=False,
    remap_failed=False,
    recovery_action=0,
    active_nvlinks=18,
    fabric=Fabric(3, 0),
    pcie=Pcie(16, 16, 5, 5),
    pcie_replays=0,
    busy=True,
    pids=(),
    power_limit_milliwatts=700_000,
)


def card(slot: int = 0, **changes: Any) -> GpuSample:
    """A sound card, but for these fields."""
    return replace(SOUND, uuid=name(slot), index=slot, **changes)


def name(slot: int = 0) -> str:
    return f"GPU-{slot}"


def node(*cards: GpuSample, lost: tuple[int, ...] = (), unreadable: tuple[int, ...] = ()) -> NodeSample:
    """A sample with these cards; of the others only where they are."""
    return NodeSample(DRIVER, cards, tuple(map(name, lost)), tuple(map(name, unreadable)))


def at(seconds: int, boot: str = BOOT, uptime: int | None = None) -> Moment:
    """So many seconds after noon, on a node that has been up for a day then."""
    return Moment(NOON + seconds, 86_400 + seconds if uptime is None else uptime, boot)


def begun(*cards: GpuSample) -> Account:
    """The account of a node after its first sample, at noon; samples come every ten seconds."""
    account = Account.begin("uid-1", 10, NOON)
    account.take(node(*(cards or (card(),))), at(0))
    return account


def told(account: Account, *signals: str) -> list[tuple[str, int, int, int, int, int | None]]:
    """(signal, code, value, count, start, end) of all findings, or of these signals; times in seconds after noon."""
    return [
        (each.signal.value, each.code, each.value, each.count, each.start - NOON, None if each.end is None else each.end - NOON)
        for each in account.findings.listed()
        if not signals or each.signal in signals
    ]
