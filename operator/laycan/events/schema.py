"""The form of every event, as strict models: what an exchange may rely on, and what the tests hold every event to.

`EVENTS` maps a name of the catalogue to what changes in it; the rest is the same in all: a CloudEvent with the contract as it is after
the change. Events that are about no contract are in `OPERATOR_EVENTS`. `laycan.events.publish` writes the JSON Schemas of docs/schemas from
these models.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from laycan.events import changes
from laycan.events.cloudevents import event_type
from laycan.evidence.schema import Receipt
from laycan.resources.base import Digest, Model, Name, Namespace, Time
from laycan.resources.contract import HandoverRecord, InstructionsStatus, MakeGoodStatus, Phase, Quantities, ReasonStatus

EVENTS: Mapping[str, type[Model]] = MappingProxyType(
    {
        "contract.received": changes.Received,
        "contract.rejected": changes.Rejected,
        "contract.quoted": changes.Quoted,
        "contract.expired": changes.Expired,
        "contract.accepted": changes.Accepted,
        "contract.delivering": changes.Delivering,
        "contract.delivered": changes.Delivered,
        "contract.settled": changes.Settled,
        "contract.cancelled": changes.Cancelled,
        "contract.terminated": changes.Terminated,
        "contract.suspended": changes.Suspended,
        "contract.resumed": changes.Resumed,
        "delivery.started": changes.Started,
        "delivery.interrupted": changes.Interrupted,
        "delivery.restored": changes.Restored,
        "delivery.substituted": changes.Substituted,
        "delivery.curtailed": changes.Curtailed,
        "delivery.degraded": changes.Degraded,
        "delivery.recovered": changes.Recovered,
        "shortfall.opened": changes.ShortfallOpened,
        "shortfall.cured": changes.ShortfallCured,
        "shortfall.cure_expired": changes.CureExpired,
        "makegood.owed": changes.MakeGoodOwed,
        "makegood.delivered": changes.MadeGood,
        "risk.raised": changes.RiskRaised,
        "risk.cleared": changes.RiskCleared,
        "outage.planned": changes.OutagePlanned,
        "receipt.issued": changes.ReceiptIssued,
    }
)

OPERATOR_EVENTS: Mapping[str, type[Model]] = MappingProxyType(  # about no contract: the model is that of `data`
    {"key.rotated": changes.KeyRotated, "log.replaced": changes.LogReplaced, "statement": changes.Statement}
)


class MeterNow(Model):
    """How far `quantities` go, and on whose word."""

    kind: Literal["agent", "node", "mixed"] = Field(description="Whose word counts now: the nodes' agents, the nodes' readiness, or both.")
    until: Time = Field(description="quantities cover the window up to here, RFC 3339 UTC.")


class ContractNow(Model):
    """The contract as it is after the change: the latest event is enough to know where it stands."""

    namespace: Namespace = Field(description="Where the ComputeContract is.")
    name: Name = Field(description="Name of the ComputeContract.")
    phase: Phase = Field(description="Where the contract is in its life.")
    conditions: list[str] = Field(description="Names of the conditions that hold.", max_length=16)
    quantities: Quantities | None = Field(
        default=None, description="What was due, delivered and not, GPU-seconds. Absent: nothing was due yet."
    )
    meter: MeterNow | None = Field(default=None, description="How far quantities go. Absent: nothing was due yet.")
    reason: ReasonStatus | None = Field(default=None, description="Why it is refused or short.")
    handover: HandoverRecord | None = Field(default=None, description="How punctual delivery is.")
    instructions: InstructionsStatus | None = Field(default=None, description="What follows from the exchange's instructions.")
    make_good: MakeGoodStatus | None = Field(default=None, description="What is owed for what was short, and made good of it.")
    terms_digest: Digest | None = Field(default=None, description="Digest of terms at acceptance.")
    product_digest: Digest | None = Field(default=None, description="Digest of the product's promise at acceptance.")
    schedule_digest: Digest = Field(description="Digest of which lots are served when, in which grade: another one, another schedule.")


class CloudEvent(Model):
    """CloudEvents 1.0, structured JSON, in RFC 8785 bytes."""

    specversion: Literal["1.0"] = Field(description="1.0")
    id: str = Field(description="Which event; equal to the header webhook-id.", min_length=1, max_length=512)
    source: str = Field(description="Which operator: urn:laycan:<uid of its kube-system>.", min_length=1, max_length=256)
    subject: str = Field(description="What it is about: the operator's id, or the name of a log.", max_length=65_536)
    type: str = Field(description="What happened.")
    time: Time = Field(description="When it was decided, RFC 3339 UTC.")
    datacontenttype: Literal["application/json"] = Field(description="application/json")


class ContractEvent(CloudEvent):
    """A CloudEvent about a contract."""

    id: str = Field(
        description="<contract uid>/<sequence>; equal to the header webhook-id.", pattern=r"^[^/]+/[1-9][0-9]*$", max_length=128
    )
    subject: str = Field(description="contractId, as the exchange gave it.", max_length=65_536)
    sequence: str = Field(description="The contract's event number, from 1, in 20 digits (a count).", pattern=r"^[0-9]{20}$")


@cache
def model_of(name: str) -> type[BaseModel]:
    """The whole event of a name of the catalogue."""
    if name in OPERATOR_EVENTS:
        return _event(CloudEvent, name, OPERATOR_EVENTS[name], OPERATOR_EVENTS[name])
    change = EVENTS[name]
    data = create_model(
        f"{change.__name__}Data",
        __base__=Model,
        __doc__="The change, and the contract after it.",
        change=(change, Field(description="What changed.")),
        contract=(ContractNow, Field(description="The contract after it.")),
    )
    return _event(ContractEvent, name, change, data)


def _event(base: type[Model], name: str, said: type[Model], data: type[Model]) -> type[BaseModel]:
    only: Any = Literal[event_type(name)]
    return create_model(
        f"{said.__name__}Event",
        __base__=base,
        __doc__=said.__doc__,
        type=(only, Field(description="What happened.")),
        data=(data, Field(description=(data.__doc__ or "").strip())),
    )


def check(event: Mapping[str, Any]) -> None:
    """Raises pydantic's ValidationError for an event, or a receipt in it, that has not its published form; KeyError for an unknown type."""
    name = event["type"].removeprefix("dev.laycan.").removesuffix(".v1")
    model_of(name).model_validate(event)
    if name == "receipt.issued":
        Receipt.model_validate_json(base64.b64decode(event["data"]["change"]["envelope"]["payload"]))
