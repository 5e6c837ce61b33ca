"""The page's figures are the plan's, recomputed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from laycan.desk.report.concerns import AT_RISK
from laycan.desk.report.data import STATES
from laycan.desk.report.lines import State
from laycan.desk.report.page import Page, page_of
from laycan.desk.report.proof import Kind
from laycan.desk.report.render import render
from laycan.desk.report.standing import Condition, Quantities, Standing
from laycan_solver.model import Binding, Move, Problem, Product, Reliability, Undelivered
from laycan_solver.planner import plan
from tests.laycan.desk.report.books import SEEDS, Document, case
from tests.laycan_solver.small import contract, node, problem, product


@pytest.mark.parametrize("seed", SEEDS)
class TestFigures:
    """Of small books with something of everything."""

    def test_the_sums_are_the_plans_totals(self, seed: int) -> None:
        """Money and GPU-seconds, contract by contract, add up to what the planner says."""
        drawn, found = case(seed)
        page = page_of(drawn, found, curve=False)
        totals, sums = found.totals, page.sums
        assert (sums.value, sums.owed, sums.interruption, sums.substitution) == (
            totals.value_micros,
            totals.owed_micros,
            totals.interruption_micros,
            totals.substitution_micros,
        )
        assert (sums.contracted, sums.bound, sums.instants) == (
            totals.contracted_gpu_seconds,
            totals.bound_gpu_seconds,
            totals.contract_instants,
        )
        assert sums.contracted == sums.bound + sums.curtailed + sums.short
        assert page.proof.statements[0].kind is Kind.PROVEN  # the checker agrees

    def test_the_data_adds_up_to_the_same(self, seed: int) -> None:
        """What the script sums and sorts are the same integers."""
        drawn, found = case(seed)
        columns = Document(render(page_of(drawn, found, curve=False))).data()["contracts"]
        assert {len(column) for column in columns.values()} == {len(drawn.contracts)}
        assert sum(columns["owed"]) == found.totals.owed_micros
        assert sum(columns["interruption"]) == found.totals.interruption_micros
        assert sum(columns["substitution"]) == found.totals.substitution_micros
        assert sum(columns["bound"]) == found.totals.bound_gpu_seconds

    def test_all_of_the_plan_is_in_the_data_once(self, seed: int) -> None:
        """Bindings, undelivered stretches and moves can be read back from the page, each exactly as often as the plan has it."""
        drawn, found = case(seed)
        data = Document(render(page_of(drawn, found, curve=False))).data()
        keys, names, products, start = data["contracts"]["key"], data["nodes"], data["products"], data["start"]
        bindings = Counter(
            Binding(keys[flat[i]], names[n], products[flat[i + 4]], flat[i + 1], start + flat[i + 2], start + flat[i + 3])
            for n, flat in enumerate(data["bindings"])
            for i in range(0, len(flat), 5)
        )
        gaps = Counter((keys[c], start + a, start + b, gpus, code, text, kind == 2) for c, gpus, a, b, code, text, kind in data["gaps"])
        moves = Counter((keys[c], names[a], names[b], gpus, reason) for c, gpus, a, b, reason in data["moves"])
        assert bindings == Counter(found.bindings)
        assert gaps == Counter((u.contract, u.start, u.end, u.gpus, u.code.value, u.message, u.refused) for u in found.undelivered)
        assert moves == Counter((m.contract, m.source, m.target, m.gpus, m.reason.value) for m in found.moves)
        assert sum(n for *_, n in data["racks"]) == len(drawn.nodes)
        assert sorted(names[: len(drawn.nodes)]) == sorted(n.name for n in drawn.nodes)

    def test_all_outages_are_in_the_data(self, seed: int) -> None:
        """With their nodes and times; what has no end lasts beyond the chart."""
        drawn, found = case(seed)
        data = Document(render(page_of(drawn, found, curve=False))).data()
        told = {(name, kind, a, b, tuple(data["nodes"][n] for n in nodes)) for name, kind, a, b, nodes in data["outages"]}
        start = data["start"]
        assert told == {(o.name, o.type.value, o.start - start, o.end - start, tuple(sorted(o.nodes))) for o in drawn.outages}

    def test_a_rack_that_serves_has_a_strip(self, seed: int) -> None:
        """And one that serves nothing has none; a rack with nodes down has a mark."""
        drawn, found = case(seed)
        page = page_of(drawn, found, curve=False)
        racks = [rack for zone in page.zones for rack in zone.racks]
        serving = {b.node for b in found.bindings}
        for rack, strip in zip(racks, page.rows.racks, strict=True):
            assert bool(strip.busy) is any(n.name in serving for n in rack.nodes)
            assert not rack.down or strip.out

    def test_every_gap_is_a_concern(self, seed: int) -> None:
        """With its reason, in a table that needs no script."""
        drawn, found = case(seed)
        concerns = Counter((e.contract, e.start, e.end, e.gpus, e.message) for e in page_of(drawn, found, curve=False).concerns if e.gpus)
        assert concerns == Counter((u.contract, u.start, u.end, u.gpus, u.message) for u in found.undelivered)


def test_the_books_have_everything() -> None:
    """The books above would not show a fault in what none of them has."""
    plans = [case(seed) for seed in SEEDS]
    pages = [page_of(*each, curve=False) for each in plans]
    states = {line.state for page in pages for line in page.lines}
    assert states >= {State.REFUSED, State.SHORT, State.CURTAILED, State.FULL}
    assert any(each.moves for _, each in plans)
    assert any(page.sums.instants for page in pages)
    assert any(page.sums.substitution for page in pages)
    assert any(page.fleet.down for page in pages)
    assert any(page.fleet.out for page in pages)
    kinds = {gap[6] for page in pages for gap in Document(render(page)).data()["gaps"]}
    assert kinds == {0, 1, 2}


def test_states_of_the_data_are_those_of_the_model() -> None:
    """A contract's state is a place in `states`."""
    drawn, found = case(0)
    page = page_of(drawn, found, curve=False)
    data = Document(render(page)).data()
    assert data["states"] == [state.value for state in STATES]
    told = {key: data["states"][state] for key, state in zip(data["contracts"]["key"], data["contracts"]["state"], strict=True)}
    assert told == {line.contract.key: line.state.value for line in page.lines}


class TestOtherBooks:
    """A plan that is not of this book has no page."""

    def test_another_time(self) -> None:
        drawn, found = case(0)
        with pytest.raises(ValueError, match="another time"):
            page_of(replace(drawn, now=drawn.now + 1), found)

    def test_another_contract(self) -> None:
        drawn, found = case(0)
        moves = (*found.moves, Move("desk/nobody", "n1", "n2", 8, found.moves[0].reason))
        with pytest.raises(ValueError, match="desk/nobody"):
            page_of(drawn, replace(found, moves=moves))

    def test_another_node(self) -> None:
        drawn, found = case(0)
        bindings = (*found.bindings, found.bindings[0]._replace(node="nowhere"))
        with pytest.raises(ValueError, match="nowhere"):
            page_of(drawn, replace(found, bindings=bindings))


class TestProof:
    """What is proven is what the plan proves."""

    def test_a_wrong_plan_is_called_wrong(self) -> None:
        """The page does not believe a plan: a total that is off by one micro is told at the top."""
        drawn, found = case(1)
        lied = replace(found, totals=replace(found.totals, owed_micros=found.totals.owed_micros + 1))
        page = page_of(drawn, lied)
        assert "does not hold" in page.proof.headline
        assert page.proof.statements[0].kind is Kind.WRONG
        assert "owed_micros" in page.proof.statements[0].text
        assert all(line.risk is None for line in page.lines)

    def test_nothing_to_improve(self) -> None:
        """A plan that costs nothing is as good as any."""
        book = problem([node("n1"), node("n2")], [contract("a", 0, 48)])
        page = page_of(book, plan(book, 1))
        assert page.proof.headline == "Every accepted contract is delivered in full, at no cost to the operator. No plan can do better."

    def test_nothing_promised(self) -> None:
        """Of an empty book nothing is said to be delivered."""
        book = problem([node("n1")], [contract("b", 0, 48, gpus=800, accepted=False)])
        assert page_of(book, plan(book, 1)).proof.headline.startswith("No accepted contract is due")

    def test_what_no_plan_can_deliver(self) -> None:
        """Where the bound is what is owed, the page says that no plan has less."""
        book = problem([node("n1")], [contract("a", 0, 48), contract("b", 0, 48)])
        page = page_of(book, plan(book, 5), currency="USD")
        assert page.proof.headline == "1 accepted contract is not delivered in full. The plan costs 384.00 USD, and no plan can cost less."
        assert page.proof.shortages  # the hours and the pool that are short

    def test_refusals(self) -> None:
        """A refusal that is proved is told as proven."""
        book = problem([node("n1")], [contract("a", 0, 48), contract("b", 0, 48, accepted=False)])
        page = page_of(book, plan(book, 5))
        assert any(s.kind is Kind.PROVEN and s.text.startswith("1 candidate refused") for s in page.proof.statements)
        assert [(e.kind, e.contract) for e in page.concerns] == [("Refused", "desk/b")]


class TestOdds:
    """Chances of a shortfall stand beside their targets."""

    BOOK = (node("n1"), node("n2"), node("n3"), node("n4"))

    def page(self, target_ppm: int | None) -> Page:
        sold = product(reliability=Reliability(target_ppm=target_ppm))
        book = problem(list(self.BOOK), [contract("a", 0, 960, gpus=24)], products=[sold])
        return page_of(book, plan(book, 5))

    @pytest.mark.parametrize(("target", "above"), [(None, 0), (1, 1), (999_999, 0)])
    def test_targets(self, target: int | None, above: int) -> None:
        """A contract that does not keep its product's target is a concern, and no other."""
        page = self.page(target)
        odds = page.odds["h100"]
        assert (odds.contracts, odds.above, odds.target_ppm) == (1, above, target)
        assert odds.worst_ppm > 0
        assert [e.code for e in page.concerns] == ["AboveTarget"] * above


class TestStandings:
    """What a cluster says of its contracts."""

    def standing(self, **more: object) -> Standing:
        given = {"phase": "Delivering", "quantities": None, "until": 0, "conditions": (), "code": "", "message": "", "pool": ""} | more
        return Standing(key="desk/a", contract_id="a", product="h100", **given)  # type: ignore[arg-type]

    def page(self, standing: Standing) -> tuple[Page, str]:
        book = problem([node("n1")], [contract("a", 0, 48)])
        page = page_of(book, plan(book, 1), [standing])
        return page, render(page)

    def test_quantities(self) -> None:
        """Metered seconds and availability are on the page as they stand in the status."""
        _, text = self.page(self.standing(quantities=Quantities(1_000_000, 980_000, 10_000, 0, 4_000, 6_000)))
        texts = [text for _, text in Document(text).texts]
        assert {"1,000,000", "980,000", "10,000", "4,000", "6,000", "98.98 %"} <= set(texts)

    @pytest.mark.parametrize("kind", AT_RISK)
    def test_conditions(self, kind: str) -> None:
        """Conditions that somebody should look at are concerns."""
        page, text = self.page(self.standing(conditions=(Condition(kind, "Because", "of this"), Condition("Ready", "Fine", ""))))
        assert [(e.kind, e.code, e.message) for e in page.concerns] == [(kind, "Because", "of this")]
        assert "of this" in text

    def test_rejected(self) -> None:
        """A contract that was rejected is told with its code, though no plan has it any more."""
        asked = {"gpus": 64, "start": 1_798_761_600, "end": 1_798_848_000}
        page, _ = self.page(replace(self.standing(phase="Rejected", code="NoCapacity", message="(proved)", **asked), key="desk/gone"))
        assert [(e.kind, e.contract, e.gpus, e.end, e.code) for e in page.concerns] == [
            ("Refused", "desk/gone", 64, 1_798_848_000, "NoCapacity")
        ]


def test_an_empty_book() -> None:
    """No contracts, no nodes: the page says so and holds together."""
    empty = Problem(1_798_761_600, (), (Product("h100", frozenset({"H100"})),), ())
    page = render(page_of(empty, plan(empty, 1)))
    assert '<span class="pager" hidden>' in page  # there is nothing to leaf through
    texts = {text for _, text in Document(page).texts}
    assert {"The fleet has no nodes.", "The book has no contracts.", "Nothing is refused, short or at risk."} <= texts


def test_undelivered_has_no_other_fields() -> None:
    """`gaps` of the data hold all of an Undelivered; a new field has to be thought of."""
    assert Undelivered._fields == ("contract", "start", "end", "gpus", "code", "message", "refused")
    assert Binding._fields == ("contract", "node", "product", "gpus", "start", "end")
    assert Move._fields == ("contract", "source", "target", "gpus", "reason")
