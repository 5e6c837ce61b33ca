"""What is looked at next: failures first, each key once, and sleepers when their time comes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laycan.control.agenda import Agenda, Priority
from laycan.control.pace import FIRST, LEAST, MOST, Pace
from laycan.control.patches import merge_patch


def drain(agenda: Agenda) -> list[str]:
    found = []
    while (item := agenda.pop()) is not None:
        found.append(item[0])
    return found


def test_failures_go_before_new_contracts_and_those_before_meters() -> None:
    """Within a priority the order is that of arrival."""
    agenda = Agenda()
    for key, priority in (("m", Priority.COSMETIC), ("n1", Priority.NEW), ("f", Priority.FAILURE), ("n2", Priority.NEW)):
        agenda.add(key, priority)
    assert drain(agenda) == ["f", "n1", "n2", "m"]


def test_a_key_is_listed_once_with_its_best_priority() -> None:
    """A storm of changes of one object is one look."""
    agenda = Agenda()
    for priority in (Priority.COSMETIC, Priority.FAILURE, Priority.NEW, Priority.FAILURE):
        agenda.add("a", priority)
    agenda.add("b", Priority.NEW)
    assert len(agenda) == 2
    assert drain(agenda) == ["a", "b"]


def test_a_later_wake_replaces_an_earlier_one() -> None:
    """None cancels it."""
    agenda = Agenda()
    agenda.wake("a", 10)
    agenda.wake("a", 30)
    agenda.wake("b", 20)
    agenda.wake("c", 5)
    agenda.wake("c", None)
    assert agenda.next_wake() == 20
    agenda.wake_up(25)
    assert drain(agenda) == ["b"]
    assert agenda.next_wake() == 30


def test_the_pace_rises_slowly_and_halves_at_once() -> None:
    """It stays between its bounds whatever the server does."""
    pace = Pace()
    assert pace.limit == FIRST
    for _ in range(1000):
        pace.answered(0.01)
    assert pace.limit == MOST
    pace.answered(3.0)
    assert pace.limit == MOST // 2
    for _ in range(10):
        pace.answered(3.0)
    assert pace.limit == LEAST


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


leaves = st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.lists(st.integers(), max_size=2))
objects = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
maps = st.dictionaries(st.sampled_from("abcd"), objects, max_size=4)


@given(maps, maps)
def test_a_patch_makes_one_object_of_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    """And it is empty when nothing differs."""
    assert applied(old, merge_patch(old, new)) == new
    assert merge_patch(new, new) == {}
