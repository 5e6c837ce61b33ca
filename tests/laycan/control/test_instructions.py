"""Which instructions are carried out: in the order of their chain, once, signed where the exchange signs; others change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from laycan.control.status import next_wake
from laycan.resources.times import format_time
from tests.laycan.control.acts import act_of, answer, done, envelope, instruct, judged, store, trust, trusted
from tests.laycan.control.desk import SETTINGS, T0, Desk, accepted, delivering


def head(desk: Desk) -> str:
    return str(desk.status.get("instructions", {}).get("headDigest", ""))


def signing(**more: Any) -> Desk:
    """A contract of an exchange that signs with key 1, in delivery."""
    desk = Desk(**more)
    trust(desk, trusted(1))
    desk.nodes("a", "b", "c")
    desk.bind(T0 - 3600, ("a", T0, desk.end), ("b", T0, desk.end))
    desk.at(T0 - 3600)
    desk.hand_over("a", "b")
    desk.at(T0)
    desk.at(T0 + 1)
    return desk


class TestChain:
    def test_one_after_the_other(self) -> None:
        """Each cites the one before; the contract's status holds the digest of the last, which the instruction's own status says too."""
        desk = delivering()
        assert done(desk, "Suspend", T0 + 10) == "Applied"
        first = head(desk)
        assert done(desk, "Resume", T0 + 20) == "Applied"
        assert [view.status["digest"] for view in desk.world.instructions.values()] == [first, head(desk)]
        assert desk.world.instructions["desk/i001"].previous == first

    def test_several_at_one_look(self) -> None:
        """A chain that comes at once is carried out at once, in whatever order its objects came."""
        desk = delivering()
        suspend = act_of(desk, "Suspend", T0 + 5)
        key = store(desk, suspend, T0 + 9)
        resume = act_of(desk, "Resume", T0 + 6, previous=desk.world.instructions[key].digest)
        store(desk, resume, T0 + 8)
        desk.at(T0 + 10)
        assert desk.news[-2:] == ["contract.suspended", "contract.resumed"]
        assert set(answer(desk, T0 + 10).values()) == {"Applied"}

    def test_the_same_again(self) -> None:
        """Another object that says the same, or the same one put there again, has no effect, and is told so."""
        desk = delivering()
        act = act_of(desk, "Dispute", T0 + 10)
        store(desk, act, T0 + 10)
        desk.at(T0 + 10)
        answer(desk, T0 + 10)
        desk.at(T0 + 19)
        before = desk.status
        again = store(desk, act, T0 + 20)
        assert desk.at(T0 + 20) is None
        assert answer(desk, T0 + 20) == {"desk/i000": "Applied", again: "Replayed"}
        desk.world.drop("instructions", "desk/i000")
        assert answer(desk, T0 + 30)[again] == "Replayed", "what was rejected stays so"
        desk.world.drop("instructions", again)
        assert answer(desk, T0 + 30) == {}
        assert answer_of(desk, store(desk, act, T0 + 40), T0 + 40) == "Applied", "GitOps puts it there again: nothing happens"
        assert (desk.at(T0 + 40), desk.status) == (None, before)

    def test_the_same_in_the_same_second(self) -> None:
        """Which of two equal ones counts is not taken back because of a name."""
        desk = delivering()
        act = act_of(desk, "Suspend", T0 + 10)
        first = store(desk, act, T0 + 10, name="b")
        desk.at(T0 + 10)
        assert answer(desk, T0 + 10) == {first: "Applied"}
        again = store(desk, act, T0 + 10, name="a")
        assert answer(desk, T0 + 10) == {first: "Applied", again: "Replayed"}

    def test_of_two_that_cite_the_same_one_is_applied(self) -> None:
        """The one that takes effect first; the other is out of the chain for good."""
        desk = delivering()
        late = instruct(desk, "Terminate", T0 + 10, effective=T0 + 500)
        soon = instruct(desk, "Dispute", T0 + 11)
        desk.at(T0 + 11)
        assert answer(desk, T0 + 11) == {soon: "Applied", late: "OutOfChain"}
        desk.at(T0 + 600)
        assert desk.phase == "Delivering"

    def test_a_stranger_in_the_chain(self) -> None:
        """One that cites an act which nobody knows waits a minute for it, then it is rejected; a first act after others at once."""
        desk = delivering()
        done(desk, "Dispute", T0 + 10)
        orphan = instruct(desk, "Suspend", T0 + 20, previous="sha256:" + "0" * 64)
        first = instruct(desk, "Suspend", T0 + 20, previous="")
        desk.at(T0 + 20)
        assert {key: answer(desk, T0 + 20)[key] for key in (orphan, first)} == {orphan: "AwaitsPrevious", first: "OutOfChain"}
        assert answer_of(desk, orphan, T0 + 80) == "OutOfChain"
        assert desk.condition("Suspended") is None

    def test_after_a_restart(self) -> None:
        """Nothing but the head is kept: with the instructions gone or not yet seen, none is carried out again."""
        desk = delivering()
        suspend = act_of(desk, "Suspend", T0 + 10)
        store(desk, suspend, T0 + 10)
        desk.at(T0 + 10)
        done(desk, "Resume", T0 + 20)
        desk.world.instructions.clear()
        desk.world.instructions_on.clear()
        replayed = store(desk, suspend, T0 + 30)
        desk.at(T0 + 30)
        assert answer(desk, T0 + 30) == {replayed: "OutOfChain"}
        assert desk.condition("Suspended") == ("False", "Resumed")

    def test_many(self) -> None:
        """A long chain is carried out link by link, and each is answered."""
        desk = delivering(seconds=36_000)
        for number in range(30):
            assert done(desk, ("Suspend", "Resume")[number % 2], T0 + 10 + number * 10) == "Applied"
        assert len(desk.world.instructions) == 30


def answer_of(desk: Desk, key: str, now: int) -> str:
    return answer(desk, now)[key]


class TestTime:
    def test_not_before_its_effective_time(self) -> None:
        """It waits, the contract asks to be looked at then, and it is carried out in that second."""
        desk = delivering()
        key = instruct(desk, "Terminate", T0 + 10, effective=T0 + 1000)
        desk.at(T0 + 10)
        assert answer(desk, T0 + 10) == {key: "NotYetEffective"}
        wakes = [T0 + 10]
        while wakes[-1] < T0 + 1000:
            wakes.append(next_wake(desk.contract, wakes[-1], desk.world, SETTINGS) or 0)
            desk.at(wakes[-1])
        assert T0 + 1000 in wakes
        assert desk.status["endedAt"] == format_time(T0 + 1000)

    def test_one_from_before_the_contract(self) -> None:
        """A contract that was deleted and created again under its contractId is another one: what was said of the first is not of it."""
        desk = delivering(created=T0 - 7200)
        assert done(desk, "Terminate", T0 + 10, effective=T0 - 7201) == "Replayed"
        assert desk.phase == "Delivering"

    def test_before_acceptance(self) -> None:
        """Nobody has promised anything yet: it waits for the decision."""
        desk = Desk()
        desk.at(T0 - 7000)
        assert done(desk, "Terminate", T0 - 6900) == "NotAccepted"
        desk.nodes("a", "b")
        desk.bind(T0 - 3600, ("a", T0, desk.end), ("b", T0, desk.end))
        desk.at(T0 - 3600)
        assert desk.phase == "Cancelled"

    def test_after_a_refusal(self) -> None:
        """On a contract that is over no act has an effect."""
        desk = Desk()
        desk.refuse()
        desk.at(T0 - 7000)
        assert done(desk, "Terminate", T0 - 6900) == "WrongPhase"


class TestSignatures:
    def test_signed(self) -> None:
        """A key that the exchange's endpoint trusts, over the RFC 8785 bytes of the act."""
        desk = signing()
        assert desk.status["instructions"] == {"signed": True}
        assert done(desk, "Suspend", T0 + 10, sign=1) == "Applied"
        assert desk.condition("Suspended") == ("True", "Instructed")

    @pytest.mark.parametrize(
        ("how", "code"),
        [
            ({}, "Unsigned"),
            ({"number": 2}, "UntrustedKey"),
            ({"number": 2, "key_id": "key-1"}, "BadSignature"),
            ({"number": 1, "kind": "application/json"}, "BadSignature"),
            ({"text": "AAAA"}, "BadSignature"),
            ({"text": "e30="}, "BadSignature"),
            ({"text": "bnVsbA=="}, "BadSignature"),
            ({"text": "no base64"}, "Malformed"),
            ({"number": 1, "other": {"action": "Dispute"}}, "BadSignature"),
            ({"number": 1, "other": {"contractId": "GCX-2"}}, "BadSignature"),
            ({"number": 1, "other": {"effectiveTime": format_time(T0 + 11)}}, "BadSignature"),
            ({"number": 1, "other": {"previousDigest": "sha256:" + "1" * 64}}, "BadSignature"),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_not_the_exchanges(self, how: dict[str, Any], code: str) -> None:
        """Without a right signature nothing happens, whoever may create objects, and the author is told which one is missing."""
        desk = signing()
        act = act_of(desk, "Suspend", T0 + 10)
        text = how.get("text", "")
        if "number" in how:
            named = {key: how[key] for key in ("kind", "key_id") if key in how}
            text = envelope({**act, **how.get("other", {})}, how["number"], **named)
        key = store(desk, act, T0 + 10, envelope=text)
        before = desk.status
        assert desk.at(T0 + 10) is None
        assert (answer(desk, T0 + 10)[key], desk.status) == (code, before)

    @pytest.mark.parametrize(
        ("key", "effective", "created", "code"),
        [
            ({"validFrom": format_time(T0 + 10)}, T0 + 10, T0 + 10, "Applied"),
            ({"validFrom": format_time(T0 + 11)}, T0 + 10, T0 + 20, "UntrustedKey"),
            ({"revokedAt": format_time(T0 + 11)}, T0 + 10, T0 + 10, "Applied"),
            ({"revokedAt": format_time(T0 + 10)}, T0 + 10, T0 + 10, "UntrustedKey"),
            ({"revokedAt": format_time(T0 + 15)}, T0 + 10, T0 + 15, "UntrustedKey"),
        ],
        ids=["valid from then on", "not yet valid", "revoked later", "revoked then", "stolen, and dated back"],
    )
    def test_key_validity(self, key: dict[str, str], effective: int, created: int, code: str) -> None:
        """A key counts at the effective time, and not for what comes after it was revoked, whatever time that names."""
        desk = signing()
        trust(desk, trusted(1, **key))
        act = act_of(desk, "Suspend", effective)
        stored = store(desk, act, created, envelope=envelope(act, 1))
        desk.at(T0 + 30)
        assert answer(desk, T0 + 30)[stored] == code

    def test_keys_that_were_taken_away(self) -> None:
        """Whoever may edit or delete the endpoint cannot make unsigned instructions count: once signed, always signed."""
        desk = signing()
        trust(desk)
        assert done(desk, "Suspend", T0 + 10) == "Unsigned"
        assert done(desk, "Suspend", T0 + 11, sign=2) == "UntrustedKey"
        endpoint = desk.world.endpoints.pop("desk/gcx")
        assert done(desk, "Suspend", T0 + 12) == "UnknownExchange"
        assert endpoint
        assert desk.condition("Suspended") is None

    def test_an_exchange_that_does_not_sign(self) -> None:
        """Without trusted keys rights are all there is; an envelope that nobody can check does no harm."""
        desk = delivering()
        assert done(desk, "Suspend", T0 + 10, sign=3) == "Applied"

    def test_rotation(self) -> None:
        """A new key beside the old one, then instead of it: the chain goes on."""
        desk = signing()
        assert done(desk, "Suspend", T0 + 10, sign=1) == "Applied"
        trust(desk, trusted(1, revokedAt=format_time(T0 + 20)), trusted(2, validFrom=format_time(T0 + 20)))
        assert done(desk, "Resume", T0 + 20, sign=1) == "UntrustedKey"
        assert done(desk, "Resume", T0 + 21, sign=2) == "Applied"


class TestWrong:
    def test_another_contract(self) -> None:
        """The signed act names the contract; the object's reference alone directs nothing."""
        desk = delivering()
        act = act_of(desk, "Terminate", T0 + 10) | {"contractId": "GCX-2"}
        key = store(desk, act, T0 + 10)
        desk.at(T0 + 10)
        assert (answer(desk, T0 + 10)[key], desk.phase) == ("WrongContract", "Delivering")

    @pytest.mark.parametrize(
        ("act", "says"),
        [
            ({"action": "Explode"}, "spec.act.action: must be"),
            ({"effectiveTime": "tomorrow"}, "spec.act.effectiveTime: 'tomorrow' is not a time"),
            ({"substitution": {"product": "h200"}}, "spec.act.substitution: belongs to AcceptSubstitution; remove it"),
            ({"action": "AcceptBuyerCaused"}, "spec.act.buyerCaused: is missing; AcceptBuyerCaused needs it"),
            ({"previousDigest": "md5:1"}, "spec.act.previousDigest: must match"),
            ({"lots": "0"}, "spec.act.lots: is no field here"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_malformed(self, act: dict[str, Any], says: str) -> None:
        """What an older schema let in is rejected with field and fix, and stands in nobody's way."""
        desk = delivering()
        bad = store(desk, act_of(desk, "Terminate", T0 + 10) | act, T0 + 10)
        good = instruct(desk, "Suspend", T0 + 11)
        desk.at(T0 + 11)
        verdicts = judged(desk, T0 + 11)
        assert (verdicts[bad].phase, verdicts[good].phase) == ("Rejected", "Applied")
        assert says in str(verdicts[bad].reason)

    def test_rejected_stays_rejected(self) -> None:
        """What was out of place once has no effect later, when it would be in place."""
        desk = delivering()
        key = instruct(desk, "AcceptDelivery", T0 + 10)
        desk.at(T0 + 10)
        assert answer(desk, T0 + 10) == {key: "WrongPhase"}
        desk.run(T0 + 11, desk.end + 100)
        assert (desk.phase, answer(desk, desk.end + 100)) == ("Delivered", {key: "WrongPhase"})

    def test_of_a_contract_that_is_not_there(self) -> None:
        """It names another contract object: this one is not concerned."""
        desk = accepted()
        desk.at(T0 - 3550)
        key = store(desk, act_of(desk, "Terminate", T0 - 3500), T0 - 3500, contract="c2")
        assert desk.at(T0 - 3500) is None
        assert key not in judged(desk, T0 - 3500)

    def test_no_room_in_the_outbox(self) -> None:
        """What must be told waits for room, and is carried out once there is some."""
        desk = delivering()
        desk.deaf = True
        for number in range(3):
            done(desk, ("Suspend", "Resume")[number % 2], T0 + 10 + number)
        assert len(desk.status["outbox"]) == 8
        assert done(desk, "Resume", T0 + 20) == "Due"
        assert desk.condition("Suspended") == ("True", "Instructed")
        desk.deaf = False
        desk.at(T0 + 30)
        assert desk.condition("Suspended") == ("False", "Resumed")
