"""Honest evidence verifies, whatever happened: the true operator lives through rare histories, and the verifier accepts what it says."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from laycan.control.receipts import Seal
from laycan.control.sealing import waiting
from laycan.evidence.bundle import bundle
from laycan.resources.times import format_time
from laycan_verify.cli import verify
from tests.laycan.control.acts import done
from tests.laycan.control.desk import T0
from tests.laycan.control.test_status_agent import reports
from tests.laycan.events.test_evidence_keys import raw_key, whole
from tests.laycan.evidence.story import DAY, OPERATOR, Told, checkpoint, objects, story
from tests.laycan.evidence.test_bundle import KEYS, trust

GRACE = {"graceSeconds": 300, "cureSeconds": 600}


def accepted(made: Told, trusted: bytes = b"") -> list[dict[str, Any]]:
    """The predicates of all receipts in the log, which the verifier accepts with their readings."""
    checkpoint(made.log, KEYS, made.end + 10 * DAY)
    document = bundle([made.log], "desk/gcx", *objects(made)).document
    code, lines = verify({"c1.json": json.dumps(document).encode()}, trusted or trust(), all_readings=True)
    assert code == 0, lines[-1]
    envelopes = [json.loads(each["body"])["data"]["change"]["envelope"] for each in document["receipts"]]
    return [json.loads(base64.b64decode(each["payload"]))["predicate"] for each in envelopes]


def look(made: Told, start: int, end: int, *names: str, step: int = 900) -> None:
    """The agents report in [start, end], each time the contract is looked at."""
    for now in range(start, end + 1, step):
        reports(made, now, now, *names)


def out(made: Told, name: str, start: int, end: int) -> None:
    """The node is NotReady in [start, end)."""
    made.fail(name, at=start, heartbeat=start)
    look(made, start, end - 1, "a", "b", step=10)
    made.recover(name, at=end)
    reports(made, end, end, "a", "b")


def seal(**keys: bytes) -> Seal:
    made = whole(**keys)
    return Seal(made.receipts, OPERATOR, "sha256:" + "0" * 64, lambda endpoint: made.salt_of(f"{OPERATOR}/{endpoint}"))


class TestEndedEarly:
    def test_grace_before(self, tmp_path: Path) -> None:
        """What was excused stays so when the contract ends early, though a shorter one would have been forgiven less."""
        made = story(tmp_path, cap_ppm=1_000, seconds=10 * DAY, tolerance=GRACE)
        for start in (T0 + 3600, T0 + 7200, T0 + 10_800):
            look(made, start - 2700, start - 60, "a", "b")
            out(made, "a", start, start + 290)
        look(made, T0 + 14_400, T0 + DAY + 3600, "a", "b")
        assert done(made, "Terminate", T0 + DAY + 3660) == "Applied"
        look(made, T0 + DAY + 3720, T0 + DAY + 4200, "a", "b", step=60)
        assert made.phase == "Terminated"
        assert [said["quantities"]["excusedGpuSeconds"] for said in accepted(made)] == [3 * 290 * 8, 0]

    @pytest.mark.parametrize("second", [1, DAY - 1, DAY, DAY + 1])
    def test_around_midnight(self, tmp_path: Path, second: int) -> None:
        """Ended in its first second, or at midnight and a second beside it: receipts reach to there and no further."""
        made = story(tmp_path)
        look(made, T0 + 900, T0 + second - 1, "a", "b")
        assert done(made, "Terminate", T0 + second) == "Applied"
        look(made, T0 + second + 60, T0 + second + 600, "a", "b", step=60)
        assert made.phase == "Terminated"
        said = accepted(made)
        assert said[-1]["period"]["end"] == format_time(T0 + second)
        assert said[-1]["cumulative"]["deliveredGpuSeconds"] == 16 * second


class TestCorrected:
    def held(self, root: Path, back: int) -> Told:
        """Lot 0 is out for 80 s before midnight; then all is held for more than a day; `back` seconds after that it is delivered."""
        made = story(root, seconds=5 * DAY, tolerance=GRACE)
        first, resumed = T0 + DAY - 90, T0 + 2 * DAY + DAY // 2
        look(made, T0 + 900, first - 60, "a", "b")
        made.fail("a", at=first, heartbeat=first)
        look(made, first, first + 70, "a", "b", step=10)
        assert done(made, "Suspend", first + 80) == "Applied"
        look(made, first + 90, resumed - 10, "b")
        assert done(made, "Resume", resumed) == "Applied"
        made.hand_over("b")
        look(made, resumed + 10, resumed + back - 10, "b", step=10)
        made.recover("a", at=resumed + back)
        made.hand_over("a")
        look(made, resumed + back, resumed + back + 300, "a", "b", step=60)
        look(made, resumed + back + 600, made.end + 3600, "a", "b")
        return made

    @pytest.mark.parametrize(("back", "corrects"), [(200, []), (280, [1])])
    def test_held_over_a_whole_day(self, tmp_path: Path, back: int, corrects: list[int]) -> None:
        """An outage whose parts lie days apart is one: the day that has the first part is corrected, not the one between."""
        said = accepted(self.held(tmp_path, back))
        assert [each["corrects"] for each in said if "corrects" in each] == corrects
        assert said[-1]["cumulative"]["shortfallGpuSeconds"] == (8 * (80 + back) if corrects else 0)

    def test_held_while_nobody_signs(self, tmp_path: Path) -> None:
        """The same where the keys come when all is over: each receipt says what was known at the end of its day."""
        made = story(tmp_path, seconds=5 * DAY, tolerance=GRACE)
        signing = made.seal
        assert signing is not None
        made.seal = waiting(None)
        first, resumed = T0 + DAY - 90, T0 + 2 * DAY + DAY // 2
        look(made, T0 + 900, first - 60, "a", "b")
        made.fail("a", at=first, heartbeat=first)
        look(made, first, first + 70, "a", "b", step=10)
        done(made, "Suspend", first + 80)
        look(made, first + 90, resumed - 10, "b")
        done(made, "Resume", resumed)
        made.hand_over("b")
        look(made, resumed + 10, resumed + 270, "b", step=10)
        made.recover("a", at=resumed + 280)
        made.hand_over("a")
        look(made, resumed + 280, made.end, "a", "b")
        made.seal = signing
        look(made, made.end + 60, made.end + 900, "a", "b", step=60)
        assert [each["corrects"] for each in accepted(made) if "corrects" in each] == [1]

    def test_by_another_key(self, tmp_path: Path) -> None:
        """A key that took over in between signs the correction, and says so in it."""
        made, midnight = story(tmp_path, tolerance=GRACE), T0 + DAY
        look(made, T0 + 900, midnight - 120, "a", "b")
        made.fail("a", at=midnight - 60, heartbeat=midnight - 60)
        look(made, midnight - 60, midnight + 200, "a", "b", step=5)
        made.seal = seal(receipts_key=raw_key(21))
        look(made, midnight + 205, midnight + 395, "a", "b", step=5)
        made.recover("a", at=midnight + 400)
        look(made, midnight + 400, made.end + 900, "a", "b", step=300)
        old, new = json.loads(trust()), json.loads(trust(whole(receipts_key=raw_key(21))))
        old["operator"]["keys"] += [key for key in new["operator"]["keys"] if key not in old["operator"]["keys"]]
        said = accepted(made, json.dumps(old).encode())
        assert [each.get("corrects") for each in said] == [None, 1, None, None]
        assert said[0]["operator"]["keyId"] != said[1]["operator"]["keyId"]


def storm(root: Path, seed: int) -> Told:
    """Outages, holds, buyer's causes, missing keys and, at times, an early end; most of it around midnight."""
    dice = random.Random(seed)
    made = story(root, cap_ppm=dice.choice([1_000, 5_000, 1_000_000]), tolerance=GRACE)
    signing, keyless, down = made.seal, 0, dict[str, int]()  # node -> back at
    assert signing is not None
    midnights = [midnight + dice.randrange(-700, 700) for midnight in (T0 + DAY, T0 + 2 * DAY) for _ in range(12)]
    for now in sorted({*range(T0, made.end + 60_000, 1800), *midnights, *(dice.randrange(T0, made.end) for _ in range(10))}):
        over, name = now > made.end, dice.choice("ab")
        for each in [each for each, until in down.items() if now >= until or over]:
            made.recover(each, at=now)
            del down[each]
        what = dice.randrange(14) if not over else 4
        if what < 3 and name not in down:
            made.fail(name, at=now, heartbeat=now - dice.randrange(20))
            down[name] = now + dice.choice([10, 60, 200, 290, 400, 3000])
        elif what == 3:
            done(made, "Suspend", now)
        elif what in (4, 5):
            done(made, "Resume", now)
        elif what == 6:
            times = {"start": format_time(now - dice.randrange(3000)), "end": format_time(now + dice.randrange(-200, 2000))}
            done(made, "AcceptBuyerCaused", now, buyerCaused={"lots": dice.choice(["0", "1", "0-1"]), **times})
        elif what == 7:
            keyless = now + dice.choice([600, 20_000, 90_000])
        elif what == 8 and seed % 3 == 0 and now > T0 + DAY:
            done(made, "Terminate", now)
        made.seal = waiting(signing) if now < keyless and not over else replace(signing, kept={})
        if "suspendedSince" not in made.status.get("instructions", {}):
            made.hand_over("a", "b")
        reports(made, now, now, "a", "b")
    return made


@pytest.mark.parametrize("seed", range(8))
def test_storms(tmp_path: Path, seed: int) -> None:
    """Whatever happens, receipts tile what is due and are what their readings give."""
    made = storm(tmp_path, seed)
    said = accepted(made)
    assert said[-1]["period"]["end"] == format_time(made.end) or made.phase == "Terminated"
