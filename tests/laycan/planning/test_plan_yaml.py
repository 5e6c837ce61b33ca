"""A plan's YAML is what PyYAML would write of the same document."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from laycan.planning.plan_io import plan_document
from laycan.planning.plan_yaml import plan_yaml
from laycan_solver.model import Binding, Plan
from tests.laycan.planning.plans import ONE, PLANS


def written_by_yaml(plan: Plan) -> str:
    return yaml.dump(plan_document(plan), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=140)


@given(PLANS)
def test_any_plan(plan: Plan) -> None:
    """Byte for byte, whatever the names."""
    assert plan_yaml(plan).decode() == written_by_yaml(plan)


@pytest.mark.parametrize(
    "name", ["n1", "desk/c-1", "true", "no", "on", "null", "y", "e1", "1e3", "0", "-", "a.b", ".5", "a b", "a: b", "", "2027-01-01", "ä"]
)
def test_words(name: str) -> None:
    """A name that YAML would read as something else is quoted, and others are not."""
    plan = replace(ONE, bindings=(Binding(name, name, name, 8, 0, 1),))
    assert plan_yaml(plan).decode() == written_by_yaml(plan)


@given(st.from_regex(r"[a-z][a-z0-9./-]*", fullmatch=True))
def test_names_as_kubernetes_has_them(name: str) -> None:
    """The shortcut for plain names is taken only where it is right."""
    plan = replace(ONE, bindings=(Binding(name, name, name, 8, 0, 1),))
    assert yaml.load(plan_yaml(plan), Loader=yaml.CSafeLoader) == plan_document(plan)
