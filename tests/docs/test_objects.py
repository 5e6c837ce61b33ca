"""Objects that the pages show are good: their schemas and rules are asked of a real API server in tests/cluster/test_resources.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from laycan.resources.crd import KINDS
from tests.docs.pages import ROOT, blocks, objects
from tests.docs.runnable import is_value
from tests.docs.shell import here_documents

SHOWN: list[tuple[str, dict[str, Any]]] = [(f"{block.page}:{block.line}", obj) for block, obj in objects()] + here_documents()


@pytest.mark.parametrize(("where", "obj"), SHOWN, ids=[where for where, _ in SHOWN])
def test_ours(where: str, obj: dict[str, Any]) -> None:
    """Every object of our kinds is what the model of its kind takes: fields, types, limits, identifiers."""
    KINDS[obj["kind"]][0].model_validate_json(json.dumps(obj))


def test_each_kind_is_shown() -> None:
    """There is an example of every kind."""
    assert {obj["kind"] for _, obj in SHOWN} == set(KINDS)


def leaves(node: Any, path: str = "") -> Iterator[str]:
    """The paths of everything in a mapping of mappings."""
    if not isinstance(node, dict) or not node:
        yield path
        return
    for key, below in node.items():
        yield from leaves(below, f"{path}.{key}".lstrip("."))


def test_parts_of_values() -> None:
    """A block of YAML that begins like the chart's values holds nothing else."""
    roots = json.loads((ROOT / "charts/laycan/values.schema.json").read_text())["properties"]
    read = [(block, found) for block in blocks("yaml") for found in yaml.safe_load_all(block.text) if isinstance(found, dict)]
    shown = [(block, found) for block, found in read if set(found) & set(roots)]
    assert [f"{block.page}:{block.line}: {path}" for block, found in shown for path in leaves(found) if not is_value(path)] == []


def test_everything_else_can_be_read() -> None:
    """Blocks of YAML and JSON are YAML and JSON."""
    for block in blocks("yaml", "yml"):
        list(yaml.safe_load_all(block.text))
    for block in blocks("json"):
        json.loads(block.text)
