"""Cells of generated tables, and the generated part of a page."""

from __future__ import annotations

import pytest

from laycan.markdown import cell, put


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a | b\n  c ", "a \\| b c"), ("of <uid>", "of &lt;uid>"), ("`<a|b>` of <uid>", "`<a\\|b>` of &lt;uid>")],
)
def test_a_cell(text: str, shown: str) -> None:
    """It is one line, ends no cell and is no HTML; in code only `|` is escaped, as GitHub reads it."""
    assert cell(text) == shown


def test_the_generated_part() -> None:
    """All between the marks is replaced, nothing else, whatever stands in it."""
    assert put("a\n<!-- b -->\nold\n<!-- end -->\nc\n", "<!-- b -->\n", "\\1 new\n") == "a\n<!-- b -->\n\\1 new\n<!-- end -->\nc\n"


@pytest.mark.parametrize("page", ["a\n", "a\n<!-- b -->\nold\n", "<!-- end -->\n<!-- b -->\n"])
def test_a_mark_that_is_gone(page: str) -> None:
    """A page that lost a mark would never be made anew, and nobody would know."""
    with pytest.raises(ValueError, match="no part from <!-- b -->"):
        put(page, "<!-- b -->\n", "new\n")
