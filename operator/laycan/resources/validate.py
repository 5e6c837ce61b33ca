"""What is wrong with a resource, field by field, with the fix: for files, and for objects that an API server stored.

The API server refuses what CEL can say. Everything is judged here again, because files never met an API server and a stored
object may be older than the CRD of today. Nothing in this module raises for any JSON value: a bad object yields faults.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from laycan.resources import crossfield
from laycan.resources.base import Metadata
from laycan.resources.constants import DESK_LABEL
from laycan.resources.contract import ContractSpec
from laycan.resources.exchange import EndpointSpec
from laycan.resources.instruction import InstructionSpec
from laycan.resources.outage import OutageSpec
from laycan.resources.product import ProductSpec
from laycan.resources.terms import Terms

SpecModel = TypeVar("SpecModel", bound=BaseModel)
MOST = 50  # faults of one object that are listed
SHOWN = 60  # characters of a wrong value that a message repeats


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong field: its path from the object's root, and what is wrong and how to mend it."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a contract cannot be accepted: a reason code of the lifecycle and a message that names the field and the fix."""

    code: str
    message: str


def contract_spec(spec: Any) -> ContractSpec | list[Fault]:
    """The spec of a ComputeContract, or all that is wrong with it."""
    read = _read(ContractSpec, spec)
    if isinstance(read, ContractSpec):
        return [Fault(f"spec.terms.{field}", text) for field, text in crossfield.terms_faults(read.terms)] or read
    return read


def product_spec(name: str, spec: Any) -> ProductSpec | list[Fault]:
    """The spec of the ComputeProduct of that name, or all that is wrong with it."""
    read = _read(ProductSpec, spec)
    if not isinstance(read, ProductSpec):
        return read
    faults = []
    if (read.lot_gpus or 1) > read.node_gpus:
        faults.append(Fault("spec.lotGpus", f"is more than nodeGpus ({read.node_gpus}); a lot is always on one node"))
    if any(equivalent.product == name for equivalent in read.equivalents or ()):
        faults.append(Fault("spec.equivalents", "a product is no equivalent of itself; remove it"))
    if read.tolerance and read.tolerance.cure_seconds < read.tolerance.grace_seconds:
        faults.append(Fault("spec.tolerance.cureSeconds", "is less than graceSeconds; raise it"))
    return faults or read


def outage_spec(spec: Any) -> OutageSpec | list[Fault]:
    """The spec of an Outage, or all that is wrong with it."""
    read = _read(OutageSpec, spec)
    if isinstance(read, OutageSpec):
        return [Fault(f"spec.{field}", text) for field, text in crossfield.outage_faults(read)] or read
    return read


def endpoint_spec(spec: Any) -> EndpointSpec | list[Fault]:
    """The spec of an ExchangeEndpoint, or all that is wrong with it."""
    read = _read(EndpointSpec, spec)
    if isinstance(read, EndpointSpec):
        ids = [key.key_id for key in read.trusted_keys or ()]
        double = sorted({key for key in ids if ids.count(key) > 1})
        return [Fault("spec.trustedKeys", f"keyId {key!r} stands twice; give each key its own") for key in double] or read
    return read


def instruction_spec(spec: Any) -> InstructionSpec | list[Fault]:
    """The spec of a ContractInstruction, or all that is wrong with it."""
    read = _read(InstructionSpec, spec)
    if isinstance(read, InstructionSpec):
        return [Fault(f"spec.act.{field}", text) for field, text in crossfield.act_faults(read.act)] or read
    return read


def metadata(raw: Any) -> Metadata | list[Fault]:
    """The metadata of any object, or all that is wrong with it."""
    return _read(Metadata, raw, "metadata")


def malformed(faults: Collection[Fault]) -> Refusal:
    """The refusal of a contract with these faults; the message names the first few."""
    shown = [str(fault) for fault in list(faults)[:4]] + ([f"and {len(faults) - 4} more"] if len(faults) > 4 else [])
    return Refusal("Malformed", "; ".join(shown))


def against_product(terms: Terms, product: ProductSpec) -> Refusal | None:
    """What the product does not sell."""
    unit, lot = product.lot_gpus or 1, terms.delivery.lot_gpus
    if lot % unit:
        text = f"is {lot}, but {terms.product_ref.name} is sold in multiples of {unit} GPUs; use such a lotGpus"
        return Refusal("Malformed", f"spec.terms.delivery.lotGpus: {text}")
    return None


def against_endpoint(spec: ContractSpec, endpoint: EndpointSpec) -> Refusal | None:
    """What the exchange requires and the contract lacks."""
    given = spec.model_dump(by_alias=True, exclude_none=True)
    lacking = [
        f"spec.{field}" if field == "confirmation" else f"spec.terms.{field}"
        for field in endpoint.requires or ()
        if field not in given and field not in given["terms"]
    ]
    if lacking:
        return Refusal("Malformed", f"{', '.join(lacking)}: required by the exchange; have the contract sent again with it")
    return None


def handover_refusal(terms: Terms, desk: str, exempt: Collection[str], namespaces: Mapping[str, Mapping[str, str]]) -> Refusal | None:
    """Why the contract of the namespace `desk` may not be delivered where it says; `namespaces`: name -> labels of those that exist."""
    field = "spec.terms.delivery.handover.namespace"
    if terms.delivery.handover is None:
        return Refusal("HandoverNamespace", f"{field}: is missing; name the namespace in which the buyer's pods run")
    name = terms.delivery.handover.namespace
    if name in exempt:
        return Refusal("HandoverNamespace", f"{field}: {name} is exempt from delivery; name a namespace of the buyer")
    if name not in namespaces:
        return Refusal("HandoverNamespace", f"{field}: {name} does not exist; create it with the label {DESK_LABEL}={desk}")
    if (owner := namespaces[name].get(DESK_LABEL)) != desk:
        said = f"belongs to desk {owner}" if owner else f"has no label {DESK_LABEL}"
        return Refusal("HandoverNamespace", f"{field}: {name} {said}; a cluster admin must label it {DESK_LABEL}={desk}")
    return None


def _read(model: type[SpecModel], value: Any, root: str = "spec") -> SpecModel | list[Fault]:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        more = [Fault(root, f"has {len(found) - MOST} more faults")] if len(found) > MOST else []
        return [_fault(model, root, details) for details in found[:MOST]] + more
    except RecursionError:
        return [Fault(root, "is nested too deeply")]


# pydantic's kinds of error in the words of this API; what is not listed keeps its own words
_WORDS = {
    "missing": "is missing; add it",
    "int_type": "must be a whole number without quotes, not {shown}",
    "string_type": "must be a text in quotes, not {shown}",
    "list_type": "must be a list, not {shown}",
    "model_type": "must be an object, not {shown}",
    "dict_type": "must be an object, not {shown}",
    "literal_error": "must be {expected}, not {shown}",
    "greater_than_equal": "must be at least {ge}, not {shown}",
    "less_than_equal": "must be at most {le}, not {shown}",
    "string_pattern_mismatch": "must match {pattern}; {shown} does not",
    "string_too_short": "must have at least {min_length} characters, not {length}",
    "string_too_long": "must have at most {max_length} characters, not {length}",
    "too_short": "must have at least {min_length} entries, not {actual_length}",
    "too_long": "must have at most {max_length} entries, not {length}",
    "value_error": "{error}",
}


def _fault(model: type[BaseModel], root: str, error: Any) -> Fault:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return Fault(_path(root, error["loc"]), f"is no field here{_meant(model, error['loc'])}")
    facts = {**error.get("ctx", {}), "shown": _shown(value), "length": len(value) if isinstance(value, str | list | dict) else 0}
    text = _WORDS[kind].format(**facts) if kind in _WORDS else f"{error['msg'][:200]}, not {facts['shown']}"
    return Fault(_path(root, error["loc"]), text)


def _path(root: str, loc: tuple[int | str, ...]) -> str:
    """Path of a field as JSONPath writes it, cut where a hostile key would make it long."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:SHOWN]}" for part in loc if part != "[key]")


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, Mapping | list) else ("an object" if isinstance(value, Mapping) else "a list")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def _meant(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """`; did you mean …?` for a misspelt field, looking up the model that it stands in."""
    known = _fields(model, loc[:-1])
    close = get_close_matches(str(loc[-1])[:SHOWN], known, n=1)
    return f"; did you mean {close[0]}?" if close else "; remove it" + (f" (known: {', '.join(known)})" if len(known) <= 12 else "")


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    schema = _schema(model)
    node = schema
    for part in loc:
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        choices = [*node.get("anyOf", ()), node]
        node = next((choice for choice in choices if choice.get("type") != "null"), {})
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))
