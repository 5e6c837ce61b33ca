"""The GpuMeter that an account becomes, and the account that a GpuMeter was."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from laycan.agent.account import Account
from laycan.agent.clock import ClockReading
from laycan.agent.publish import said
from laycan.agent.report import Author, meter, newest
from laycan.kube.meter_views import meter_view
from laycan.resources.constants import AGENT_STATE_ANNOTATION
from laycan.resources.meter import GpuMeter
from laycan.resources.times import format_time
from tests.laycan.agent.cards import BOOT, NOON, at, begun, card, name, node

AUTHOR = Author("n1", "0.1.0", 300)


def eventful() -> Account:
    """Eight cards, of which one reported an XID and another is missing, and a missed stretch."""
    account = begun(*map(card, range(8)))
    account.hear(name(3), 79)
    account.take(node(*map(card, range(7))), at(100))
    return account


def test_is_a_gpu_meter() -> None:
    """It is valid by the model that the CRD is made from, is the Node's, and says what the account says."""
    told = meter(eventful(), AUTHOR, ClockReading(True, -250))
    parsed = GpuMeter.model_validate_json(orjson.dumps(said(told)))
    assert parsed.metadata.name == "n1"
    assert told["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-1"}]
    assert parsed.spec.clock is not None
    assert (parsed.spec.since, parsed.spec.at) == (format_time(NOON), format_time(NOON + 100))
    assert [(each.gpu, each.signal, each.code, each.end) for each in parsed.spec.findings or ()] == [
        (name(3), "Xid", 79, None), (name(7), "Missing", 0, None),
    ]  # fmt: skip


def test_as_the_operator_reads_it() -> None:
    """The operator's view of it has the same GPUs, findings and stretches."""
    view = meter_view(meter(eventful(), AUTHOR))
    assert view is not None
    assert (view.since, view.at, view.complete_since, view.report_seconds) == (NOON, NOON + 100, NOON, 300)
    assert view.gpus == {name(slot) for slot in range(8)}
    assert [(each.gpu, each.signal, each.start, each.end) for each in view.findings] == [
        (name(3), "Xid", NOON, None), (name(7), "Missing", NOON, None),
    ]  # fmt: skip
    assert [(each.start, each.end, each.same_boot) for each in view.missed] == [(NOON, NOON + 100, True)]


def test_a_patch_takes_away_what_is_not_known_any_more() -> None:
    """What an earlier report said, and this one cannot, is null, which a merge patch removes and a creation leaves out."""
    told = meter(eventful(), AUTHOR)
    assert told["spec"]["clock"] is None
    assert "clock" not in said(told)["spec"]
    unsure = meter(eventful(), AUTHOR, ClockReading(None, 3))
    assert unsure["spec"]["clock"] == {"synchronized": None, "offsetMilliseconds": 3}
    assert said(unsure)["spec"]["clock"] == {"offsetMilliseconds": 3}


@pytest.mark.parametrize("lost", ["annotation", "part of it", "a GPU of it"])
def test_goes_on_without_the_annotation(lost: str) -> None:
    """Somebody took the counters away: registers go on, and nothing speaks for the time until the next sample."""
    told = meter(eventful(), AUTHOR)
    notes = told["metadata"]["annotations"]
    state = orjson.loads(notes[AGENT_STATE_ANNOTATION])
    if lost == "annotation":
        told["metadata"].pop("annotations")
    elif lost == "part of it":
        notes[AGENT_STATE_ANNOTATION] = notes[AGENT_STATE_ANNOTATION][:40]
    else:
        state["gpus"].pop(name(0))
        notes[AGENT_STATE_ANNOTATION] = orjson.dumps(state).decode()
    account = newest([told], "uid-1", BOOT, 10)
    assert account is not None
    account.take(node(*(card(slot, energy_millijoules=99_000_000) for slot in range(7))), at(110))
    assert account.missed[-1].least_watts == 0
    assert account.gpus[name(0)].registers.energy_millijoules == 0
    assert account.gpus[name(0)].registers.sampled_seconds == 0


def test_the_newest_of_this_machine() -> None:
    """Of a file and an object the later one counts; one of another machine of this name does not, nor one that is none.

    Where the Node was made anew since, the same boot tells the same machine."""
    account = begun()
    early = meter(account, AUTHOR)
    account.take(node(card()), at(10))
    late = meter(account, AUTHOR)
    for order in ([early, late], [late, early]):
        found = newest([None, *order, {"spec": {}}, {"spec": None}], "uid-1", "boot-2", 10)
        assert found is not None
        assert found.at == NOON + 10
    assert newest([early, late], "uid-2", "boot-2", 10) is None
    assert newest([early], "", "boot-2", 10) is not None
    same = newest([early, late], "uid-2", BOOT, 10)
    assert same is not None
    assert (same.node_uid, same.since) == ("uid-2", NOON)


def test_at_its_bounds() -> None:
    """A node of sixteen cards with all the history that is kept stays far below what etcd takes, and within the CRD's bounds."""
    account = begun(*map(card, range(16)))
    seconds = 0
    for number in range(400):
        seconds += 10 if number % 4 else 100
        account.take(node(*(card(slot, remap_pending=number % 2 == 0) for slot in range(16))), at(seconds))
    told = meter(account, AUTHOR, ClockReading(True, 5))
    GpuMeter.model_validate_json(orjson.dumps(said(told)))
    assert (len(told["spec"]["findings"]), len(told["spec"]["missed"])) == (256, 64)
    assert len(orjson.dumps(told)) < 64_000


def test_numbers_beyond_the_kinds_bounds() -> None:
    """Are told as the largest that the kind takes, so that the report is not refused for them."""
    account = begun()
    account.take(node(card(uncorrectable_ecc=1 << 40)), at(10))
    account.hear(name(), 1 << 20)
    told: Any = meter(account, AUTHOR)
    GpuMeter.model_validate_json(orjson.dumps(said(told)))
