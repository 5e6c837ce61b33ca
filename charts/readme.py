"""The tables in the chart's README, from Chart.yaml, values.yaml and values.schema.json: `python -m charts.readme charts/laycan`.

The schema says which values there are and of what type, values.yaml their defaults and, in the comment above each, what they mean.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from laycan.markdown import cell, put

BEGIN = "<!-- {} from the chart, by `make generate` -->\n"
_KEY = re.compile(r"^( *)([A-Za-z]\w*):(?: |$)")
_SILENT = re.compile(r"^( *)# ([a-z]\w*): \S")  # a value that is absent by default is shown as a comment
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """One row: `path` is dotted; `default` is JSON, empty where the value is absent by default."""

    path: str
    type: str
    default: str
    meaning: str


def meanings(text: str) -> dict[str, str]:
    """Dotted path of a key -> the comment above it."""
    found, above, parents = dict[str, str](), list[str](), list[tuple[int, str]]()
    for line in text.splitlines():
        key = _KEY.match(line) or (_SILENT.match(line) if above else None)
        if key is not None:
            parents = [*((depth, name) for depth, name in parents if depth < len(key[1])), (len(key[1]), key[2])]
            found.setdefault(".".join(name for _, name in parents), " ".join(above))
        above = [*above, line.strip("# ")] if line.lstrip().startswith("#") and key is None else []
    return found


def values(chart: Path) -> Iterator[Value]:
    """All values, in the schema's order. Raises LookupError for one that values.yaml does not explain."""
    schema = json.loads((chart / "values.schema.json").read_text())
    text = (chart / "values.yaml").read_text()
    known, defaults = meanings(text), yaml.safe_load(text)
    for path, node in _leaves(schema, schema["definitions"]):
        if path == "global":  # Helm's own: a chart that has this one as a part may pass it
            continue
        if not known.get(path):
            raise LookupError(f"values.yaml: {path} has no comment")
        yield Value(path, _type(node, schema["definitions"]), _default(defaults, path), known[path])


def _leaves(node: Json, definitions: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    node = _resolved(node, definitions)
    if "properties" not in node:
        yield path, node
    for name, part in node.get("properties", {}).items():
        yield from _leaves(part, definitions, f"{path}.{name}".lstrip("."))


def _resolved(node: Json, definitions: Json) -> Json:
    return definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _type(node: Json, definitions: Json) -> str:
    node = _resolved(node, definitions)
    if "enum" in node:
        return " or ".join(f"`{each}`" for each in node["enum"])
    if "anyOf" in node:
        return " or ".join(_type(each, definitions) for each in node["anyOf"])
    if node["type"] == "array":
        return f"list of {_type(node['items'], definitions)}s"
    if isinstance(node["type"], list):
        return " or ".join(node["type"])
    low, high = node.get("minimum"), node.get("maximum")
    if high is not None:
        return f"{node['type']}, {low} to {high}"
    return f"{node['type']}, at least {low}" if low is not None else str(node["type"])


def _default(defaults: Any, path: str) -> str:
    for name in path.split("."):
        if name not in defaults:
            return ""
        defaults = defaults[name]
    return json.dumps(defaults)


def tables(chart: Path) -> str:
    """A table for each key at the top of values.yaml that has parts, and one for those that have none."""
    known = meanings((chart / "values.yaml").read_text())
    sections: dict[str, list[Value]] = {}
    for value in values(chart):
        sections.setdefault(value.path.partition(".")[0] if "." in value.path else "", []).append(value)
    return "\n".join(f"{_head(name, known)}{''.join(map(_row, rows))}" for name, rows in sections.items())


def _head(name: str, known: Mapping[str, str]) -> str:
    title = f"### `{name}`\n{known[name]}\n\n" if name else "### At the top\n\n"
    return f"{title}| value | type | default | meaning |\n|---|---|---|---|\n"


def _row(value: Value) -> str:
    default = f"`{value.default}`" if value.default else "absent"
    cells = (f"`{value.path}`", value.type, default, value.meaning)
    return f"| {' | '.join(map(cell, cells))} |\n"


def facts(chart: Path) -> str:
    """What Chart.yaml says."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    kinds = yaml.safe_load(about["annotations"]["artifacthub.io/crds"])
    crds = "".join(f"| `{each['kind']}` | {each['description']} |\n" for each in kinds)
    return (
        f"Chart {about['version']}, application {about['appVersion']}, Kubernetes `{about['kubeVersion']}`. {about['description']}.\n\n"
        f"| kind | what it is |\n|---|---|\n{crds}"
    )


def page(chart: Path) -> str:
    """The README as it is, with what is generated made anew."""
    text = (chart / "README.md").read_text()
    for name, made in (("facts", facts(chart)), ("values", tables(chart))):
        text = put(text, BEGIN.format(name), made)
    return text


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "README.md").write_text(page(folder))
