"""One document that fetches nothing, says the same twice, and is not fooled by names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from laycan.desk.report.data import script_json
from laycan.desk.report.page import page_of
from laycan.desk.report.render import render
from laycan.desk.report.standing import Condition, Quantities, Standing
from laycan_solver.model import Problem
from laycan_solver.planner import plan
from tests.laycan.desk.report.books import SEEDS, Document, case
from tests.laycan_solver.small import contract, node, outage, problem, product

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "a\u2028b\u2029c",
    "]]>&lt;&amp;",
    "javascript:alert(1)",
)
SAME_BYTES = """
import hashlib, sys
from laycan.desk.report.page import page_of
from laycan.desk.report.render import render
from tests.laycan.desk.report.books import case
print(hashlib.sha256(render(page_of(*case(3), title="x")).encode()).hexdigest())
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_well_formed(seed: int) -> None:
    """Elements are closed as they were opened, ids are there once, and every column of a table has its cell."""
    document = Document(render(page_of(*case(seed), curve=seed < 2)))
    ids = [attrs["id"] for _, attrs in document.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in document.tags].count("main") == 1


def test_nothing_is_fetched() -> None:
    """No address of anything, no element or style that loads, and a policy that forbids it."""
    text = render(page_of(*case(0)))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|\bsrc=|<link|<iframe|fetch\(|XMLHttp|WebSocket|sendBeacon", text)
    document = Document(text)
    assert {attrs["href"] for _, attrs in document.tags if "href" in attrs} <= {
        f"#{name}" for name in ("proof", "schedule", "capacity", "sellable", "book", "concerns")
    }
    (policy,) = (attrs["content"] for _, attrs in document.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert "default-src 'none'" in policy


def test_same_bytes_in_other_processes() -> None:
    """The order of sets and dictionaries of a process decides nothing."""
    found = set()
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        found.add(subprocess.run([sys.executable, "-c", SAME_BYTES], env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1


def hostile_case(name: str) -> Problem:
    """Every text that a page shows is `name`, or holds it."""
    nodes = [node(f"{name}{i}", rack=f"{name}-rack") for i in range(3)]
    nodes = [replace(n, domains=(f"{name}-zone", *n.domains[1:]), grade=name) for n in nodes]
    sold = product(name, grade=name)
    contracts = [replace(contract(f"{name}-{i}", 0, 48, product=name), holder=name) for i in range(4)]
    return problem(nodes, contracts, products=[sold], outages=[replace(outage(nodes[0].name, 10, 20), name=name)])


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_never_markup(name: str) -> None:
    """Whatever contracts, nodes, racks, grades, outages and conditions are called, the page has the same elements as with tame names."""

    def shape(of: str) -> tuple[Document, list[tuple[str, list[str]]]]:
        book = hostile_case(of)
        told = Standing(
            f"desk/{of}-0", of, of, of, Quantities(1, 1, 0, 0, 0, 0), 0, (Condition("AtRisk", of, of), Condition(of, of, of)), of, of, of
        )
        document = Document(render(page_of(book, plan(book, 2), [told], title=of, currency=of)))
        return document, [(tag, sorted(attrs)) for tag, attrs in document.tags]

    found, elements = shape(name)
    _, tame = shape("tame")
    assert elements == tame
    assert any(name.strip() in text and text.endswith("-rack") for _, text in found.texts)
    data = found.data()
    assert data["products"] == [name]
    assert f"desk/{name}-0" in data["contracts"]["key"]
    assert any(name.strip() in text for tag, text in found.texts if tag == "h1")


def test_json_in_a_script_has_nothing_that_ends_it() -> None:
    """No angle bracket, ampersand or line separator is left, in keys as little as in values."""
    text = script_json({name: name for name in HOSTILE})
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {name: name for name in HOSTILE}


def test_the_script_makes_no_markup_of_text() -> None:
    """It writes with textContent and append, and evaluates nothing."""
    text = render(page_of(*case(0)))
    script = text.rpartition("<script>")[2]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser", script)
