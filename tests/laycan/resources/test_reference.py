"""docs/api.md says of the kinds what the CRDs say, and leaves nothing to guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from laycan.resources import constants
from laycan.resources.about import ABOUT, KEYS
from laycan.resources.constants import PLURALS
from laycan.resources.crd import definition
from laycan.resources.reference import Field, fields, limits, page, row, split, type_of

ROOT = Path(__file__).parents[3]
SHORT = {"type": "string", "maxLength": 5}
APPLIED = ("ComputeContract", "ContractInstruction", "ComputeProduct", "ExchangeEndpoint", "Outage")  # by people and exchanges


def test_generated_is_checked_in() -> None:
    """`make generate` would change nothing."""
    assert (ROOT / "docs" / "api.md").read_text() == page(ROOT / "examples" / "kinds")


def test_every_kind_and_key() -> None:
    """Each kind has words of its own and one example, and each label and annotation that the code knows is listed."""
    assert list(ABOUT) == list(PLURALS)
    assert sorted(path.stem for path in (ROOT / "examples" / "kinds").glob("*.yaml")) == sorted(kind.lower() for kind in PLURALS)
    ours = {value for name, value in vars(constants).items() if name.endswith(("_LABEL", "_ANNOTATION")) and "laycan" in value}
    assert set(KEYS) == ours


@pytest.mark.parametrize("kind", APPLIED)
def test_absence_is_explained(kind: str) -> None:
    """Nothing has an API default, so every field that may be left out of what people write says what that means."""
    spec = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    silent = [field.path for field in fields(spec, "spec") if not field.required and not split(field.schema["description"])[1]]
    assert silent == []


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 8}, ("integer", "1 to 8")),
        ({"type": "integer", "minimum": 0}, ("integer", "at least 0")),
        ({"type": "string", "pattern": "^(a|b)$", "maxLength": 3}, ("text", "at most 3 characters; `^(a\\|b)$`")),
        ({"type": "string", "minLength": 44, "maxLength": 44}, ("text", "44 characters")),
        ({"type": "string", "enum": ["Firm", "Quote"]}, ("`Firm`, `Quote`", "")),
        ({"type": "string", "format": "date-time", "maxLength": 32}, ("time", "")),
        ({"type": "array", "maxItems": 2, "items": SHORT}, ("list of texts", "at most 2 entries; each at most 5 characters")),
        ({"type": "object", "additionalProperties": SHORT}, ("map of name to text", "each at most 5 characters")),
    ],
)  # fmt: skip
def test_types_and_limits(schema: dict[str, object], said: tuple[str, str]) -> None:
    """What may be given, in words."""
    assert (type_of(schema), limits(schema)) == said


def test_a_row() -> None:
    """A cell cannot break the table, and what is told elsewhere is referred to."""
    schema = {"type": "object", "description": "This | that <uid>. Absent: none."}
    assert row(Field("spec.a", schema, False, "")) == "| `spec.a` | object | none |  | This \\| that &lt;uid>. |\n"
    assert "| as `spec.b` | **required** |" in row(Field("spec.a", schema, True, "spec.b"))


def test_what_was_told_is_not_told_again() -> None:
    """Of two fields that hold the same the second one names the first; lists of conditions are told once for all kinds."""
    party = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a"]}
    schema = {"properties": {"buyer": party, "seller": party, "conditions": {"type": "array", "items": party}}}
    told = [(field.path, field.required, field.like) for field in fields(schema, "s")]
    buyer = [("s.buyer", False, ""), ("s.buyer.a", True, ""), ("s.buyer.b", False, "")]
    assert told == [*buyer, ("s.seller", False, "s.buyer"), ("s.conditions", False, "")]
