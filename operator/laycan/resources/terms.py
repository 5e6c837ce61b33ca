"""The terms of a forward: what was agreed. Immutable as a whole, digested as they stand (`digest.terms_digest`).

Words are those of the trade: a contract delivers `gpus` GPUs of a product from start to end in lots, each always on one node.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Decimal, Digest, Gpus, Model, Name, Namespace, NodeGpus, Ppm, Seconds, Time, checked, rules

LEVELS = ("Any", "Zone", "Fabric", "Rack", "NVLinkDomain")  # topology from outside in
ScopeLevel = Literal["Any", "Zone", "Fabric", "Rack", "NVLinkDomain"]
SpreadLevel = Literal["Zone", "Fabric", "Rack", "NVLinkDomain"]
FirmnessClass = Literal["Firm", "Interruptible"]
SubstitutionPolicy = Literal["None", "EquivalentGrade"]

# CEL: for every scope but Any, the levels strictly inside it
_SPREAD_INSIDE = "!has(self.spread) || !has(self.scope) || " + " && ".join(
    f"(self.scope != '{scope}' || self.spread.level in {list(LEVELS[rank + 1 :])})"
    for rank, scope in enumerate(LEVELS)
    if 0 < rank < len(LEVELS) - 1
)


def lei_is_valid(lei: str) -> bool:
    """ISO 17442 check digits: letters become 10 to 35, and the number that results is 1 modulo 97 (ISO 7064 MOD 97-10)."""
    return int("".join(str(int(character, 36)) for character in lei)) % 97 == 1


def check_lei(lei: str) -> None:
    """Raises ValueError for an identifier with wrong check digits."""
    if not lei_is_valid(lei):
        raise ValueError(f"the check digits of LEI {lei!r} do not match (ISO 17442, MOD 97-10); correct the identifier")


Lei = Annotated[str, Field(pattern=r"^[0-9A-Z]{18}[0-9]{2}$", max_length=20), checked(check_lei)]


class ProductRef(Model):
    """The grade that is sold."""

    name: Name = Field(description="Name of a ComputeProduct.")
    digest: Digest | None = Field(
        default=None, description="Digest of the product's promise as the parties agreed on it. Absent: pinned at acceptance."
    )


class Party(Model):
    """A party to the contract."""

    lei: Lei = Field(description="Legal Entity Identifier, ISO 17442; the check digits are verified.")
    account: str | None = Field(
        default=None, description="Account of the party at the exchange. Absent: the terms do not say.", min_length=1, max_length=64
    )


class Parties(Model):
    """Who agreed."""

    buyer: Party = Field(description="Who takes delivery.")
    seller: Party = Field(description="Who delivers.")
    clearing: Party | None = Field(default=None, description="The clearing house. Absent: the contract is not cleared.")


class Spread(Model):
    """How far the lots must lie apart."""

    level: SpreadLevel = Field(description="Level of the domains; lies strictly inside `scope`.")
    min_domains: int = Field(description="At most ceil(lots / minDomains) lots lie in one domain (a count of domains).", ge=1, le=4096)


class Handover(Model):
    """Where the buyer gets access."""

    namespace: Namespace = Field(description="Namespace in which the buyer's pods run; its name is the holder's identity.")


class Block(Model):
    """A block of a shaped delivery profile."""

    start: Time = Field(description="First second of the block, RFC 3339 UTC.")
    end: Time = Field(description="First second after the block, RFC 3339 UTC.")
    gpus: Gpus = Field(description="Capacity due in the block, GPUs.")


class Delivery(Model):
    """When, how much and where."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.start < self.end", "start must be earlier than end"),
            ("self.end - self.start <= duration('26352h')", "the window may be at most 26352 hours (three years) long"),
            ("self.gpus % self.lotGpus == 0", "gpus must be a multiple of lotGpus"),
            ("self.gpus / self.lotGpus <= 8192", "a contract has at most 8192 lots: make lotGpus larger, or sell several contracts"),
            (_SPREAD_INSIDE, "spread.level must lie strictly inside scope (Any > Zone > Fabric > Rack > NVLinkDomain)"),
            (
                "!has(self.spread) || !has(self.scope) || self.scope != 'NVLinkDomain'",
                "no level lies inside scope NVLinkDomain: leave out spread",
            ),
            (
                "!has(self.profile) || self.profile.all(b, b.start >= self.start && b.end <= self.end && b.start < b.end"
                " && b.gpus <= self.gpus && b.gpus % self.lotGpus == 0)",
                "every block of profile must lie inside the window, with start < end and gpus a multiple of lotGpus up to delivery.gpus",
            ),
        )
    )

    start: Time = Field(description="First second of delivery, RFC 3339 UTC in whole seconds.")
    end: Time = Field(description="First second after delivery, RFC 3339 UTC in whole seconds.")
    gpus: Gpus = Field(description="Contracted capacity, GPUs; a multiple of lotGpus.")
    lot_gpus: NodeGpus = Field(description="Smallest deliverable unit, GPUs; a lot is always on one node.")
    scope: ScopeLevel | None = Field(default=None, description="All lots lie inside one domain of this level. Absent: Any.")
    spread: Spread | None = Field(default=None, description="How far lots lie apart. Absent: no matter.")
    partial: Literal["Allowed", "AllOrNothing"] | None = Field(
        default=None,
        description="AllOrNothing: until delivery has started it is all lots or none."
        " Absent: AllOrNothing with a scope other than Any or with a spread, else Allowed.",
    )
    handover: Handover | None = Field(
        default=None,
        description="Where the buyer gets access. Absent: nobody's yet, in quotes and files; a Firm contract in a cluster is Rejected"
        " (HandoverNamespace).",
    )
    move_policy: Literal["Forced"] | None = Field(
        default=None,
        description="Forced: lots are moved only off nodes that cannot serve them any longer. Absent: as the product's planning says.",
    )
    profile: Annotated[list[Block], Field(min_length=1, max_length=366)] | None = Field(
        default=None,
        description="Shaped delivery: capacity per block, in order, without overlap; not offered yet, Rejected (Malformed)."
        " Absent: `gpus` all the time.",
    )


class Interruption(Model):
    """The right to curtail an Interruptible contract."""

    notice_seconds: Seconds = Field(description="Notice that the buyer gets before lots are withdrawn, seconds.")
    max_hours: int = Field(description="Most that each lot may be withdrawn over the contract's life, hours.", ge=0, le=26_352)


class Firmness(Model):
    """How binding the promise is."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.class == 'Interruptible' || !has(self.interruption)", "a Firm contract has no interruption terms"),
        )
    )

    class_: FirmnessClass = Field(alias="class", description="Firm: delivery or damages. Interruptible: may be curtailed with notice.")
    priority: int | None = Field(
        default=None,
        description="Breaks ties inside a class and sizes reserves, 0 to 1000 (no unit); higher is served first. Absent: 0.",
        ge=0,
        le=1000,
    )
    interruption: Interruption | None = Field(
        default=None, description="The right of curtailment. Absent: the product's; without one there, none."
    )


class Substitution(Model):
    """Whether another grade may be delivered."""

    policy: SubstitutionPolicy = Field(
        description="EquivalentGrade: grades of the product's table of equivalents, one GPU for one GPU. None: this grade only."
    )


class Price(Model):
    """What it costs, and what a shortfall costs."""

    amount: Decimal = Field(description="Price per GPU-hour in `currency`, as a decimal.")
    currency: str = Field(description="Currency code, ISO 4217.", pattern=r"^[A-Z]{3}$", max_length=3)
    shortfall_multiple_ppm: int | None = Field(
        default=None, description="Damages for a GPU-hour not delivered, millionths of `amount`. Absent: 1000000.", ge=0, le=100_000_000
    )


class Tolerance(Model):
    """What is forgiven, and for how long."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.cureSeconds >= self.graceSeconds", "cureSeconds must not be less than graceSeconds"))
    )

    grace_seconds: Seconds = Field(description="An outage of a lot up to this long is excused, seconds.")
    cure_seconds: Seconds = Field(description="Damages start, from onset, once an outage has lasted this long, seconds.")
    grace_cap_ppm: Ppm | None = Field(
        default=None,
        description="Share of the GPU-seconds contracted in 30 days of a contract that may be excused as grace, millionths. Absent: 1000.",
    )


class Terms(Model):
    """What was agreed."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self == oldSelf", "terms are immutable; amend by a new contract with terms.replaces"))
    )

    contract_id: str = Field(
        description="The exchange's identifier of the contract, unique per exchange (without one: per namespace).",
        min_length=1,
        max_length=128,
        pattern=r"^[!-~]+$",
    )
    trade_time: Time | None = Field(
        default=None,
        description="When it was traded, RFC 3339 UTC; orders contracts created in the same second. Absent: after those with one.",
    )
    product_ref: ProductRef = Field(description="The grade that is sold.")
    delivery: Delivery = Field(description="When, how much and where.")
    firmness: Firmness | None = Field(default=None, description="How binding the promise is. Absent: Firm, priority 0.")
    substitution: Substitution | None = Field(default=None, description="Whether another grade may be delivered. Absent: None.")
    price: Price | None = Field(
        default=None, description="What it costs. Absent: 1.00 per GPU-hour with a multiple of 1000000 ppm, in the plan's currency."
    )
    uti: str | None = Field(
        default=None,
        description="Unique Transaction Identifier, ISO 23897: up to 52 characters A-Z and 0-9. Absent: none was given.",
        pattern=r"^[A-Z0-9]{21,52}$",
        max_length=52,
    )
    parties: Parties | None = Field(default=None, description="Who agreed. Absent: the terms do not say.")
    tolerance: Tolerance | None = Field(default=None, description="Grace and cure, seconds. Absent: the product's.")
    replaces: str | None = Field(
        default=None,
        description="contractId of the contract that this one amends; it ends in the same decision. Absent: it amends none.",
        min_length=1,
        max_length=128,
        pattern=r"^[!-~]+$",
    )
