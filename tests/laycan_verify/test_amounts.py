"""How much was delivered: sums, readings recomputed through `classify`, and devices that are in one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest

from tests.laycan_verify.judging import judged, reason
from tests.laycan_verify.writer import DAY, JSON, Loss, Story, at

START = at("2027-01-04T00:00:00")
DAY_GPU_SECONDS = 64 * DAY


def outage(first: str, last: str, cls: str = "Shortfall", lots: tuple[int, ...] = (3,)) -> Loss:
    return Loss(lots, at(first), at(last), cls)


def edited(change: Callable[[JSON], object], losses: tuple[Loss, ...] = (), days: int = 3) -> Story:
    """The operator himself signs something else in receipt 2."""
    story = Story(losses=losses)

    def edit(statement: JSON) -> None:
        if statement["predicate"]["sequence"] == 2:
            change(statement["predicate"])

    story.edit = edit
    return story.days(days)


class TestSums:
    """What the operator signed must add up, whoever signed it."""

    @pytest.mark.parametrize("field", ["contracted", "delivered", "curtailed", "buyerCaused", "excused", "shortfall", "estimated"])
    @pytest.mark.parametrize("part", ["quantities", "cumulative"])
    def test_one_gpu_second_more(self, part: str, field: str) -> None:
        """No counter, of the period or of the total, may be one GPU-second off."""
        name = f"{field}GpuSeconds"
        code, why = reason(edited(lambda predicate: predicate[part].update({name: predicate[part][name] + 1})))
        assert (code, "a.json: receipt 2: " in why) == (5, True)

    def test_availability(self) -> None:
        """Scenario 5: seven hours of four lots in thirty days leave 995,138 ppm; grace counts against it, what is the buyer's does not."""
        rack = outage("2027-01-15T02:00:00", "2027-01-15T09:00:00", lots=(0, 1, 2, 3))
        brief = outage("2027-01-20T02:00:00", "2027-01-20T02:05:00", "Excused:Grace")
        theirs = outage("2027-01-21T00:00:00", "2027-01-31T00:00:00", "BuyerCaused", lots=tuple(range(8)))
        upheld = outage("2027-01-21T00:00:00", "2027-01-31T00:00:00", "Excused:ForceMajeureUpheld", lots=tuple(range(8)))
        whole, ten = 165_888_000, 64 * 10 * DAY
        for losses, ppm in (
            ((), 1_000_000),
            ((rack,), 995_138),
            ((brief,), (whole - 2_400) * 10**6 // whole),
            ((rack, theirs), (whole - ten - 806_400) * 10**6 // (whole - ten)),
            ((rack, upheld), (whole - ten - 806_400) * 10**6 // (whole - ten)),
        ):
            code, said = judged(Story(losses=losses).days(30))
            assert (code, f"GPU-seconds delivered, availability {ppm} ppm; the sums are right" in said) == (0, True)

    def test_more_estimated_than_delivered(self) -> None:
        """Estimated seconds are delivered seconds."""
        code, why = reason(edited(lambda predicate: predicate["quantities"].update(estimatedGpuSeconds=DAY_GPU_SECONDS + 1)))
        assert (code, "quantities.estimatedGpuSeconds is more than delivered" in why) == (5, True)

    def test_less_was_contracted(self) -> None:
        """What was contracted follows from the terms and the period, not from the receipt."""

        def less(predicate: JSON) -> None:
            for part in ("quantities", "cumulative"):
                for name in ("contractedGpuSeconds", "shortfallGpuSeconds"):
                    predicate[part][name] -= 8 * 3600
            predicate["incidents"] = []

        code, why = reason(edited(less, (outage("2027-01-05T10:00:00", "2027-01-05T11:00:00"),)))
        assert (code, f"receipt 2: quantities.contractedGpuSeconds is not {DAY_GPU_SECONDS}" in why) == (5, True)

    def test_an_incident_left_out(self) -> None:
        """What was not delivered is told, incident by incident, to the last GPU-second."""
        code, why = reason(
            edited(lambda predicate: predicate["incidents"].clear(), (outage("2027-01-05T10:00:00", "2027-01-05T11:00:00"),))
        )
        assert (code, "receipt 2: incidents add up to 0, and quantities.shortfallGpuSeconds is 28800" in why) == (5, True)

    def test_more_incidents_than_a_receipt_lists(self) -> None:
        """Where a receipt says that it has no room for all, those that it lists are a part of the sum, and no more than it."""
        ticks = [Loss((0,), START + 600 * n, START + 600 * n + 301, "Shortfall") for n in range(4)]
        for kept, says, code in ((3, {"leftOut": 1}, 0), (3, {}, 5), (4, {"leftOut": 1}, 0), (3, {"leftOut": 0}, 1)):
            story = Story(losses=ticks)
            story.edit = lambda made, kept=kept, says=says: made["predicate"].update(
                incidents=made["predicate"]["incidents"][:kept], **says
            )
            assert judged(story.days(1))[0] == code
        twice = Story(losses=ticks[:1])
        twice.edit = lambda made: made["predicate"].update(incidents=made["predicate"]["incidents"] * 2, leftOut=1)
        assert judged(twice.days(1))[0] == 5

    @pytest.mark.parametrize("credit", [None, {"amount": "1.89", "currency": "USD"}, {"amount": "1.90", "currency": "EUR"}])
    def test_credit(self, credit: JSON | None) -> None:
        """The indicative credit is that of all shortfall so far by the price of the terms: 8 x 271 s at 3.15 are 1.897."""
        shortfall = Loss((0,), at("2027-01-04T12:00:00"), at("2027-01-04T12:04:31"))
        story = Story(losses=[shortfall])
        story.terms["tolerance"]["graceSeconds"] = 200
        assert judged(story.days(1))[0] == 0
        assert story.receipts[0]["credit"] == {"amount": "1.90", "currency": "USD"}

        def understate(predicate: JSON) -> None:
            predicate.pop("credit")
            predicate.update({} if credit is None else {"credit": credit})

        story = Story(losses=[shortfall])
        story.terms["tolerance"]["graceSeconds"] = 200
        story.edit = lambda made: understate(made["predicate"])
        code, why = reason(story.days(1))
        assert (code, "receipt 1: credit is not that of all shortfall so far" in why) == (5, True)

    def test_another_grade(self) -> None:
        """What was delivered in another grade is said in the receipt, and that the terms may not allow it."""

        class Substituted(Story):
            def _delivered(self, lot: int, start: int, end: int) -> list[JSON]:
                return [{**row, "product": "a100" if lot == 3 else "h100"} for row in super()._delivered(lot, start, end)]

        assert "receipt 1: substitutions do not name the grades of the readings, ['a100']" in reason(Substituted().days(1))[1]
        told = Substituted()
        told.edit = lambda made: made["predicate"]["substitutions"].append({"lots": "3", "product": "a100", **made["predicate"]["period"]})
        code, said = judged(told.days(1))
        assert (code, "not checked: a.json: whether 'a100' may stand for 'h100' by the terms" in said) == (0, True)

    def test_no_price(self) -> None:
        """Terms without a price give no credit."""
        story = Story()
        del story.terms["price"]
        assert reason(story.days(1))[0] == 5
        story = Story()
        del story.terms["price"]
        story.edit = lambda made: made["predicate"].pop("credit")
        assert judged(story.days(1))[0] == 0

    @pytest.mark.parametrize("hidden", ["BuyerCaused", "Excused:ForceMajeureUpheld"])
    def test_what_an_instruction_would_have_to_say(self, hidden: str) -> None:
        """It is said that nobody proved it, also where the receipt lists no such incident or calls it another."""
        losses = (outage("2027-01-05T10:00:00", "2027-01-05T11:00:00", hidden), outage("2027-01-05T13:00:00", "2027-01-05T13:06:00"))

        def hide(predicate: JSON) -> None:
            if hidden == "BuyerCaused":
                predicate.update(incidents=[each for each in predicate["incidents"] if each["class"] != hidden], leftOut=1)
            for each in predicate["incidents"]:
                each["class"] = "Excused:Grace" if each["class"].startswith("Excused") else each["class"]

        code, said = judged(edited(hide, losses))
        assert (code, f"not checked: a.json: whether what is {hidden} is rightly so" in said) == (0, True)

    def test_a_firm_contract_curtailed(self) -> None:
        """Nothing of a Firm contract may be withdrawn by right; of an Interruptible one it may."""
        losses = [outage("2027-01-05T10:00:00", "2027-01-05T11:00:00", "CurtailedByRight")]
        code, said = judged(Story(losses=losses, firmness="Interruptible").days(3))
        assert (code, "not checked: a.json: whether what is CurtailedByRight is rightly so" in said) == (0, True)
        code, why = reason(Story(losses=losses).days(3))
        assert (code, "receipt 2: quantities.curtailedGpuSeconds: a Firm contract cannot be curtailed" in why) == (5, True)


class TestReadings:
    """Scenario 12 a, and the judgement of outages."""

    @pytest.mark.parametrize(
        "losses",
        [
            (outage("2027-01-05T13:02:10", "2027-01-05T13:05:40", "Excused:Grace"),),  # scenario 3
            (outage("2027-01-05T13:00:00", "2027-01-05T13:13:30", "Shortfall"),),  # scenario 4
            (outage("2027-01-05T02:00:00", "2027-01-05T09:00:00", "Shortfall", (0, 1, 2, 3)),),  # scenario 5
            (outage("2027-01-05T23:58:00", "2027-01-06T00:02:00", "Excused:Grace"),),  # across midnight, whole
            (outage("2027-01-05T23:57:00", "2027-01-06T00:03:00", "Shortfall"),),
            (outage("2027-01-05T10:00:00", "2027-01-06T11:00:00", "BuyerCaused"),),
            (
                outage("2027-01-05T10:00:00", "2027-01-05T11:00:00", "Excused:PlannedOutageAllowed"),
                outage("2027-01-05T11:00:00", "2027-01-05T11:04:00", "Excused:Grace"),
            ),
        ],
    )
    def test_recomputed(self, losses: tuple[Loss, ...]) -> None:
        """What the writer counted loss by loss is what `classify` makes of the readings, day by day."""
        code, said = judged(Story(losses=losses).days(4), all_readings=True)
        assert (code, "the quantities of 4 periods are what the readings give" in said) == (0, True)

    @pytest.mark.parametrize(("cls", "other"), [("Excused:Grace", "Shortfall"), ("Shortfall", "Excused:Grace")])
    def test_judged_wrongly(self, cls: str, other: str) -> None:
        """An outage within grace is excused and a longer one is not, whatever the receipt would like."""
        length = 240 if cls == "Excused:Grace" else 360
        code, why = reason(Story(losses=[Loss((3,), START + 100, START + 100 + length, other)]).days(2))
        assert (code, "receipt 1: quantities.excusedGpuSeconds is" in why) == (5, True)

    @pytest.mark.parametrize("cls", ["Excused:Grace", "Shortfall"])
    def test_open_at_the_end(self, cls: str) -> None:
        """An outage that lasts at the end of the readings and is within grace may become either; receipts to come decide."""
        losses = [outage("2027-01-05T23:58:00", "2027-01-06T00:03:00" if cls == "Excused:Grace" else "2027-01-06T00:03:01", cls)]
        assert judged(Story(losses=losses).days(2), all_readings=True)[0] == 0
        assert judged(Story(losses=losses).days(3), all_readings=True)[0] == 0
        longer = [outage("2027-01-05T23:54:00", "2027-01-06T00:03:00", "Excused:Grace")]
        assert reason(Story(losses=longer).days(2))[0] == 5

    def test_estimated(self) -> None:
        """Scenario 12 d: of 25 minutes without samples half a per cent of the day is estimated, 27,648 GPU-seconds; the rest is short."""
        story = Story(losses=[Loss(tuple(range(8)), START + DAY + 46_800 + 432, START + DAY + 46_800 + 1_500)])
        whole = story._delivered

        def guessed(lot: int, start: int, end: int) -> list[JSON]:
            """What is delivered after the gap begins was estimated as far as the readings say."""
            rows = whole(lot, start, end)
            if end == START + DAY + 46_800 + 432:
                sample, guess = deepcopy(rows[0]), deepcopy(rows[0])
                sample["end"] = guess["start"] = "2027-01-05T13:00:00Z"
                return [sample, {**guess, "end": "2027-01-05T13:25:00Z", "estimated": True}]
            return rows

        story._delivered = guessed  # type: ignore[method-assign]
        quantities = story.quantities

        def with_estimate(start: int, end: int) -> JSON:
            return quantities(start, end) | ({"estimatedGpuSeconds": 27_648} if start == START + DAY else {})

        story.quantities = with_estimate  # type: ignore[method-assign]
        story.days(3)
        assert story.receipts[1]["quantities"]["shortfallGpuSeconds"] == 68_352
        assert judged(story, all_readings=True)[0] == 0

    def test_a_reading_rewritten(self) -> None:
        """A reading that is changed afterwards has another root than the receipt names: exit 5."""
        bundle = Story(losses=[outage("2027-01-05T10:00:00", "2027-01-05T11:00:00")]).days(3).bundle()
        root = next(root for root, rows in bundle["readings"].items() if len(rows) > 8)
        bundle["readings"][root][3]["end"] = "2027-01-05T10:59:00Z"
        assert reason(bundle) == (5, "REFUSED (5): a.json: receipt 2: meter.rootSha256 is not the root of the readings")

    def test_readings_of_no_receipt(self) -> None:
        """Readings under another root are of no receipt."""
        bundle = Story().days(2).bundle()
        root = min(bundle["readings"])
        bundle["readings"]["00" * 32] = bundle["readings"].pop(root)
        assert reason(bundle) == (5, f"REFUSED (5): a.json: readings.{'00' * 32} are of no receipt")

    def test_absent(self) -> None:
        """Without readings the quantities are the operator's word: said, and exit 7 where they are asked for."""
        bundle = Story().days(3).bundle()
        del bundle["readings"]
        code, said = judged(bundle)
        assert (code, "not checked: a.json: quantities from 2027-01-04T00:00:00Z on, for want of readings" in said) == (0, True)
        assert "not checked: double delivery in 3 periods, for want of readings" in said
        code, why = reason(bundle, all_readings=True)
        assert (code, "a.json: receipt 1: meter.rootSha256: these readings were not given" in why) == (7, True)

    def test_some_absent(self) -> None:
        """Periods are recomputed up to the first without readings, since each outage is judged by all before it."""
        story = Story().days(3)
        bundle = story.bundle()
        del bundle["readings"][story.receipts[1]["meter"]["rootSha256"]]
        code, said = judged(bundle)
        assert (code, "the quantities of 1 periods are" in said, "quantities from 2027-01-05T00:00:00Z on" in said) == (0, True, True)
        assert "not checked: double delivery in 1 periods, for want of readings" in said
        assert judged(bundle, all_readings=True)[0] == 7

    def test_nothing_was_delivered(self) -> None:
        """A day without any reading needs none in the file."""
        story = Story(losses=[Loss(tuple(range(8)), START + DAY, START + 2 * DAY)]).days(3)
        bundle = story.bundle()
        assert bundle["readings"].pop(story.receipts[1]["meter"]["rootSha256"]) == []
        assert judged(bundle, all_readings=True)[0] == 0

    def test_corrected_readings(self) -> None:
        """After a correction its readings count; those of the receipt that it corrects need not be given."""
        story = Story(losses=[outage("2027-01-05T10:00:00", "2027-01-05T11:00:00")]).days(4)
        story.correct(2, START + 5 * DAY, [outage("2027-01-05T10:00:00", "2027-01-05T10:30:00")])
        assert judged(story, all_readings=True)[0] == 0
        bundle = story.bundle()
        del bundle["readings"][story.receipts[1]["meter"]["rootSha256"]]
        assert judged(bundle, all_readings=True)[0] == 0

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"lot": 8}, "is not of its period and lots"),
            ({"start": "2027-01-04T23:59:59Z"}, "is not of its period and lots"),
            ({"end": "2027-01-06T00:00:01Z"}, "is not of its period and lots"),
            ({"start": "2027-01-05T10:00:00Z", "end": "2027-01-05T10:00:00Z"}, "is not of its period and lots"),
            ({"devices": ["ab" * 32]}, "has not the devices of a lot, 8, or delivers nothing"),
            ({"devices": ["ab" * 32] * 8}, "has not the devices of a lot, 8, or delivers nothing"),
            ({"class": "BuyerCaused"}, "has not the devices of a lot, 8, or delivers nothing"),
            ({"class": "BuyerCaused", "devices": [], "estimated": True}, "has not the devices of a lot, 8, or delivers nothing"),
        ],
    )
    def test_impossible_readings(self, change: JSON, words: str) -> None:
        """Readings that the operator himself committed to must be of the period, of its lots, and name a lot's devices or none."""
        story = Story().days(1)
        rows = story.rows

        def wrong(start: int, end: int) -> list[JSON]:
            made = rows(start, end)
            return [made[0] | change, *made[1:]] if "lot" not in change else [*made[:-1], made[-1] | change]

        story.rows = wrong  # type: ignore[method-assign]
        code, why = reason(story.days(1))
        assert (code, "a.json: receipt 2: the reading of lot" in why, words in why) == (5, True, True)

    def test_not_in_order(self) -> None:
        """Readings have one order, so that a set of them has one root."""
        story = Story()
        rows = story.rows
        story.rows = lambda start, end: rows(start, end)[::-1]  # type: ignore[method-assign]
        assert "receipt 1: the readings are not in order of lot and start" in reason(story.days(1))[1]

    @pytest.mark.parametrize("change", [{"count": 65}, {"commitmentRoot": "00" * 32}])
    def test_other_devices(self, change: JSON) -> None:
        """The devices that a receipt commits to are those of its readings."""
        code, why = reason(edited(lambda predicate: predicate["devices"].update(change)))
        assert (code, "receipt 2: devices are not those of the readings" in why) == (5, True)

    def test_another_number(self) -> None:
        """So is their number."""
        code, why = reason(edited(lambda predicate: predicate["meter"].update(readings=9)))
        assert (code, "receipt 2: meter.readings is not their number, 8" in why) == (5, True)


class TestDoubleDelivery:
    """Scenario 12 c: the same device delivered to two at once."""

    @staticmethod
    def on(lot: int, start: int) -> list[str]:
        return [f"{lot:02x}{place:02x}" * 16 for place in range(8)]

    @classmethod
    def swapping(cls, lot: int, start: int) -> list[str]:
        """Lot 3 of D is on the devices of lot 3 of C from 14:00 to 14:05, and else on its own."""
        mine = start == START + 14 * 3600 and lot == 3
        return cls.on(lot, start) if mine else [f"d{lot:01x}{place:02x}" * 16 for place in range(8)]

    def test_twice_in_five_minutes(self) -> None:
        """Each contract verifies alone; together they show devices that were sold twice from 14:00 to 14:05: exit 6."""
        first = Story(devices=self.on).days(1)
        second = Story(contract_id="D-2027-01", devices=self.swapping)
        whole = second._delivered

        def cut(lot: int, start: int, end: int) -> list[JSON]:
            edges = [start, START + 14 * 3600, START + 14 * 3600 + 300, end] if lot == 3 else [start, end]
            return [row for a, b in pairwise(edges) for row in whole(lot, a, b)]

        second._delivered = cut  # type: ignore[method-assign]
        second.log.entries, second.log.sizes, second.log.heads = list(first.log.entries), list(first.log.sizes), list(first.log.heads)
        second.days(1)
        assert (judged(first)[0], judged(second)[0]) == (0, 0)
        code, why = reason(first, second)
        assert code == 6
        assert "readings: device 0300" in why
        assert "is delivered at 2027-01-04T14:00:00Z and later, and so it is in a.json: receipt 1" in why

    def test_which_files(self) -> None:
        """Of many contracts the two that claim it are named, whichever file comes last."""
        first = Story(devices=self.on).days(1)
        second = Story(contract_id="D-2027-01", devices=self.on, log=first.log).days(1)
        third = Story(contract_id="E-2027-01", devices=lambda lot, start: self.on(lot + 100, start), log=first.log).days(2)
        code, why = reason(first, second, third)
        assert (code, why.startswith("REFUSED (6): b.json: receipt 1: readings: device 0000")) == (6, True)
        assert why.endswith("and so it is in a.json: receipt 1")

    def test_one_after_the_other(self) -> None:
        """The same devices on the same day, one second after the other, is no double delivery."""
        first = Story(devices=self.on, end=START + DAY).days(1)
        second = Story(contract_id="D-2027-01", devices=self.on, start=START + DAY, end=START + 2 * DAY)
        second.log.entries, second.log.sizes, second.log.heads = list(first.log.entries), list(first.log.sizes), list(first.log.heads)
        assert judged(first, second.days(1))[0] == 0

    def test_two_lots_of_one_contract(self) -> None:
        """One device cannot be two lots either."""
        code, why = reason(Story(devices=lambda lot, start: self.on(lot % 7, start)).days(1))
        assert (code, "a.json: receipt 1: readings: device 0000" in why) == (6, True)

    def test_the_same_contract_twice(self) -> None:
        """Two files of one contract claim nothing twice."""
        story = Story(devices=self.on).days(2)
        assert judged(story, story.days(1))[0] == 0

    def test_what_a_short_claim_hides(self) -> None:
        """A claim inside another one of the same lot does not hide that the longer one lasts."""
        first = Story(gpus=8, devices=self.on)
        whole = first.rows

        def twice(start: int, end: int) -> list[JSON]:
            (row,) = whole(start, end)
            return [row, row | {"start": "2027-01-04T00:10:00Z", "end": "2027-01-04T00:20:00Z"}]

        first.rows = twice  # type: ignore[method-assign]
        losses = [Loss((0,), START, START + 3600), Loss((0,), START + 7200, START + DAY)]
        second = Story(contract_id="D-2027-01", gpus=8, devices=self.on, losses=losses, log=first.log)
        assert judged(first.days(1))[0] == 0
        assert "device 0000" in reason(first, second.days(1))[1]

    def test_readings_that_name_no_device(self) -> None:
        """Where no agent told the devices, double delivery cannot be checked, and that is said."""
        code, said = judged(Story(devices=lambda lot, start: []).days(1))
        assert (code, "not checked: double delivery of 8 readings that name no device" in said) == (0, True)
