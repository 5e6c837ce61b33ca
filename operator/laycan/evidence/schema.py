"""The form of a delivery receipt: the payload of the envelope in `receipt.issued`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from laycan.resources.base import Digest, GpuSeconds, Model, Name, Time
from laycan.resources.contract import Window

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
LotNumbers = Annotated[str, Field(min_length=1, max_length=65_536, pattern=r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$")]
_LOTS = Field(description="Numbers of the lots, as `0-3,7` (ordinals).")


class ContractSaid(Model):
    """What the receipt is about."""

    contract_id: str = Field(description="contractId of the terms.", min_length=1, max_length=128)
    uid: str = Field(description="Identity of the ComputeContract.", min_length=1, max_length=128)
    terms_digest: Digest = Field(description="Digest of the terms.")
    product_digest: Digest = Field(description="Digest of the product's promise, {name, promise}.")
    health_policy_digest: Digest = Field(description="Digest of the policy by which GPUs are judged healthy.")
    due: Window = Field(description="What was due: from the window's start, or later creation, to its end, or earlier termination.")


class OperatorSaid(Model):
    """Who says it."""

    id: str = Field(description="The operator, as the trust file names it.", min_length=1, max_length=253)
    key_id: str = Field(description="The key that signed.", min_length=1, max_length=128)
    software_digest: Digest = Field(description="Digest of the software that metered.")


class Amounts(Model):
    """contracted = delivered + curtailed + buyerCaused + excused + shortfall."""

    contracted_gpu_seconds: GpuSeconds = Field(description="Due, GPU-seconds.")
    delivered_gpu_seconds: GpuSeconds = Field(description="Delivered, GPU-seconds.")
    curtailed_gpu_seconds: GpuSeconds = Field(description="Curtailed by right, GPU-seconds.")
    buyer_caused_gpu_seconds: GpuSeconds = Field(description="Not delivered for a cause that is the buyer's, GPU-seconds.")
    excused_gpu_seconds: GpuSeconds = Field(description="Excused: grace, allowed outages, upheld force majeure; GPU-seconds.")
    shortfall_gpu_seconds: GpuSeconds = Field(description="Due, not delivered and not excused, GPU-seconds.")
    estimated_gpu_seconds: GpuSeconds = Field(description="Of those delivered, the ones that no sample proves, GPU-seconds.")


class Incident(Model):
    """What was not delivered."""

    class_: str = Field(alias="class", description="By what right, or Shortfall.", min_length=1, max_length=64)
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")
    lots: LotNumbers = _LOTS
    cause: str | None = Field(default=None, description="Why, as one word in CamelCase.", max_length=64)
    gpu_seconds: GpuSeconds = Field(description="Undelivered, GPU-seconds.")


class Substitution(Model):
    """Lots that were served in another grade."""

    lots: LotNumbers = _LOTS
    product: Name = Field(description="That grade.")
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")


class Devices(Model):
    """Which GPUs served it, as commitments that tell nothing else."""

    commitment_root: Hex = Field(description="RFC 9162 root over the sorted commitments.")
    count: Count = Field(description="How many GPUs served it (a count).")


class MeterSaid(Model):
    """What the quantities were worked out from."""

    kind: Literal["agent", "node", "mixed"] = Field(description="Whose word it is: the nodes' agents, the nodes' readiness, or both.")
    readings: Count = Field(description="Number of readings (a count).")
    root_sha256: Hex = Field(alias="rootSha256", description="RFC 9162 root over the readings.")
    missed_samples: Count = Field(description="Samples that the agents did not take (a count).")


class Credit(Model):
    """Indicative damages for all the shortfall so far; the exchange settles."""

    amount: str = Field(description="Decimal amount of the currency.", pattern=r"^[0-9]+\.[0-9]{2}$", max_length=64)
    currency: str = Field(description="ISO 4217.", pattern=r"^[A-Z]{3}$", max_length=3)


class Predicate(Model):
    """One period of one contract."""

    version: Literal[1] = Field(description="1")
    sequence: Annotated[int, Field(ge=1)] = Field(description="Number of the contract's receipt, from 1 (a count).")
    previous_receipt_digest: Digest | None = Field(
        default=None, description="Digest of the payload of the receipt before. Absent in the first."
    )
    corrects: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Number of the receipt whose period this one restates.")
    contract: ContractSaid = Field(description="What the receipt is about.")
    operator: OperatorSaid = Field(description="Who says it.")
    period: Window = Field(description="A UTC day, clipped to what was due.")
    quantities: Amounts = Field(description="Of this period.")
    cumulative: Amounts = Field(description="From the beginning to the end of this period.")
    incidents: list[Incident] = Field(description="What was not delivered in it.", max_length=300)
    substitutions: list[Substitution] = Field(description="What was served in another grade.", max_length=100)
    devices: Devices = Field(description="Which GPUs served it.")
    meter: MeterSaid = Field(description="What the quantities were worked out from.")
    left_out: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Incidents and substitutions that have no room here; the readings have them (a count). Absent: none."
    )
    credit: Credit | None = Field(default=None, description="Indicative damages. Absent: the terms have no price.")


class TermsHash(Model):
    """in-toto's DigestSet."""

    sha256: Hex = Field(description="Digest of the terms, hex.")


class ReceiptSubject(Model):
    """The contract, as in-toto names what a statement is about."""

    name: str = Field(description="contractId of the terms.", min_length=1, max_length=128)
    digest: TermsHash = Field(description="Of its terms.")


class Receipt(Model):
    """An in-toto Statement v1 in RFC 8785 bytes: the payload of the envelope in `receipt.issued`."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type", description="in-toto Statement v1.")
    subject: list[ReceiptSubject] = Field(description="The contract.", min_length=1, max_length=1)
    predicate_type: Literal["https://laycan.dev/attestation/delivery-receipt/v1"] = Field(description="A delivery receipt.")
    predicate: Predicate = Field(description="What it says.")
