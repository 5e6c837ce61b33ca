"""What the generators of pages have in common: cells of tables, and the part of a page that is generated."""

from __future__ import annotations

import re

END = "<!-- end -->\n"


def cell(text: str) -> str:
    """As it may stand in a cell of a table. What is set as code keeps its `<`, which is literal there; `|` ends a cell there, too."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"\s+", " ", text).strip().replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def put(page: str, begin: str, made: str) -> str:
    """The page with `made` between the mark `begin` and the next END. Raises ValueError where a mark is missing."""
    before, begun, rest = page.partition(begin)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"the page has no part from {begin.strip()} to {END.strip()}")
    return before + begin + made + END + after
