"""What the schema of a kind cannot say of it, for docs/api.md: what it is for, who writes it, and the keys on other objects."""

from __future__ import annotations

from typing import NamedTuple

from laycan.resources import constants


class About(NamedTuple):
    """What a schema cannot say of a kind."""

    purpose: str
    spec_by: str
    status_by: str


ABOUT = {
    "ComputeContract": About(
        "What was sold, as the exchange or the desk applies it, and what the operator makes of it: phase, bindings, quantities."
        " With `intent: Quote` it asks what could be promised ([quotes](quotes.md)). Its life, and what its conditions mean, is in"
        " [lifecycle](lifecycle.md).",
        "the exchange, or the desk",
        "the operator",
    ),
    "ContractInstruction": About(
        "What an exchange does to a contract after it was traded. Actions, reasons and signatures are in [instructions](instructions.md).",
        "the exchange; the desk where there is none",
        "the operator",
    ),
    "ComputeProduct": About(
        "What a contract's `productRef` names: which hardware it is, what is promised of it, and how the operator plans it. The promise is"
        " immutable; the rest may be changed at any time.",
        "the desk",
        "the operator",
    ),
    "ExchangeEndpoint": About(
        "To whom the contracts that name it in `exchangeRef` are told, whose signatures count for them, and what it requires of them."
        " What is sent is in [events](events.md), how it is proved in [evidence](evidence.md).",
        "a cluster admin: whoever writes it decides whose signature counts",
        "the operator",
    ),
    "Outage": About(
        "Nodes that will be out, or are. A Planned one goes ahead only if it breaks no promise ([delivery](delivery.md#outages)).",
        "the desk, or who runs the data centre",
        "the operator",
    ),
    "NodeFence": About(
        "The one object `cluster` says which node is held by whom. The admission policies read it with every pod, also while the"
        " operator is away; [break-glass](break-glass.md) says when a person may edit it.",
        "the operator",
        "",
    ),
    "LeaderEpoch": About(
        "The one object `cluster` says which operator process leads. A policy refuses the writes of an older one.", "the operator", ""
    ),
    "GpuMeter": About(
        "A node's meter: named like the node, written by the agent there, read by the operator when it counts what was delivered"
        " ([agent](agent.md)).",
        "the agent of that node",
        "",
    ),
    "EvidenceBundle": About(
        "What a buyer verifies: the receipts of one contract with all that proves them, in the contract's handover namespace"
        " ([evidence](evidence.md)).",
        "the operator",
        "",
    ),
}

# label or annotation -> on what, by whom it is set, what it says
KEYS = {
    constants.MANAGED_LABEL: ("label of a Node", "cluster admin", '`"true"` makes it part of the fleet: no other node is ever touched'),
    constants.DESK_LABEL: ("label of a Namespace", "cluster admin", "the namespace whose contracts may be delivered there"),
    constants.CONTRACT_LABEL: ("label of a ResourceClaim", "operator", "uid of the contract that it delivers"),
    constants.HOLDER_LABEL: ("label of a Node", "operator", "who holds the node; kubelets cannot write it"),
    constants.PLACEMENT_ANNOTATION: (
        "annotation of a Pod",
        "buyer",
        "`held` steers it to the nodes of its namespace although it asks for no GPU",
    ),
    constants.CONFIRM_DELETE_ANNOTATION: (
        "annotation of a ComputeContract",
        "desk",
        "its contractId: the contract may be deleted while commitments run",
    ),
    constants.TERMS_DIGEST_ANNOTATION: (
        "annotation of a ComputeContract",
        "exchange or desk",
        "what the digest of its terms must be; with another one it is Rejected",
    ),
    constants.PAUSE_ANNOTATION: (
        "annotation of a ComputeContract, a Node, or NodeFence `cluster`",
        "desk or cluster admin",
        '`"true"`: Laycan writes nothing about it',
    ),
    constants.POWERED_OFF_ANNOTATION: (
        "annotation of a Node",
        "cluster admin",
        "since when its power is confirmed to be off, as a time: its pods may be declared dead",
    ),
    constants.BREAKER_RESET_ANNOTATION: (
        "annotation of NodeFence `cluster`",
        "cluster admin",
        "a time: nodes that failed before it are given up, however many they are",
    ),
    constants.AUTOSCALERS_ANNOTATION: ("annotation of a Node", "operator", "which annotations that keep autoscalers off are its own"),
    constants.TAKEN_ANNOTATION: ("annotation of the List of a snapshot", "`laycan snapshot`", "when the cluster was read"),
    constants.DRAINS_ANNOTATION: (
        "annotation of NodeFence `cluster`",
        "operator",
        "how long the latest drains took, seconds",
    ),
    constants.AGENT_STATE_ANNOTATION: ("annotation of a GpuMeter", "agent", "the counters that it goes on from after a restart"),
}
