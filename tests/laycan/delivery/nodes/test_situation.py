"""Looking only at what changed finds what looking at everything would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laycan.delivery.faults.failures import judge
from laycan.delivery.nodes.desired import claims_of_world, desired
from laycan.delivery.nodes.situation import Situation
from laycan.kube.views import FenceView, PodView
from laycan.kube.world import ONLY, World
from laycan.resources.verdict import Found
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, meter, node, world

NODES = ("n0", "n1", "n2")
OWNERS = ("", "acme", "beta", "frozen.uid-c0", "end.uid-c1", "quarantine.uid-c0")
Change = Callable[[World, int], None]

names = st.sampled_from(NODES)


def put_node(name: str, more: dict[str, Any]) -> Change:
    def change(seen: World, version: int) -> None:
        seen.put("nodes", name, replace(node(name, **more), resource_version=version))

    return change


def put_contract(number: int, windows: list[tuple[str, int, int]], phase: str, paused: bool) -> Change:
    def change(seen: World, version: int) -> None:
        bindings = [binding(name, start, start + length) for name, start, length in windows]
        made = contract(f"c{number}", ("acme", "beta")[number % 2], bindings, phase=phase)
        made = replace(made, resource_version=version, annotations={"laycan.dev/paused": "true"} if paused else {})
        seen.put("contracts", made.key, made)

    return change


def put_fence(owners: dict[str, str]) -> Change:
    def change(seen: World, version: int) -> None:
        seen.put("fence", ONLY, FenceView(version, {name: owner for name, owner in owners.items() if owner}, {}))

    return change


def put_meter(name: str, rows: list[tuple[str, int, int, int | None]], uid: str) -> Change:
    found = [Found(f"GPU-{gpu}", signal, 79, 0, T0 + start, lasts and T0 + start + lasts) for signal, gpu, start, lasts in rows]
    return lambda seen, version: seen.put("meters", name, meter(name, *found, version=version, uid=uid))


def put_policy(version: str, xid: int) -> Change:
    spec = {"gpuProducts": [""], "health": {"version": version, "fatalXids": [xid]}}
    return lambda seen, number: seen.put("products", "h100", {"metadata": {"name": "h100", "resourceVersion": str(number)}, "spec": spec})


def drop(kind: str, key: str) -> Change:
    return lambda seen, _: seen.drop(kind, key)


changes = st.one_of(
    st.builds(
        put_node,
        names,
        st.fixed_dictionaries(
            {},
            optional={
                "ready": st.booleans(),
                "since": st.integers(T0 - 50, T0 + 500),
                "gpus": st.sampled_from([0, 7, 8]),
                "managed": st.booleans(),
                "holder": st.sampled_from(OWNERS),
                "uid": st.just("another"),
                "annotations": st.just({"laycan.dev/paused": "true"}),
            },
        ),
    ),
    st.builds(
        put_contract,
        st.integers(0, 2),
        st.lists(st.tuples(names, st.integers(0, 400), st.integers(1, 300)), max_size=3),
        st.sampled_from(["Accepted", "Delivering", "Terminated"]),
        st.booleans(),
    ),
    st.builds(put_fence, st.dictionaries(names, st.sampled_from(OWNERS))),
    st.builds(
        put_meter,
        names,
        st.lists(
            st.tuples(
                st.sampled_from(["Xid", "Missing", "Unreadable"]),
                st.integers(0, 7),
                st.integers(-100, 500),
                st.none() | st.integers(1, 300),
            ),
            max_size=3,
        ),
        st.sampled_from(["", "", "another"]),
    ),
    st.builds(put_policy, st.sampled_from(["1", "2"]), st.sampled_from([13, 79])),
    st.builds(drop, st.just("meters"), names),
    st.builds(drop, st.just("nodes"), names),
    st.builds(drop, st.just("contracts"), st.sampled_from(["desk/c0", "desk/c1"])),
    st.just(drop("fence", ONLY)),
)


@given(st.lists(st.tuples(changes, st.integers(0, 90)), min_size=1, max_size=12))
def test_incremental_is_full(history: list[tuple[Change, int]]) -> None:
    """After every change and every lapse of time, targets, verdict and wake are those of a newcomer with the same health record."""
    seen = world([node(name) for name in NODES])
    situation, now = Situation(seen, SETTINGS, lambda: None), T0
    for version, (change, seconds) in enumerate(history, start=2):
        now += seconds
        change(seen, version)
        situation.look(now)
        claims = claims_of_world(seen, SETTINGS)
        verdict = judge(seen, claims, situation.health, SETTINGS, now)
        assert (situation.verdict.failed, situation.verdict.recovered) == (verdict.failed, verdict.recovered)
        targets, _ = desired(seen, claims, frozenset(verdict.failed), verdict.recovered, SETTINGS, now)
        assert situation.targets == targets
        assert situation.wake is None or situation.wake > now
        known = {name: situation.health.seen(name).fitness for name in NODES}
        situation.look(now, full=True)
        assert {name: situation.health.seen(name).fitness for name in NODES} == known


def test_time_alone() -> None:
    """With nothing changing but the clock, a node fails at the second that `wake` named, and one in quarantine comes back."""
    bound = contract("c0", "acme", [binding("n0", -100, 10_000)])
    down, well = node("n0", ready=False, since=T0, holder="acme"), node("n1", since=T0, holder="quarantine.uid-c0")
    seen = world([down, well], [bound], {"n0": "acme", "n1": "quarantine.uid-c0"})
    wide = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": 1_000_000})})
    situation = Situation(seen, wide, lambda: None)
    wants = {}
    for at in (0, 39, 40, 899, 900):
        situation.look(T0 + at)
        wants[at] = [situation.targets[name].want.value for name in ("n0", "n1")]
        assert situation.wake == T0 + {0: 40, 39: 40, 40: 900, 899: 900, 900: 10_000}[at]
    assert wants[39] == ["hold", "quarantine"]
    assert wants[40] == ["quarantine", "quarantine"]
    assert wants[899] == ["quarantine", "quarantine"]
    assert wants[900] == ["quarantine", "open"]


def test_who_wakes_whom() -> None:
    """A heartbeat, a meter write and a pod on a free node wake nobody; what may change a target does."""
    first = contract("c0", "acme", [binding("n0", 0, 100)])
    seen = world([node("n0"), node("n1")], [first], {"n0": "acme"})
    woken: list[int] = []
    situation = Situation(seen, SETTINGS, lambda: woken.append(1))
    for name in ("n0", "n1"):
        seen.put("nodes", name, replace(seen.nodes[name], resource_version=2))
    situation.look(T0)

    def wakes(kind: str, key: str, view: Any) -> bool:
        woken.clear()
        if view is None:
            seen.drop(kind, key)
        else:
            seen.put(kind, key, view)
        return bool(woken)

    def pod(name: str, on: str) -> PodView:
        return PodView("beta", name, name, 5, on, "Running", "", False, 8, False)

    assert not wakes("nodes", "n0", replace(seen.nodes["n0"], resource_version=9))
    assert not wakes("contracts", first.key, replace(first, resource_version=9, status={**first.status, "quantities": {}}))
    assert not wakes("pods", "beta/free", pod("free", "n1"))
    assert not wakes("pods", "beta/free", None)
    assert wakes("nodes", "n0", replace(seen.nodes["n0"], resource_version=10, ready=False))
    assert wakes("pods", "beta/stranger", pod("stranger", "n0"))
    assert wakes("pods", "beta/stranger", None)
    assert wakes("contracts", first.key, replace(first, resource_version=10, status={**first.status, "bindings": []}))
