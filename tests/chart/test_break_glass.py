"""The page that one reads in an emergency names things that exist."""

from __future__ import annotations

import re
from pathlib import Path

from laycan.resources.constants import FINALIZER, HOLDER_LABEL, PAUSE_ANNOTATION
from tests.chart.conftest import Render

PAGE = (Path(__file__).parents[2] / "docs" / "break-glass.md").read_text()


def test_what_it_deletes_exists(render: Render) -> None:
    """Every object that a `kubectl delete` of the page names is one that the chart creates."""
    created = {(each["kind"].lower(), each["metadata"]["name"]) for each in render("mode=Enforce")}
    deletes = re.findall(r"^kubectl delete (\w+) (.+)$", PAGE, re.MULTILINE)
    named = {(kind, name) for kind, names in deletes if "NAMESPACE" not in names for name in names.split()}
    assert len(named) == 8
    assert named <= created


def test_policies_it_names_exist(render: Render) -> None:
    """Every `laycan-…` of the page is a name of the chart's."""
    created = {each["metadata"]["name"] for each in render("mode=Enforce")} | {"laycan-system"}
    assert set(re.findall(r"laycan-[a-z-]+[a-z]", PAGE)) <= created


def test_links_lead_somewhere() -> None:
    """Links within the page point at its headings."""
    headings = {re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)}
    links = re.findall(r"\]\(#([a-z-]+)\)", PAGE)
    assert links
    assert set(links) <= headings


def test_keys_are_the_codes_own() -> None:
    """Labels, annotations and finalizers are spelled as in the code."""
    assert all(key in PAGE for key in (HOLDER_LABEL, PAUSE_ANNOTATION, FINALIZER))
