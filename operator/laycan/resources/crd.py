"""CustomResourceDefinitions from the models: `python -m laycan.resources.crd FOLDER` writes one file per kind.

A model's JSON schema becomes a structural schema: references are inlined, optional fields are fields that are not required,
unknown fields are left to the API server (it prunes them, or refuses them with fieldValidation=Strict). The CEL rules ride along
in the models' `json_schema_extra`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel

from laycan.resources.constants import GROUP, PLURALS, VERSION
from laycan.resources.contract import ComputeContract
from laycan.resources.evidence_bundle import EvidenceBundle
from laycan.resources.exchange import ExchangeEndpoint
from laycan.resources.fence import LeaderEpoch, NodeFence
from laycan.resources.instruction import ContractInstruction
from laycan.resources.meter import GpuMeter
from laycan.resources.outage import Outage
from laycan.resources.product import ComputeProduct

HEADER = "# Generated from operator/laycan/resources by `make generate`; do not edit.\n"
Json = dict[str, Any]
Column = tuple[str, str, str, int]  # name, type, JSON path, priority (1 = shown by -o wide only)

_PRODUCT = ".spec.terms.productRef.name"
_READY = '.status.conditions[?(@.type=="Ready")].status'
_REACHABLE = '.status.conditions[?(@.type=="Reachable")].status'
_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)
_WINDOW: list[Column] = [("Start", "string", ".spec.start", 0), ("End", "string", ".spec.end", 0)]

KINDS: dict[str, tuple[type[BaseModel], Literal["Namespaced", "Cluster"], list[str], list[Column], list[str]]] = {
    # kind: model, scope, short names, printer columns, selectable fields
    "ComputeContract": (
        ComputeContract,
        "Namespaced",
        ["cc"],
        [
            ("Phase", "string", ".status.phase", 0),
            ("Product", "string", _PRODUCT, 0),
            ("GPUs", "integer", ".spec.terms.delivery.gpus", 0),
            ("Start", "string", ".spec.terms.delivery.start", 0),
            ("End", "string", ".spec.terms.delivery.end", 0),
            ("Holder", "string", ".spec.terms.delivery.handover.namespace", 0),
            ("Ready", "string", _READY, 0),
            ("Contract", "string", ".spec.terms.contractId", 1),
            ("Class", "string", ".spec.terms.firmness.class", 1),
            ("Shortfall", "integer", ".status.quantities.shortfallGpuSeconds", 1),
            ("Reason", "string", ".status.reason.code", 1),
            _AGE,
        ],
        [_PRODUCT, ".spec.exchangeRef.name"],
    ),
    "ContractInstruction": (
        ContractInstruction,
        "Namespaced",
        [],
        [
            ("Contract", "string", ".spec.contractRef.name", 0),
            ("Action", "string", ".spec.act.action", 0),
            ("Effective", "string", ".spec.act.effectiveTime", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Reason", "string", ".status.reason.code", 0),
            _AGE,
        ],
        [".spec.contractRef.name"],
    ),
    "ComputeProduct": (
        ComputeProduct,
        "Cluster",
        [],
        [("GPUs", "integer", ".spec.nodeGpus", 0), ("Hardware", "string", ".spec.gpuProducts", 0), _AGE],
        [],
    ),
    "ExchangeEndpoint": (
        ExchangeEndpoint,
        "Namespaced",
        [],
        [
            ("URL", "string", ".spec.url", 0),
            ("Reachable", "string", _REACHABLE, 0),
            ("Pending", "integer", ".status.pendingEvents", 0),
            _AGE,
        ],
        [],
    ),
    "Outage": (
        Outage,
        "Cluster",
        [],
        [("Type", "string", ".spec.type", 0), *_WINDOW, ("Verdict", "string", ".status.verdict", 0), _AGE],
        [],
    ),
    "NodeFence": (NodeFence, "Cluster", [], [_AGE], []),
    "LeaderEpoch": (LeaderEpoch, "Cluster", [], [("Epoch", "integer", ".spec.epoch", 0), _AGE], []),
    "GpuMeter": (
        GpuMeter,
        "Cluster",
        [],
        [("Sampled", "string", ".spec.at", 0), ("Driver", "string", ".spec.driver", 0), ("Agent", "string", ".spec.agent", 1), _AGE],
        [],
    ),
    "EvidenceBundle": (
        EvidenceBundle,
        "Namespaced",
        [],
        [
            ("Contract", "string", ".spec.contractId", 0),
            ("Receipts", "integer", ".spec.receipts", 0),
            ("Until", "string", ".spec.until", 0),
            ("Complete", "boolean", ".spec.complete", 0),
            _AGE,
        ],
        [],
    ),
}

_KEPT = (
    *("type", "format", "description", "enum", "pattern", "required"),
    *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
)


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Json:
    """The structural form of one node of a pydantic JSON schema; raises ValueError for what has no such form."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[1]]
        return structural({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
        if len(choices) != 1:
            raise ValueError(f"a structural schema has no unions: {schema}")
        return structural({**_resolved(choices[0], definitions), **{k: v for k, v in schema.items() if k != "anyOf"}}, definitions)
    node: Json = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        node["enum"] = [schema["const"]]
    if node.get("type") == "integer":
        node["format"] = "int64"
    if "properties" in schema:
        node["properties"] = {name: structural(field, definitions) for name, field in schema["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), Mapping):
        node["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    elif "patternProperties" in schema:  # a map whose keys have a pattern: the API server can only limit the values
        node["additionalProperties"] = structural(next(iter(schema["patternProperties"].values())), definitions)
    if "items" in schema:
        node["items"] = structural(schema["items"], definitions)
    return node


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    return definitions[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def root_schema(model: type[BaseModel]) -> Json:
    """openAPIV3Schema of a kind: apiVersion, kind and metadata are the API server's own."""
    generated = model.model_json_schema(by_alias=True)
    root = structural(generated, generated.get("$defs", {}))
    root["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    root["required"] = ["spec"]
    return root


def definition(kind: str) -> Json:
    """The CustomResourceDefinition of a kind of ours, JSON-able."""
    model, scope, short, columns, selectable = KINDS[kind]
    schema = root_schema(model)
    names: Json = {"kind": kind, "listKind": f"{kind}List", "plural": PLURALS[kind], "singular": kind.lower(), "categories": ["laycan"]}
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, type_, path, priority in columns
        ],
        "schema": {"openAPIV3Schema": schema},
    }
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURALS[kind]}.{GROUP}", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {"group": GROUP, "scope": scope, "names": names | ({"shortNames": short} if short else {}), "versions": [version]},
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(kind: str) -> str:
    """The file of a kind, byte for byte the same on every machine."""
    return HEADER + yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=140, allow_unicode=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, plural in PLURALS.items():
        (folder / f"{plural}.yaml").write_text(render(kind))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
