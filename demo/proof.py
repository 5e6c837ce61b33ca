"""What the demo proves at its end, and how a lie is found out: see demo/evidence.py for the tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.waiting import until
from demo.evidence import Evidence, lies
from demo.exchange import Exchange
from demo.summary import Summary, name_of

Object = dict[str, Any]
WITNESS_SECONDS = 90  # a checkpoint is sent every minute


def prove(evidence: Evidence, exchange: Exchange, contracts: list[Object], summary: Summary, say: Callable[..., None]) -> None:
    """Exports what was delivered, judges it as a stranger would, and then the same with single bytes changed."""
    proven = [obj for obj in contracts if (obj.get("status") or {}).get("receipts", {}).get("sequence")]
    if not proven:
        summary.wrong.append("no receipt was issued")
        return
    entries = exchange.entries()
    try:
        until("the exchange has cosigned all that it has", lambda: exchange.cosigned() >= entries, seconds=WITNESS_SECONDS)
    except TimeoutError as error:
        summary.wrong.append(str(error))
    bundles = [evidence.export(f"{obj['metadata']['namespace']}/{name_of(obj)}") for obj in proven]
    verdict = evidence.verify(bundles)
    for line in verdict.lines:
        say(f"laycan verify: {line}", "green" if verdict.code == 0 else "bold red")
    if verdict.code:
        summary.wrong.append(f"the evidence of {len(bundles)} contracts does not hold: {verdict.reason}")
    receipts = sum(obj["status"]["receipts"]["sequence"] for obj in proven)
    summary.add("receipts verified offline, of so many contracts", f"{receipts}, {len(bundles)}")
    summary.add("heads of the operator's log cosigned by the exchange", exchange.checkpoints())
    for what, copy in lies(bundles[0]):
        found = evidence.verify([copy])
        summary.add(f"one byte changed: {what}", found.reason)
        if found.code == 0:
            summary.wrong.append(f"laycan verify believes a bundle with {what}")
