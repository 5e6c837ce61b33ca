"""Common ground of the kinds: strict models, the field types they share, and metav1 shapes.

The models are the source of the CRDs (`laycan.resources.crd`): types, limits and descriptions become the structural schema,
`rules(...)` its CEL validations. Reading is strict: no coercion (`"8"` is no number), no unknown fields. Python names are
snake_case, the names in resources camelCase.

Nothing has an API default: what a resource does not say stays unsaid, so that what was signed is what is stored. Descriptions
say what absence means.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from laycan.resources.money import MONEY_PATTERN, parse_money
from laycan.resources.times import TIME_PATTERN, parse_time

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class Model(BaseModel):
    """A part of a resource."""

    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as (rule, message): for `json_schema_extra` of a model or a field."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def unchanged(field: str) -> str:
    """CEL: an optional field keeps its value, and its absence. (Comparing `self.?field` exceeds the API server's cost budget.)"""
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"


def set_once(field: str) -> str:
    """CEL: an optional field may be set, and then keeps its value."""
    return f"!has(oldSelf.{field}) || (has(self.{field}) && self.{field} == oldSelf.{field})"


def checked(parse: Callable[[str], object]) -> AfterValidator:
    """A text that `parse` accepts; its ValueError is what the reader is told. Texts recur, and are parsed once."""

    @lru_cache(maxsize=1 << 16)
    def accept(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(accept)


# The patterns of times and amounts are for the CRD alone: here parsing says better what is wrong.
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time", "pattern": TIME_PATTERN}), checked(parse_time)]
Decimal = Annotated[str, Field(max_length=32, json_schema_extra={"pattern": MONEY_PATTERN}), checked(parse_money)]
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Seconds = Annotated[int, Field(ge=0, le=316_224_000)]  # up to ten years
GpuSeconds = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]  # exact in every JSON reader
Gpus = Annotated[int, Field(ge=1, le=65_536)]
NodeGpus = Annotated[int, Field(ge=1, le=128)]  # of one node, or of a lot, which is always on one node
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]


class NameRef(Model):
    """Reference by name to a resource of the same scope."""

    name: Name = Field(description="Name of the resource referred to.")


class Condition(Model):
    """metav1.Condition."""

    type: str = Field(description="Name of the condition, in CamelCase.", min_length=1, max_length=316)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Why, as one word in CamelCase.", min_length=1, max_length=1024)
    message: str = Field(description="Why, for a person.", max_length=32_768)
    last_transition_time: Time = Field(description="When `status` last flipped, RFC 3339 UTC.")
    observed_generation: int | None = Field(default=None, description="metadata.generation that this was judged by.", ge=0)


Conditions = Annotated[
    list[Condition],
    Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


class Metadata(BaseModel):
    """The part of metav1.ObjectMeta that Laycan reads; the rest is let pass."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True)

    name: Name = Field(description="Name, unique in its namespace.")
    namespace: Namespace | None = Field(default=None, description="Namespace of a namespaced kind.")
    uid: str | None = Field(default=None, description="Identity given by the API server.")
    creation_timestamp: Time | None = Field(default=None, description="When the API server stored it, RFC 3339 UTC.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations.")
