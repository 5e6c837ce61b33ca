"""Plans as JSON documents, both ways: the stable form that `laycan plan -o json` prints and others read.

Writing is exact: keys in their published order, times as RFC 3339, the same plan the same bytes. Reading is lenient towards fields
that a later version may add, and strict about those it uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from laycan.planning.manifests import BadInputError
from laycan.resources.constants import API_VERSION
from laycan.resources.times import format_time, parse_time
from laycan_solver.model import Binding, Bound, Move, MoveReason, Plan, Reason, Stopped, Totals, Undelivered

REFUSALS = (Reason.EXCEEDS_FLEET, Reason.NO_CAPACITY)  # codes that only a refused candidate has


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as a JSON-able document."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "now": format_time(plan.now),
        "bindings": [
            {
                "contract": b.contract,
                "node": b.node,
                "product": b.product,
                "gpus": b.gpus,
                "start": format_time(b.start),
                "end": format_time(b.end),
            }
            for b in plan.bindings
        ],
        "undelivered": [_undelivered_entry(u) for u in plan.undelivered],
        "moves": [{"contract": m.contract, "gpus": m.gpus, "from": m.source, "to": m.target, "reason": m.reason.value} for m in plan.moves],
        "totals": _totals_entry(plan.totals),
        "bound": {"firmMicros": plan.bound.firm_micros, "totalMicros": plan.bound.total_micros},
        "gapPpm": {"firm": plan.firm_gap_ppm, "total": plan.total_gap_ppm},
        "stopped": plan.stopped.value,
        "certificate": plan.certificate,
    }


def _totals_entry(totals: Totals) -> dict[str, int]:
    """The published fields always; what only plans with reserves have where there is any."""
    entry = {to_camel(name): getattr(totals, name) for name in Totals.__slots__}
    if not totals.reserve_short_gpu_seconds:
        del entry["reserveShortGpuSeconds"]
    return entry


def _undelivered_entry(u: Undelivered) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "contract": u.contract,
        "gpus": u.gpus,
        "start": format_time(u.start),
        "end": format_time(u.end),
        "reason": {"code": u.code.value, "message": u.message},
    }
    return entry | {"refused": True} if u.refused else entry


def plan_json(plan: Plan) -> bytes:
    """The document on one line."""
    return orjson.dumps(plan_document(plan), option=orjson.OPT_APPEND_NEWLINE)


def _seconds(text: str) -> str:
    parse_time(text)
    return text


Instant = Annotated[str, AfterValidator(_seconds)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, alias_generator=to_camel, populate_by_name=True)


class _Binding(_Entry):
    """As a plan may claim it; whether that is legal is for the checker to say."""

    contract: str
    node: str
    product: str
    gpus: int
    start: Instant
    end: Instant


class _Why(_Entry):
    code: Literal["PoolShort", "NodeLost", "OutagePlanned", "MoveLimit", "TopologyShort", "ExceedsFleet", "NoCapacity"]
    message: str


class _Undelivered(_Entry):
    contract: str
    gpus: int
    start: Instant
    end: Instant
    reason: _Why
    refused: bool | None = None


class _Move(_Entry):
    contract: str
    gpus: int
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    reason: Literal["NodeLost", "Outage", "Rescue", "Planned"]


class _Totals(_Entry):
    value_micros: int
    owed_micros: int
    firm_owed_micros: int
    interruption_micros: int
    substitution_micros: int
    contracted_gpu_seconds: int
    bound_gpu_seconds: int
    moved_gpus: int
    contract_instants: int
    reserve_short_gpu_seconds: int = 0


class _Bound(_Entry):
    firm_micros: int
    total_micros: int


class _Gap(_Entry):
    firm: int
    total: int


class _Announced(_Binding):
    """As it must be to have been announced."""

    gpus: int = Field(ge=1, le=65_536)

    @model_validator(mode="after")
    def _lasts(self) -> _Announced:
        if parse_time(self.end) <= parse_time(self.start):
            raise ValueError(f"end is not later than start ({self.start})")
        return self


class _Previous(_Entry):
    """What a plan that only serves as the previous one must have."""

    api_version: Literal["laycan.dev/v1alpha1"]
    kind: Literal["Plan"]
    now: Instant
    bindings: list[_Announced]


class _Whole(_Entry):
    api_version: Literal["laycan.dev/v1alpha1"]
    kind: Literal["Plan"]
    now: Instant
    bindings: list[_Binding]
    undelivered: list[_Undelivered]
    moves: list[_Move]
    totals: _Totals
    bound: _Bound
    gap_ppm: _Gap
    stopped: Literal["Optimal", "Effort", "TimeLimit"]
    certificate: dict[str, Any] = Field(default_factory=dict)


_Document = TypeVar("_Document", _Previous, _Whole)


def read_previous(path: str) -> tuple[int, list[Binding]]:
    """(now, bindings) of a plan file, of which only these are needed; raises BadInputError."""
    document = _read(_Previous, path)
    return parse_time(document.now), _bindings(document)


def read_plan(path: str) -> Plan:
    """A whole plan; raises BadInputError."""
    document = _read(_Whole, path)
    return Plan(
        now=parse_time(document.now),
        bindings=tuple(_bindings(document)),
        undelivered=tuple(_undelivered(u) for u in document.undelivered),
        moves=tuple(Move(m.contract, m.source, m.target, m.gpus, MoveReason(m.reason)) for m in document.moves),
        totals=Totals(**document.totals.model_dump()),
        bound=Bound(document.bound.firm_micros, document.bound.total_micros),
        firm_gap_ppm=document.gap_ppm.firm,
        total_gap_ppm=document.gap_ppm.total,
        stopped=Stopped(document.stopped),
        certificate=document.certificate,
    )


def _bindings(document: _Previous | _Whole) -> list[Binding]:
    return [Binding(b.contract, b.node, b.product, b.gpus, parse_time(b.start), parse_time(b.end)) for b in document.bindings]


def _undelivered(u: _Undelivered) -> Undelivered:
    code = Reason(u.reason.code)
    refused = code in REFUSALS if u.refused is None else u.refused
    return Undelivered(u.contract, parse_time(u.start), parse_time(u.end), u.gpus, code, u.reason.message, refused)


def _read(model: type[_Document], path: str) -> _Document:
    try:
        raw = orjson.loads(Path(path).read_bytes())
        return model.model_validate(raw)
    except OSError as error:
        raise BadInputError([f"{path}: cannot be read: {error.strerror}; correct the path"]) from None
    except orjson.JSONDecodeError as error:
        raise BadInputError([f"{path}:{error.lineno}: is not JSON: {error.msg}; give a plan from `laycan plan -o json`"]) from None
    except ValidationError as error:
        found = [(".".join(str(part) for part in e["loc"]), e["msg"]) for e in error.errors(include_url=False)[:20]]
        raise BadInputError([f"{path}: Plan: {field or 'document'}: {text}" for field, text in found]) from None
