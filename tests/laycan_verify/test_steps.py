"""Who said what, and where in which history: keys, terms, the chain of receipts, the log and its witnesses."""

from __future__ import annotations

from base64 import b64decode

import pytest

from tests.laycan_verify.judging import judged, reason
from tests.laycan_verify.writer import (
    DAY,
    ENDPOINT,
    EXCHANGE,
    HEADS,
    OTHER_WITNESS,
    RECEIPTS,
    WITNESS,
    Key,
    Log,
    Loss,
    Story,
    at,
    b64,
    canonical,
    digest,
    instant,
    trust,
)

NEW = Key("receipts-2")
START = at("2027-01-04T00:00:00")


def keys(*receipts: dict[str, object]) -> dict[str, object]:
    return trust([*receipts, HEADS.trusted("checkpoints")])


class TestPlainDelivery:
    """Scenario 1."""

    def test_thirty_receipts(self) -> None:
        """Thirty daily receipts verify with the trust file alone, and deliver 165,888,000 GPU-seconds."""
        code, said = judged(Story().days())
        assert code == 0
        assert "30 receipts tile 2027-01-04T00:00:00Z to 2027-02-03T00:00:00Z, 0 of them corrections" in said
        assert "165888000 of 165888000 GPU-seconds delivered" in said
        assert "not checked" not in said

    def test_receipt_17_withheld(self) -> None:
        """A receipt that is withheld leaves a gap in the numbers: exit 3."""
        bundle = Story().days().bundle()
        del bundle["receipts"][16]
        assert reason(bundle) == (3, "REFUSED (3): a.json: receipt 17: sequence is 18, not 17")

    def test_one_byte_flipped(self) -> None:
        """A byte of a payload that is another: exit 2."""
        story = Story().days(20)
        bundle = story.bundle()
        body = bundle["receipts"][16]["body"]
        payload = body.split('"payload":"')[1].split('"')[0]
        flipped = bytearray(b64decode(payload))
        flipped[100] ^= 1
        bundle["receipts"][16]["body"] = body.replace(payload, b64(bytes(flipped)))
        code, why = reason(bundle)
        assert code == 2
        assert "a.json: receipt 17: the signature is of no key for receipts that is trusted as 'receipts-1'" in why

    def test_so_far(self) -> None:
        """In the middle of a contract it holds so far, and what no receipt covers is said."""
        code, said = judged(Story().days(7))
        assert code == 0
        assert "not checked: a.json: 2027-01-11T00:00:00Z to 2027-02-03T00:00:00Z: no receipt is of it" in said


class TestKeys:
    """A key counts at the time at which witnesses first saw what it signed."""

    def rotated(self, day: int = 3) -> Story:
        story = Story().days(day)
        story.key = NEW
        return story.days(3)

    def test_rotated(self) -> None:
        """Receipts of the old key and of the new one verify, each by its own."""
        assert judged(self.rotated(), trusted=keys(RECEIPTS.trusted("receipts"), NEW.trusted("receipts")))[0] == 0

    def test_lost(self) -> None:
        """A key that was lost is followed by one that the trust file allows from then on; without it the receipts are of nobody."""
        allowed = NEW.trusted("receipts", validFrom="2027-01-07T00:00:00Z")
        assert judged(self.rotated(), trusted=keys(RECEIPTS.trusted("receipts"), allowed))[0] == 0
        code, why = reason(self.rotated())
        assert (code, "receipt 4: the signature is of no key for receipts that is trusted as 'receipts-2'" in why) == (2, True)

    def test_used_before_it_was_valid(self) -> None:
        """A key from tomorrow signs nothing today."""
        allowed = NEW.trusted("receipts", validFrom="2027-01-09T00:00:00Z")
        code, why = reason(self.rotated(), trusted=keys(RECEIPTS.trusted("receipts"), allowed))
        assert (code, "receipt 4: the key 'receipts-2' was not valid at 2027-01-08T00:01:30Z" in why) == (2, True)

    @pytest.mark.parametrize(("revoked", "code"), [("2027-01-06T00:01:30Z", 2), ("2027-01-06T00:01:31Z", 0)])
    def test_revoked_around_the_cosigned_checkpoint(self, revoked: str, code: int) -> None:
        """A stolen key signs nothing that is first witnessed from its revocation on; what was witnessed before stays."""
        assert judged(Story().days(2), trusted=keys(RECEIPTS.trusted("receipts", revokedAt=revoked)))[0] == code

    def test_back_dated(self) -> None:
        """A receipt for an early period that is first witnessed after the revocation is of the thief, whatever time it names."""
        story = Story().days(2, cosigned=False)
        story.log.head(at("2027-01-20T00:00:00"))
        code, why = reason(story, trusted=keys(RECEIPTS.trusted("receipts", revokedAt="2027-01-10T00:00:00Z")))
        assert (code, "receipt 1: the key 'receipts-1' was not valid at 2027-01-20T00:00:00Z" in why) == (2, True)

    @pytest.mark.parametrize(("revoked", "code"), [("2027-01-06T00:00:00Z", 2), ("2027-01-06T00:00:01Z", 0)])
    def test_nobody_cosigned(self, revoked: str, code: int) -> None:
        """Without witnesses the end of the period counts, and it is said that nobody else saw it."""
        story = Story().days(2, cosigned=False)
        found, said = judged(story, trusted=keys(RECEIPTS.trusted("receipts", revokedAt=revoked)) | {"witnesses": []})
        assert found == code
        assert code or "not checked: a.json: when 2 receipts were signed: nobody cosigned" in said

    def test_the_quorum_says_when(self) -> None:
        """With two cosignatures asked for, a receipt is seen when the second witness has seen it."""
        story = Story()
        story.day(cosigned=False)
        text = story.log.heads[0]["note"].split("\n\n")[0].encode() + b"\n"
        lines = [each.note_line(each.name, 4, text, START + DAY + late) for each, late in ((WITNESS, 60), (OTHER_WITNESS, 600))]
        story.log.heads[0]["note"] += "".join(lines)
        trusted = keys(RECEIPTS.trusted("receipts", revokedAt="2027-01-05T00:05:00Z")) | {
            "witnesses": [WITNESS.trusted(), OTHER_WITNESS.trusted()]
        }
        assert judged(story, trusted=trusted, quorum=1)[0] == 0
        assert judged(story, trusted=trusted, quorum=2)[0] == 2

    def test_a_key_of_another_use(self) -> None:
        """A key for webhooks or checkpoints signs no receipts."""
        code, _ = judged(Story().days(1), trusted=trust([RECEIPTS.trusted("webhooks"), HEADS.trusted("checkpoints")]))
        assert code == 2

    @pytest.mark.parametrize(("revoked", "code"), [("2027-01-06T00:01:30Z", 4), ("2027-01-06T00:01:31Z", 0)])
    def test_the_key_of_the_log(self, revoked: str, code: int) -> None:
        """The same holds for the key that signs checkpoints."""
        trusted = trust([RECEIPTS.trusted("receipts"), HEADS.trusted("checkpoints", revokedAt=revoked)])
        assert judged(Story().days(2), trusted=trusted)[0] == code

    def test_the_log_is_signed_by_two_keys(self) -> None:
        """While the log's key is rotated a head may bear both signatures, of which one is of a key that is not valid any more."""
        story = Story()
        story.day(cosigned=False)
        old, new = Key("heads-0"), HEADS
        note = story.log.heads[0]["note"]
        text = note.split("\n\n")[0].encode() + b"\n"
        story.log.heads[0]["note"] = text.decode() + "\n" + old.note_line(story.log.origin, 1, text) + note.split("\n\n")[1]
        story.log.heads[0]["note"] += WITNESS.note_line(WITNESS.name, 4, text, START + DAY)
        known = [RECEIPTS.trusted("receipts"), old.trusted("checkpoints", revokedAt="2027-01-01T00:00:00Z"), new.trusted("checkpoints")]
        assert judged(story, trusted=trust(known))[0] == 0
        assert judged(story, trusted=trust(known[:2]))[0] == 4


class TestTerms:
    """The receipts are of what was agreed, and the exchange said so."""

    @pytest.mark.parametrize("part", ["terms", "product", "healthPolicy"])
    def test_others_than_the_receipts_name(self, part: str) -> None:
        """Terms, a promise or a health policy that is not the one of the receipts has another digest."""
        story = Story()
        del story.terms["productRef"]["digest"]
        bundle = story.days(1).bundle()
        bundle[part]["more"] = "x" if part != "product" else {}
        bundle[part] = bundle[part] if part != "product" else {**bundle[part], "promise": {"nodeGpus": 4}}
        bundle["product"].pop("more", None)
        code, why = reason(bundle)
        assert (code, f"receipt 1: contract.{part}Digest is not that of the bundle" in why) == (2, True)

    def test_another_product(self) -> None:
        """Neither its name nor the digest that the terms pin may differ."""
        story = Story()
        story.terms["productRef"]["digest"] = digest({**story.product, "promise": {}})
        story.days(1)
        assert "product has not the digest terms.productRef.digest" in reason(story)[1]
        other = Story()
        other.terms["productRef"] = {"name": "h200"}
        assert reason(other.days(1)) == (2, "REFUSED (2): a.json: product.name is not terms.productRef.name")

    def test_product_not_pinned(self) -> None:
        """Where the terms cite no digest of the product, what it promised is the operator's word, and that is said."""
        story = Story()
        del story.terms["productRef"]["digest"]
        code, said = judged(story.days(1))
        assert (code, "not checked: a.json: whether 'h100' promised this when it was sold" in said) == (0, True)

    def test_not_confirmed(self) -> None:
        """Without a confirmation it is the operator's word that these are the traded terms, and that is said."""
        code, said = judged(Story(confirmed_by=None).days(1))
        assert (code, "not checked: a.json: confirmation: none was given" in said) == (0, True)

    def test_confirmed_by_nobody_known(self) -> None:
        """A confirmation by another key, or of an exchange without keys, is none."""
        assert reason(Story(confirmed_by=Key("someone")).days(1))[0] == 2
        assert reason(Story().days(1), trusted=trust(exchanges=[]))[0] == 2

    def test_confirmed_something_else(self) -> None:
        """A confirmation of other terms is none of these."""
        bundle = Story().days(1).bundle()
        envelope = EXCHANGE.envelope(canonical({**bundle["terms"], "price": {"amount": "9.99", "currency": "USD"}}))
        bundle["confirmation"] = {"envelope": b64(canonical(envelope))}
        assert reason(bundle) == (2, "REFUSED (2): a.json: confirmation: payload is not terms")

    @pytest.mark.parametrize(("revoked", "code"), [("2026-12-01T09:00:00Z", 2), ("2026-12-01T09:00:01Z", 0)])
    def test_confirmed_when_traded(self, revoked: str, code: int) -> None:
        """The exchange's key counts at the time of the trade."""
        exchanges = [{"name": ENDPOINT, "keys": [EXCHANGE.trusted("confirmations", revokedAt=revoked)]}]
        assert judged(Story().days(1), trusted=trust(exchanges=exchanges))[0] == code


class TestChain:
    """Receipts follow each other and tile what is due."""

    def test_another_order(self) -> None:
        """Two receipts that changed places are none of a chain."""
        bundle = Story().days(5).bundle()
        bundle["receipts"][2:4] = reversed(bundle["receipts"][2:4])
        assert reason(bundle)[0] == 3

    def test_first_ones_withheld(self) -> None:
        """A chain begins with receipt 1."""
        bundle = Story().days(5).bundle()
        del bundle["receipts"][:2]
        assert reason(bundle) == (3, "REFUSED (3): a.json: receipt 1: sequence is 3, not 1")

    def test_another_past(self) -> None:
        """A receipt that cites another predecessor is refused, although its number fits."""
        story, other = Story().days(3), Story(losses=[Loss((0,), START, START + 60, "Excused:Grace")]).days(2)
        bundle = story.bundle()
        other.log, other.indices = story.log, []
        other.day()
        bundle["receipts"][2] = other.bundle()["receipts"][0]
        bundle["checkpoints"] = story.log.heads
        assert "receipt 3: previousReceiptDigest is not that of the receipt before" in reason(bundle)[1]

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("start", instant(START + DAY + 1), "period.start is not 2027-01-05T00:00:00Z, where the period before ends"),
            ("start", instant(START), "period.end is not 2027-01-05T00:00:00Z, where its day or what is due ends"),
            ("end", instant(START + 2 * DAY - 1), "period.end is not 2027-01-06T00:00:00Z, where its day or what is due ends"),
            ("end", instant(START + 3 * DAY), "period.end is not 2027-01-06T00:00:00Z, where its day or what is due ends"),
        ],
    )
    def test_gaps_and_overlaps(self, field: str, value: str, words: str) -> None:
        """A period begins where the one before ends, and ends with its UTC day."""
        story = Story().days(1)
        story.edit = lambda statement: statement["predicate"]["period"].update({field: value})
        story.day()
        code, why = reason(story)
        assert (code, f"receipt 2: {words}" in why) == (3, True)

    def test_created_late(self) -> None:
        """A contract that was created after its start owes from then, inside a day; that it was is the operator's word."""
        code, said = judged(Story(created=at("2027-01-04T09:30:00")).days(3))
        assert (code, "3 receipts tile 2027-01-04T09:30:00Z to 2027-01-07T00:00:00Z" in said) == (0, True)
        assert "why only 2027-01-04T09:30:00Z to 2027-02-03T00:00:00Z is due, by the operator's word" in said

    def test_terminated_early(self) -> None:
        """Terminated inside a day the last period ends with what is due, and nothing is missing after it."""
        story = Story().days(4)
        story.due_end = at("2027-01-08T15:00:00")
        story.day()
        code, said = judged(story)
        assert (code, "tile 2027-01-04T00:00:00Z to 2027-01-08T15:00:00Z" in said, "no receipt is of it" in said) == (0, True, False)

    def test_due_moves_back(self) -> None:
        """What is due may end earlier than before, never later, and its start never moves."""
        story = Story().days(2)
        story.due_end = at("2027-01-20T00:00:00")
        story.day()
        story.due_end = at("2027-01-30T00:00:00")
        story.day()
        code, why = reason(story)
        assert (code, "receipt 4: contract.due goes beyond what was due before" in why) == (3, True)
        early = Story()
        early.due_start -= DAY
        assert reason(early.days(1))[0] == 3

    def test_after_the_end(self) -> None:
        """Nothing follows the end of what is due."""
        story = Story(end=START + DAY).days(1)
        story.issue(story.predicate(START + DAY, START + 2 * DAY))
        story.log.head(START + 3 * DAY)
        assert reason(story)[0] == 3


class TestCorrections:
    """A correction restates one period and the total after it; what is superseded stays as history."""

    OUTAGE = Loss((2,), at("2027-01-05T10:00:00"), at("2027-01-05T12:00:00"))
    UPHELD = Loss((2,), at("2027-01-05T10:00:00"), at("2027-01-05T12:00:00"), "Excused:ForceMajeureUpheld")

    def story(self) -> Story:
        story = Story(losses=[self.OUTAGE]).days(4)
        story.correct(2, START + 5 * DAY, [self.UPHELD])
        return story

    def test_corrected(self) -> None:
        """Scenario 11: a shortfall that was upheld as force majeure moves to Excused, and later days go on from there."""
        story = self.story()
        assert judged(story)[0] == 0
        assert story.receipts[-1]["cumulative"]["excusedGpuSeconds"] == 2 * 3600 * 8
        story.days(2)
        code, said = judged(story, all_readings=True)
        assert (code, "7 receipts tile 2027-01-04T00:00:00Z to 2027-01-10T00:00:00Z, 1 of them corrections" in said) == (0, True)

    def test_by_other_readings(self) -> None:
        """A correction that rests on other readings is told: only judging the same ones anew needs no other word."""
        story = Story(losses=[self.OUTAGE]).days(4)
        story.correct(2, START + 5 * DAY, [])
        code, said = judged(story)
        assert (code, "not checked: a.json: receipt 5: why it rests on other readings" in said) == (0, True)
        again = Story(losses=[self.OUTAGE]).days(4)
        again.correct(2, START + 5 * DAY, [self.OUTAGE])
        assert "other readings" not in judged(again)[1]

    def test_twice(self) -> None:
        """The latest correction counts, whichever receipt of the period it names."""
        for named in (2, 5):
            story = self.story()
            story.correct(named, START + 6 * DAY, [self.OUTAGE])
            assert judged(story.days(1))[0] == 0

    def test_withheld(self) -> None:
        """A correction that is withheld leaves a gap, or where it is the last, the total without it."""
        story = self.story().days(1)
        bundle = story.bundle()
        del bundle["receipts"][4]
        assert reason(bundle)[0] == 3

    @pytest.mark.parametrize("corrects", [0, 3, 5, 6])
    def test_of_another_period(self, corrects: int) -> None:
        """A correction is of an earlier receipt, and of the same period."""
        story = Story(losses=[self.OUTAGE]).days(4)
        story.edit = lambda statement: statement["predicate"].update(corrects=corrects)
        story.correct(2, START + 5 * DAY, [self.UPHELD])
        assert reason(story)[0] == 3

    def test_its_total(self) -> None:
        """The total of a correction is that after its period, not after the latest."""
        story = Story(losses=[self.OUTAGE]).days(4)
        totals = story.receipts[-1]["cumulative"]
        story.edit = lambda statement: statement["predicate"].update(cumulative=totals)
        story.correct(2, START + 5 * DAY, [self.UPHELD])
        assert "receipt 5: cumulative." in reason(story)[1]


class TestLog:
    """Scenario 12 b: one history, which witnesses saw."""

    def test_no_cosignature(self) -> None:
        """A history that no trusted witness cosigned: exit 4, unless none is asked for."""
        story = Story().days(3, cosigned=False)
        assert reason(story) == (
            4,
            "REFUSED (4): a.json: receipt 1: checkpoint: none that holds it is cosigned by 1 of the trusted witnesses",
        )
        assert judged(story, quorum=0)[0] == 0
        assert judged(story, trusted=trust(witnesses=[OTHER_WITNESS]))[0] == 4

    @pytest.mark.parametrize(("early", "code"), [(299, 0), (300, 0), (301, 4), (86_400, 4)])
    def test_of_time_that_had_not_come(self, early: int, code: int) -> None:
        """A witness saw the receipt before its period was over, by more than clocks differ: nobody can have metered that."""
        story = Story().days(1)
        story.issue(story.predicate(START + DAY, START + 2 * DAY))
        story.log.head(START + 2 * DAY - early)
        assert reason(story)[0] == code
        if code:
            assert reason(story)[1].endswith("receipt 2: period.end is 2027-01-06T00:00:00Z, and it was cosigned before")

    def test_not_enough(self) -> None:
        """One witness is not two, and one that signs twice is one."""
        trusted = trust(witnesses=[WITNESS, OTHER_WITNESS])
        assert judged(Story().days(2), trusted=trusted, quorum=2)[0] == 4
        assert judged(Story().days(2, witnesses=(WITNESS, WITNESS)), trusted=trusted, quorum=2)[0] == 4
        assert judged(Story().days(2, witnesses=(WITNESS, OTHER_WITNESS)), trusted=trusted, quorum=2)[0] == 0

    def test_witnesses_of_one_name(self) -> None:
        """Two exchanges may call their keys the same: each counts by its key, and one key counts once."""
        namesake = Key("another")
        namesake.name = WITNESS.name
        trusted = trust(witnesses=[WITNESS, namesake])
        assert judged(Story().days(2), trusted=trusted)[0] == 0
        assert judged(Story().days(2), trusted=trusted, quorum=2)[0] == 4
        assert judged(Story().days(2, witnesses=(WITNESS, namesake)), trusted=trusted, quorum=2)[0] == 0
        assert reason(Story().days(1), trusted=trust(witnesses=[WITNESS, WITNESS]))[0] == 1

    def test_heads_before_a_theft(self) -> None:
        """Without witnesses a head counts as made when the last period under it ended: what a stolen key signed before stays good."""
        thief = Key("heads-2")
        keys = [RECEIPTS.trusted("receipts"), HEADS.trusted("checkpoints", revokedAt="2027-01-06T12:00:00Z"), thief.trusted("checkpoints")]
        for day, code in ((2, 0), (3, 4)):
            story = Story().days(day, cosigned=False)
            story.days(2, cosigned=False, key=thief)
            assert judged(story, trusted=trust(keys, witnesses=[]))[0] == code

    def test_the_last_receipt_is_not_covered(self) -> None:
        """Every receipt needs a witnessed head, the newest too."""
        story = Story().days(2)
        story.day(cosigned=False)
        assert "receipt 3: checkpoint: none that holds it" in reason(story)[1]
        story.log.head(START + 4 * DAY)
        assert judged(story)[0] == 0

    @pytest.mark.parametrize("key", [HEADS, WITNESS])
    def test_a_signature_of_another_text(self, key: Key) -> None:
        """A signature that is wrong under a trusted key spoils the head, although another one is right."""
        story = Story().days(2)
        kind, name, time = (1, story.log.origin, None) if key is HEADS else (4, key.name, 1_800_000_000)
        story.log.heads[1]["note"] += key.note_line(name, kind, b"another text\n1\nroot\n", time)
        assert reason(story)[0] == 4

    def test_signatures_of_strangers(self) -> None:
        """Lines of keys that are not trusted are ignored, as C2SP demands."""
        story = Story().days(2)
        story.log.heads[1]["note"] += Key("stranger").note_line("stranger", 4, b"x", 5)
        assert judged(story)[0] == 0

    def test_a_log_that_did_not_only_grow(self) -> None:
        """A head that does not begin with the one before is another history, although each proof of inclusion is right."""
        story = Story().days(2)
        story.log.entries[0] = b'{"other":"rewritten"}'
        story.days(1)
        assert reason(story)[0] == 4

    def test_the_proof_of_growth_is_withheld(self) -> None:
        """Heads without a proof between them are not taken for one history."""
        bundle = Story().days(2).bundle()
        del bundle["checkpoints"][1]["consistency"]
        assert "checkpoints[1]: consistency does not prove that the log only grew" in reason(bundle)[1]

    def test_two_histories(self) -> None:
        """The exchange and the auditor were shown logs of the same size with different entries: exit 4, though each verifies alone."""
        honest, other = Story().days(3), Story(losses=[Loss((1,), START, START + 60, "Excused:Grace")]).days(3)
        assert (judged(honest)[0], judged(other)[0]) == (0, 0)
        code, why = reason(honest, other)
        assert (code, "b.json: operator.example/venue/endpoint head of size 2 is another than in a.json: two histories" in why) == (4, True)

    def test_two_contents_under_one_number(self) -> None:
        """The same receipt number with two contents, in two logs."""
        honest = Story().days(3)
        other = Story(losses=[Loss((1,), START, START + 60, "Excused:Grace")], log=Log(f"{Log().origin}/2")).days(3)
        code, why = reason(honest, other)
        assert (code, "receipt 1 is another than in a.json: two histories" in why) == (4, True)

    def test_one_history_in_two_files(self) -> None:
        """Two exports of one log, one of them older, agree."""
        story = Story().days(3)
        older = story.bundle()
        assert judged(older, story.days(2))[0] == 0

    def test_heads_that_never_met(self) -> None:
        """Where no head of one file has the size of one of the other, it is said that they were not compared."""
        one, two = Story(), Story(contract_id="D-2027-01")
        two.log = one.log
        one.days(1)
        two.days(1)
        first, second = one.bundle(), two.bundle()
        first["checkpoints"] = first["checkpoints"][:1]
        second["checkpoints"] = [{"note": second["checkpoints"][1]["note"]}]
        second["receipts"][0]["checkpoint"] = 0
        code, said = judged(first, second)
        assert (code, "not checked: b.json: whether its 'operator.example/venue/endpoint' is that of the files before" in said) == (0, True)

    def test_another_place(self) -> None:
        """An entry is where its index says, and receipts stand in order."""
        bundle = Story().days(2).bundle()
        bundle["receipts"][1]["index"] = 2
        assert "receipt 2: proof does not lead from body at index to the root of its checkpoint" in reason(bundle)[1]

    def test_a_log_begun_anew(self) -> None:
        """After the loss of a log its contracts go on in a new one; what became of the old one's end is not proven."""
        story = Story().days(2)
        new = Log(f"{story.log.origin}/2")
        before = story.bundle()
        story.log, story.indices = new, []
        story.days(2)
        after = story.bundle()
        for entry in after["receipts"]:
            entry["checkpoint"] += 2
        bundle = {**after, "receipts": before["receipts"] + after["receipts"], "checkpoints": before["checkpoints"] + after["checkpoints"]}
        code, said = judged(bundle)
        assert (code, "not checked: a.json: what a log held after its last head here, before it was begun anew" in said) == (0, True)

    def test_the_log_of_another_exchange(self) -> None:
        """A contract's receipts stand in the log of its exchange."""
        code, why = reason(Story(log=Log("operator.example/other/endpoint")).days(1))
        assert (code, "checkpoints[0]: origin is not that of the log of 'venue/endpoint'" in why) == (4, True)

    def test_an_event_of_another_contract(self) -> None:
        """The entry is an event of this contract."""
        story = Story()
        append = story.log.append
        story.log.append = lambda body: append(body.replace(b'"subject":"C-2027-01"', b'"subject":"D"', 1))  # type: ignore[method-assign]
        assert reason(story.days(1)) == (4, "REFUSED (4): a.json: receipt 1: body.subject is not 'C-2027-01'")
