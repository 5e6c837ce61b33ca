"""What a desk does about a phase, a condition or a reason: one line each, for the end of `laycan why`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_REASONS = {
    "UnknownProduct": "apply the ComputeProduct that the terms name, or send the contract again with another productRef",
    "UnknownExchange": "apply the ExchangeEndpoint that exchangeRef names, in the contract's namespace",
    "TermsConflict": "another resource already holds this contractId: delete the one that is not meant",
    "PastEnd": "its window was over when it was created: send it with a later window",
    "ExceedsFleet": "the fleet is too small however it is planned: ask for fewer GPUs, another grade, or add nodes "
    "(`laycan preflight` tells of a product that no node is of)",
    "NoCapacity": "ask `laycan quote` what would be accepted instead: fewer, later, split, another grade, Interruptible",
    "HandoverNamespace": "create the buyer's namespace and label it for this desk, then send the contract again",
    "CurrencyMismatch": "all contracts of an operator have one currency: send it again in that one",
    "BadSignature": "have the exchange sign the terms as they stand, with a key that the ExchangeEndpoint trusts",
    "Malformed": "mend the field that the message names and send the contract again",
    "PoolShort": "add or repair nodes of the grade, or sell less of it: `laycan what-if` shows what would mend it",
    "NodeLost": "repair the nodes, or add some: what comes back is used at once",
    "OutagePlanned": "move the Outage to a time at which nodes are free (`laycan what-if`), or leave it: what is short is told and owed",
    "MoveLimit": "a move would mend it that the product's planning.move forbids: raise perMonth or allow the policy Any",
    "TopologyShort": "there are enough GPUs, but not where scope and spread allow: see the domains above",
}
_CONDITIONS = {
    "Shortfall": "it is owed from the onset once cure has passed: repair a node, or end an outage",
    "Curtailed": "nothing is owed for it: it ends when the capacity comes back",
    "Degraded": "look at the nodes' GpuMeters: kubectl get gpumeters",
    "Suspended": "the exchange holds delivery: it goes on with its Resume instruction",
}
_PHASES = {
    "": "it is not decided yet: see whether the operator runs (laycan preflight)",
    "Received": "it is not decided yet: see what it waits for above, and whether the operator runs (laycan preflight)",
    "Quoted": "take it up before it lapses with a Firm contract that names it as quoteRef",
    "Expired": "ask again with a new quote",
    "Delivered": "wait for the exchange to accept the delivery, or for its time to object to pass",
}


def next_steps(phase: str, conditions: Iterable[str], reasons: Iterable[str]) -> list[str]:
    """The lines that apply, none twice; one that says that there is nothing to do where none does."""
    return list(dict.fromkeys(_steps(phase, conditions, reasons))) or ["nothing has to be done"]


def _steps(phase: str, conditions: Iterable[str], reasons: Iterable[str]) -> Iterator[str]:
    yield from (_REASONS[reason] for reason in reasons if reason in _REASONS)
    yield from (_CONDITIONS[name] for name in conditions if name in _CONDITIONS)
    if phase in _PHASES:
        yield _PHASES[phase]
