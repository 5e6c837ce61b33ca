"""What the demo proves at its end, and how a lie is found out: see demo/evidence.py for the tools."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from controlplane.waiting import until
from demo.evidence import Evidence, Verdict, lies
from demo.exchange import Exchange
from demo.summary import Summary, name_of

Object = dict[str, Any]
PATIENCE_SECONDS = 20  # a checkpoint is sent every 5 s, and cosigned when the exchange has all that it covers


def prove(evidence: Evidence, exchange: Exchange, contracts: list[Object], summary: Summary, say: Callable[..., None]) -> None:
    """Exports what was delivered and witnessed, judges it as a stranger would, and then the same with single bytes changed."""
    issued = {name_of(obj): obj for obj in contracts if (obj.get("status") or {}).get("receipts", {}).get("sequence")}
    entries = exchange.entries()
    with suppress(TimeoutError):
        until("all is cosigned", lambda: exchange.cosigned() >= entries, seconds=PATIENCE_SECONDS)
    proven = {n: obj for n, obj in issued.items() if exchange.witnessed(obj["metadata"]["uid"]) == obj["status"]["receipts"]["sequence"]}
    summary.add("heads of the operator's log cosigned by the exchange", exchange.checkpoints())
    if not proven:
        summary.wrong.append(f"{len(issued)} contracts have receipts, and the exchange has witnessed none of them")
        return
    bundles = [evidence.export(f"{obj['metadata']['namespace']}/{name}") for name, obj in proven.items()]
    verdict = evidence.verify(bundles)
    for line in told(verdict, bundles[0].name, [bundle.name for bundle in bundles[1:]]):
        say(f"laycan verify: {line}", "green" if verdict.code == 0 else "bold red")
    if verdict.code:
        summary.wrong.append(f"the evidence of {len(bundles)} contracts does not hold: {verdict.reason}")
    receipts = sum(obj["status"]["receipts"]["sequence"] for obj in proven.values())
    summary.add("receipts verified offline", f"{receipts} of {len(bundles)} contracts; {len(issued) - len(bundles)} not witnessed yet")
    for what, copy in lies(bundles[0]):
        found = evidence.verify([copy])
        summary.add(f"one byte changed: {what}", found.reason)
        if found.code == 0:
            summary.wrong.append(f"laycan verify believes a bundle with {what}")


def told(verdict: Verdict, first: str, others: list[str]) -> list[str]:
    """What was said of all, and of the first bundle: the same is said of each."""
    return [line for line in verdict.lines if first in line or not any(name in line for name in others)]
