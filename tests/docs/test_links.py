"""Every link in every page leads somewhere. Other hosts are not asked: of a link to one only the form is looked at."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, Link, anchors, links, pages

INSIDE = [link for link in links() if not urlsplit(link.target).scheme]
OUTSIDE = [link for link in links() if urlsplit(link.target).scheme]


def fault(link: Link) -> str:
    """Why the link leads nowhere, "" where it does."""
    path, _, anchor = unquote(link.target).partition("#")
    target = (ROOT / link.page).parent / path if path else ROOT / link.page
    if not target.exists():
        return "is no file"
    if not target.resolve().is_relative_to(ROOT.resolve()):
        return "leaves the repository"
    if anchor and target.suffix == ".md" and anchor not in anchors(str(target.resolve().relative_to(ROOT.resolve()))):
        return "is no heading there"
    return ""


def test_inside() -> None:
    """Files, images and headings that pages name exist, with their own case."""
    assert [f"{link.page}: {link.target} {why}" for link in INSIDE if (why := fault(link))] == []


def test_outside() -> None:
    """Links to other hosts are https, to a public name, without white space or user."""
    odd = [
        f"{link.page}: {link.target}"
        for link in OUTSIDE
        if (url := urlsplit(link.target)).scheme != "https" or "." not in url.netloc or set(url.netloc) & set("@: ") or " " in link.target
    ]
    assert odd == []


def test_every_page_is_reached() -> None:
    """From the README every page of docs/ can be found by following links."""
    reached, ahead = set[str](), ["README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        here = (ROOT / page).parent
        near = {(here / link.target.partition("#")[0]).resolve() for link in INSIDE if link.page == page and ".md" in link.target}
        ahead += [name for path in near if (name := str(path.relative_to(ROOT.resolve()))) in pages() and name not in reached]
    assert {page for page in pages() if page.startswith("docs/")} - reached == set()


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("nowhere.md", "is no file"),
        ("api.md#nothing", "is no heading there"),
        ("api.md#labels-and-annotations", ""),
        ("../examples/desk", ""),
        ("#laycan-what-if", ""),
        ("#laycan-nothing", "is no heading there"),
        ("../..", "leaves the repository"),
    ],
)
def test_faults_are_found(target: str, why: str) -> None:
    """The test itself tells good links from bad ones."""
    assert fault(Link("docs/cli.md", target, False)) == why
