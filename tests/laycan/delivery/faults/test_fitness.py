"""Which GPUs are unfit by the word of their node's agent, under which policy, and when the clock changes that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.delivery.faults.fitness import (
    FIT,
    SLOWDOWN_HOLDS_SECONDS,
    Unfit,
    degraded,
    fitness,
    instants,
    meter_on,
    policies_on,
    policy_of,
    unfit_for,
)
from laycan.kube.views import ContractView
from laycan.resources.verdict import Found, Policy
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, meter, node, world

QUICK = SETTINGS.model_copy(update={"dwell_seconds": 7, "hysteresis_seconds": 50})
CARDS = ("U0", "U1", "U2")
FATAL = {"Missing", "RecoveryAction", "UncorrectableEcc", "RowRemapPending", "RowRemapFailed", "NvLinkDown", "FabricNotReady"}


def found(signal: str, start: int, end: int | None = None, *, gpu: str = "U0", code: int = 0, value: int = 0) -> Found:
    """Times in seconds after T0."""
    return Found(gpu, signal, code, value, T0 + start, None if end is None else T0 + end)


def policy(**raw: Any) -> Policy:
    return Policy.of({"cleanSeconds": 20, **raw})


def reasons(findings: list[Found], at: int, *policies: Policy) -> dict[str, str]:
    made = fitness(meter("n", *findings, gpus=CARDS), policies or (policy(),), QUICK, T0 + at)
    return {gpu: why.reason for gpu, why in made.unfit.items()}


class TestSpells:
    """What takes a GPU away, from when and until when."""

    def test_fatal_xid(self) -> None:
        """At once, until the policy's clean time after the reset is over; the wake names that second, and then it is known."""
        closed = [found("Xid", 0, 100, code=79)]
        assert reasons([found("Xid", 0, code=79)], 10_000) == {"U0": "Xid79"}
        assert reasons(closed, 119) == {"U0": "Xid79"}
        before, after = (fitness(meter("n", *closed, gpus=CARDS), (policy(),), QUICK, T0 + at) for at in (119, 120))
        assert (before.wake, before.unfit["U0"], before.gpus) == (T0 + 120, Unfit("Xid79", T0), 3)
        assert (after.unfit, after.wake, after.settled) == ({}, None, T0 + 120)

    def test_harmless_xid(self) -> None:
        """A program's crash (XID 13) is no fault of the GPU unless the policy says so."""
        crash = [found("Xid", 0, code=13)]
        assert reasons(crash, 10) == {}
        assert reasons(crash, 10, policy(fatalXids=[13])) == {"U0": "Xid13"}
        assert reasons([found("Xid", 0, code=79)], 10, policy(fatalXids=[13])) == {}

    def test_unreadable(self) -> None:
        """What NVML does not answer for a moment moves nobody; for longer than the dwell it does, until it answers again."""
        asking = meter("n", found("Unreadable", 0), gpus=CARDS)
        assert fitness(asking, (policy(),), QUICK, T0 + 6).wake == T0 + 7
        assert [reasons([found("Unreadable", 0)], at) for at in (6, 7)] == [{}, {"U0": "Unreadable"}]
        assert [reasons([found("Unreadable", 0, 9)], at) for at in (8, 9)] == [{"U0": "Unreadable"}, {}]
        assert [reasons([found("Unreadable", 0, 7)], at) for at in (6, 7, 8)] == [{}, {}, {}]

    def test_slowdown(self) -> None:
        """More than the policy's share is unfit unless the policy accepts it, and until the next stretch is known."""
        slow = [found("Slowdown", 0, 300, value=60_000)]
        assert [reasons(slow, at) for at in (310, 629, 630)] == [{"U0": "Slowdown"}, {"U0": "Slowdown"}, {}]
        assert reasons(slow, 310, policy(acceptDegraded=["Slowdown"])) == {}
        assert reasons(slow, 310, policy(degradedSharePpm=60_000)) == {}

    def test_the_strictest_counts(self) -> None:
        """Of several policies on a node; of several findings the worst gives the reason, and the worst GPU comes first."""
        findings = [found("PcieDegraded", 0), found("Xid", 5, code=13), found("Missing", 9, gpu="U2")]
        lax = policy(acceptDegraded=["PcieDegraded"], fatalXids=[79])
        assert reasons(findings, 10, lax) == {"U2": "Missing"}
        assert reasons(findings, 10, lax, policy(fatalXids=[13])) == {"U0": "Xid13", "U2": "Missing"}
        assert list(reasons(findings, 10, lax, policy())) == ["U2", "U0"]

    def test_a_clock_that_is_ahead(self) -> None:
        """What was told has happened, whatever the node's clock says."""
        early = fitness(meter("n", found("Missing", 500), gpus=CARDS), (policy(),), QUICK, T0)
        assert early.unfit == {"U0": Unfit("Missing", T0 + 500)}

    def test_nothing_found(self) -> None:
        """No meter, no finding, and history that is long over are the same."""
        assert fitness(None, (policy(),), QUICK, T0) is FIT
        assert fitness(meter("n", gpus=CARDS), (policy(),), QUICK, T0) is FIT
        assert fitness(meter("n", found("Missing", 0, 100), gpus=CARDS), (policy(),), QUICK, T0 + 5000) is FIT


def naive(findings: list[Found], policies: list[Policy], at: int) -> dict[str, str]:
    """One second, one finding and one policy at a time."""
    worst: dict[str, tuple[int, int, str]] = {}
    for each in findings:
        end = 1 << 40 if each.end is None else each.end
        for rule in policies:
            if (each.signal == "Xid" and each.code in rule.fatal_xids) or each.signal in FATAL:
                takes, rank = at < end + rule.clean_seconds, 0
            elif each.signal == "Slowdown":
                takes, rank = each.value > rule.degraded_share_ppm and at < end + SLOWDOWN_HOLDS_SECONDS, 2
                takes = takes and "Slowdown" not in rule.accept_degraded
            elif each.signal == "PcieDegraded":
                takes, rank = at < end and "PcieDegraded" not in rule.accept_degraded, 2
            else:
                takes, rank = each.signal != "Xid" and each.start + 7 <= at < end, 1
            if takes:
                reason = f"Xid{each.code}" if each.signal == "Xid" else each.signal
                worst[each.gpu] = min((rank, each.start, reason), worst.get(each.gpu, (9, 0, "")))
    return {gpu: reason for gpu, (_, _, reason) in worst.items()}


@st.composite
def histories(draw: st.DrawFn) -> list[Found]:
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(-60, 0))
        end = draw(st.none() | st.integers(start, 60))
        signal = draw(st.sampled_from([*sorted(FATAL), "Xid", "Xid", "Slowdown", "PcieDegraded", "Unreadable", "Unheard"]))
        code = draw(st.sampled_from([13, 63, 79])) if signal == "Xid" else 0
        value = draw(st.sampled_from([10_000, 60_000, 200_000])) if signal == "Slowdown" else 0
        rows.append(found(signal, start, end, gpu=draw(st.sampled_from(CARDS)), code=code, value=value))
    return rows


rules = st.builds(
    policy,
    fatalXids=st.lists(st.sampled_from([13, 63, 79]), max_size=3),
    acceptDegraded=st.lists(st.sampled_from(["Slowdown", "PcieDegraded"]), max_size=2),
    cleanSeconds=st.integers(0, 30),
    degradedSharePpm=st.sampled_from([0, 50_000, 100_000]),
)


@given(histories(), st.lists(rules, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_it_is_the_naive_model(findings: list[Found], policies: list[Policy]) -> None:
    """Second by second the same GPUs for the same reasons, and between a look and the wake that it names nothing changes."""
    reading = meter("n", *findings, gpus=CARDS)
    looked = fitness(reading, policies, QUICK, T0)
    for at in range(T0, T0 + 440):
        if looked.wake is not None and looked.wake <= at:
            looked = fitness(reading, policies, QUICK, at)
        expected = naive(findings, policies, at)
        assert {gpu: why.reason for gpu, why in looked.unfit.items()} == expected
        assert fitness(reading, policies, QUICK, at).unfit == looked.unfit
        assert looked.wake is None or looked.wake > at


def sold(pinned: dict[str, Any] | None = None) -> ContractView:
    """A contract of the product h100, with the policy that it was accepted under."""
    made = contract("a", "acme", [binding("n", 0, 100)])
    return replace(made, status={**made.status, **({"healthPolicy": pinned} if pinned else {})})


PINNED = {"version": "1", "fatalXids": [79], "acceptDegraded": ["Slowdown", "PcieDegraded"], "cleanSeconds": 0, "degradedSharePpm": 50_000}


class TestPolicies:
    """Which policies count where."""

    def test_pinned(self) -> None:
        """A contract keeps the policy that it was accepted under; one from before policies were pinned has its product's of today."""
        seen = world([node("n")], product={"health": {"version": "2", "fatalXids": [13]}})
        assert policy_of(seen, sold(PINNED)).fatal_xids == {79}
        assert policy_of(seen, sold()).fatal_xids == {13}
        assert policy_of(seen, None) == Policy.of(None)

    def test_on_a_node(self) -> None:
        """Those of the products of its grade, of all contracts that have it, and the default where there is neither."""
        seen = world([node("n", grade="H100")], [sold()], product={"gpuProducts": ["H100"], "health": {"version": "2"}})
        seen.products["a100"] = {"spec": {"gpuProducts": ["A100"], "health": {"version": "3"}}}
        assert {rule.version for rule in policies_on(seen, seen.nodes["n"], ())} == {"2"}
        seen.contracts["desk/b"] = sold(PINNED)
        assert {rule.version for rule in policies_on(seen, seen.nodes["n"], ["desk/b"])} == {"1"}, (
            "what is promised counts, not what the product became"
        )
        assert policies_on(seen, node("n", grade="B300"), ()) == {Policy.of(None)}

    def test_unreadable_policy(self) -> None:
        """One that an older, laxer CRD let through is replaced by the default, and stops nothing."""
        broken = {"version": "2", "fatalXids": [{"no": "number"}]}
        seen = world([node("n", grade="H100")], product={"gpuProducts": ["H100"], "health": broken})
        assert policies_on(seen, seen.nodes["n"], ()) == {Policy.of(None)}


class TestContract:
    """What a contract has of a node's GPUs."""

    def test_another_machine(self) -> None:
        """The meter of a machine that was made anew under the name says nothing about this one."""
        seen = world([node("n")])
        seen.put("meters", "n", meter("n", found("Missing", 0), uid="another"))
        assert meter_on(seen, "n") is None
        assert unfit_for(seen, "n", None, QUICK, T0 + 10) == {}

    @pytest.mark.parametrize(("also", "expected"), [((), ["Slowdown"]), ((found("Xid", 0, code=79),), [])])
    def test_degraded(self, also: tuple[Found, ...], expected: list[str]) -> None:
        """A GPU that is slowed down, as the contract's policy accepts, is delivered Degraded; one that is broken too is not delivered."""
        seen, made = world([node("n")]), sold(PINNED)
        seen.put("meters", "n", meter("n", found("Slowdown", 0, 300, value=60_000), *also, gpus=CARDS))
        assert [spell.reason for spell in degraded(seen, "n", made, QUICK, T0 + 301)] == expected
        assert degraded(seen, "n", made, QUICK, T0 + 630) == []
        assert degraded(seen, "n", sold(), QUICK, T0 + 301) == []

    def test_wakes(self) -> None:
        """Every instant at which the clock alone changes what is told of the contract is known beforehand."""
        seen, made = world([node("n")]), sold({**PINNED, "cleanSeconds": 20})
        rows = [found("Slowdown", 0, 300, value=60_000), found("Missing", 250, 290), found("Unreadable", 301)]
        seen.put("meters", "n", meter("n", *rows, gpus=CARDS))
        assert sorted(instants(seen, "n", made, QUICK, T0 + 302)) == [T0 + 308, T0 + 310, T0 + 630]
