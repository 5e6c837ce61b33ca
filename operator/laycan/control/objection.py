"""Why an instruction is not applied: for good, or not yet."""

from __future__ import annotations

from typing import NamedTuple


class Objection(NamedTuple):
    final: bool  # rejected; else it waits
    code: str  # one word in CamelCase
    message: str  # what is wrong or awaited, and what to do


def refuse(code: str, message: str) -> Objection:
    return Objection(True, code, message)


def wait(code: str, message: str) -> Objection:
    return Objection(False, code, message)
