"""What a hold is planned as: it commits its nodes, and gives way to everything that was promised."""

from __future__ import annotations

from dataclasses import replace

from laycan.planning.holds import as_hold
from tests.laycan_solver.small import contract


def test_a_firm_quote_commits_its_nodes() -> None:
    """Accepted, worth a micro, and nobody may curtail it; it shares a node with no holder."""
    held = as_hold(contract("q", 0, 1, firm=True, price_micros=2_000_000, multiple_ppm=3, accepted=False), "uid", accepted=True)
    assert (held.accepted, held.firm, held.price_micros, held.multiple_ppm) == (True, False, 1, 1_000_000)
    assert (held.notice_seconds, held.curtailable_seconds, held.holder) == (None, 0, "quote.uid")
    assert held.for_firm, "its target is kept"


def test_an_interruptible_quote_is_kept_as_well() -> None:
    """Nobody who comes later may have it curtailed while it is held; its holder is who asked."""
    asked = replace(contract("q", 0, 1, firm=False), notice_seconds=600, curtailable_seconds=7_200, holder="acme")
    held = as_hold(asked, "uid", accepted=False)
    assert (held.notice_seconds, held.curtailable_seconds, held.holder, held.accepted) == (None, 0, "acme", False)
    assert not held.for_firm
