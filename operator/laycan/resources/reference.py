"""docs/api.md from the CRDs: `python -m laycan.resources.reference EXAMPLES DOCS` writes it, with the example of each kind in EXAMPLES.

A field is a row: its path, what it may be, what its absence means, and what it says. Absence is told by the description's sentence
`Absent: …`, because nothing here has an API default.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from laycan.markdown import cell
from laycan.resources.about import ABOUT, KEYS
from laycan.resources.base import DNS_LABEL, DNS_NAME
from laycan.resources.constants import API_VERSION, PLURALS
from laycan.resources.crd import definition

Json = Mapping[str, Any]
PAGE = "api.md"
ANCHOR = "condition"  # of the fields that all lists of conditions share


class Field(NamedTuple):
    """A field of a kind: `path` from the object's root, `required` where what it stands in is given."""

    path: str
    schema: Json
    required: bool
    like: str  # the path of another field that holds the same, where what it holds is told; "" where it is told here


HEAD = f"""# API reference

Generated from the CRDs (`make generate`): every kind of `{API_VERSION}`, field by field. `kubectl explain computecontract.spec.terms`
says the same in a terminal, `kubectl get laycan` lists objects of all kinds.

* **Nothing has an API default**: what an object does not say stays unsaid, so that what was signed is what is stored. The third column says
  what the absence of a field means; **required** is what must be given where the object that it stands in is given.
* **Times** are RFC 3339 in UTC, in whole seconds, with a `Z`: `2030-01-04T00:00:00Z`. A window goes from its first second to the first
  one after it.
* **Amounts** are texts in decimals, everything else that is counted an integer with its unit in the name: `gpus`, `…Seconds`,
  `…Ppm` (millionths).
* **Unknown fields** are refused by `kubectl`, which asks for that, and by `laycan plan`.
* Every example here is taken by a real API server in the tests; as files they lie in [examples/kinds](../examples/kinds).

| kind | for | spec written by |
|---|---|---|
"""
CONDITION_HEAD = """## Condition

One entry of a list `conditions`, as elsewhere in Kubernetes (`metav1.Condition`). Which a contract has is in
[lifecycle](lifecycle.md#conditions).

"""
TABLE = "| field | type | required, or what absence means | limits | meaning |\n|---|---|---|---|---|\n"


def fields(schema: Json, path: str, seen: dict[str, str] | None = None) -> Iterator[Field]:
    """Every field below, in the order of the schema, but for what a list of conditions holds: it is the same everywhere.

    `seen`: what was told already, and where. An object whose fields were is not told again, but refers to them.
    """
    required, seen = schema.get("required", ()), {} if seen is None else seen
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        told = seen.setdefault(repr(below["properties"]), here) if len(below.get("properties", ())) > 1 else here
        yield Field(here, below, name in required, "" if told == here else told)
        if name != "conditions" and told == here:
            yield from fields(below, here, seen)
    for inner, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if inner in schema:
            yield from fields(schema[inner], path + mark, seen)


def row(field: Field) -> str:
    """One row of the table; a field's own sentence about its absence has a column of its own."""
    meaning, absent = split(field.schema.get("description", ""))
    type_ = f"as `{field.like}`" if field.like else type_of(field.schema)
    cells = (f"`{field.path}`", type_, "**required**" if field.required else absent, limits(field.schema), meaning)
    return f"| {' | '.join(cells)} |\n"


def split(description: str) -> tuple[str, str]:
    """What a description says of the field, and what of its absence ("" for nothing)."""
    meaning, _, absent = (cell(part) for part in description.partition("Absent: "))
    return meaning.rstrip().removesuffix(";"), absent.removesuffix(".")


def type_of(schema: Json) -> str:
    """In a word, or the values that it may have."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "items" in schema:
        if "lastTransitionTime" in schema["items"].get("properties", {}):
            return f"list of [conditions](#{ANCHOR})"
        return f"list of {type_of(schema['items'])}" if "enum" in schema["items"] else f"list of {type_of(schema['items'])}s"
    if "additionalProperties" in schema:
        return f"map of name to {type_of(schema['additionalProperties'])}"
    return "time" if schema.get("format") == "date-time" else "text" if schema["type"] == "string" else str(schema["type"])


def limits(schema: Json) -> str:
    """What the API server refuses beyond; of a list also what of each entry."""
    if "enum" in schema or schema.get("format") == "date-time":
        return ""
    said = [
        _range(schema, "minimum", "maximum", ""),
        _range(schema, "minLength", "maxLength", " characters"),
        _range(schema, "minItems", "maxItems", " entries"),
        _range(schema, "minProperties", "maxProperties", " entries"),
        _pattern(schema["pattern"]) if "pattern" in schema else "",
    ]
    inner = schema.get("items") or schema.get("additionalProperties") or {}
    each = limits(inner) if inner and "properties" not in inner else ""
    return "; ".join([*filter(None, said), *([f"each {each}"] if each else [])])


def _pattern(pattern: str) -> str:
    return {DNS_NAME: "a DNS name", DNS_LABEL: "a DNS label"}.get(pattern) or cell(f"`{pattern}`")


def _range(schema: Json, least: str, most: str, unit: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if high is None:
        return "" if low is None else f"at least {low}{unit}"
    return f"{low} to {high}{unit}" if low is not None and low != high else f"{'' if low == high else 'at most '}{high}{unit}"


def rules(schema: Json, path: str) -> Iterator[str]:
    """The CEL rules below, each with the message of its refusal."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"* {f'`{path}`' if path else 'the object'}: {rule['message']} (`{' '.join(rule['rule'].split())}`)\n"
    for name, below in schema.get("properties", {}).items():
        yield from rules(below, f"{path}.{name}".lstrip("."))
    for inner, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if inner in schema:
            yield from rules(schema[inner], path + mark)


def kind_section(kind: str, example: str) -> str:
    """All about one kind."""
    about, spec = ABOUT[kind], definition(kind)["spec"]
    root = spec["versions"][0]["schema"]["openAPIV3Schema"]
    parts = [part for part in ("spec", "status") if part in root["properties"]]
    tables = (f"### {kind}: {part}\n\n{TABLE}{''.join(map(row, fields(root['properties'][part], part)))}\n" for part in parts)
    refused = "".join(rules(root, ""))
    return "".join(
        [
            f"## {kind}\n\n{root['description']} {about.purpose}\n\n{_facts(kind, spec)}\n```yaml\n{example}```\n\n",
            *tables,
            f"### {kind}: what is refused\n\nBeside types, limits and missing fields:\n\n{refused}\n" if refused else "",
        ]
    )


def _facts(kind: str, spec: Json) -> str:
    about, names, version = ABOUT[kind], spec["names"], spec["versions"][0]
    columns = version["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    wide = [column["name"] for column in columns if column.get("priority")]
    selectors = [f"`{each['jsonPath'].removeprefix('.')}`" for each in version.get("selectableFields", ())]
    facts = {
        "Scope": "one namespace" if spec["scope"] == "Namespaced" else "the cluster",
        "Names": ", ".join(f"`{name}`" for name in (names["plural"], names["singular"], *names.get("shortNames", ()))),
        "Written by": f"spec: {about.spec_by}" + (f"; status: {about.status_by}" if about.status_by else ""),
        "Columns of `kubectl get`": ", ".join(shown) + (f"; with `-o wide` also {', '.join(wide)}" if wide else ""),
        "Field selectors": ", ".join(selectors),
    }
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {text} |\n" for name, text in facts.items() if text)


def page(examples: Path) -> str:
    """docs/api.md."""
    kinds = [f"| [{kind}](#{kind.lower()}) | {_purpose(kind)} | {ABOUT[kind].spec_by} |\n" for kind in PLURALS]
    sections = [kind_section(kind, (examples / f"{kind.lower()}.yaml").read_text()) for kind in PLURALS]
    condition = definition("Outage")["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
    entries = "".join(map(row, fields(condition["items"], "conditions[]")))
    keys = "".join(f"| `{key}` | {on} | {by} | {says} |\n" for key, (on, by, says) in KEYS.items())
    return "".join(
        [
            HEAD,
            *kinds,
            "\nFurther down: [conditions](#condition), [labels and annotations](#labels-and-annotations).\n\n",
            *sections,
            CONDITION_HEAD + TABLE + entries,
            "\n## Labels and annotations\n\n| key | on | set by | says |\n|---|---|---|---|\n" + keys,
        ]
    )


def _purpose(kind: str) -> str:
    return str(definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"]).removesuffix(".")


def main(examples: Path, docs: Path) -> None:
    (docs / PAGE).write_text(page(examples))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
