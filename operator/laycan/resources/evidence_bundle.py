"""EvidenceBundle: what proves the delivery of one contract, in its buyer's namespace: what `laycan verify` reads, less the readings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from laycan.resources.base import Metadata, Model, Time

MOST_CHARACTERS = 1_000_000  # of the bundle as it stands in the object; etcd takes 1.5 MB
Gzipped = Annotated[str, Field(min_length=4, max_length=MOST_CHARACTERS, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class EvidenceBundleSpec(Model):
    """The evidence so far."""

    contract_id: str = Field(description="contractId, as the exchange gave it.", min_length=1, max_length=65_536)
    contract: str = Field(description="namespace/name of the ComputeContract.", min_length=3, max_length=320)
    uid: str = Field(description="uid of the ComputeContract.", min_length=1, max_length=64)
    receipts: int = Field(description="How many receipts it holds, from the first (a count).", ge=1)
    until: Time = Field(description="End of the last receipt's period, RFC 3339 UTC.")
    complete: bool = Field(description="Whether all of them stand under a checkpoint that a witness cosigned.")
    bundle: Gzipped | None = Field(default=None, description="The file that `laycan verify` reads, gzip, base64. Absent: see message.")
    message: str | None = Field(default=None, description="What is missing in it, and who has it.", max_length=4096)


class EvidenceBundle(Model):
    """The evidence of one contract, for its buyer."""

    api_version: Literal["laycan.dev/v1alpha1"] = Field(description="laycan.dev/v1alpha1")
    kind: Literal["EvidenceBundle"] = Field(description="EvidenceBundle")
    metadata: Metadata = Field(description="Standard metadata; the namespace is the handover namespace.")
    spec: EvidenceBundleSpec = Field(description="The evidence so far.")
