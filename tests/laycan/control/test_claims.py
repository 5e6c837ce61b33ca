"""Release before acquire: at no instant between two writes does the API server show a node twice."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from laycan.control.claims import Claim, Claims, claims_of
from tests.laycan.control.town import HOUR, NOW, bound, contract

EIGHT = {f"n{i}": 8 for i in range(6)}


def claim(node: str, holder: str = "acme", *, gpus: int = 8, start: int = 0, end: int = 100, turnaround: int = 0) -> Claim:
    return Claim(node, holder, gpus, NOW + start, NOW + end, turnaround)


def blockers(claims: Claims, key: str, *wanted: Claim) -> set[str]:
    return set().union(*claims.blockers(key, wanted, NOW, EIGHT).values())


def test_a_node_is_not_acquired_while_anothers_status_holds_it() -> None:
    """Also when the other's release is decided, but not written."""
    claims = Claims()
    claims.observe("b", (claim("n1", "beta"),))
    assert blockers(claims, "a", claim("n1")) == {"b"}
    claims.observe("b", ())
    assert blockers(claims, "a", claim("n1")) == set()


def test_windows_that_touch_do_not_meet_but_the_turnaround_lies_between_them() -> None:
    """[0, 100) and [100, 200) share no second; with a turnaround of 10 s they are too close."""
    claims = Claims()
    claims.observe("b", (claim("n1", "beta"),))
    assert blockers(claims, "a", claim("n1", start=100, end=200)) == set()
    assert blockers(claims, "a", claim("n1", start=109, end=200, turnaround=10)) == {"b"}
    assert blockers(claims, "a", claim("n1", start=110, end=200, turnaround=10)) == set()


def test_one_holder_shares_a_node_up_to_its_gpus() -> None:
    """Several contracts of one namespace fill a node between them; overlaps are counted at one instant, not summed over time."""
    claims = Claims()
    claims.observe("b", (claim("n1", gpus=4),))
    claims.observe("c", (claim("n1", gpus=4, start=100, end=200),))
    assert blockers(claims, "a", claim("n1", gpus=4, end=200)) == set()
    assert blockers(claims, "a", claim("n1", gpus=8, end=200)) == {"b", "c"}
    assert blockers(claims, "a", claim("n1", gpus=4), claim("n1", gpus=4)) == {"b"}


def exact(holder: str, *devices: str, gpus: int = 4, start: int = 0, end: int = 100) -> Claim:
    return claim("n1", holder, gpus=gpus, start=start, end=end, turnaround=30)._replace(exact=True, devices=frozenset(devices))


def test_exact_gpus_are_shared_by_holders() -> None:
    """Where exact GPUs are delivered, other holders share the node up to its GPUs and follow without turnaround; no GPU is taken twice."""
    claims = Claims()
    claims.observe("b", (exact("beta", "U0", "U1", "U2", "U3"),))
    assert blockers(claims, "a", exact("acme")) == set()
    assert blockers(claims, "a", exact("acme", gpus=5)) == {"b"}
    assert blockers(claims, "a", exact("acme", "U3", "U4", "U5", "U6")) == {"b"}
    assert blockers(claims, "a", exact("acme", "U3", "U4", "U5", "U6", start=100, end=200)) == set()
    assert blockers(claims, "a", claim("n1", "acme", gpus=4)) == {"b"}, "a whole node is nobody else's"
    claims.observe("a", (exact("acme"),))
    assert claims.double_held(NOW, EIGHT) == []
    assert blockers(claims, "a", exact("acme", "U0", "U4", "U5", "U6")) == {"b"}, "holding the node is not holding the GPU"
    claims.observe("a", (exact("acme", "U0", "U4", "U5", "U6"),))
    assert claims.double_held(NOW, EIGHT) == [("n1", ("a", "b"))]


def test_a_write_on_its_way_counts_until_its_answer_is_known() -> None:
    """Its answer may be lost: both what it gives up and what it takes are held until a read tells."""
    claims = Claims()
    claims.observe("b", (claim("n1", "beta"),))
    claims.begin("b", (claim("n2", "beta"),))
    assert blockers(claims, "a", claim("n1"), claim("n2")) == {"b"}
    claims.observe("b", (claim("n2", "beta"),))
    claims.settle("b")
    assert blockers(claims, "a", claim("n1")) == set()
    assert blockers(claims, "a", claim("n2")) == {"b"}


def test_what_a_contract_holds_already_it_may_write_again() -> None:
    """Even on a node that lost GPUs since: keeping is not acquiring."""
    claims = Claims()
    claims.observe("a", (claim("n1"),))
    claims.observe("b", (claim("n1"),))  # as a GPU loss or a bug may leave it
    assert claims.blockers("a", [claim("n1", start=10)], NOW, {"n1": 7}) == {}


def test_only_running_promises_claim_anything() -> None:
    """A contract that was cancelled or delivered holds nothing, whatever its status still lists."""
    promised = contract("a", status=bound("n1"))
    assert claims_of(promised, promised.status, lambda _: 30) == (Claim("n1", "acme", 8, NOW + HOUR, NOW + 2 * HOUR, 30),)
    for phase in ("", "Received", "Rejected", "Delivered", "Cancelled", "Terminated"):
        assert claims_of(promised, bound("n1", phase=phase), lambda _: 30) == ()


def test_a_node_held_twice_is_found() -> None:
    """The scan is the last net: other holders at one time, or one holder beyond the GPUs."""
    claims = Claims()
    claims.observe("a", (claim("n1"), claim("n2", gpus=4), claim("n3")))
    claims.observe("b", (claim("n1", "beta", start=99, end=200), claim("n2", gpus=4), claim("n3", start=100, end=200)))
    assert claims.double_held(NOW, EIGHT) == [("n1", ("a", "b"))]
    claims.observe("c", (claim("n2", gpus=1),))
    assert claims.double_held(NOW, EIGHT) == [("n1", ("a", "b")), ("n2", ("a", "b", "c"))]
    assert claims.double_held(NOW + 1000, EIGHT) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.booleans())
def test_any_swap_is_written_without_a_node_ever_being_held_twice(seed: int, contracts: int, lost_answers: bool) -> None:
    """From one legal assignment to any other: writes go in any order, releases let others through, and everything arrives."""
    rng = random.Random(seed)
    nodes = list(EIGHT)
    keys = [f"c{i}" for i in range(contracts)]
    before = dict(zip(keys, rng.sample(nodes, contracts), strict=True))
    after = dict(zip(keys, rng.sample(nodes, contracts), strict=True))
    claims = Claims()
    for key, node in before.items():
        claims.observe(key, (claim(node, key),))
    waiting = [key for key in keys if before[key] != after[key]]
    for _ in range(20 * contracts):
        if not waiting:
            break
        key = rng.choice(waiting)
        wanted = claim(after[key], key)
        if not blockers(claims, key, wanted):
            claims.begin(key, (wanted,))
            if lost_answers and rng.random() < 0.3:
                continue  # nothing is known of it: it stays on its way
            claims.observe(key, (wanted,))
            claims.settle(key)
            waiting.remove(key)
        else:
            claims.observe(key, ())  # two phases: it lets go first
            claims.settle(key)
        assert claims.double_held(NOW, EIGHT) == []
    assert not waiting
