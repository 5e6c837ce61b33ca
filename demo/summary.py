"""The end of the demo: what was delivered, told and found wrong. Anything wrong makes the demo fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from demo.exchange import REFUSALS, Exchange
from demo.observer import Observer, seconds
from demo.script import is_short

Object = dict[str, Any]
OVER = ("Delivered", "Settled", "Cancelled", "Terminated", "Rejected", "Expired")
CLASSES = ("deliveredGpuSeconds", "curtailedGpuSeconds", "buyerCausedGpuSeconds", "excusedGpuSeconds", "shortfallGpuSeconds")


@dataclass
class Summary:
    lines: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, value: object) -> None:
        self.lines.append((what, f"{value:,}" if isinstance(value, int) else str(value)))


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def quantities(contracts: list[Object], summary: Summary) -> None:
    """Sums of all statuses, and the identity of each: every contracted GPU-second has exactly one class."""
    total = dict.fromkeys(("contractedGpuSeconds", *CLASSES), 0)
    for obj in contracts:
        own = (obj.get("status") or {}).get("quantities") or {}
        for key in total:
            total[key] += own.get(key, 0)
        if own.get("contractedGpuSeconds", 0) != sum(own.get(key, 0) for key in CLASSES):
            summary.wrong.append(f"{name_of(obj)}: contracted GPU-seconds are not the sum of their classes: {own}")
        delivery = obj["spec"]["terms"]["delivery"]
        window = delivery["gpus"] * (seconds(delivery["end"]) - seconds(delivery["start"]))
        if (
            is_short(obj)
            and ((obj.get("status") or {}).get("phase") in ("Delivered", "Settled"))
            and own.get("contractedGpuSeconds") != window
        ):
            summary.wrong.append(f"{name_of(obj)}: {own.get('contractedGpuSeconds')} GPU-seconds accounted for, the terms say {window}")
    summary.add("contracted GPU-seconds, ended or running", total["contractedGpuSeconds"])
    summary.add("delivered GPU-seconds", total["deliveredGpuSeconds"])
    summary.add("shortfall GPU-seconds", total["shortfallGpuSeconds"])
    summary.add("excused (grace) GPU-seconds", total["excusedGpuSeconds"])
    if not total["deliveredGpuSeconds"]:
        summary.wrong.append("nothing was delivered")


def phases(contracts: list[Object], summary: Summary) -> None:
    """Short contracts have ended; one that cannot be delivered was refused with a reason; the others are accepted."""
    count: dict[str, int] = {}
    for obj in contracts:
        phase = (obj.get("status") or {}).get("phase", "none")
        count[phase] = count.get(phase, 0) + 1
        if is_short(obj) and phase not in OVER:
            summary.wrong.append(f"{name_of(obj)}: its window is over, its phase is {phase}")
        if phase in ("none", "Received"):
            summary.wrong.append(f"{name_of(obj)}: was never decided")
        if phase == "Rejected" and not (obj["status"].get("reason") or {}).get("message"):
            summary.wrong.append(f"{name_of(obj)}: refused without a reason")
    if not count.get("Rejected"):
        summary.wrong.append("the contract that cannot be delivered was not refused")
    summary.add("contracts", ", ".join(f"{n} {phase}" for phase, n in sorted(count.items())))


def rebinds(observer: Observer, summary: Summary) -> None:
    times = [t for _, t in observer.rebound]
    summary.add("re-binds after a node died", len(times))
    if times:
        summary.add("from the death to GPUs on another node, seconds", f"median {median(times):.0f}, worst {max(times)}")
    else:
        summary.wrong.append("no contract was re-bound although nodes died under it")
    summary.wrong += [f"{key}: lost its node and never got its GPUs back" for key in sorted(observer.waiting)]


def hidden_shortfall(contracts: list[Object], observer: Observer, summary: Summary) -> None:
    """What the observer knows to have been missing must be told in one class or another: the meter may err in the buyer's favour only."""
    least, unknown = 0, 0
    for obj in contracts:
        if not is_short(obj) or (obj.get("status") or {}).get("phase") not in ("Delivered", "Settled"):
            continue
        own, missing = obj["status"].get("quantities") or {}, observer.missing(obj)
        told = sum(own.get(key, 0) for key in CLASSES if key != "deliveredGpuSeconds")
        if missing is None:
            unknown += 1
        elif told < missing:
            summary.wrong.append(f"{name_of(obj)}: {missing} GPU-seconds were missing, {told} are told")
        least += missing or 0
    summary.add("GPU-seconds missing, as seen from outside: at least", least)
    if unknown:
        summary.add("contracts that nobody looked at when their windows were over, not judged", unknown)


def unheard(contracts: list[Object], heard: dict[str, list[int]]) -> list[str]:
    """Contracts of which the exchange lacks an event that was decided, or has one that was not; `heard`: uid -> numbers in order."""
    found = []
    for obj in contracts:
        told = ((obj.get("status") or {}).get("ledger") or {}).get("sequence", 0)
        if "exchangeRef" in obj["spec"] and heard.get(obj["metadata"]["uid"], []) != list(range(1, told + 1)):
            found.append(f"{name_of(obj)}: events 1 to {told} were told, the exchange has {heard.get(obj['metadata']['uid'], [])}")
    return found


def webhooks(contracts: list[Object], exchange: Exchange, summary: Summary) -> None:
    """What the exchange verified and kept, against the sequence that each status says was told."""
    summary.wrong += unheard(contracts, exchange.heard())
    answers, kept = exchange.answers(), len(exchange.events())
    summary.wrong += [f"the exchange answered {status} {answers[status]} times" for status in REFUSALS if answers[status]]
    summary.wrong += [f"an alarm of the exchange: {what}" for what in exchange.alarms()]
    summary.add("events verified and kept by the exchange", kept)
    summary.add("repeated deliveries, recognised by their id", answers[200] - kept)


def summarise(contracts: list[Object], observer: Observer, exchange: Exchange, refusals: dict[str, str]) -> Summary:
    summary = Summary()
    phases(contracts, summary)
    quantities(contracts, summary)
    rebinds(observer, summary)
    hidden_shortfall(contracts, observer, summary)
    webhooks(contracts, exchange, summary)
    summary.add("malformed contracts refused by the API server", len(refusals))
    summary.wrong += [f"{name}: malformed, yet accepted by the API server" for name, message in refusals.items() if not message]
    summary.add("holders' pods seen running on their nodes", len(observer.holders))
    if not observer.holders:
        summary.wrong.append("no holder's pod ever ran")
    summary.add("strangers' pods seen on a held node", len(observer.intruders))
    summary.add("double bookings found by the independent checker", len(observer.wrong))
    summary.wrong += sorted(observer.wrong) + sorted(observer.intruders)
    return summary
