"""How often nodes failed is counted the same whoever looks, whenever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laycan.control.products import product_status
from laycan.control.reliability import DAY, GONE_SECONDS, Record, advance, to_write
from laycan.control.specs import Specs
from laycan.delivery.faults.downtime import Downtime
from laycan.resources.product import ProductStatus
from laycan.resources.times import format_time
from tests.laycan.control.town import NOW, product, world

HOUR = 3600
Spell = tuple[int, int]  # [onset, well again)


def seen(spells: Mapping[str, list[Spell]], at: int) -> Downtime:
    """What delivery finds of these nodes at an instant."""
    down = {node: onset for node, past in spells.items() for onset, end in past if onset <= at < end}
    well = {node: max((end for _, end in past if end <= at), default=0) for node, past in spells.items() if node not in down}
    return Downtime(down, frozenset(spells), frozenset(well), well)


def watched(spells: Mapping[str, list[Spell]], looks: Iterable[int], made: int = 0) -> Record:
    """The record of an operator that looks then, and forgets all but what it has written."""
    record: Record | None = None
    for at in looks:
        record = Record.parse({"reliability": record.dump()} if record else None)
        record = advance(record, seen(spells, at), dict.fromkeys(spells, made), at)
    assert record is not None
    return record


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, list[Spell]], list[int], list[int]]:
    """Nodes with their downtimes; looks at every change, and at a few instants of which each downtime has one, a day apart at most."""
    spells: dict[str, list[Spell]] = {}
    for number in range(draw(st.integers(1, 4))):
        edges = sorted(draw(st.lists(st.integers(NOW + 1, NOW + 6 * DAY), max_size=6, unique=True)))
        spells[f"n{number}"] = list(zip(edges[::2], edges[1::2], strict=False))
    every = {edge for past in spells.values() for spell in past for edge in spell}
    found = {draw(st.integers(onset, end - 1)) for past in spells.values() for onset, end in past}
    found |= {
        draw(st.integers(end, (past[i + 1][0] if i + 1 < len(past) else NOW + 7 * DAY) - 1))
        for past in spells.values()
        for i, (_, end) in enumerate(past)
    }
    ticks = set(range(NOW, NOW + 7 * DAY, DAY))
    last = NOW + 7 * DAY
    return spells, sorted(every | ticks | {last}), sorted(found | ticks | {last})


@given(histories())
def test_whoever_looks(history: tuple[dict[str, list[Spell]], list[int], list[int]]) -> None:
    """An operator that was away, and restarted each time, has the counts of one that saw every change: those of the truth."""
    spells, every, few = history
    record = watched(spells, few)
    assert record == watched(spells, every)
    past = [spell for node in spells.values() for spell in node]
    lost = sum(end - onset for onset, end in past)
    assert (record.failures, record.repairs, record.repair_seconds) == (len(past), len(past), lost)
    assert record.node_seconds == len(spells) * 7 * DAY - lost


@given(histories(), st.lists(st.integers(0, 30), max_size=8))
def test_looking_again_changes_nothing(history: tuple[dict[str, list[Spell]], list[int], list[int]], again: list[int]) -> None:
    """Nor does a clock that goes back for a moment."""
    spells, every, few = history
    doubled = [at for number, look in enumerate(few) for at in (look, look, *([look - HOUR] if number in again and number else []))]
    assert watched(spells, doubled) == watched(spells, every)


def test_a_failure_is_known_late() -> None:
    """Time that was counted before the onset was known is taken back."""
    record = watched({"a": []}, [NOW, NOW + 100])
    assert record.node_seconds == 100
    record = advance(record, Downtime({"a": NOW + 60}, frozenset({"a"})), {"a": 0}, NOW + 130)
    assert (record.node_seconds, record.failures, record.down) == (60, 1, {"a": NOW + 60})


def test_down_from_the_start() -> None:
    """What was broken before anybody counted is no failure of this record, and its return no repair."""
    record = watched({"a": [(NOW - DAY, NOW + HOUR)]}, [NOW, NOW + 60, NOW + 2 * HOUR])
    assert (record.failures, record.repairs, record.down) == (0, 0, {})


def test_a_new_node_counts_from_its_making() -> None:
    record = watched({"a": []}, [NOW, NOW + HOUR], made=NOW + 600)
    assert record.node_seconds == 3000


def test_long_absence() -> None:
    """A day at most counts as watched; what is found down then has failed at its onset, once."""
    record = watched({"a": [], "b": [(NOW + 10 * DAY, NOW + 40 * DAY)]}, [NOW, NOW + 30 * DAY])
    assert (record.node_seconds, record.failures, record.down) == (DAY, 1, {"b": NOW + 10 * DAY})
    later = watched({"a": [], "b": [(NOW + 1, NOW + 9 * DAY)]}, [NOW, NOW + 1, NOW + 10 * DAY])
    assert (later.node_seconds, later.repair_seconds) == (2 + 2 * DAY, 9 * DAY - 1)
    early = watched({"b": [(NOW + 1, NOW + 2 * DAY)]}, [NOW, NOW + 1, NOW + 10 * DAY])
    assert (early.node_seconds, early.repair_seconds) == (1 + DAY, 2 * DAY - 1)


def test_gone_for_good() -> None:
    """A node that nobody brings back counts as repaired after a week, and is not found anew."""
    gone = Downtime({"a": NOW + 5}, gone={"a": frozenset({"p"})})
    record = advance(Record(NOW, NOW), gone, {"a": 0}, NOW + 10)
    assert (record.failures, record.down) == (1, {"a": NOW + 5})
    for day in range(1, 7):
        record = advance(record, Downtime(), {}, NOW + day * DAY)
    assert record.repairs == 0
    record = advance(record, gone, {"a": 0}, NOW + 5 + GONE_SECONDS)
    assert (record.failures, record.repairs, record.repair_seconds, record.down) == (1, 1, GONE_SECONDS, {})
    assert advance(record, gone, {"a": 0}, NOW + 6 + GONE_SECONDS).failures == 1


def test_back_under_its_name() -> None:
    """Until then, its return is the repair."""
    record = Record(NOW, NOW, failures=1, down={"a": NOW})
    back = Downtime(fleet=frozenset({"a"}), up=frozenset({"a"}), well={"a": NOW + DAY})
    assert advance(record, back, {"a": NOW + DAY - 900}, NOW + DAY + 7).repair_seconds == DAY


def test_not_well_yet() -> None:
    """A node that runs again and is not sound for long enough is still down."""
    record = Record(NOW, NOW, failures=1, down={"a": NOW})
    assert advance(record, Downtime(fleet=frozenset({"a"}), up=frozenset({"a"})), {"a": 0}, NOW + 60).down == {"a": NOW}


def test_a_broken_card() -> None:
    """Its node was Ready all the time, so it is back when it serves again."""
    record = Record(NOW, NOW, failures=1, down={"a": NOW})
    back = Downtime(fleet=frozenset({"a"}), up=frozenset({"a"}), well={"a": NOW - DAY})
    assert advance(record, back, {"a": 0}, NOW + 500).repair_seconds == 500


def test_a_record_from_the_future() -> None:
    """A clock that was a year ahead for a while: what is counted stands, and counting goes on."""
    record = Record(NOW, NOW + 365 * DAY, 7, 1, 0, 0, {"a": NOW + 300 * DAY})
    back = advance(record, Downtime(), {}, NOW + 10)
    assert (back.until, back.node_seconds, back.down) == (NOW + 10, 7, {"a": NOW + 10})
    assert advance(Record(NOW, NOW + 60, 7), Downtime(), {}, NOW + 10) == Record(NOW, NOW + 60, 7)


def test_a_status_that_somebody_wrote() -> None:
    """Times to come and counts below nought: the next status is as its schema says, and failures are counted again."""
    told = {"nodeSeconds": -5, "failures": -2, "repairs": -1, "repairSeconds": -9, "down": [{"node": "a", "since": "2999-01-01T00:00:00Z"}]}
    read = Record.parse({"reliability": told | {"since": "2998-01-01T00:00:00Z", "until": format_time(NOW - 60)}})
    assert read is not None
    found = Downtime({"b": NOW - 5}, frozenset("ab"), frozenset("a"), {"a": NOW - 30})
    record = advance(read, found, {"a": 0, "b": 0}, NOW)
    status = product_status("p", product("p"), world(), Specs(), NOW, record)
    ProductStatus.model_validate(status)
    assert (record.failures, record.repairs, record.down) == (1, 1, {"b": NOW - 5})
    ahead = Record.parse({"reliability": {"since": "2998-01-01T00:00:00Z", "until": format_time(NOW + 60)}})
    assert ahead is not None
    assert advance(advance(ahead, Downtime(), {}, NOW), found, {"b": 0}, NOW + 100).failures == 0, "before the record began"
    later = Downtime({"b": NOW + 90}, frozenset("b"))
    assert advance(advance(ahead, Downtime(), {}, NOW), later, {"b": 0}, NOW + 100).failures == 1


def test_a_node_of_tomorrow() -> None:
    """The API server's clock is ahead of ours: nothing is taken away for it."""
    up = Downtime(fleet=frozenset("a"), up=frozenset("a"))
    assert advance(Record(NOW - 60, NOW - 60, 100), up, {"a": NOW + 50}, NOW).node_seconds == 100


def test_written_when_it_matters() -> None:
    """Changes at once, and the time alone once an hour."""
    old = Record(NOW, NOW)
    assert not to_write(old, Record(NOW, NOW + HOUR - 1, 9))
    assert to_write(old, Record(NOW, NOW + HOUR, 9))
    assert to_write(old, Record(NOW, NOW + 1, 9, failures=1, down={"a": NOW}))
    assert to_write(None, old)


def test_in_the_status() -> None:
    """Beside the product's conditions, as its schema says; what is not due to be written stands as it was."""
    record = Record(NOW, NOW, 5, 2, 1, 60, {"n1": NOW})
    raw: dict[str, Any] = product("p")
    status = product_status("p", raw, world(), Specs(), NOW, record)
    assert status is not None
    ProductStatus.model_validate(status)
    assert Record.parse(status) == record
    raw["status"] = status
    assert product_status("p", raw, world(), Specs(), NOW + 5, advance(record, Downtime(record.down), {"n1": 0}, NOW + 5)) is None
    assert product_status("p", raw, world(), Specs(), NOW + 5) is None, "nothing is known just now"


def test_what_cannot_be_read() -> None:
    for status in (None, {}, {"reliability": 7}, {"reliability": {"since": "x", "until": "y"}}):
        assert Record.parse(status) is None
