"""What the findings of agents do to nodes: failures, plans, quarantine, and what a person has to look at first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laycan.delivery.faults.failures import Failure
from laycan.delivery.nodes.situation import Situation
from laycan.kube.device_views import DeviceView, ResourceSliceView
from laycan.kube.views import FenceView
from laycan.kube.world import ONLY, World
from laycan.resources.times import format_time
from laycan.resources.verdict import Found
from laycan.settings import Settings
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, meter, node, world

WIDE = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": 1_000_000})})


def xid(code: int, start: int, end: int | None = None, gpu: str = "GPU-3") -> Found:
    return Found(gpu, "Xid", code, 0, T0 + start, None if end is None else T0 + end)


def missing(start: int, end: int | None = None, gpu: str = "GPU-3") -> Found:
    return Found(gpu, "Missing", 0, 0, T0 + start, None if end is None else T0 + end)


class Scene:
    """Acme holds so many GPUs of each node; agents report, and delivery looks, so many seconds after T0."""

    def __init__(self, *names: str, gpus: int = 8, settings: Settings = WIDE, **more: Any) -> None:
        names = names or ("n",)
        bound = contract("a", "acme", [binding(name, 0, 10_000, gpus=gpus) for name in names], annotations=more.pop("paused", {}))
        self.world = world([node(name, holder="acme", grade="H100") for name in names], [bound], dict.fromkeys(names, "acme"), **more)
        self.woken = 0
        self.situation = Situation(self.world, settings, self._wake)
        self._version = 1
        self.look(0)

    def _wake(self) -> None:
        self.woken += 1

    def report(self, at: int, *findings: Found, name: str = "n", **more: Any) -> None:
        self._version += 1
        self.world.put("meters", name, meter(name, *findings, at=T0 + at, version=self._version, **more))
        self.look(at)

    def change(self, at: int, **changes: Any) -> None:
        self._version += 1
        self.world.put("nodes", "n", replace(self.world.nodes["n"], resource_version=self._version, **changes))
        self.look(at)

    def look(self, at: int) -> None:
        self.situation.look(T0 + at)

    def planned(self, at: int) -> int:
        return self.situation.planning_gpus("n", T0 + at)

    def failed(self) -> dict[str, Failure]:
        return dict(self.situation.verdict.failed)

    def quarantine(self, at: int) -> None:
        self._version += 1
        self.world.put("fence", ONLY, FenceView(self._version, {"n": "quarantine.uid-a"}, {}))
        cut = contract("a", "acme", [binding("n", 0, at)], end=format_time(T0 + 10_000))
        self.world.put("contracts", "desk/a", replace(cut, resource_version=self._version))
        self.change(at, holder="quarantine.uid-a")


class TestFailure:
    """A GPU that is bound and unfit."""

    def test_at_once(self) -> None:
        """No dwell: the agent knows the card. Its words are the reason, and the last good sample is the onset."""
        scene = Scene()
        scene.report(30, xid(79, 20))
        assert scene.failed() == {"n": Failure("Xid79", T0 + 20, T0 + 30)}
        assert scene.planned(30) == 7

    def test_nothing_moves_for_a_program_that_crashed(self) -> None:
        """XID 13 changes neither failures nor plans."""
        scene = Scene()
        scene.report(30, xid(13, 20))
        assert (scene.failed(), scene.planned(30)) == ({}, 8)

    def test_a_reading_without_news_wakes_nobody(self) -> None:
        """A fleet's agents write all the time; what they found and which GPUs there are is what matters here."""
        scene = Scene()
        scene.report(30, xid(13, 20))
        woken = scene.woken
        scene.report(330, xid(13, 20))
        assert scene.woken == woken
        scene.report(331, xid(13, 20), xid(79, 330))
        assert scene.woken == woken + 1

    def test_unreadable(self) -> None:
        """The dwell of what cannot be read ends at the second that the wake names, with nothing heard meanwhile."""
        scene = Scene()
        scene.report(30, Found("GPU-3", "Unreadable", 0, 0, T0 + 20, None))
        assert (scene.failed(), scene.situation.wake) == ({}, T0 + 140)
        scene.look(139)
        assert scene.failed() == {}
        scene.look(140)
        assert scene.failed()["n"].reason == "Unreadable"

    def test_spare_gpus(self) -> None:
        """GPUs that nobody was sold may be unfit; the failure begins with the first that is too many, in the words of the worst."""
        scene = Scene(gpus=6)
        scene.report(30, xid(79, 10, gpu="GPU-0"), xid(79, 20, gpu="GPU-1"))
        assert (scene.failed(), scene.planned(30)) == ({}, 6)
        degraded = Found("GPU-2", "PcieDegraded", 0, 8, T0 + 40, None)
        scene.report(50, xid(79, 10, gpu="GPU-0"), xid(79, 20, gpu="GPU-1"), degraded)
        assert scene.failed() == {"n": Failure("Xid79", T0 + 40, T0 + 50)}

    def test_the_device_plugin_has_left_it_out_already(self) -> None:
        """One GPU that is gone is not counted twice, also where the node's capacity falls with it."""
        for changes in ({"gpus": 7}, {"gpus": 7, "raw": {**node("n", grade="H100").raw, "status": {"capacity": {"nvidia.com/gpu": "7"}}}}):
            scene = Scene(gpus=7)
            scene.report(30, missing(20))
            scene.change(31, **changes)
            assert (scene.failed(), scene.planned(31), scene.planned(500)) == ({}, 7, 7)

    def test_exact_gpus(self) -> None:
        """Where a DRA driver publishes the cards, the unfit one is known among them; one that it taints too is one."""
        scene = Scene(gpus=7)
        cards = tuple(DeviceView(f"gpu-{i}", f"GPU-{i}", "H100", "gpu.nvidia.com/xid" if i == 3 else "") for i in range(8))
        scene.world.put("resource_slices", "s", ResourceSliceView("s", 1, "n", 1, 1, cards))
        scene.report(30, xid(79, 20))
        assert scene.planned(30) == 7
        scene.report(40, xid(79, 20), xid(79, 30, gpu="GPU-4"))
        assert (scene.planned(40), scene.failed()["n"].reason) == (6, "Xid79")
        scene.world.drop("resource_slices", "s")
        scene.look(41)
        assert scene.planned(41) == 6, "the driver restarts: the agent's word stands"

    def test_another_machine(self) -> None:
        """Until the agent of a machine that was made anew has spoken, nothing is known of it."""
        scene = Scene()
        scene.report(30, xid(79, 20), uid="another")
        assert scene.failed() == {}


class TestPolicies:
    """Which findings count is the products' and the contracts' to say."""

    def test_a_product_that_calls_it_fatal(self) -> None:
        """A product of the node's grade; that it does so from now on is noticed at once."""
        scene = Scene()
        scene.report(30, xid(13, 20))
        fatal = {"gpuProducts": ["H100"], "health": {"version": "2", "fatalXids": [13]}}
        scene.world.put("products", "h100", {"metadata": {"name": "h100", "resourceVersion": "2"}, "spec": fatal})
        scene.look(500)
        assert scene.failed() == {"n": Failure("Xid13", T0 + 20, T0 + 500)}

    def test_a_contract_keeps_its_own(self) -> None:
        """While it has the node, and in its lead before that; afterwards the others' policies count."""
        scene = Scene()
        scene.report(30, xid(13, 20))
        pinned = {"version": "1", "fatalXids": [13], "acceptDegraded": [], "cleanSeconds": 0, "degradedSharePpm": 0}
        late = contract("b", "beta", [binding("n", 1000, 2000)])
        scene.world.put("contracts", "desk/a", replace(contract("a", "acme", [binding("n", 0, 900)]), resource_version=2))
        scene.world.put("contracts", "desk/b", replace(late, status={**late.status, "healthPolicy": pinned}))
        plans = []
        for at in (900, 939, 940, 1999, 2000):
            scene.look(at)
            plans.append(scene.planned(at))
        assert plans == [8, 8, 7, 7, 8]

    def test_degraded_as_accepted(self) -> None:
        """A GPU that is slow for a reason that the policies accept stays where it is."""
        slow = Found("GPU-3", "PcieDegraded", 0, 8, T0 + 20, None)
        accepts = {"gpuProducts": ["H100"], "health": {"version": "2", "acceptDegraded": ["PcieDegraded"]}}
        for product, failed in (({}, {"n"}), (accepts, set())):
            scene = Scene(product=product)
            scene.report(30, slow)
            assert scene.failed().keys() == failed


class TestQuarantine:
    """How a node comes back that an agent has found unfit."""

    def test_clean_time_and_hysteresis(self) -> None:
        """When the clean time after the reset is over the hysteresis begins, and each wake is named; so it is after a restart."""
        scene = Scene()
        scene.report(30, xid(79, 20))
        scene.quarantine(40)
        scene.report(1000, xid(79, 20, 990))
        assert scene.situation.wake == T0 + 1890
        scene.look(1890)
        assert (scene.situation.verdict.recovered, scene.situation.wake) == (frozenset(), T0 + 2790)
        scene.look(2789)
        assert scene.situation.verdict.recovered == frozenset()
        again = Situation(scene.world, WIDE, lambda: None)
        again.look(T0 + 2000)
        assert (again.verdict.recovered, again.wake) == (frozenset(), T0 + 2790)
        for each in (scene.situation, again):
            each.look(T0 + 2790)
            assert each.verdict.recovered == {"n"}

    def test_a_gpu_that_stays_away(self) -> None:
        """It is not whole while its agent misses a GPU, whatever the capacity says by now."""
        scene = Scene()
        scene.report(30, missing(20))
        scene.quarantine(40)
        scene.change(50, gpus=7, raw={**scene.world.nodes["n"].raw, "status": {"capacity": {"nvidia.com/gpu": "7"}}})
        scene.look(9000)
        assert scene.situation.verdict.recovered == frozenset()


PAUSE = {"laycan.dev/paused": "true"}


class TestPeople:
    """Circuit breaker and pause."""

    def test_pause(self) -> None:
        """Nothing is given up, and no plan draws away what is bound; when the pause is over both happen."""
        scene = Scene(paused=PAUSE)
        scene.report(30, xid(79, 20))
        assert (scene.failed(), scene.planned(30)) == ({}, 8)
        scene.world.put("contracts", "desk/a", replace(contract("a", "acme", [binding("n", 0, 10_000)]), resource_version=9))
        scene.look(40)
        assert (set(scene.failed()), scene.planned(40)) == ({"n"}, 7)

    def test_breaker(self) -> None:
        """Of forty nodes twenty have an XID at once: two are given up, the others keep what they hold, in plans too."""
        names = [f"n{i:02}" for i in range(40)]
        scene = Scene(*names, settings=SETTINGS)
        for name in names[:20]:
            scene.report(30, xid(79, 20), name=name)
        verdict = scene.situation.verdict
        assert (sorted(verdict.failed), len(verdict.withheld)) == (["n00", "n01"], 18)
        planned = [scene.situation.planning_gpus(name, T0 + 30) for name in names]
        assert planned == [7, 7] + 38 * [8]

    def test_a_stricter_policy(self) -> None:
        """What was found over weeks and is called fatal today counts today: the breaker holds."""
        names = [f"n{i:02}" for i in range(40)]
        scene = Scene(*names, settings=SETTINGS)
        for i, name in enumerate(names):
            scene.report(30, xid(13, -10_000 * i), name=name)
        fatal = {"gpuProducts": ["H100"], "health": {"version": "2", "fatalXids": [13]}}
        scene.world.put("products", "h100", {"metadata": {"name": "h100", "resourceVersion": "2"}, "spec": fatal})
        scene.look(500)
        assert len(scene.failed()) == 2


signals = st.sampled_from(["Missing", "Xid", "Unreadable", "PcieDegraded", "NvLinkDown"])
findings = st.lists(
    st.builds(
        lambda gpu, signal, start, lasts: Found(f"GPU-{gpu}", signal, 79, 0, T0 + start, None if lasts is None else T0 + start + lasts),
        st.integers(0, 9),
        signals,
        st.integers(-2000, 0),
        st.none() | st.integers(0, 2000),
    ),
    max_size=5,
)


@given(findings, st.integers(0, 8), st.integers(1, 8), st.none() | st.frozensets(st.integers(0, 7), max_size=3))
def test_a_meter_never_makes_a_gpu_fitter(found: list[Found], gpus: int, bound: int, tainted: frozenset[int] | None) -> None:
    """With any meter a plan counts on no more GPUs than without, and what fails without it fails with it."""

    def scene(reported: bool) -> tuple[int, set[str]]:
        made: World = world(
            [node("n", holder="acme", gpus=gpus)], [contract("a", "acme", [binding("n", 0, 10_000, gpus=bound)])], {"n": "acme"}
        )
        if tainted is not None:
            cards = tuple(DeviceView(f"gpu-{i}", f"GPU-{i}", "H100", "x" if i in tainted else "") for i in range(8))
            made.put("resource_slices", "s", ResourceSliceView("s", 1, "n", 1, 1, cards))
        if reported:
            made.put("meters", "n", meter("n", *found))
        situation = Situation(made, WIDE, lambda: None)
        for at in (0, 500):
            situation.look(T0 + at, full=True)
        return situation.planning_gpus("n", T0 + 500), set(situation.verdict.failed)

    (with_gpus, with_failed), (gpus_without, failed_without) = scene(True), scene(False)
    assert with_gpus <= gpus_without
    assert with_failed >= failed_without


@pytest.mark.parametrize("silent", [True, False])
def test_news_of_a_node(silent: bool) -> None:
    """A reading that ends a silence is news of its node, one in time is not; a meter that goes is."""
    seen, told = world([node("n")]), list[tuple[str, str]]()
    seen.put("meters", "n", meter("n", at=T0))
    seen.listeners.append(lambda kind, key: told.append((kind, key)))
    seen.put("meters", "n", meter("n", at=T0 + (631 if silent else 300), version=2))
    assert told == [("meters", "n"), ("nodes", "n")][: 2 if silent else 1]
    told.clear()
    seen.drop("meters", "n")
    assert told == [("meters", "n"), ("nodes", "n")]
