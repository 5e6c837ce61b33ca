"""Quotes: what is held, who takes it up, and what happens when two want the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from laycan.control.decision import Decision, Offered
from laycan.control.planner import Planner
from laycan.control.quotes import MOST_AT_ONCE, open_desk, standing, takers
from laycan.control.status import next_status, next_wake
from laycan.kube.views import ContractView, namespace_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan_solver.offers import Promise
from tests.laycan.control.planning import Clock, decided, planning
from tests.laycan.control.town import HOUR, NOW, SETTINGS, bound, contract, node, product, world
from tests.laycan.events.house import until

EXCHANGE = {"exchangeRef": {"name": "gcx"}}
HELD = {"promise": "Full", "validUntil": format_time(NOW + 60), "held": True}


def quote(name: str, *, status: Any = None, **more: Any) -> ContractView:
    return contract(name, spec={"intent": "Quote", **EXCHANGE}, status=status, **more)


def firm(name: str, of: str = "", **more: Any) -> ContractView:
    return contract(name, spec={"intent": "Firm", **EXCHANGE} | ({"quoteRef": {"name": of}} if of else {}), **more)


def market(*contracts: ContractView, seconds: int = 60, gpus: int = 16, nodes: tuple[str, ...] = ("n1", "n2")) -> World:
    """An exchange whose quotes hold `gpus` GPUs for `seconds`; without GPUs it says nothing of quotes."""
    made = world(contracts, nodes)
    held = {"quote": {"validitySeconds": seconds, "maxHeldGpus": gpus}} if gpus else {}
    spec = {"url": "https://gcx.example/hook", "secretRef": {"name": "hook", "key": "secret"}, **held}
    made.endpoints["desk/gcx"] = {"metadata": {"name": "gcx", "namespace": "desk", "resourceVersion": "1"}, "spec": spec}
    return made


def offer_of(office: Planner, key: str) -> Offered:
    offer = decided(office)[key].offer
    assert offer is not None
    return offer


def write(made: World, office: Planner, key: str, now: int = NOW) -> dict[str, Any]:
    """What the writer would write; the world has it afterwards."""
    view = made.contracts[key]
    status = next_status(view, made, decided(office).get(key), frozenset(), SETTINGS, "urn:laycan:x", 1, now)
    assert status is not None
    made.contracts[key] = replace(view, status=status, resource_version=view.resource_version + 1)
    return status


async def after_a_restart(office: Planner) -> None:
    """One plan gives what is held its places, the next decides about everybody else."""
    await office.step()
    assert all(office.world.contracts[key].phase for key in decided(office))
    assert office._dirty
    await office.step()


class TestWhatIsHeld:
    def test_a_full_promise_is_held_for_the_endpoints_seconds(self) -> None:
        """And no other contract can have its node meanwhile."""
        made = market(quote("q"), nodes=("n1",))

        async def test(office: Planner) -> None:
            await office.step()
            offer = offer_of(office, "desk/q")
            assert (offer.promise, offer.held, offer.valid_until) == (Promise.FULL, True, NOW + 60)
            assert [b.node for b in decided(office)["desk/q"].bindings] == ["n1"]
            made.put("contracts", "desk/a", firm("a"))
            await office.step()
            await office.step()
            assert decided(office)["desk/a"].accepted is False
            assert offer_of(office, "desk/q").held, "the answer that is still to be written is the first"

        planning(made, test)

    def test_what_is_not_full_is_not_held(self) -> None:
        """Partial promises say how much, and keep nothing."""
        made = market(quote("q", delivery_gpus=24), gpus=24)

        async def test(office: Planner) -> None:
            await office.step()
            offer = offer_of(office, "desk/q")
            assert (offer.promise, offer.held) == (Promise.PARTIAL, False)
            assert 16 in {a.gpus for a in offer.alternatives}
            reason = decided(office)["desk/q"].reason
            assert reason is not None
            assert reason.code in ("NoCapacity", "ExceedsFleet")
            made.put("contracts", "desk/a", firm("a", delivery_gpus=16))
            await office.step()
            assert decided(office)["desk/a"].accepted

        planning(made, test)

    @pytest.mark.parametrize("gpus", [0, 7])
    def test_beyond_the_cap_nothing_is_held(self, gpus: int) -> None:
        """The answer is the same, for as long as it stands."""
        made = market(quote("q"), gpus=gpus)

        async def test(office: Planner) -> None:
            await office.step()
            offer = offer_of(office, "desk/q")
            assert (offer.promise, offer.held, offer.valid_until) == (Promise.FULL, False, NOW + 60)

        planning(made, test)

    def test_two_quotes_share_the_cap(self) -> None:
        """The second waits a plan for whether the first is held, and is then answered without a hold."""
        made = market(quote("q1", created=NOW - 2), quote("q2", created=NOW - 1), gpus=8)

        async def test(office: Planner) -> None:
            await office.step()
            assert "desk/q2" not in decided(office)
            assert office._dirty, "it is asked for at once"
            await office.step()
            assert [offer_of(office, f"desk/{q}").held for q in ("q1", "q2")] == [True, False]

        planning(made, test)

    def test_two_quotes_for_one_node(self) -> None:
        """Exactly one of them is promised it."""
        made = market(quote("q1", created=NOW - 2), quote("q2", created=NOW - 1), nodes=("n1",))

        async def test(office: Planner) -> None:
            await office.step()
            assert [offer_of(office, f"desk/{q}").promise for q in ("q1", "q2")] == [Promise.FULL, Promise.NONE]

        planning(made, test)

    def test_a_hold_gives_way_to_what_was_accepted(self) -> None:
        """A node fails: the contract takes the held one."""
        made = market(firm("a", status=bound("n1")), quote("q", status={"phase": "Quoted", "offer": HELD}))

        async def test(office: Planner) -> None:
            office.fleet.failed = frozenset({"n1"})  # type: ignore[attr-defined]
            await office.step()
            assert [b.node for b in decided(office)["desk/a"].bindings] == ["n2"]

        planning(made, test)

    def test_it_survives_a_restart(self) -> None:
        """Nothing but the status knows of it."""
        made = market(quote("q", status={"phase": "Quoted", "offer": HELD}), firm("a"), nodes=("n1",))

        async def test(office: Planner) -> None:
            await after_a_restart(office)
            assert decided(office)["desk/a"].accepted is False

        planning(made, test)

    def test_after_a_restart_it_has_its_place_before_anybody_is_decided(self) -> None:
        """Where it lies is written nowhere, and the places that are left when another one is taken up are not those that were there."""
        day, right = 24 * HOUR, {"class": "Interruptible", "interruption": {"noticeSeconds": 600, "maxHours": 72}}
        today: dict[str, Any] = {"delivery_start": format_time(NOW - day), "delivery_end": format_time(NOW + day)}
        runs = bound("n3", start=NOW - 60, end=NOW + day - 600, phase="Delivering")  # curtailed for the turnaround before the later hold
        held = {"phase": "Quoted", "offer": HELD}
        beta: dict[str, Any] = {"delivery_handover": {"namespace": "beta"}}
        made = market(
            firm("runs", status=runs, firmness=right, **today, **beta),
            quote("today", status=held, **today, **beta | {"delivery_gpus": 16}),
            quote("later", status=held, delivery_start=format_time(NOW + day), delivery_end=format_time(NOW + 2 * day)),
            firm("taker", of="today", **today, **beta | {"delivery_gpus": 16}),
            nodes=("n1", "n2", "n3"),
        )
        made.namespaces["beta"] = namespace_view({"metadata": {"name": "beta", "labels": {"laycan.dev/desk": "desk"}}})
        made.products["h100"] = product("h100", turnaroundSeconds=600)

        async def test(office: Planner) -> None:
            await after_a_restart(office)
            assert decided(office)["desk/taker"].accepted
            assert decided(office)["desk/later"].bindings

        planning(made, test)

    def test_what_a_hold_keeps_is_kept_from_a_target_as_well(self) -> None:
        """One node, which has no spare: it may not be sold below a target, so nothing is promised or held either."""
        made = market(quote("q"), nodes=("n1",))
        made.products["h100"]["spec"]["target"] = {"shortfallPpm": 100}

        async def test(office: Planner) -> None:
            await office.step()
            offer = offer_of(office, "desk/q")
            assert (offer.promise, offer.held) == (Promise.NONE, False)
            assert offer.risk is not None
            assert offer.risk.ppm > 100

        planning(made, test)

    def test_nobody_pushes_a_hold_above_its_target(self) -> None:
        """A laxer product of the same hardware takes no spare from it."""
        asked = {"delivery_end": format_time(NOW + 24 * HOUR)}
        made = market(quote("q", **asked), nodes=("n1", "n2", "n3"))
        made.products["h100"]["spec"]["target"] = {"shortfallPpm": 1000}
        made.products["lax"] = product("lax", target={"shortfallPpm": 900_000})

        async def test(office: Planner) -> None:
            await office.step()
            assert offer_of(office, "desk/q").held
            made.put("contracts", "desk/a", firm("a", productRef={"name": "lax"}, delivery_gpus=16, **asked))
            await office.step()
            await office.step()
            refused = decided(office)["desk/a"]
            assert refused.accepted is False
            assert refused.reason is not None
            assert "desk/q" in refused.reason.message

        planning(made, test)

    @pytest.mark.parametrize("priority", [700, 800])
    def test_a_rack_may_be_lost(self, priority: int) -> None:
        """What is important enough is promised only with spares in another rack."""
        made = market(quote("q", firmness={"class": "Firm", "priority": priority}))
        for name in made.nodes:
            made.nodes[name] = node(name, labels={"network.topology.nvidia.com/leaf": "r1"})
        made.products["h100"]["spec"]["target"] = {"shortfallPpm": 900_000}

        async def test(office: Planner) -> None:
            await office.step()
            assert offer_of(office, "desk/q").promise is (Promise.FULL if priority < 800 else Promise.NONE)

        planning(made, test)

    def test_who_it_is_for_is_not_known_yet(self) -> None:
        """It shares no node with a buyer: neither when it is held nor when only a part of it could be had."""
        half: dict[str, Any] = {"delivery_lotGpus": 4}
        there = firm("a", delivery_gpus=4, **half, status=bound("n1", gpus=4))
        made = market(quote("q", delivery_gpus=12, delivery_handover=None, **half), there)

        async def test(office: Planner) -> None:
            await office.step()
            offer = offer_of(office, "desk/q")
            assert (offer.promise, offer.held) == (Promise.PARTIAL, False)
            assert {a.gpus for a in offer.alternatives if a.start == NOW + HOUR} == {8}

        planning(made, test)

    def test_a_flood_of_questions_holds_up_nobody(self) -> None:
        """A plan answers a few, the oldest first; a contract that comes meanwhile is decided with them."""
        made = market(*[quote(f"q{i:02}", created=NOW - 100 + i) for i in range(20)], firm("a"), gpus=0)

        async def test(office: Planner) -> None:
            await office.step()
            assert sorted(decided(office)) == ["desk/a", *(f"desk/q{i:02}" for i in range(MOST_AT_ONCE))]
            assert office._dirty
            await office.step()
            assert len(decided(office)) == 2 * MOST_AT_ONCE + 1

        planning(made, test)


class TestWhoTakesItUp:
    def test_a_firm_contract_that_names_the_quote(self) -> None:
        """Before others who came earlier and ask for the same node."""
        made = market(
            quote("q", status={"phase": "Quoted", "offer": HELD}),
            firm("early", created=NOW - 600),
            firm("taker", of="q"),
            nodes=("n1",),
        )

        async def test(office: Planner) -> None:
            await after_a_restart(office)
            assert {k: d.accepted for k, d in decided(office).items() if k != "desk/q"} == {"desk/early": False, "desk/taker": True}

        planning(made, test)

    def test_of_two_the_elder(self) -> None:
        """The other one is a candidate like any other, and finds nothing free."""
        made = market(
            quote("q", status={"phase": "Quoted", "offer": HELD}),
            firm("second", of="q", created=NOW - 5),
            firm("first", of="q", created=NOW - 9),
            nodes=("n1",),
        )

        async def test(office: Planner) -> None:
            await after_a_restart(office)
            assert {k: d.accepted for k, d in decided(office).items() if k != "desk/q"} == {"desk/first": True, "desk/second": False}

        planning(made, test)

    def test_a_quote_that_is_made_firm(self) -> None:
        """It takes its own hold."""
        made = market(firm("q", status={"phase": "Quoted", "offer": HELD}), firm("early", created=NOW - 600), nodes=("n1",))

        async def test(office: Planner) -> None:
            await after_a_restart(office)
            assert {k: d.accepted for k, d in decided(office).items()} == {"desk/early": False, "desk/q": True}

        planning(made, test)

    @pytest.mark.parametrize(
        "other", [{"delivery_gpus": 16}, {"delivery_end": format_time(NOW + 3 * HOUR)}, {"firmness": {"class": "Firm", "priority": 1}}]
    )
    def test_other_terms_do_not(self, other: dict[str, Any]) -> None:
        """The hold stays for who asked; the contract is judged on its own."""
        made = market(quote("q", status={"phase": "Quoted", "offer": HELD}), firm("a", of="q", **other))
        holds = standing(made, {}, NOW)
        assert takers([made.contracts["desk/a"]], holds) == {}
        assert set(holds) == {"desk/q"}

    def test_price_buyer_and_name_may_differ(self) -> None:
        """A quote is of capacity; it needs no buyer yet."""
        asked = quote("q", status={"phase": "Quoted", "offer": HELD}, delivery_handover=None)
        made = market(asked, firm("a", of="q", tradeTime="2027-01-01T00:00:00Z"))
        assert takers([made.contracts["desk/a"]], standing(made, {}, NOW)) == {"desk/a": "desk/q"}

    @pytest.mark.parametrize(("now", "stands"), [(NOW + 60, True), (NOW + 61, False)])
    def test_the_last_second_counts(self, now: int, stands: bool) -> None:
        """At validUntil the hold is there, a second later it is free."""
        made = market(quote("q", status={"phase": "Quoted", "offer": HELD}))
        assert bool(standing(made, {}, now)) is stands

    def test_who_came_in_time_has_it_however_long_the_decision_takes(self) -> None:
        """A plan may take longer than what was left of the hold."""
        made = market(quote("q", status={"phase": "Quoted", "offer": HELD}), firm("a", of="q", created=NOW + 60))
        assert set(standing(made, {}, NOW + 90)) == {"desk/q"}
        made.contracts["desk/a"] = firm("a", of="q", created=NOW + 61)
        assert not standing(made, {}, NOW + 90)

    def test_a_hold_that_was_taken_up_is_over(self) -> None:
        """Also while its quote still says Quoted."""
        made = market(quote("q", status={"phase": "Quoted", "offer": HELD}), firm("a", of="q", status=bound("n1")))
        assert not standing(made, {}, NOW)

    def test_another_exchange_cannot(self) -> None:
        """Nor somebody without an exchange."""
        stranger = contract("a", spec={"intent": "Firm", "quoteRef": {"name": "q"}})
        made = market(quote("q", status={"phase": "Quoted", "offer": HELD}), stranger)
        assert takers([made.contracts["desk/a"]], standing(made, {}, NOW)) == {}

    def test_the_buyer_is_the_one_of_the_quote(self) -> None:
        """His lots may lie beside others of his on a node that nobody else may share: for another buyer the hold is of no use."""
        asked = quote("q", status={"phase": "Quoted", "offer": HELD})
        made = market(asked, firm("a", of="q", delivery_handover={"namespace": "beta"}))
        assert takers([made.contracts["desk/a"]], standing(made, {}, NOW)) == {}

    def test_who_took_up_a_former_quote_of_this_name(self) -> None:
        """A quote that was deleted and created again is another one: it is held, and not taken up by who came before it."""
        former = firm("a", of="q", created=NOW - 100, status=bound("n1"))
        made = market(quote("q", created=NOW - 10, status={"phase": "Quoted", "offer": HELD}), former)
        assert set(standing(made, {}, NOW)) == {"desk/q"}
        assert next_status(made.contracts["desk/q"], made, None, frozenset(), SETTINGS, "urn:laycan:x", 1, NOW)["phase"] == "Quoted"  # type: ignore[index]

    @pytest.mark.parametrize("itself", [True, False])
    def test_once_it_is_decided_the_hold_is_over(self, itself: bool) -> None:
        """Its status is still to be written, and who comes now may have the other node."""
        asked = (firm if itself else quote)("q", status={"phase": "Quoted", "offer": HELD})
        made = market(asked, *(() if itself else (firm("taker", of="q"),)))

        async def test(office: Planner) -> None:
            await after_a_restart(office)
            assert decided(office)["desk/q" if itself else "desk/taker"].accepted
            made.put("contracts", "desk/z", firm("z"))
            await office.step()
            assert decided(office)["desk/z"].accepted
            assert decided(office)["desk/q" if itself else "desk/taker"].accepted

        planning(made, test)

    def test_a_quote_that_was_made_firm_in_time(self) -> None:
        """The operator has seen it before validUntil: it has its hold, though all plans took longer."""
        made = market(firm("q", status={"phase": "Quoted", "offer": HELD}))
        status = next_status(made.contracts["desk/q"], made, None, frozenset(), SETTINGS, "urn:laycan:x", 1, NOW + 60)
        assert status is not None
        made.contracts["desk/q"] = firm("q", status=status)
        assert set(standing(made, {}, NOW + 90)) == {"desk/q"}
        late = next_status(
            firm("q", status={"phase": "Quoted", "offer": HELD}), made, None, frozenset(), SETTINGS, "urn:laycan:x", 1, NOW + 61
        )
        made.contracts["desk/q"] = firm("q", status=late)
        assert not standing(made, {}, NOW + 61)

    def test_a_quote_that_was_answered_and_made_firm_too_late(self) -> None:
        """Its answer is written after validUntil, when it is Firm already: that it was undecided all the time says nothing of when."""
        made = market(quote("q"))
        status = next_status(made.contracts["desk/q"], made, None, frozenset(), SETTINGS, "urn:laycan:x", 1, NOW)
        answer = Decision(None, NOW, offer=Offered(Promise.FULL, NOW + 60, True, None, ()), uid="uid-q")
        for now, stands in ((NOW + 60, True), (NOW + 61, False)):
            made.contracts["desk/q"] = firm("q", status=status, meta={"generation": 2})
            told = next_status(made.contracts["desk/q"], made, answer, frozenset(), SETTINGS, "urn:laycan:x", 1, now)
            made.contracts["desk/q"] = firm("q", status=told, meta={"generation": 2})
            assert bool(standing(made, {}, NOW + 61)) is stands

    def test_a_hold_that_is_gone_is_not_taken_up_unseen(self) -> None:
        """Made Firm too late: it is decided like any other, after who came before it."""
        made, clock = market(quote("q"), nodes=("n1",)), Clock()

        async def test(office: Planner) -> None:
            await office.step()
            status = write(made, office, "desk/q")
            clock.now = NOW + 61
            made.put("contracts", "desk/a", firm("a", created=NOW - 100))
            made.put("contracts", "desk/q", firm("q", status=status, version="9", meta={"generation": 2}))
            await office.step()
            await office.step()
            assert {k: d.accepted for k, d in decided(office).items()} == {"desk/a": True, "desk/q": False}

        planning(made, test, clock=clock)

    def test_it_lies_as_safely_as_the_hold(self) -> None:
        """The fullest rack has no spare node: what takes up a hold in another rack does not go there for a better fit."""
        days = {"delivery_end": format_time(NOW + 5 * 24 * HOUR)}
        there = firm("a", status=bound("n1", end=NOW + 5 * 24 * HOUR), productRef={"name": "lax"}, **days)
        asked = {"delivery_scope": "Rack", **days}
        made = market(quote("q", **asked), there, nodes=("n1", "n2", "n3", "n4", "n5"))
        for i, name in enumerate(sorted(made.nodes)):
            made.nodes[name] = node(name, labels={"network.topology.nvidia.com/leaf": "full" if i < 2 else "empty"})
        made.products["h100"]["spec"]["target"] = {"shortfallPpm": 5_000}
        made.products["lax"] = product("lax")

        async def test(office: Planner) -> None:
            await office.step()
            assert offer_of(office, "desk/q").held
            assert {b.node for b in decided(office)["desk/q"].bindings} <= {"n3", "n4", "n5"}
            write(made, office, "desk/q")
            made.put("contracts", "desk/taker", firm("taker", of="q", **asked))
            await office.step()
            assert decided(office)["desk/taker"].accepted
            assert {b.node for b in decided(office)["desk/taker"].bindings} <= {"n3", "n4", "n5"}

        planning(made, test)


class TestItsLife:
    def test_received_quoted_expired(self) -> None:
        """In one write it is received and quoted; at validUntil + 1 s it is Expired, and nothing is held any more."""
        made, clock = market(quote("q"), nodes=("n1",)), Clock()

        async def test(office: Planner) -> None:
            await office.step()
            status = write(made, office, "desk/q")
            assert (status["phase"], status["offer"]["promise"], status["offer"]["held"]) == ("Quoted", "Full", True)
            assert [e["type"] for e in status["outbox"]] == ["dev.laycan.contract.received.v1", "dev.laycan.contract.quoted.v1"]
            assert "True" not in {c["status"] for c in status["conditions"] if c["type"] in ("Reconciling", "Stalled")}
            clock.now = NOW + 61
            made.put("contracts", "desk/a", firm("a"))
            await office.step()
            assert decided(office)["desk/a"].accepted
            assert write(made, office, "desk/q", NOW + 61)["phase"] == "Expired"

        planning(made, test, clock=clock)

    def test_taken_up(self) -> None:
        """The quote says so once the contract is accepted."""
        taken = {"phase": "Quoted", "offer": HELD}
        made = market(quote("q", status=taken), firm("a", of="q", status=bound("n1")))

        async def test(office: Planner) -> None:
            status = write(made, office, "desk/q")
            assert status["phase"] == "Expired"
            assert '"cause":"TakenUp"' in status["outbox"][-1]["body"]

        planning(made, test)

    def test_it_does_not_lapse_while_somebody_is_taking_it_up(self) -> None:
        """Who came in the last second is decided after it: until then nothing is told; then it was taken up, or has lapsed."""
        taken = {"phase": "Quoted", "offer": HELD}
        made = market(quote("q", status=taken), firm("a", of="q", created=NOW + 60))

        def phase() -> str:
            status = next_status(made.contracts["desk/q"], made, None, frozenset(), SETTINGS, "urn:laycan:x", 1, NOW + 90)
            return str((status or made.contracts["desk/q"].status)["phase"])

        assert phase() == "Quoted"
        made.contracts["desk/a"] = firm("a", of="q", created=NOW + 60, meta={"deletionTimestamp": format_time(NOW + 70)})
        assert phase() == "Expired", "who leaves takes nothing up"
        made.contracts["desk/a"] = firm("a", of="q", created=NOW + 61)
        assert phase() == "Expired"

    def test_an_offer_that_cannot_be_read_holds_nothing(self) -> None:
        """It is over, and keeps nobody else from anything."""
        made = market(quote("q", status={"phase": "Quoted", "offer": {"promise": "Full", "held": True, "validUntil": "soon"}}))
        assert not standing(made, {}, NOW)
        status = next_status(made.contracts["desk/q"], made, None, frozenset(), SETTINGS, "urn:laycan:x", 1, NOW)
        assert status is not None
        assert status["phase"] == "Expired"
        assert next_wake(made.contracts["desk/q"], NOW, made) == NOW + 1

    def test_it_stands_from_its_answer_on(self) -> None:
        """A plan took half a minute: the seconds are those that the endpoint says."""
        made, clock = market(quote("q")), Clock()

        async def test(office: Planner) -> None:
            ask = office.solver.ask

            async def slow(question: Any) -> Any:
                clock.now += 30
                return await ask(question)

            office.solver.ask = slow  # type: ignore[method-assign]
            await office.step()
            assert offer_of(office, "desk/q").valid_until == NOW + 90

        planning(made, test, clock=clock)

    def test_deleting_a_quote_frees_what_it_held(self) -> None:
        """There is no promise to wind up."""
        gone = quote("q", status={"phase": "Quoted", "offer": HELD}, meta={"deletionTimestamp": format_time(NOW)})
        assert not standing(market(gone), {}, NOW)


def test_an_undecided_contract_that_came_first_is_not_overtaken_by_a_quote() -> None:
    """A plan that only follows refuses it for now: the quote waits for the thorough one, too."""
    made = market(firm("a", status=bound("n1")), nodes=("n1", "n2"))

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/large", firm("large", created=NOW - 30, delivery_gpus=16))
        made.put("contracts", "desk/q", quote("q", created=NOW - 20))
        await office.step()
        await office.step()
        assert decided(office)["desk/large"].accepted is False
        assert offer_of(office, "desk/q").held

    planning(made, test)


def test_a_quote_breaks_off_a_thorough_plan_that_nobody_waits_for() -> None:
    """It is answered from the last plan, and the thorough one is made later."""
    made, clock = market(firm("a", status=bound("n1"))), Clock()

    async def answered(office: Planner) -> None:
        await office.step()
        office._then_thorough(NOW)
        work = asyncio.create_task(office.run())
        await until(lambda: office._interruptible)
        made.put("contracts", "desk/q", quote("q"))
        await until(lambda: "desk/q" in decided(office))
        assert office.followed == 1
        clock.now = NOW + 10
        await until(lambda: office.plans == 3)
        assert offer_of(office, "desk/q").held
        work.cancel()

    planning(made, answered, planner="tests.laycan.control.planners:dawdles", clock=clock)


def test_the_desk_of_an_empty_book() -> None:
    """Nothing asked, nothing answered."""
    desk = open_desk(market(), {}, [], [], NOW)
    assert (desk.candidates, desk.holds, desk.quotes) == ((), (), ())


def test_decisions_about_others_of_the_same_name_hold_nothing() -> None:
    """A quote that was deleted and created again is another one."""
    decision = Decision(None, NOW, offer=Offered(Promise.FULL, NOW + 60, True, None, ()), uid="uid-former")
    assert not standing(market(quote("q")), {"desk/q": decision}, NOW)


def test_nobody_is_decided_ahead_of_an_undecided_contract_that_came_first() -> None:
    """A plan that only follows has not found room for it: who came later waits for the thorough one, too, who came earlier does not."""
    running = firm("x", delivery_start=format_time(NOW - HOUR), status=bound("n1", start=NOW - HOUR, phase="Delivering"))
    times: dict[str, Any] = {"delivery_start": format_time(NOW + 2 * HOUR), "delivery_end": format_time(NOW + 3 * HOUR)}
    later: dict[str, Any] = {"delivery_start": format_time(NOW + 6 * HOUR), "delivery_end": format_time(NOW + 7 * HOUR)}
    ahead = firm("y", delivery_handover={"namespace": "beta"}, **times, status=bound("n2", start=NOW + 2 * HOUR, end=NOW + 3 * HOUR))
    made = market(running, ahead)
    made.products["h100"]["spec"]["turnaroundSeconds"] = HOUR
    made.namespaces["beta"] = namespace_view({"metadata": {"name": "beta", "labels": {"laycan.dev/desk": "desk"}}})

    async def test(office: Planner) -> None:
        await office.step()
        made.put("contracts", "desk/older", firm("older", created=NOW - 40, **later))
        made.put("contracts", "desk/large", firm("large", created=NOW - 30, delivery_end=format_time(NOW + 3 * HOUR)))
        made.put("contracts", "desk/a", firm("a", created=NOW - 20, **times))
        await office.step()
        assert office.followed == 1
        assert not {"desk/large", "desk/a"} & set(decided(office))
        assert decided(office)["desk/older"].accepted
        await office.step()
        found = {key: decided(office)[f"desk/{key}"] for key in ("large", "a")}
        assert {key: decision.accepted for key, decision in found.items()} == {"large": False, "a": True}
        reason = found["large"].reason
        assert reason is not None
        assert reason.message.endswith("(not found)")

    planning(made, test)
