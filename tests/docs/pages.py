"""The Markdown pages of the repository, taken apart: links, anchors, blocks of code, and words set as code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from laycan.resources.constants import GROUP

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"dist", "build", "shared"}  # folders at the root that hold nothing of ours, beside hidden ones


class Block(NamedTuple):
    """A fenced block of code. `line`: of its first line in the page, from 1."""

    page: str
    line: int
    language: str
    text: str


class Link(NamedTuple):
    page: str
    target: str
    image: bool


@cache
def pages() -> tuple[str, ...]:
    """All of them, as paths from the root."""
    folders = (path for path in ROOT.iterdir() if path.is_dir() and path.name not in ELSEWHERE and not path.name.startswith("."))
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    return tuple(sorted(str(path.relative_to(ROOT)) for path in found))


@cache
def tokens(page: str) -> tuple[Token, ...]:
    """As a reader of GitHub's Markdown sees the page."""
    return tuple(MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text()))


def blocks(*languages: str) -> list[Block]:
    """Fenced blocks of these languages; "" is of none."""
    found = [(page, token) for page in pages() for token in tokens(page) if token.type == "fence"]
    made = [Block(page, (token.map or [0])[0] + 2, token.info.strip(), token.content) for page, token in found]
    return [block for block in made if block.language in languages]


def inline(page: str, *types: str) -> Iterator[Token]:
    """Tokens of these types within paragraphs, headings and cells."""
    for token in tokens(page):
        yield from (child for child in token.children or () if child.type in types)


def spans(page: str) -> set[str]:
    """Words that are set as code."""
    return {" ".join(token.content.split()) for token in inline(page, "code_inline")}


def links() -> list[Link]:
    """Every link and image; those that stand twice in a page once."""
    found = [
        Link(page, str(token.attrs["src" if token.type == "image" else "href"]), token.type == "image")
        for page in pages()
        for token in inline(page, "link_open", "image")
    ]
    return sorted(set(found))


@cache
def anchors(page: str) -> frozenset[str]:
    """Where a link can lead in the page: its headings, as GitHub names them, and what HTML names."""
    seen: Counter[str] = Counter()
    found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", (ROOT / page).read_text()))
    following = zip(tokens(page), tokens(page)[1:], strict=False)
    for heading in (after for token, after in following if token.type == "heading_open"):
        text = "".join(child.content for child in heading.children or () if child.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def is_ours(obj: Any) -> bool:
    """Whether that is an object of one of our kinds, and no part of one."""
    return isinstance(obj, dict) and str(obj.get("apiVersion", "")).startswith(f"{GROUP}/") and "metadata" in obj


WORDS = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text())


def documents(text: str) -> Iterator[Any]:
    """Of YAML in a page, with what a reader fills in."""
    for placeholder, value in WORDS["filledIn"].items():
        text = text.replace(placeholder, value)
    yield from yaml.safe_load_all(text)


def objects() -> list[tuple[Block, dict[str, Any]]]:
    """The objects of our kinds that the pages show."""
    return [(block, obj) for block in blocks("yaml", "yml") for obj in documents(block.text) if is_ours(obj)]
