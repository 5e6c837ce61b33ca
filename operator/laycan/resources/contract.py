"""ComputeContract: one forward, from the terms that were signed to the state of its delivery.

`spec.terms` is the agreement, all else of the spec is how it reaches us. `status` is the operator's durable commitment: the
bindings there are the warm start of every plan.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import (
    Conditions,
    Digest,
    GpuSeconds,
    Metadata,
    Model,
    Name,
    NameRef,
    NodeGpus,
    Ppm,
    Seconds,
    Time,
    rules,
    set_once,
    unchanged,
)
from laycan.resources.product import DegradedReason, Xid
from laycan.resources.terms import Terms

LOTS_PATTERN = r"^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$"
Phase = Literal["Received", "Rejected", "Quoted", "Expired", "Accepted", "Delivering", "Delivered", "Settled", "Cancelled", "Terminated"]


class AdoptedBinding(Model):
    """Whole lots that are already being served by one node."""

    node: Name = Field(description="Name of the node.")
    gpus: NodeGpus = Field(description="GPUs in use there; a multiple of lotGpus.")


class Adopt(Model):
    """What already runs and is taken over without a drain."""

    bindings: list[AdoptedBinding] = Field(description="The nodes that serve the contract today.", max_length=1024)


class Confirmation(Model):
    """The exchange's signed confirmation of the trade."""

    envelope: str = Field(
        description="DSSE envelope over the RFC 8785 bytes of terms, base64.",
        min_length=4,
        max_length=16_384,
        pattern=r"^[A-Za-z0-9+/]+={0,2}$",
    )


class ContractSpec(Model):
    """The agreement and how it reaches us."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.intent == oldSelf.intent || (oldSelf.intent == 'Quote' && self.intent == 'Firm')",
                "intent may change from Quote to Firm only",
            ),
            (unchanged("exchangeRef"), "exchangeRef is immutable"),
            (set_once("adopt"), "adopt may be set once and never changed"),
            (set_once("quoteRef"), "quoteRef may be set once and never changed"),
            (set_once("confirmation"), "confirmation may be set once and never changed"),
        )
    )

    intent: Literal["Firm", "Quote"] = Field(description="Firm: a promise is asked for. Quote: what could be promised; may be made Firm.")
    exchange_ref: NameRef | None = Field(
        default=None, description="ExchangeEndpoint of this namespace that is told of every change. Absent: nobody is."
    )
    quote_ref: NameRef | None = Field(
        default=None, description="A quote of this namespace whose hold this contract takes up. Absent: none."
    )
    adopt: Adopt | None = Field(default=None, description="What already runs and is taken over without a drain. Absent: nothing.")
    confirmation: Confirmation | None = Field(
        default=None,
        description="The exchange's signed confirmation; outside terms, because it signs them. Absent: it is not confirmed.",
    )
    terms: Terms = Field(description="What was agreed; immutable as a whole.")


class BindingStatus(Model):
    """Whole lots of the contract on one node."""

    node: Name = Field(description="Name of the node.")
    product: Name = Field(description="The ComputeProduct that the node is; differs from productRef when an equivalent is delivered.")
    gpus: NodeGpus = Field(description="GPUs bound; a multiple of lotGpus.")
    level: Literal["Node", "Device"] = Field(description="How exactly it is enforced: the whole node, or exact GPUs.")
    devices: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, description="GPU UUIDs, at level Device.", max_length=128
    )
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    lots: list[Annotated[int, Field(ge=0, le=65_535)]] | None = Field(
        default=None, description="Numbers of the lots served, from 0 (ordinals, no unit).", max_length=128
    )
    bound_at: Time | None = Field(default=None, description="When this binding was decided, RFC 3339 UTC.")
    handed_over_at: Time | None = Field(default=None, description="When the buyer got access, RFC 3339 UTC.")
    metered_since: Time | None = Field(
        default=None, description="From then on the node's agent proves delivery, RFC 3339 UTC. Absent: node Ready and allocatable GPUs do."
    )


class HealthPolicy(Model):
    """A product's health policy as it stood at acceptance, with nothing left open: it stays with the contract."""

    version: str = Field(description="Version of the policy.", min_length=1, max_length=64)
    fatal_xids: list[Xid] = Field(description="XID codes after which a GPU is Unhealthy (NVIDIA's numbers).", max_length=256)
    accept_degraded: list[DegradedReason] = Field(
        description="Reasons of Degraded with which a GPU still counts as delivered.", max_length=32
    )
    clean_seconds: Seconds = Field(description="Fault-free time after a reset before a GPU is Healthy again, seconds.")
    degraded_share_ppm: Ppm = Field(description="Share of an interval under hardware slowdown that makes a GPU Degraded, millionths.")


class Quantities(Model):
    """contracted = delivered + curtailed + buyerCaused + excused + shortfall, for the part of the window that is measured."""

    contracted_gpu_seconds: GpuSeconds = Field(description="Due so far, GPU-seconds.")
    delivered_gpu_seconds: GpuSeconds = Field(description="Delivered, GPU-seconds.")
    curtailed_gpu_seconds: GpuSeconds = Field(description="Curtailed by right, GPU-seconds.")
    buyer_caused_gpu_seconds: GpuSeconds = Field(description="Not delivered for a cause that is the buyer's, GPU-seconds.")
    excused_gpu_seconds: GpuSeconds = Field(description="Excused: grace, allowed outages, upheld force majeure; GPU-seconds.")
    shortfall_gpu_seconds: GpuSeconds = Field(description="Due, not delivered and not excused, GPU-seconds.")
    estimated_gpu_seconds: GpuSeconds | None = Field(
        default=None, description="Of those delivered, the ones that no sample proves, GPU-seconds. Absent: 0."
    )


class Window(Model):
    """A stretch of time."""

    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")


class ReasonStatus(Model):
    """Why a contract is refused or short."""

    code: str = Field(description="Reason code, one word in CamelCase.", min_length=1, max_length=64)
    message: str = Field(description="The field, pool or window that is wrong or short, and what to do.", max_length=4096)
    pool: str | None = Field(default=None, description="The pool (product) that is short.", max_length=253)
    window: Window | None = Field(default=None, description="When it is short.")


class OfferPart(Model):
    """A part of a counter-offer that is split."""

    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    gpus: int = Field(description="Capacity, GPUs.", ge=1, le=65_536)


class Alternative(Model):
    """A counter-offer."""

    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    gpus: int = Field(description="Capacity, GPUs; of a split one the largest part's.", ge=1, le=65_536)
    product: Name = Field(description="Grade.")
    class_: Literal["Firm", "Interruptible"] = Field(alias="class", description="How binding it would be.")
    scope: Literal["Any", "Zone", "Fabric", "Rack", "NVLinkDomain"] | None = Field(
        default=None, description="Where all lots would be, where that is not as asked."
    )
    parts: list[OfferPart] | None = Field(
        default=None, description="What it consists of, in time order, each to be applied as a contract of its own.", max_length=8
    )
    reason: str = Field(description="What differs from what was asked.", max_length=1024)


class Offer(Model):
    """What could be promised."""

    promise: Literal["Full", "Partial", "None"] = Field(description="How much of what was asked.")
    valid_until: Time = Field(description="The offer stands until then, RFC 3339 UTC; held or not.")
    held: bool | None = Field(
        default=None, description="Whether the capacity is kept until then for a Firm contract with this quoteRef. Absent: false."
    )
    shortfall_probability_ppm: Ppm | None = Field(default=None, description="Chance of a shortfall in 30 days, millionths.")
    spare_nodes: int | None = Field(default=None, description="Fewest spare nodes in its window beside it (a count).", ge=0)
    largest_domain_nodes: int | None = Field(
        default=None, description="Committed nodes of the rack whose loss would take the most, beside them (a count).", ge=0
    )
    alternatives: list[Alternative] | None = Field(default=None, description="Counter-offers, best first.", max_length=16)


class Ledger(Model):
    """Where the contract's history stands."""

    sequence: int = Field(description="Number of the last event of this contract, from 1 (a count).", ge=0)
    head_digest: Digest | None = Field(default=None, description="Digest of the last event's bytes.")


Cause = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9]*$")]


class OpenOutage(Model):
    """A lot that is not served just now."""

    lot: int = Field(description="Number of the lot, from 0 (an ordinal).", ge=0, le=65_535)
    since: Time = Field(description="Onset: last good second before the fault, RFC 3339 UTC.")
    seconds: int = Field(description="Seconds of it that `quantities` count so far.", ge=0)
    class_: Literal["Excused:Grace", "Shortfall"] = Field(alias="class", description="How `quantities` count it so far.")


class Gap(Model):
    """A stretch in which a node did not serve lots that are bound to it."""

    node: Name = Field(description="Name of the node.")
    lots: list[Annotated[int, Field(ge=0, le=65_535)]] = Field(description="Numbers of the lots on it, from 0 (ordinals).", max_length=128)
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time | None = Field(default=None, description="First second after it, RFC 3339 UTC; absent while it lasts.")
    cause: Cause | None = Field(default=None, description="Why, as one word in CamelCase.")


class Estimated(Model):
    """What was estimated of a lot in the UTC day that is being metered."""

    lot: int = Field(description="Number of the lot, from 0 (an ordinal).", ge=0, le=65_535)
    day: int = Field(description="UTC day since 1970-01-01 (an ordinal).", ge=0)
    seconds: int = Field(description="Estimated in it, seconds.", ge=1, le=86_400)


class Meter(Model):
    """How far delivery is measured."""

    until: Time = Field(description="quantities cover the window up to here, RFC 3339 UTC.")
    outages: list[OpenOutage] | None = Field(default=None, description="Outages of lots that are open at `until`.", max_length=8192)
    gaps: list[Gap] | None = Field(default=None, description="What is known to be undelivered after `until`.", max_length=8192)
    grace_month: int | None = Field(default=None, description="Month of the contract that graceGpuSeconds is of, from 0 (a count).", ge=0)
    grace_gpu_seconds: GpuSeconds | None = Field(default=None, description="Excused as grace in that month, GPU-seconds.")
    estimates: list[Estimated] | None = Field(default=None, description="What was estimated in the day of `until`.", max_length=8192)


class MeteredStretch(Model):
    """What was metered of some lots since the last receipt; `class` or `cause`, whichever is known."""

    lots: str = Field(
        description="Numbers of the lots, as `0-3,7` (ordinals).", max_length=65_536, pattern=r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"
    )
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    class_: str | None = Field(default=None, alias="class", description="Delivered, or by what right it was not.", max_length=64)
    estimated: bool | None = Field(default=None, description="Whether no sample proves it. Absent: false.")
    cause: Cause | None = Field(default=None, description="Why it was not delivered, as one word in CamelCase.")


class ReceiptOpening(Model):
    """Where the next receipt starts from."""

    quantities: Quantities = Field(description="What was counted up to there, GPU-seconds.")
    meter: Meter = Field(description="Up to when, and which outages were open.")


class ReceiptPeriod(Model):
    """The latest receipt of a period that has a part of an outage which is not decided yet."""

    sequence: int = Field(description="Number of that receipt (a count).", ge=1)
    predicate: str = Field(description="What it says, but for its place in the chain (RFC 8785 JSON).", max_length=65_536)
    outages: list[OpenOutage] = Field(description="Those outages, with their seconds in the period.", max_length=8192)


class ReceiptsStatus(Model):
    """How far the signed receipts go."""

    sequence: int | None = Field(default=None, description="Number of the last receipt, from 1 (a count).", ge=1)
    head_digest: Digest | None = Field(default=None, description="Digest of the last receipt's payload.")
    opening: ReceiptOpening | None = Field(default=None, description="Where the next receipt starts from. Absent: the window's start.")
    periods: list[ReceiptPeriod] | None = Field(
        default=None, description="Periods that may have to be corrected, oldest first.", max_length=300
    )
    readings: list[MeteredStretch] | None = Field(default=None, description="What was metered since, oldest first.", max_length=8192)


class CurtailmentNotice(Model):
    """Notice to an Interruptible contract that GPUs are withdrawn by right."""

    gpus: int = Field(description="Withdrawn, GPUs.", ge=1, le=65_536)
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    noticed_at: Time = Field(description="When notice was given, RFC 3339 UTC.")


class AcceptedStretch(Model):
    """What is not delivered for a cause that is the buyer's, by an instruction."""

    lots: str = Field(description="Numbers of the lots, as `0-3,7` (ordinals).", max_length=65_536, pattern=LOTS_PATTERN)
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")


class InstructionsStatus(Model):
    """What follows from the instructions that were applied."""

    head_digest: Digest | None = Field(default=None, description="Digest of the last act that was applied: what the next one cites.")
    signed: bool | None = Field(
        default=None, description="Whether the exchange signs: then nothing unsigned has any effect from then on. Absent: false."
    )
    suspended_since: Time | None = Field(default=None, description="Since when delivery is suspended, RFC 3339 UTC. Absent: it is not.")
    delivery: Literal["Disputed", "Accepted"] | None = Field(
        default=None, description="What the exchange says of the delivery. Disputed: it is not settled by time. Absent: nothing."
    )
    buyer_caused: list[AcceptedStretch] | None = Field(
        default=None, description="What is the buyer's, as far as the meter has not passed it.", max_length=1024
    )


class MakeGoodStatus(Model):
    """What was short, and what of it was delivered later."""

    owed_gpu_seconds: GpuSeconds = Field(description="Shortfall that was told as owed, GPU-seconds.")
    delivered_gpu_seconds: GpuSeconds | None = Field(
        default=None, description="Made good after the window, GPU-seconds; more than owed where whole intervals are more. Absent: 0."
    )
    mode: Literal["Extend"] | None = Field(default=None, description="How the buyer elected to have it made good. Absent: he did not.")
    lots: int | None = Field(default=None, description="Lots side by side, as elected (a count).", ge=1, le=65_536)


class HandoverRecord(Model):
    """How punctual delivery is."""

    late_seconds: int | None = Field(
        default=None, description="From the window's start until the buyer first had all that was due, seconds.", ge=0
    )
    interruptions: int | None = Field(default=None, description="Times that he lost part of it since (a count).", ge=0)
    interrupted_since: Time | None = Field(default=None, description="Onset of the interruption that lasts, RFC 3339 UTC.")
    rebind_seconds: int | None = Field(
        default=None, description="From the onset of the last mended interruption to its end, seconds.", ge=0
    )
    longest_rebind_seconds: int | None = Field(default=None, description="The longest of those, seconds.", ge=0)
    held_seconds: int | None = Field(
        default=None, description="Time of the window under holds by the exchange, seconds; in none of the others. Absent: 0.", ge=0
    )
    early_stop_seconds: int | None = Field(
        default=None, description="From an interruption that was not mended to the window's end, seconds; set at the end.", ge=0
    )


class OutboxEntry(Model):
    """An event that is decided and not yet acknowledged by the log."""

    id: str = Field(description="<contract uid>/<sequence>.", min_length=1, max_length=128)
    sequence: int = Field(description="The contract's event number, from 1 (a count).", ge=1)
    type: str = Field(description="Type of the event, dev.laycan.<x>.v1.", min_length=1, max_length=128)
    body: str = Field(description="The event's canonical bytes (RFC 8785 JSON).", max_length=65_536)


class ContractStatus(Model):
    """The operator's durable commitment, and where its delivery stands."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(oldSelf.epoch) || (has(self.epoch) && self.epoch >= oldSelf.epoch)",
                "epoch never falls: a newer operator has taken over",
            ),
        )
    )

    phase: Phase | None = Field(default=None, description="Where the contract is in its life.")
    phase_since: Time | None = Field(default=None, description="When that phase began, RFC 3339 UTC.")
    ended_at: Time | None = Field(default=None, description="When it was cancelled or terminated, RFC 3339 UTC.")
    observed_generation: int | None = Field(default=None, description="metadata.generation that this status answers.", ge=0)
    epoch: int | None = Field(default=None, description="Epoch of the operator that wrote this (a count); never falls.", ge=0)
    conditions: Conditions | None = Field(
        default=None, description="Ready, Reconciling, Stalled, HandedOver, AtRisk, Shortfall, Curtailed, Degraded, Suspended."
    )
    terms_digest: Digest | None = Field(default=None, description="Digest of terms at acceptance.")
    product_digest: Digest | None = Field(default=None, description="Digest of the product's promise at acceptance.")
    health_policy_digest: Digest | None = Field(default=None, description="Digest of the product's health policy at acceptance.")
    health_policy: HealthPolicy | None = Field(default=None, description="That health policy itself, with every default said.")
    bindings: list[BindingStatus] | None = Field(
        default=None, description="What stands behind the contract: lots on nodes over time.", max_length=8192
    )
    quantities: Quantities | None = Field(default=None, description="What was due, delivered and not, GPU-seconds.")
    reason: ReasonStatus | None = Field(default=None, description="Why it is refused or short.")
    offer: Offer | None = Field(default=None, description="Answer to a quote.")
    ledger: Ledger | None = Field(default=None, description="Where the contract's history stands.")
    meter: Meter | None = Field(default=None, description="How far delivery is measured.")
    receipts: ReceiptsStatus | None = Field(default=None, description="How far the signed receipts go.")
    handover: HandoverRecord | None = Field(default=None, description="How punctual delivery is.")
    curtailments: list[CurtailmentNotice] | None = Field(default=None, description="Notices of curtailment by right.", max_length=1024)
    instructions: InstructionsStatus | None = Field(default=None, description="What follows from the instructions that were applied.")
    make_good: MakeGoodStatus | None = Field(default=None, description="What was short, and what of it was delivered later.")
    outages: list[Annotated[str, Field(max_length=128)]] | None = Field(
        default=None, description="Outages ahead of which the contract's exchange was told: uid/start/end.", max_length=256
    )
    outbox: list[OutboxEntry] | None = Field(
        default=None, description="Events decided and not yet taken by the log, oldest first.", max_length=8
    )


class ComputeContract(Model):
    """One forward: so many GPUs of a grade from one second to another, and what stands behind it."""

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["ComputeContract"] = Field(description="ComputeContract")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: ContractSpec = Field(description="The agreement and how it reaches us.")
    status: ContractStatus | None = Field(default=None, description="The operator's commitment, and where delivery stands.")
