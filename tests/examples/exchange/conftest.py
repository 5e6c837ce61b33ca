"""An operator's office, and exchanges that listen to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.exchange.kit import Exchange
from tests.examples.exchange.office import Office


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def new_exchange(tmp_path: Path, office: Office) -> Iterator[Callable[..., Exchange]]:
    """Starts kits; all on one ledger, one after the other."""
    made: list[Exchange] = []

    def start(**options: Any) -> Exchange:
        for before in made:
            before.close()
        made[:] = [Exchange(tmp_path / "exchange.sqlite", office, **options)]
        return made[0]

    yield start
    for last in made:
        last.close()


@pytest.fixture
def exchange(new_exchange: Callable[..., Exchange]) -> Exchange:
    """One that has said where it stands already."""
    made = new_exchange()
    assert made.say("warm-up") == (200, {"have": 0})
    return made
