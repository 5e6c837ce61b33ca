"""What an event says has changed, one model for each type. The docstring of a model is *when* the event is sent; docs/events.md repeats it.

Fields are strict here, so that none slips into an event unseen. Receivers let pass what they do not know: within a version fields are
only ever added.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from laycan.events.outbox import MOST_LOTS
from laycan.resources.base import Digest, Gpus, GpuSeconds, Model, Name, Ppm, Time
from laycan.resources.contract import Offer, Quantities, ReasonStatus, Window

Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]+$")]
Lots = Annotated[list[Annotated[int, Field(ge=0, le=65_535)]], Field(max_length=MOST_LOTS)]
KeyId = Annotated[str, Field(min_length=1, max_length=128)]
Base64 = Annotated[str, Field(min_length=4, max_length=65_536, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]

_PHASE = Field(description="The phase that it came to.")
_FROM = Field(alias="from", description="The phase that it was in.")
_LOTS = Field(description=f"Numbers of the lots concerned, from 0 (ordinals); the first {MOST_LOTS} of more.")
_SINCE = Field(description="Onset: the last good second before, RFC 3339 UTC.")


class Moved(Model):
    """The contract came to another phase."""


class Received(Moved):
    """The contract was seen for the first time."""

    phase: Literal["Received"] = _PHASE


class Rejected(Moved):
    """The contract is refused; final."""

    phase: Literal["Rejected"] = _PHASE
    from_: Literal["Received", "Quoted"] = _FROM
    reason: ReasonStatus = Field(description="Why, and what to change.")


class Quoted(Moved):
    """An offer was made."""

    phase: Literal["Quoted"] = _PHASE
    from_: Literal["Received"] = _FROM
    offer: Offer | None = Field(default=None, description="What could be promised, and what instead. Absent: too much to tell here.")
    reason: ReasonStatus | None = Field(default=None, description="Why not all of it. Absent: the promise is Full.")


class Expired(Moved):
    """An offer has lapsed, or its hold was taken up; final."""

    phase: Literal["Expired"] = _PHASE
    from_: Literal["Quoted"] = _FROM
    cause: Literal["Lapsed", "TakenUp"] | None = Field(default=None, description="TakenUp: a Firm contract has taken up its hold.")


class Accepted(Moved):
    """The contract is promised: every lot is bound for the whole window. It is never judged again."""

    phase: Literal["Accepted"] = _PHASE
    from_: Literal["Received", "Quoted"] = _FROM


class Delivering(Moved):
    """The window has begun."""

    phase: Literal["Delivering"] = _PHASE
    from_: Literal["Accepted"] = _FROM


class Delivered(Moved):
    """The window is over, and metered to its end. Receipts of its last day may still follow."""

    phase: Literal["Delivered"] = _PHASE
    from_: Literal["Delivering"] = _FROM


class Settled(Moved):
    """The delivery was accepted, or the time for disputes has lapsed; final."""

    phase: Literal["Settled"] = _PHASE
    from_: Literal["Delivered"] = _FROM


class Cancelled(Moved):
    """The contract was ended before its start; final."""

    phase: Literal["Cancelled"] = _PHASE
    from_: Literal["Accepted"] = _FROM


class Terminated(Moved):
    """The contract was ended after its start; final."""

    phase: Literal["Terminated"] = _PHASE
    from_: Literal["Accepted", "Delivering"] = _FROM


class Flip(Model):
    """A condition began or ceased to hold."""

    condition: Word = Field(description="Name of the condition.")
    status: Literal["True", "False"] = Field(description="Whether it holds now.")
    reason: Word = Field(description="Why, as one word in CamelCase; more words may come.")
    message: str = Field(description="Why, for a person.", max_length=32_768)


class Started(Flip):
    """The buyer has all that is due, for the first time."""

    condition: Literal["HandedOver"] = Field(description="Name of the condition.")
    gpus: int = Field(description="Due and had, GPUs; 0 where all is curtailed by right.", ge=0, le=65_536)
    products: list[Name] = Field(description="Grades that serve it now.", max_length=64)


class Interrupted(Flip):
    """The buyer lost part of what he had."""

    condition: Literal["HandedOver"] = Field(description="Name of the condition.")
    lots: Lots = _LOTS
    gpus: int = Field(description="Missing, GPUs.", ge=0, le=65_536)
    since: Time = _SINCE
    cause: str | None = Field(
        default=None,
        description="What the nodes' agents found, as `Xid79`; several with commas. Absent: nothing.",
        max_length=1024,
    )


class Restored(Flip):
    """The buyer has all of it again, on the same grade; or a curtailment has ended."""

    condition: Literal["HandedOver", "Curtailed"] = Field(description="Name of the condition.")
    lots: Lots | None = Field(default=None, description="Numbers of the lots that came back, from 0 (ordinals).")
    gpus: int | None = Field(default=None, description="Due and had, GPUs; 0 where all is curtailed by right.", ge=0, le=65_536)
    products: list[Name] | None = Field(default=None, description="Grades that serve it now.", max_length=64)
    since: Time | None = Field(default=None, description="From when part of it was missing, RFC 3339 UTC.")


class Substituted(Started):
    """The buyer has all of it again, part of it on an equivalent grade."""

    lots: Lots = _LOTS
    since: Time = Field(description="From when part of it was missing, RFC 3339 UTC.")


class Curtailed(Flip):
    """Notice was given that GPUs are withdrawn by right."""

    condition: Literal["Curtailed"] = Field(description="Name of the condition.")
    gpus: Gpus = Field(description="Withdrawn, GPUs.")
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    noticed_at: Time = Field(description="When notice was given, RFC 3339 UTC.")


class Degraded(Flip):
    """A lot that the buyer has is on a GPU that is Degraded for a reason that the contract's health policy accepts."""

    condition: Literal["Degraded"] = Field(description="Name of the condition.")
    lots: Lots = _LOTS
    gpus: Gpus = Field(description="Degraded, GPUs.")
    reasons: list[Word] = Field(description="What was found, each once.", min_length=1, max_length=64)
    since: Time = Field(description="From when the first of them is, RFC 3339 UTC.")


class Recovered(Flip):
    """No lot of the buyer is on a Degraded GPU any more."""

    condition: Literal["Degraded"] = Field(description="Name of the condition.")


class Suspended(Flip):
    """The exchange suspended the delivery: the buyer has no access, and what is not delivered is BuyerCaused."""

    condition: Literal["Suspended"] = Field(description="Name of the condition.")
    since: Time = Field(description="When the hold took effect, RFC 3339 UTC.")


class Resumed(Flip):
    """The exchange lifted the hold."""

    condition: Literal["Suspended"] = Field(description="Name of the condition.")
    since: Time = Field(description="When the hold had taken effect, RFC 3339 UTC.")


class Short(Model):
    """What is out beyond grace."""

    lots: Lots = _LOTS
    gpus: Gpus = Field(description="Out, GPUs.")
    since: Time = _SINCE
    cure_until: Time = Field(description="Until then the delivery can be cured, RFC 3339 UTC.")
    gpu_seconds_so_far: GpuSeconds = Field(description="Undelivered since the onset, GPU-seconds.")


class ShortfallOpened(Flip, Short):
    """An outage has outlasted its grace."""

    condition: Literal["Shortfall"] = Field(description="Name of the condition.")


class ShortfallCured(Flip):
    """The last lot that was out is served again."""

    condition: Literal["Shortfall"] = Field(description="Name of the condition.")
    late: bool = Field(description="Whether the time to cure was over.")


class CureExpired(Short):
    """The time to cure is over: damages count from the onset."""


class MakeGoodOwed(Model):
    """More was short than was told so far, and no outage is open: the buyer may elect to have it made good."""

    gpu_seconds: GpuSeconds = Field(description="Short in all, GPU-seconds.")
    added_gpu_seconds: GpuSeconds = Field(description="Of it what was not told before, GPU-seconds.")


class MadeGood(Model):
    """After the window: what was owed is made good, or the time for it is over."""

    gpu_seconds: GpuSeconds = Field(description="Made good, GPU-seconds.")
    owed_gpu_seconds: GpuSeconds = Field(description="Owed, GPU-seconds.")
    over_delivered_gpu_seconds: GpuSeconds = Field(description="Made good beyond that, since intervals are whole, GPU-seconds.")


class RiskRaised(Flip):
    """The plan leaves part of the time ahead undelivered, or so few spare nodes that a failure is likelier to than the product's target."""

    condition: Literal["AtRisk"] = Field(description="Name of the condition.")
    gpus: Gpus = Field(description="Short, GPUs; with a probability, those that may be.")
    window: Window = Field(description="When it will be short, the first such time; with a probability, all that is left.")
    shortfall_probability_ppm: Ppm | None = Field(
        default=None, description="Chance of a shortfall in 30 days, millionths. Absent: what is short is known."
    )
    target_ppm: Ppm | None = Field(default=None, description="What the product promises it to be below, millionths.")


class RiskCleared(Flip):
    """The plan delivers all that lies ahead again, with the spare nodes that the target asks for, or the window is over."""

    condition: Literal["AtRisk"] = Field(description="Name of the condition.")


class OutageWindow(Model):
    """When an outage is."""

    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time | None = Field(default=None, description="First second after it, RFC 3339 UTC. Absent: it does not end.")


class OutagePlanned(Model):
    """An outage was announced that touches what the contract is bound to; told once, before anything moves."""

    outage: str = Field(description="uid of the Outage.", min_length=1, max_length=128)
    type: Literal["Planned", "Retirement"] = Field(description="What was announced.")
    window: OutageWindow = Field(description="When it is.")
    lots: Lots = _LOTS
    gpus: Gpus = Field(description="Touched, GPUs.")
    covered: bool | None = Field(
        default=None, description="Whether by the plan everybody is served while it lasts. Absent: that was not known yet."
    )


class Signature(Model):
    """One signature of an envelope."""

    keyid: KeyId = Field(description="keyId of the key, as in the trust file.")
    sig: Base64 = Field(description="Ed25519, base64.")


class Envelope(Model):
    """DSSE: what is signed, and by whom."""

    payload_type: Literal["application/vnd.in-toto+json"] = Field(description="What the payload is.")
    payload: Base64 = Field(description="The receipt's RFC 8785 bytes, base64; see delivery-receipt.v1.json.")
    signatures: list[Signature] = Field(description="By the operator's key for receipts.", min_length=1, max_length=4)


class ReceiptIssued(Model):
    """A UTC day of the contract, or its last part, is metered to its end; or an earlier receipt is corrected."""

    envelope: Envelope = Field(description="The signed receipt.")


class KeyRotated(Model):
    """A signing key takes over from another, which announces it."""

    use: Literal["receipts", "checkpoints", "webhooks"] = Field(description="What it signs.")
    old_key_id: KeyId = Field(description="The key that announces it, as in the trust file.")
    new_key_id: KeyId = Field(description="The key that takes over.")
    new_public_key: Base64 = Field(description="Its public half, 32 bytes, base64.")
    signature: Base64 = Field(description="Of the old key over those 32 bytes, Ed25519, base64.")


class LostLog(Model):
    """The log that was lost."""

    origin: str = Field(description="Its name.", min_length=1, max_length=512)
    size: int = Field(description="Entries that it had at least (a count).", ge=0)


class Head(Model):
    """Where the history of a contract stood."""

    contract: str = Field(description="uid of the ComputeContract.", min_length=1, max_length=128)
    sequence: int = Field(description="Number of its last event (a count).", ge=1)
    head_digest: str = Field(description="Digest of that event's bytes; empty where nobody knows.", pattern=r"^(sha256:[0-9a-f]{64})?$")


class LogReplaced(Model):
    """The operator has lost this exchange's log: the first entries of the one that follows it."""

    origin: str = Field(description="Name of this log.", min_length=1, max_length=512)
    replaces: LostLog = Field(description="The log that was lost.")
    heads: list[Head] = Field(description="Where its contracts stood; many contracts are spread over several such events.", max_length=300)
    contracts: int = Field(description="How many contracts that is in all (a count).", ge=0)


class StatementLine(Model):
    """Where one contract stands: an exchange has its last event, or misses some."""

    contract_id: str = Field(description="contractId, as the exchange gave it.", max_length=65_536)
    uid: str = Field(description="uid of the ComputeContract.", min_length=1, max_length=128)
    phase: str = Field(description="Where it is in its life; empty where nobody has looked at it yet.", max_length=64)
    sequence: int = Field(description="Number of its last event (a count).", ge=0)
    head_digest: Digest | None = Field(default=None, description="Digest of that event's bytes. Absent: there is none.")
    quantities: Quantities | None = Field(default=None, description="What was due and delivered so far, GPU-seconds.")
    metered_until: Time | None = Field(default=None, description="How far quantities go, RFC 3339 UTC.")
    receipts: int | None = Field(default=None, description="Number of its last receipt (a count).", ge=1)


class Statement(Model):
    """Once a day, soon after midnight UTC: where each contract of the exchange stands. A long one comes in parts."""

    lines: list[StatementLine] = Field(description="Contracts by namespace and name.", max_length=4096)
    part: int = Field(description="Which part this is, from 1 (a count).", ge=1)
    parts: int = Field(description="How many there are (a count).", ge=1)
    digest: Digest = Field(description="Digest of the lines of all parts together (RFC 8785).")
