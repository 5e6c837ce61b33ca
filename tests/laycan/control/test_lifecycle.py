"""The transition table: every step that is in it, no step that is not, and the picture drawn from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from laycan.control.lifecycle import COMMITTED, FINAL, TABLE, UNDECIDED, IllegalStepError, Phase, Step, diagram, move

DOCS = Path(__file__).parents[3] / "docs" / "lifecycle.md"

# contract.md 2, written down a second time by hand
LEGAL = {
    ("", "APPEAR", "Received"),
    ("Received", "REJECT", "Rejected"),
    ("Quoted", "REJECT", "Rejected"),
    ("Received", "QUOTE", "Quoted"),
    ("Quoted", "EXPIRE", "Expired"),
    ("Received", "ACCEPT", "Accepted"),
    ("Quoted", "ACCEPT", "Accepted"),
    ("Accepted", "START", "Delivering"),
    ("Delivering", "END", "Delivered"),
    ("Delivered", "SETTLE", "Settled"),
    ("Accepted", "CANCEL", "Cancelled"),
    ("Accepted", "TERMINATE", "Terminated"),
    ("Delivering", "TERMINATE", "Terminated"),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("step", Step)
def test_step(phase: Phase, step: Step) -> None:
    """A step leads where the contract says, and one that it does not name raises."""
    targets = [target for origin, name, target in LEGAL if (origin, name) == (phase.value, step.name)]
    if targets:
        assert [move(phase, step).value] == targets
    else:
        with pytest.raises(IllegalStepError, match=step.name):
            move(phase, step)


def test_accepted_is_never_judged_again() -> None:
    """From a commitment no path leads back to a decision."""
    reached, todo = set(COMMITTED), list(COMMITTED)
    while todo:
        here = todo.pop()
        for target in {t for (origin, _), t in TABLE.items() if origin is here} - reached:
            reached.add(target)
            todo.append(target)
    assert not reached & (UNDECIDED | {Phase.REJECTED, Phase.EXPIRED})


def test_every_life_ends() -> None:
    """The table has no cycle, so each contract reaches one final phase."""

    def longest(phase: Phase, seen: frozenset[Phase]) -> None:
        assert phase not in seen
        for target in {t for (origin, _), t in TABLE.items() if origin is phase}:
            longest(target, seen | {phase})

    longest(Phase.NEW, frozenset())
    assert {p.value for p in FINAL} == {"Rejected", "Expired", "Settled", "Cancelled", "Terminated"}


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TABLE[Phase.REJECTED, Step.ACCEPT] = Phase.ACCEPTED  # type: ignore[index]


def test_picture_in_the_docs() -> None:
    """docs/lifecycle.md shows the table as it is."""
    assert f"```mermaid\n{diagram()}```\n" in DOCS.read_text(), "run `python -m laycan.control.lifecycle docs/lifecycle.md`"
