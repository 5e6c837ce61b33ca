"""A problem after an event: what happens to nodes, contracts, outages and time."""

from __future__ import annotations

from dataclasses import replace

from .model import (
    Contract,
    ContractChanged,
    ContractGone,
    Event,
    Node,
    NodeChanged,
    NodeGone,
    Outage,
    OutageChanged,
    OutageGone,
    Problem,
    TimePassed,
)


def apply(problem: Problem, event: Event) -> Problem:
    """The problem after one event; raises ValueError for contradictions, as `Problem` does."""
    match event:
        case NodeChanged(node):
            return replace(problem, nodes=_with_node(problem.nodes, node.name, (node,)))
        case NodeGone(name):
            return replace(problem, nodes=_with_node(problem.nodes, name, ()))
        case ContractChanged(contract):
            return replace(problem, contracts=_with_contract(problem.contracts, contract.key, (contract,)))
        case ContractGone(key):
            kept = tuple(b for b in problem.previous if b.contract != key)
            return replace(problem, contracts=_with_contract(problem.contracts, key, ()), previous=kept)
        case OutageChanged(outage):
            return replace(problem, outages=_with_outage(problem.outages, outage.name, (outage,)))
        case OutageGone(name):
            return replace(problem, outages=_with_outage(problem.outages, name, ()))
        case TimePassed(now):
            return replace(problem, now=now)


def _with_node(nodes: tuple[Node, ...], name: str, new: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(n for n in nodes if n.name != name) + new


def _with_contract(contracts: tuple[Contract, ...], key: str, new: tuple[Contract, ...]) -> tuple[Contract, ...]:
    return tuple(c for c in contracts if c.key != key) + new


def _with_outage(outages: tuple[Outage, ...], name: str, new: tuple[Outage, ...]) -> tuple[Outage, ...]:
    return tuple(o for o in outages if o.name != name) + new
