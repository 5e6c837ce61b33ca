"""What a plan is made from: manifests in files, and a cluster that was read into a bundle (`planning.bundle`), both the same way.

Every object is judged before anything is planned, and everything that is wrong is reported at once, each line with file, object,
field and fix. Kinds that do not matter to a plan are passed over with a note. In a bundle nobody can mend a line: there what is wrong
is noted and passed over, unless it was promised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from laycan.planning.bundle import taken_at
from laycan.planning.documents import documents
from laycan.planning.problem import gpu_count, unplannable
from laycan.resources import validate
from laycan.resources.constants import API_VERSION, GPU_DRIVER, GPU_RESOURCE, GRADE_LABEL, GROUP, SINGLETON, TAKEN_ANNOTATION
from laycan.resources.contract import ContractSpec
from laycan.resources.exchange import EndpointSpec
from laycan.resources.outage import OutageSpec
from laycan.resources.product import ProductSpec
from laycan.resources.times import parse_time
from laycan.resources.validate import Fault

Raw = Mapping[str, Any]
JUDGED = ("ComputeContract", "ComputeProduct", "ExchangeEndpoint", "Outage")  # the kinds of laycan.dev that people write
FOUND = ("NodeFence", "GpuMeter")  # those that tell which nodes and GPUs have failed
# the others, which a plan does not depend on: what the operator keeps, and what commands print
OTHERS = (
    "ContractInstruction",
    "EvidenceBundle",
    "LeaderEpoch",
    "Plan",
    "PlanStats",
    "Book",
    "DeskStatus",
    "Explanation",
    "WhatIf",
    "QuoteAnswer",
    "SellableCurve",
)
PROMISED = ("Accepted", "Delivering")
OVER = ("Rejected", "Expired", "Cancelled", "Terminated", "Delivered", "Settled")

FIELDS = {"apiVersion", "kind", "metadata", "spec", "status"}
DEEPEST = 3  # lists in lists that are read; YAML's anchors can make a few lines of them endless


class BadInputError(Exception):
    """Nothing was planned; `lines` say all that is wrong."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


@dataclass(frozen=True, slots=True)
class ReadContract:
    """A contract as it was read; `created` in Unix seconds, 0 without a creationTimestamp. `given`: by a bundle, not by a person."""

    key: str
    where: str  # file and object, for messages
    spec: ContractSpec
    status: Raw
    created: int
    uid: str = ""
    leaving: bool = False  # it was deleted, and is being wound up
    given: bool = False

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "")


@dataclass(slots=True)
class Manifests:
    """What was read, by name (contracts and endpoints by namespace/name). `taken`: when the bundle among it was; None without one."""

    nodes: dict[str, Raw] = field(default_factory=dict)
    products: dict[str, ProductSpec] = field(default_factory=dict)
    product_statuses: dict[str, Raw] = field(default_factory=dict)  # what the operator measured of them
    contracts: dict[str, ReadContract] = field(default_factory=dict)
    outages: dict[str, OutageSpec] = field(default_factory=dict)
    outage_statuses: dict[str, Raw] = field(default_factory=dict)
    judged_outages: dict[str, Raw] = field(default_factory=dict)  # those of a cluster, which plans for them as far as it has judged them
    endpoints: dict[str, EndpointSpec] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # node -> whose it is by the fence
    sliced: set[str] = field(default_factory=set)  # nodes with a ResourceSlice of GPUs
    slices: list[Raw] = field(default_factory=list)  # those
    meters: dict[str, Raw] = field(default_factory=dict)  # node -> spec of its GpuMeter
    taken: int | None = None
    notes: list[str] = field(default_factory=list)  # what was passed over


def load(paths: Iterable[str]) -> Manifests:
    """All that the paths hold; raises BadInputError with every fault."""
    lines: list[str] = []
    return read(documents(paths, lines), lines)


def read(named: Iterable[tuple[str, Any]], lines: list[str] | None = None) -> Manifests:
    """All that these (name, document) hold; `lines` gets what could not be read at all. Raises BadInputError with every fault."""
    reading = _Reading(lines)
    for file, document in named:
        reading.take(file, document)
    if reading.lines:
        raise BadInputError(reading.lines)
    return reading.found


class _Reading:
    """Objects judged one by one into `found`, faults into `lines`."""

    def __init__(self, lines: list[str] | None = None) -> None:
        self.found = Manifests()
        self.lines = [] if lines is None else lines
        self.bundled = False  # whether what is read now is of a bundle
        self.places: dict[tuple[str, str], str] = {}  # (kind, key) -> where it was given first
        self.contract_ids: dict[tuple[str, str], str] = {}  # (exchange or namespace, contractId) -> contract

    def take(self, file: str, document: Any, depth: int = 0) -> None:
        """Any document: an object, or a list of objects."""
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str) or not isinstance(document.get("apiVersion"), str):
            self.lines.append(f"{file}: an object without apiVersion and kind; add them")
            return
        kind, version = document["kind"], document["apiVersion"]
        if kind.endswith("List") and "items" in document:
            self._bundle(file, document, depth)
        elif version == API_VERSION and kind in JUDGED:
            self._ours(file, kind, document)
        elif kind in JUDGED and (kind.startswith("Compute") or version.partition("/")[0] == GROUP):  # others have an Outage, too
            self.lines.append(f"{file}: {kind}: apiVersion: must be {API_VERSION}, not {version[:80]}")
        elif version.partition("/")[0] == GROUP and kind not in (*FOUND, *OTHERS):
            close = get_close_matches(kind[:80], JUDGED, n=1, cutoff=0.5)
            mend = f"did you mean {close[0]}?" if close else f"known are {', '.join((*JUDGED, *FOUND, *OTHERS))}"
            self.lines.append(f"{file}: {kind[:80]}: kind: is none of {GROUP}; {mend}")
        elif version == API_VERSION and kind == "NodeFence":
            self._fence(document)
        elif version == API_VERSION and kind == "GpuMeter":
            self._meter(document)
        elif (version, kind) == ("v1", "Node"):
            self._node(file, document)
        elif kind == "ResourceSlice" and version.startswith("resource.k8s.io/"):
            self._slice(document)
        else:
            self.found.notes.append(f"{file}: {kind[:80]} passed over; a plan does not depend on it")

    def _bundle(self, file: str, document: dict[str, Any], depth: int) -> None:
        """A list, which may be a bundle."""
        try:
            taken = taken_at(document)
        except ValueError as error:
            self.lines.append(f"{file}: {document['kind'][:80]}: metadata.annotations[{TAKEN_ANNOTATION}]: {error}")
            taken = None
        if taken is not None:
            self.found.taken = max(taken, self.found.taken or taken)
        outer, self.bundled = self.bundled, self.bundled or taken is not None
        self._list(file, document, depth)
        self.bundled = outer

    def _list(self, file: str, document: dict[str, Any], depth: int) -> None:
        kind, items = document["kind"], document["items"]
        typed = {"apiVersion": document["apiVersion"], "kind": kind.removesuffix("List")} if kind != "List" else {}
        if items is not None and not isinstance(items, list):
            self.lines.append(f"{file}: {kind[:80]}: items: must be a list of objects")
        elif depth == DEEPEST:
            self.lines.append(f"{file}: {kind[:80]}: lists in lists in lists; give the objects in one list")
            return
        for item in items if isinstance(items, list) else ():
            self.take(file, {**typed, **item} if typed and isinstance(item, dict) else item, depth + 1)

    def _ours(self, file: str, kind: str, raw: dict[str, Any]) -> None:
        if not (named := self._named(file, kind, raw, namespaced=kind in ("ComputeContract", "ExchangeEndpoint"))):
            return
        key, where, created = named
        faults = [Fault(str(extra)[:80], "is no field here; remove it") for extra in raw.keys() - FIELDS]
        spec: object = None
        if kind == "ComputeContract":
            spec = validate.contract_spec(raw.get("spec"))
        elif kind == "ComputeProduct":
            spec = validate.product_spec(key, raw.get("spec"))
        elif kind == "Outage":
            spec = validate.outage_spec(raw.get("spec"))
        elif kind == "ExchangeEndpoint":
            spec = validate.endpoint_spec(raw.get("spec"))
        given = raw.get("status")
        status: Raw = given if isinstance(given, dict) else {}
        self._tell([f"{where}: {fault}" for fault in (*faults, *(spec if isinstance(spec, list) else ()))], status)
        if isinstance(spec, ContractSpec):
            meta = raw["metadata"]
            uid, leaving = str(meta.get("uid") or ""), "deletionTimestamp" in meta
            self._contract(ReadContract(key, where, spec, status, created, uid, leaving, self.bundled))
        elif isinstance(spec, ProductSpec):
            self.found.products[key] = spec
            self.found.product_statuses[key] = status
        elif isinstance(spec, OutageSpec):
            self.found.outages[key] = spec
            self.found.outage_statuses[key] = status
            if self.bundled:
                self.found.judged_outages[key] = raw
        elif isinstance(spec, EndpointSpec):
            self.found.endpoints[key] = spec

    def _tell(self, faults: list[str], status: Raw) -> None:
        """Faults of an object of this status: errors, but for what a cluster has and nobody was promised."""
        if self.bundled and status.get("phase") not in PROMISED:
            self.found.notes += [] if status.get("phase") in OVER else [f"{fault}; passed over" for fault in faults]
        else:
            self.lines += faults

    def _contract(self, contract: ReadContract) -> None:
        self.found.contracts[contract.key] = contract
        if contract.given:
            return  # the operator has judged it
        book = contract.spec.exchange_ref.name if contract.spec.exchange_ref else ""
        identity = (f"{contract.key.split('/')[0]}/{book}", contract.spec.terms.contract_id)
        other = self.contract_ids.setdefault(identity, contract.key)
        if other != contract.key:
            self.lines.append(f"{contract.where}: spec.terms.contractId: {other} already has it (TermsConflict); remove one of the two")

    def _node(self, file: str, raw: dict[str, Any]) -> None:
        if not (named := self._named(file, "Node", raw, namespaced=False)):
            return
        name, where, _ = named
        given = raw.get("status")
        status = given if isinstance(given, dict) else {}
        for part in ("capacity", "allocatable"):
            quantities = status.get(part) or {}
            count = quantities.get(GPU_RESOURCE, 0) if isinstance(quantities, dict) else None
            if gpu_count(count) is None:
                self.lines.append(f"{where}: status.{part}[{GPU_RESOURCE}]: must be a count of GPUs such as '8', not {str(count)[:60]!r}")
        if reason := unplannable(raw):
            self.found.notes.append(f"{where}: left out of the fleet: {reason}")
        elif (raw["metadata"].get("labels") or {}).get(GRADE_LABEL):
            self.found.nodes[name] = raw

    def _slice(self, raw: dict[str, Any]) -> None:
        spec = raw.get("spec")
        if isinstance(spec, dict) and spec.get("driver") == GPU_DRIVER and isinstance(spec.get("nodeName"), str):
            self.found.sliced.add(spec["nodeName"])
            self.found.slices.append(raw)

    def _fence(self, raw: dict[str, Any]) -> None:
        """The one that counts is named `cluster`."""
        meta, spec = raw.get("metadata"), raw.get("spec")
        if not isinstance(meta, dict) or meta.get("name") != SINGLETON:
            return
        nodes = spec.get("nodes") if isinstance(spec, dict) else None
        self.found.owners = {str(node): str(owner) for node, owner in nodes.items()} if isinstance(nodes, dict) else {}

    def _meter(self, raw: dict[str, Any]) -> None:
        meta, spec = raw.get("metadata"), raw.get("spec")
        if isinstance(meta, dict) and isinstance(spec, dict):
            self.found.meters[str(meta.get("name"))] = spec

    def _named(self, file: str, kind: str, raw: dict[str, Any], *, namespaced: bool) -> tuple[str, str, int] | None:
        """(key, where, created) of an object, None if it has no good name or the name is taken."""
        meta = validate.metadata(raw.get("metadata"))
        if isinstance(meta, list):
            given = raw.get("metadata")
            called = f" {given['name']}"[:80] if isinstance(given, dict) and isinstance(given.get("name"), str) else ""
            self.lines += [f"{file}: {kind}{called}: {fault}" for fault in meta]
            return None
        key = f"{meta.namespace or 'default'}/{meta.name}" if namespaced else meta.name
        where = f"{file}: {kind} {key}"
        if (first := self.places.setdefault((kind, key), where)) is not where:
            self.lines.append(f"{where}: is already given in {first.partition(': ')[0]}; remove one of the two")
            return None
        return key, where, parse_time(meta.creation_timestamp) if meta.creation_timestamp else 0
