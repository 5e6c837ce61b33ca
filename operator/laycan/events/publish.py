"""JSON Schemas and the table of events, from the models: `python -m laycan.events.publish DOCS` writes DOCS/schemas and DOCS/events.md.

The published schemas are open where the models are strict: a receiver must let pass fields that a later release adds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from laycan.events.schema import EVENTS, OPERATOR_EVENTS, model_of
from laycan.evidence.schema import Receipt
from laycan.markdown import cell, put
from laycan.resources.crd import structural

BASE = "https://laycan.dev/schemas/"
RECEIPT = "delivery-receipt"
BEGIN = "<!-- from the models, by `make generate` -->\n"
Json = dict[str, Any]


def names() -> list[str]:
    """Of everything that has a schema."""
    return [*EVENTS, *OPERATOR_EVENTS, RECEIPT]


def schema(name: str) -> Json:
    """JSON Schema 2020-12 of an event, or of the receipt in one; without references."""
    model: type[BaseModel] = Receipt if name == RECEIPT else model_of(name)
    generated = model.model_json_schema(by_alias=True)
    inlined: Json = _plain(structural(generated, generated.get("$defs", {})))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{BASE}{name}.v1.json", "title": name}
    return head | inlined


def _plain(node: Any) -> Any:
    """Without what only an API server understands."""
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if not k.startswith("x-kubernetes-") and (k, v) != ("format", "int64")}
        return {k: _plain(v) for k, v in kept.items()}
    return [_plain(each) for each in node] if isinstance(node, list) else node


def render(name: str) -> str:
    """The file of a schema, byte for byte the same on every machine."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


def table() -> str:
    """One row for each event: type, when, and what its own part of `data` holds; fields in brackets may be absent."""
    head, line = "| type | when | `data.{}` |\n", "|---|---|---|\n"
    told = [_row(name, schema(name)["properties"]["data"]["properties"]["change"]) for name in EVENTS]
    others = [_row(name, schema(name)["properties"]["data"]) for name in OPERATOR_EVENTS]
    return "".join([head.format("change"), line, *told, "\n| about no contract | when | `data` |\n", line, *others])


def _row(name: str, own: Json) -> str:
    fields = (field if field in own["required"] else f"[{field}]" for field in own["properties"])
    when = cell({**EVENTS, **OPERATOR_EVENTS}[name].__doc__ or "")
    return f"| [`dev.laycan.{name}.v1`](schemas/{name}.v1.json) | {when} | {', '.join(fields)} |\n"


def with_table(page: str) -> str:
    """The page with the table as it is now between its marks."""
    return put(page, BEGIN, table())


def main(docs: Path) -> None:
    (docs / "schemas").mkdir(parents=True, exist_ok=True)
    for name in names():
        (docs / "schemas" / f"{name}.v1.json").write_text(render(name))
    page = docs / "events.md"
    page.write_text(with_table(page.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
