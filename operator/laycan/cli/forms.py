"""Documents in the forms that people ask for: JSON and YAML the same, keys in their published order."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from laycan.resources.constants import API_VERSION


class Form(StrEnum):
    """What most commands can print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class BookForm(StrEnum):
    """What `laycan book` can print."""

    TABLE = "table"
    WIDE = "wide"
    CSV = "csv"
    JSON = "json"
    YAML = "yaml"


def document(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A document of this kind; its name is among `planning.manifests.OTHERS`, so that it may lie among manifests."""
    return {"apiVersion": API_VERSION, "kind": kind, **fields}


def in_form(told: Mapping[str, Any], form: str) -> bytes:
    """As JSON or as YAML."""
    return as_yaml(told) if form == Form.YAML else as_json(told)


def as_json(told: Mapping[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def as_yaml(told: Mapping[str, Any]) -> bytes:
    import orjson
    import yaml

    plain = orjson.loads(as_json(told))  # enumerations as their texts
    return str(yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=140)).encode()


def as_csv(fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A heading, and a line a row; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row[name]) for name in fields} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
