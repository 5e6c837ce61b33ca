"""ExchangeEndpoint: where an exchange is told of every change of its contracts, and what it requires of them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from laycan.resources.base import Conditions, Metadata, Model, Name, Seconds, Time, checked, rules

_URL = r"^(https://[^/?#@\s]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)([/?][^#\s]*)?$"
URL_RULE = "must be https without user and fragment, or http to a loopback address"


def check_url(url: str) -> None:
    """Raises ValueError for a receiver that events may not be sent to."""
    if not re.fullmatch(_URL, url):
        raise ValueError(f"{URL_RULE}, not {url[:200]!r}")


Url = Annotated[
    str,
    Field(min_length=1, max_length=2048, json_schema_extra=rules((f"self.matches(r'{_URL}')", f"url {URL_RULE}"))),
    checked(check_url),
]


class SecretRef(Model):
    """A key of a Secret in the endpoint's own namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: str = Field(description="Key in the Secret's data.", min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")


class TrustedKey(Model):
    """A public key of the exchange."""

    key_id: str = Field(description="Identifier of the key, as signatures and cosignatures name it.", min_length=1, max_length=128)
    algorithm: Literal["Ed25519"] = Field(description="Signature algorithm.")
    public_key: str = Field(description="Raw public key, base64.", min_length=44, max_length=44, pattern=r"^[A-Za-z0-9+/]{43}=$")
    valid_from: Time | None = Field(default=None, description="Trusted from then on, RFC 3339 UTC. Absent: always.")
    revoked_at: Time | None = Field(default=None, description="Not trusted from then on, RFC 3339 UTC. Absent: never.")


class Quote(Model):
    """What quotes may hold."""

    validity_seconds: Seconds = Field(description="How long a full promise is held, seconds.")
    max_held_gpus: int = Field(description="Most that all open quotes together may hold, GPUs.", ge=0, le=1_000_000)


class EndpointSpec(Model):
    """Where and how the exchange is told."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.trustedKeys) || self.trustedKeys.all(k, self.trustedKeys.exists_one(o, o.keyId == k.keyId))",
                "keyId must be unique",
            ),
        )
    )

    url: Url = Field(description="Receiver of the webhooks: https, or http to a loopback address in tests.")
    secret_ref: SecretRef = Field(description="HMAC key of the webhook signatures.")
    trusted_keys: list[TrustedKey] | None = Field(
        default=None,
        description="Keys with which the exchange signs instructions, confirmations and checkpoints. Absent: nothing needs a signature.",
        max_length=16,
    )
    requires: list[Literal["confirmation", "parties", "price", "tolerance", "tradeTime", "uti"]] | None = Field(
        default=None,
        description="Fields that a contract of this exchange must have, else it is Rejected. Absent: none.",
        max_length=6,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    quote: Quote | None = Field(default=None, description="What quotes may hold. Absent: quotes hold nothing.")
    dispute_seconds: Seconds | None = Field(
        default=None, description="Delivered becomes Settled after this time without an objection, seconds. Absent: 259200."
    )


class LogStatus(Model):
    """The log of what is said to the exchange."""

    origin: str = Field(description="Its name, as checkpoints begin with it.", min_length=1, max_length=512)
    size: int = Field(description="Entries that it had at least (a count).", ge=0)


class EndpointStatus(Model):
    """How delivery of events goes."""

    observed_generation: int | None = Field(default=None, description="metadata.generation that this status answers.", ge=0)
    conditions: Conditions | None = Field(
        default=None,
        description="Reachable: attempts are acknowledged. Evidence: the log is kept, signed, and not contradicted.",
    )
    last_acknowledged_at: Time | None = Field(default=None, description="When the exchange last acknowledged an event, RFC 3339 UTC.")
    pending_events: int | None = Field(default=None, description="Events not yet acknowledged (a count).", ge=0)
    log: LogStatus | None = Field(default=None, description="How far the log goes; one that is lost is followed by another.")


class ExchangeEndpoint(Model):
    """An exchange that is told of every change of its contracts."""

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["ExchangeEndpoint"] = Field(description="ExchangeEndpoint")
    metadata: Metadata = Field(description="Standard metadata.")
    spec: EndpointSpec = Field(description="Where and how the exchange is told.")
    status: EndpointStatus | None = Field(default=None, description="How delivery of events goes.")
