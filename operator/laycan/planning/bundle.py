"""A cluster's state as one document: what `laycan snapshot` writes, and `laycan plan` and its like read from a file or a cluster alike.

Of each object only those fields are kept that a plan or a report on contracts depends on; each is named here. So no Secret can be among
them, nor what others wrote into annotations, the parties' identities, confirmations, what is on its way to an exchange, or where that is.
The list carries the instant at which it was taken: a plan of it is of that instant unless another is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from laycan.resources.constants import GPU_DRIVER, GPU_RESOURCE, GROUP, MIG_RESOURCE_PREFIX, TAKEN_ANNOTATION
from laycan.resources.times import format_time, parse_time

Raw = Mapping[str, Any]

_META = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation")
_CONTRACT_SPEC = ("intent", "exchangeRef", "quoteRef", "adopt")
_TERMS = (
    "contractId", "tradeTime", "productRef", "delivery", "firmness", "substitution", "price", "tolerance", "profile", "replaces",
)  # fmt: skip
_CONTRACT_STATUS = (
    "phase", "phaseSince", "endedAt", "observedGeneration", "conditions", "quantities", "reason", "offer", "handover", "curtailments",
    "makeGood", "healthPolicy",
)  # fmt: skip
_BINDING = ("node", "product", "gpus", "level", "start", "end", "lots", "boundAt", "handedOverAt")
_METER = ("nodeUid", "at", "since", "gpus", "findings")
_WITHHELD = {"url": "https://withheld.invalid/", "secretRef": {"name": "withheld", "key": "withheld"}}  # an endpoint must have them


def bundle(objects: Iterable[Raw], taken: int) -> dict[str, Any]:
    """The List of these reduced objects, in a fixed order; `taken` in Unix seconds."""
    meta = {"annotations": {TAKEN_ANNOTATION: format_time(taken)}}
    return {"apiVersion": "v1", "kind": "List", "metadata": meta, "items": sorted(objects, key=_place)}


def taken_at(document: Raw) -> int | None:
    """When the bundle was taken; None for a list that is no bundle. Raises ValueError for a time that is none."""
    text = _mapping(_mapping(document.get("metadata")).get("annotations")).get(TAKEN_ANNOTATION)
    return None if text is None else parse_time(str(text))


def _place(raw: Raw) -> tuple[str, str]:
    """By kind, then by name as the planner has it."""
    meta = raw["metadata"]
    return str(raw["kind"]), f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def reduced(raw: Raw) -> Raw | None:
    """The object with what is kept of it; None for one of a kind that is not kept."""
    keep = _KINDS.get(str(raw.get("kind", "")))
    if keep is None:
        return None
    meta = _mapping(raw.get("metadata"))
    ours = {key: value for key, value in _mapping(meta.get("annotations")).items() if str(key).startswith(f"{GROUP}/")}
    noted = {"annotations": ours} if ours and raw["kind"] in ("ComputeContract", "Node", "NodeFence") else {}
    labels = {"labels": dict(meta["labels"])} if raw["kind"] == "Node" and meta.get("labels") else {}
    head = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": {**_some(meta, _META), **noted, **labels}}
    return {**head, **{part: value for part, value in keep(raw).items() if value}}


def _node(raw: Raw) -> dict[str, Any]:
    status = _mapping(raw.get("status"))
    conditions = status.get("conditions")
    ready = [
        _some(each, ("type", "status", "lastTransitionTime"))
        for each in (conditions if isinstance(conditions, list) else ())
        if _mapping(each).get("type") == "Ready"
    ]
    counts = {part: _gpus(status[part]) for part in ("capacity", "allocatable") if part in status}
    return {"spec": _some(_mapping(raw.get("spec")), ("unschedulable",)), "status": {**counts, "conditions": ready}}


def _gpus(quantities: Any) -> dict[str, Any]:
    return {k: v for k, v in _mapping(quantities).items() if k == GPU_RESOURCE or str(k).startswith(MIG_RESOURCE_PREFIX)}


def _product(raw: Raw) -> dict[str, Any]:
    return {"spec": raw.get("spec"), "status": raw.get("status")}


def _contract(raw: Raw) -> dict[str, Any]:
    """A spec that is no object stays as it is, so that its fault is found again."""
    spec, status = raw.get("spec"), _mapping(raw.get("status"))
    if isinstance(spec, Mapping) and isinstance(spec.get("terms"), Mapping):
        spec = {**_some(spec, _CONTRACT_SPEC), "terms": _some(spec["terms"], _TERMS)}
    kept: dict[str, Any] = _some(status, _CONTRACT_STATUS)
    if isinstance(status.get("bindings"), list):
        kept["bindings"] = [_some(each, _BINDING) for each in status["bindings"] if isinstance(each, Mapping)]
    meter, acts = _some(_mapping(status.get("meter")), ("until",)), _some(_mapping(status.get("instructions")), ("suspendedSince",))
    return {"spec": spec, "status": {**kept, **({"meter": meter} if meter else {}), **({"instructions": acts} if acts else {})}}


def _outage(raw: Raw) -> dict[str, Any]:
    return {"spec": raw.get("spec"), "status": raw.get("status")}


def _endpoint(raw: Raw) -> dict[str, Any]:
    return {"spec": {**_WITHHELD, **_some(_mapping(raw.get("spec")), ("quote", "requires", "disputeSeconds"))}}


def _slice(raw: Raw) -> dict[str, Any]:
    """Whose GPUs it lists, which cards they are, and which of them their driver calls unfit."""
    spec = _mapping(raw.get("spec"))
    pool = _some(_mapping(spec.get("pool")), ("name", "generation", "resourceSliceCount"))
    devices = spec.get("devices")
    cards = [_device(each) for each in (devices if isinstance(devices, list) else ()) if isinstance(each, Mapping)]
    return {"spec": {**_some(spec, ("driver", "nodeName")), "pool": pool, "devices": cards}}


def _device(raw: Raw) -> dict[str, Any]:
    attributes = _some(_mapping(raw.get("attributes")), (*_CARD, *(f"{GPU_DRIVER}/{name}" for name in _CARD)))
    taints = raw.get("taints")
    fit = [_some(each, ("key", "effect")) for each in (taints if isinstance(taints, list) else ()) if isinstance(each, Mapping)]
    return {"name": raw.get("name"), "attributes": attributes, **({"taints": fit} if fit else {})}


_CARD = ("type", "uuid", "productName")


def _fence(raw: Raw) -> dict[str, Any]:
    return {"spec": _some(_mapping(raw.get("spec")), ("nodes",))}


def _meter(raw: Raw) -> dict[str, Any]:
    """One without findings says nothing about GPUs, and is left without its cards."""
    spec = _some(_mapping(raw.get("spec")), _METER)
    cards = spec.get("gpus")
    spec["gpus"] = [_some(each, ("uuid",)) for each in (cards if isinstance(cards, list) else ())] if spec.get("findings") else []
    return {"spec": spec}


_KINDS: Mapping[str, Callable[[Raw], dict[str, Any]]] = {
    "Node": _node,
    "ComputeProduct": _product,
    "ComputeContract": _contract,
    "Outage": _outage,
    "ExchangeEndpoint": _endpoint,
    "ResourceSlice": _slice,
    "NodeFence": _fence,
    "GpuMeter": _meter,
}


def _mapping(value: Any) -> Raw:
    return value if isinstance(value, Mapping) else {}


def _some(raw: Any, names: Iterable[str]) -> dict[str, Any]:
    """Those of the fields that are there."""
    found = _mapping(raw)
    return {name: found[name] for name in names if name in found}
