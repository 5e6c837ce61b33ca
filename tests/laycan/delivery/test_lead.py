"""The lead that is learnt from drains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.delivery.lead import KEPT, drains_of, lead_seconds, learnt_seconds, with_drains
from laycan.delivery.nodes.desired import claims_of_world
from laycan.delivery.nodes.situation import Situation
from laycan.kube.views import FenceView
from laycan.kube.world import ONLY
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

LEAST, MOST = SETTINGS.lead_seconds, SETTINGS.longest_lead_seconds


def fence(text: str, version: int = 1) -> FenceView:
    return FenceView(version, {}, {"laycan.dev/drain-seconds": text})


@pytest.mark.parametrize(
    ("drains", "lead"),
    [
        ([], 60),
        ([300] * 4, 60),  # too few
        ([300] * 5, 380),  # a quarter more, in steps of ten
        ([5] * 20, 60),  # never less than the settings'
        ([4000] * 20, 600),  # never more than their maximum
        ([5] * 18 + [300] * 2, 60),  # one in ten may be late
        ([5] * 17 + [300] * 3, 380),
    ],
)
def test_learnt(drains: list[int], lead: int) -> None:
    """Nine drains in ten would have been over, with a quarter to spare, within the settings' bounds."""
    assert learnt_seconds(drains, SETTINGS) == lead


@given(st.lists(st.integers(0, 5000), max_size=80), st.integers(0, 5000))
def test_longer_drains_never_shorten_it(drains: list[int], seconds: int) -> None:
    """A drain that took longer instead of a shorter one does not shorten the lead, which stays in its bounds."""
    lead = learnt_seconds([*drains, min(seconds, 100)], SETTINGS)
    assert LEAST <= lead <= learnt_seconds([*drains, seconds + 100], SETTINGS) <= MOST


@given(st.lists(st.integers(0, 10**6), max_size=100), st.lists(st.integers(0, 10**6), min_size=1, max_size=100))
def test_annotation_keeps_the_latest(old: list[int], new: list[int]) -> None:
    """What is written is read again: the latest drains, as many as are kept."""
    assert drains_of(fence(with_drains(old, new))) == tuple([*old, *new][-KEPT:])


@pytest.mark.parametrize("text", ["", "soon", "1,,2", "-5", "1;2", "99999999999"])
def test_somebody_elses_words(text: str) -> None:
    """An annotation that cannot be read says nothing."""
    assert drains_of(fence(text)) == ()
    assert drains_of(None) == ()


def test_turnaround() -> None:
    """A product that keeps nodes free for longer has them closed as long."""
    products = {"h100": {"spec": {"turnaroundSeconds": 900}}}
    assert lead_seconds("h100", products, None, SETTINGS) == 900
    assert lead_seconds("other", products, fence(",".join(["300"] * 5)), SETTINGS) == 380


def test_claims_follow() -> None:
    """When the fence's annotation says that drains take longer, the same window is prepared earlier, at once."""
    seen = world([node("n")], [contract("a", "acme", [binding("n", 1000, 2000)])], {})
    situation = Situation(seen, SETTINGS, lambda: None)
    situation.look(T0, full=True)
    assert [claim.freeze_at for claim in situation.claims.on("n")] == [T0 + 940]
    seen.put("fence", ONLY, fence(",".join(["300"] * 5), version=2))
    assert [claim.freeze_at for claim in situation.claims.on("n")] == [T0 + 620]
    assert situation.claims.by_contract == claims_of_world(seen, SETTINGS).by_contract
    situation.look(T0 + 620)
    assert "n" in situation.targets
