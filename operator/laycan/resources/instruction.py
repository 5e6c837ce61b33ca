"""ContractInstruction: one act of an exchange (or, without one, of the desk) on one contract. Immutable: another act is another object.

`spec.act` is what is signed, as it stands; its digest is what the next act cites, so acts on a contract form one chain and none can be
said twice, left out or put in between. What became of an act is in its status; what follows from it is in the contract's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Digest, Metadata, Model, Name, NameRef, Time, rules
from laycan.resources.contract import LOTS_PATTERN

Action = Literal["Terminate", "AcceptDelivery", "Dispute", "ElectMakeGood", "AcceptSubstitution", "AcceptBuyerCaused", "Suspend", "Resume"]
PAYLOADS = {"buyerCaused": "AcceptBuyerCaused", "makeGood": "ElectMakeGood", "substitution": "AcceptSubstitution"}  # field -> its action
PAYLOAD_TYPE = "application/vnd.laycan.instruction.v1+json"  # of the DSSE envelope


class BuyerCaused(Model):
    """What was not delivered for a cause that is the buyer's."""

    model_config = ConfigDict(json_schema_extra=rules(("self.start < self.end", "start must be earlier than end")))

    lots: str = Field(description="Numbers of the lots, as `0-3,7` (ordinals).", max_length=1024, pattern=LOTS_PATTERN)
    start: Time = Field(description="First second, RFC 3339 UTC.")
    end: Time = Field(description="First second after it, RFC 3339 UTC.")


class MakeGoodElection(Model):
    """How the missing quantity is to be made good."""

    mode: Literal["Extend"] = Field(description="Extend: after the window's end, in whole settlement intervals.")
    lots: int | None = Field(default=None, description="Lots side by side (a count). Absent: 1.", ge=1, le=65_536)


class AcceptedSubstitution(Model):
    """The grade that is acknowledged."""

    product: Name = Field(description="Name of the ComputeProduct that is delivered instead.")


class Act(Model):
    """What is done, to which contract, from when on, and after which act."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(
                (f"has(self.{field}) == (self.action == '{action}')", f"{field} belongs to {action}, and to no other action")
                for field, action in PAYLOADS.items()
            )
        )
    )

    contract_id: str = Field(description="contractId of the contract's terms.", min_length=1, max_length=128, pattern=r"^[!-~]+$")
    action: Action = Field(description="What is done.")
    effective_time: Time = Field(description="Not before then, RFC 3339 UTC.")
    previous_digest: Digest | None = Field(
        default=None, description="Digest of the act on this contract that was applied before. Absent: it is the first."
    )
    buyer_caused: BuyerCaused | None = Field(
        default=None, description="Which seconds of which lots; with AcceptBuyerCaused only. Absent: another action."
    )
    make_good: MakeGoodElection | None = Field(
        default=None, description="How it is made good; with ElectMakeGood only. Absent: another action."
    )
    substitution: AcceptedSubstitution | None = Field(
        default=None, description="What is delivered instead; with AcceptSubstitution only. Absent: another action."
    )


class InstructionSpec(Model):
    """The act, and by whom it is signed."""

    model_config = ConfigDict(json_schema_extra=rules(("self == oldSelf", "an instruction is immutable; create another one")))

    contract_ref: NameRef = Field(description="The ComputeContract of this namespace.")
    act: Act = Field(description="What is done; what is signed.")
    envelope: Annotated[str, Field(max_length=16_384, min_length=4, pattern=r"^[A-Za-z0-9+/]+={0,2}$")] | None = Field(
        default=None,
        description=f"DSSE envelope by the exchange over the RFC 8785 bytes of act (payloadType {PAYLOAD_TYPE}), base64."
        " Absent: unsigned, which has no effect where the contract's ExchangeEndpoint has trustedKeys.",
    )


class InstructionReason(Model):
    """Why it waits, or has no effect."""

    code: str = Field(description="Reason code, one word in CamelCase.", min_length=1, max_length=64)
    message: str = Field(description="What is wrong or awaited, and what to do.", max_length=4096)


class InstructionStatus(Model):
    """What became of it."""

    phase: Literal["Pending", "Applied", "Rejected"] | None = Field(
        default=None, description="Pending: it waits. Applied: what follows from it stands in the contract's status. Rejected: no effect."
    )
    reason: InstructionReason | None = Field(default=None, description="Why it waits, or has no effect.")
    observed_generation: int | None = Field(default=None, description="metadata.generation that this status answers.", ge=0)
    digest: Digest | None = Field(default=None, description="Digest of act: what the next instruction cites.")


class ContractInstruction(Model):
    """One act on one contract, signed where its exchange signs."""

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["ContractInstruction"] = Field(description="ContractInstruction")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: InstructionSpec = Field(description="The act, and by whom it is signed.")
    status: InstructionStatus | None = Field(default=None, description="What became of it.")
