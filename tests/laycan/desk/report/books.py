"""Books and their plans to make pages of: small ones with something of everything, and what a browser would read of a page."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

from laycan_solver.model import Plan, Problem
from laycan_solver.planner import plan
from tests.laycan_solver.instances import Shape, problem

SHAPE = Shape(nodes=14, contracts=30, load=1.3, steps=20, trouble=0.5)
SEEDS = range(12)  # among them moves, shortfalls, curtailments, refusals and cuts: `test_the_books_have_everything`


@cache
def case(seed: int) -> tuple[Problem, Plan]:
    """Every third contract is a candidate that may be refused, unless it was announced."""
    drawn = problem(seed, SHAPE)
    announced = {b.contract for b in drawn.previous}
    contracts = tuple(replace(c, accepted=i % 3 > 0 or c.key in announced) for i, c in enumerate(drawn.contracts))
    drawn = replace(drawn, contracts=contracts)
    return drawn, plan(drawn, 20)


class Document(HTMLParser):
    """A page as it is read: raises AssertionError where elements are not closed as they were opened."""

    VOID = frozenset({"meta", "link", "br", "input", "path", "hr", "img"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []  # element, text in it
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        at = next(i for i, (tag, attrs) in enumerate(self.tags) if attrs.get("id") == "data")
        assert self.tags[at][1]["type"] == "application/json"
        found: dict[str, Any] = next(json.loads(text) for tag, text in self.texts if tag == "script" and text.startswith("{"))
        return found
