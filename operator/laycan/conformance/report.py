"""Results for people, for machines and for a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import orjson

from laycan.conformance.attack import Result

_VERDICTS = {True: "held", False: "FAILED", None: "not run"}


def verdict(result: Result) -> str:
    """In one word."""
    return _VERDICTS[result.held]


def line(result: Result) -> str:
    """One result on one line."""
    return f"{verdict(result):<8} {result.id:<24} {result.observed}"


def summary(results: Iterable[Result]) -> str:
    """How many held, failed, were not run."""
    found = list(results)
    return ", ".join(f"{sum(each.held is held for each in found)} {word.lower()}" for held, word in _VERDICTS.items())


def table(results: Sequence[Result]) -> bytes:
    lines = [*map(line, results), summary(results)]
    return ("\n".join(lines) + "\n").encode()


def document(results: Sequence[Result]) -> bytes:
    """JSON."""
    return orjson.dumps([asdict(each) for each in results], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def markdown(results: Sequence[Result]) -> str:
    """Two tables: each attack, and the numbers."""
    rows = [
        f"| `{each.id}` | {_cell(each.claim)} | {_cell(each.expected)} | {_cell(each.observed)} | {verdict(each)} |" for each in results
    ]
    numbers = [
        f"| `{each.id}` | {_cell(name)} | {value:.3g} |" if value < 100 else f"| `{each.id}` | {_cell(name)} | {value:.0f} |"
        for each in results
        for name, value in each.numbers.items()
    ]
    parts = [f"{summary(results)}.", "", "| id | attack | expected | observed | verdict |", "|---|---|---|---|---|", *rows]
    if numbers:
        parts += ["", "| id | number | value |", "|---|---|---|", *numbers]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
