"""What the chart says of itself: the README of every value, and the annotations that Artifact Hub shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.readme import meanings, page, values
from laycan.resources.validate import contract_spec, outage_spec, product_spec
from tests.chart.conftest import CHART, Render

ROOT = CHART.parents[1]
ABOUT = yaml.safe_load((CHART / "Chart.yaml").read_text())
CRDS = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]
JUDGES: dict[str, Callable[[str, Any], object]] = {
    "ComputeContract": lambda _, spec: contract_spec(spec),
    "ComputeProduct": product_spec,
    "Outage": lambda _, spec: outage_spec(spec),
}
# https://artifacthub.io/docs/topics/annotations/helm
KNOWN = {
    "alternativeName", "category", "changes", "containsSecurityUpdates", "crds", "crdsExamples", "images", "license", "links",
    "maintainers", "operator", "operatorCapabilities", "prerelease", "recommendations", "screenshots", "signKey",
}  # fmt: skip


def annotation(name: str) -> Any:
    return yaml.safe_load(ABOUT["annotations"][f"artifacthub.io/{name}"])


def test_readme_is_the_generated_one() -> None:
    """`make generate` was run: the README says what Chart.yaml, values.yaml and the schema say now."""
    assert page(CHART) == (CHART / "README.md").read_text()


def test_every_value_is_explained() -> None:
    """Each value that values.yaml sets has a row, and the row its default; what a row calls absent is absent."""
    rows = {value.path: value for value in values(CHART)}
    defaults = dict(_leaves(yaml.safe_load((CHART / "values.yaml").read_text()), set(rows)))
    assert {path for path, value in rows.items() if value.default} == defaults.keys()
    assert {path: json.loads(rows[path].default) for path in defaults} == defaults


def test_a_comment_belongs_to_the_key_below() -> None:
    """Not to one further down, nor to a part of another; a value that is shown as a comment has its own."""
    text = "# Of a.\na:\n  # Of b,\n  # in two lines.\n  b: 1\n  c: 2\n\n# Of nobody.\n\n# Of d.\nd: {}\n# Of e: unset.\n# e: [1]\n"
    assert meanings(text) == {"a": "Of a.", "a.b": "Of b, in two lines.", "a.c": "", "d": "Of d.", "e": "Of e: unset."}


def test_a_value_without_a_comment_is_refused(tmp_path: Path) -> None:
    """Nobody adds a value and leaves its meaning to be guessed."""
    (tmp_path / "values.schema.json").write_text((CHART / "values.schema.json").read_text())
    (tmp_path / "values.yaml").write_text((CHART / "values.yaml").read_text().replace("  # How often metrics are read.\n", ""))
    with pytest.raises(LookupError, match=r"serviceMonitor\.interval"):
        list(values(tmp_path))


def test_the_version_is_in_the_changelog() -> None:
    """Who upgrades can read what has changed; that all parts have the same version, tests/release sees to."""
    assert f"\n## {ABOUT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_annotations_are_known_and_strings() -> None:
    """Artifact Hub ignores names that it does not know, and Helm takes strings only."""
    assert {name.removeprefix("artifacthub.io/") for name in ABOUT["annotations"]} <= KNOWN
    assert all(isinstance(text, str) for text in ABOUT["annotations"].values())
    assert ABOUT["annotations"]["artifacthub.io/category"] == "ai-machine-learning"
    assert (ABOUT["annotations"]["artifacthub.io/license"], annotation("prerelease")) == ("Apache-2.0", False)
    assert {change["kind"] for change in annotation("changes")} <= {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert all(each["url"].startswith("https://") and each["name"] for each in annotation("links"))


def test_annotated_crds_are_the_charts() -> None:
    """Each CRD is listed, with the version that it serves."""
    ours = {(each["spec"]["names"]["kind"], each["spec"]["versions"][0]["name"], each["metadata"]["name"]) for each in CRDS}
    assert {(each["kind"], each["version"], each["name"]) for each in annotation("crds")} == ours
    assert all(each["displayName"] and each["description"] for each in annotation("crds"))


def test_annotated_examples_are_valid() -> None:
    """Nothing is wrong with the examples that people copy."""
    for example in annotation("crdsExamples"):
        name, spec = example["metadata"]["name"], example["spec"]
        assert not isinstance(JUDGES[example["kind"]](name, spec), list), JUDGES[example["kind"]](name, spec)


def test_annotated_images_are_the_rendered_ones(render: Render) -> None:
    """What is scanned is what runs."""
    rendered = {
        container["image"]
        for each in render()
        if each["kind"] in ("Deployment", "DaemonSet", "Job")
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert {each["image"] for each in annotation("images")} == rendered


def _leaves(tree: Any, known: set[str], path: str = "") -> list[tuple[str, Any]]:
    """Dotted paths, as deep as the README goes."""
    if path in known or not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for name, part in tree.items() for leaf in _leaves(part, known, f"{path}.{name}".lstrip("."))]
