"""The CRDs are what the models say, complete and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laycan.resources.constants import PLURALS
from laycan.resources.crd import definition, render, structural

CRDS = Path(__file__).parents[3] / "crds"
UNIT = re.compile(
    r"GPUs|watts|millijoules|seconds|hours|millionths|a count|ordinal|no unit|NVIDIA's numbers|metadata\.generation|1000000", re.IGNORECASE
)


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from fields(field, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from fields(schema[inner], f"{path}[]")


def all_fields() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for kind in PLURALS:
        root = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        found += [entry for part in ("spec", "status") if part in root for entry in fields(root[part], f"{kind}.{part}")]
    return found


FIELDS = all_fields()


@pytest.mark.parametrize("kind", PLURALS)
def test_generated_is_checked_in(kind: str) -> None:
    """`make generate` would change nothing."""
    assert (CRDS / f"{PLURALS[kind]}.yaml").read_text() == render(kind)


def test_no_other_file() -> None:
    """The folder holds the kinds and nothing else."""
    assert sorted(path.name for path in CRDS.iterdir()) == sorted(f"{plural}.yaml" for plural in PLURALS.values())


@pytest.mark.parametrize("kind", PLURALS)
def test_kept_by_helm(kind: str) -> None:
    """An uninstall keeps the CRDs, and with them every contract."""
    assert definition(kind)["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_every_field_is_described() -> None:
    """`kubectl explain` has a sentence for every field."""
    assert [path for path, field in FIELDS if not path.endswith("[]") and len(field.get("description", "")) < 5] == []


def test_every_number_names_its_unit() -> None:
    """The description of an integer says what it counts."""
    assert [
        path for path, field in FIELDS if field["type"] == "integer" and "[]" not in path[-2:] and not UNIT.search(field["description"])
    ] == []


def test_everything_is_bounded() -> None:
    """Without bounds the API server rejects the CEL rules, and one object could fill etcd."""
    limit = {"string": "maxLength", "array": "maxItems"}
    open_ended = [path for path, field in FIELDS if field["type"] in limit and limit[field["type"]] not in field and "enum" not in field]
    open_ended += [path for path, field in FIELDS if "additionalProperties" in field and "maxProperties" not in field]
    open_ended += [path for path, field in FIELDS if field["type"] == "integer" and "minimum" not in field]
    assert open_ended == []


def test_nothing_has_a_default() -> None:
    """What was signed is what is stored: the API server adds nothing."""
    assert [path for path, field in FIELDS if "default" in field] == []


def test_no_floats() -> None:
    """What is compared or signed is an integer or a decimal text."""
    assert [path for path, field in FIELDS if field["type"] == "number"] == []


def test_unions_have_no_structural_form() -> None:
    """A model that cannot be a CRD is refused when it is written, not when it is installed."""
    with pytest.raises(ValueError, match="no unions"):
        structural({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {})
