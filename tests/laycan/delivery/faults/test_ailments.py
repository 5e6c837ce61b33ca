"""Nodes that are Ready and yet broken: by what monitoring says, by what the DRA driver says, or because they come and go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laycan.delivery.faults.health import count_gpus
from laycan.delivery.faults.heartbeats import Heartbeats
from laycan.delivery.metering.gaps import possessed
from laycan.delivery.metering.served import Bound
from laycan.delivery.nodes.situation import Situation
from laycan.kube.device_views import DeviceView, ResourceSliceView
from laycan.kube.views import FenceView, NodeView, node_view
from laycan.kube.world import ONLY, World
from laycan.settings import Settings
from tests.laycan.delivery.worlds import SETTINGS, T0, binding, contract, node, world

WIDE = SETTINGS.model_copy(update={"breaker": SETTINGS.breaker.model_copy(update={"share_ppm": 1_000_000})})
XID = ("SysLogsXIDError", "True", T0 + 10)


class Scene:
    """Acme holds node n; `at` puts what is given of it and looks, so many seconds after T0."""

    def __init__(self, settings: Settings = WIDE, **paused: Any) -> None:
        self.world = world(
            [node("n", holder="acme"), node("idle")], [contract("a", "acme", [binding("n", 0, 10_000)], **paused)], {"n": "acme"}
        )
        self.situation = Situation(self.world, settings, lambda: None)
        self._version = 1
        self.at(0)

    def at(self, seconds: int, name: str = "n", **changes: Any) -> None:
        self._version += 1
        if changes:
            self.world.put("nodes", name, replace(self.world.nodes[name], resource_version=self._version, **changes))
        self.situation.look(T0 + seconds)

    def publish(self, seconds: int, devices: int, *unfit: int) -> None:
        """The DRA driver publishes so many GPUs, some of them tainted."""
        self._version += 1
        made = tuple(DeviceView(f"gpu-{i}", f"GPU-{i}", "H100", "gpu.nvidia.com/xid" if i in unfit else "") for i in range(devices))
        self.world.put("resource_slices", "n-gpus", ResourceSliceView("n-gpus", self._version, "n", 1, 1, made))
        self.situation.look(T0 + seconds)

    def failed(self) -> dict[str, tuple[str, int]]:
        return {name: (failure.reason, failure.onset - T0) for name, failure in self.situation.verdict.failed.items()}


class TestConditions:
    """What NVSentinel, node-problem-detector and the clouds' repair write into a node's status."""

    def test_dwell(self) -> None:
        """A condition fails the node once it has lasted for the dwell, at the second that the wake names, from its transition on."""
        scene = Scene()
        scene.at(12, conditions=(XID,))
        assert (scene.failed(), scene.situation.wake) == ({}, T0 + 130)
        scene.at(129)
        assert scene.failed() == {}
        scene.at(130)
        assert scene.failed() == {"n": ("SysLogsXIDError=True", 10)}

    @pytest.mark.parametrize("condition", [("SysLogsXIDError", "False"), ("MemoryPressure", "True"), ("AcceleratedHardwareReady", "True")])
    def test_healthy_or_none_of_ours(self, condition: tuple[str, str]) -> None:
        """A healthy report, and a condition that the settings do not name, are no failures."""
        scene = Scene()
        scene.at(12, conditions=((*condition, T0 + 10),))
        scene.at(5000)
        assert scene.failed() == {}

    def test_cleared_in_time(self) -> None:
        """One that clears within the dwell moves nothing."""
        scene = Scene()
        scene.at(12, conditions=(("AcceleratedHardwareReady", "False", T0 + 10),))
        scene.at(100, conditions=(("AcceleratedHardwareReady", "True", T0 + 100),))
        scene.at(500)
        assert scene.failed() == {}

    def test_settings_decide(self) -> None:
        """The settings' list replaces the known one."""
        burning = {"failureConditions": [{"type": "Burning", "status": "Unknown"}]}
        mine = Settings.model_validate({**WIDE.model_dump(exclude={"failure_conditions"}), **burning})
        scene = Scene(mine)
        scene.at(12, conditions=(XID, ("Burning", "Unknown", T0 + 11)))
        scene.at(200)
        assert scene.failed() == {"n": ("Burning=Unknown", 11)}

    def test_idle(self) -> None:
        """No plan uses an idle node that is reported as broken, once that has lasted."""
        scene = Scene()
        scene.at(12, "idle", conditions=(XID,))
        assert scene.situation.unusable(T0 + 129) == frozenset()
        assert scene.situation.unusable(T0 + 130) == {"idle"}

    def test_quarantine(self) -> None:
        """A node leaves quarantine when the condition has been gone for the hysteresis."""
        scene = Scene()
        scene.at(12, conditions=(XID,))
        assert scene.world.fence is not None
        scene.world.fence.nodes["n"] = "quarantine.uid-a"  # type: ignore[index]
        scene.at(5000, holder="quarantine.uid-a")
        assert scene.situation.verdict.recovered == frozenset()
        scene.at(6000, conditions=())
        scene.at(6899)
        assert scene.situation.verdict.recovered == frozenset()
        scene.at(6900)
        assert scene.situation.verdict.recovered == {"n"}

    def test_pause(self) -> None:
        """Under a pause of the contract nothing is given up."""
        scene = Scene(annotations={"laycan.dev/paused": "true"})
        scene.at(12, conditions=(XID,))
        scene.at(5000)
        assert scene.failed() == {}

    def test_view(self) -> None:
        """Conditions are read with their transition times; one in another form of time, or none, still counts."""
        raw = {"type": "GPUMissing", "status": "True"}
        times = ["2027-01-15T08:00:00Z", "2027-01-15T08:00:00.5Z", None]
        rows = [{**raw, "lastTransitionTime": time} for time in times]
        seen = node_view({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}, *rows]}})
        assert seen.conditions == (("GPUMissing", "True", T0), ("GPUMissing", "True", 0), ("GPUMissing", "True", 0))


class TestFlapping:
    """Three times NotReady within ten minutes."""

    def flap(self, scene: Scene, *drops: int) -> None:
        for at in drops:
            scene.at(at, ready=False, ready_since=T0 + at)
            scene.at(at + 5, ready=True, ready_since=T0 + at + 5)

    def test_third_time(self) -> None:
        """The third time fails the node, though it is back within the detection time."""
        scene = Scene()
        self.flap(scene, 10, 200)
        assert scene.failed() == {}
        scene.at(609, ready=False, ready_since=T0 + 609)
        assert scene.failed() == {"n": ("Flapping", 609)}

    def test_rarely(self) -> None:
        """The same over a longer time does not, and one NotReady seen many times is one."""
        scene = Scene()
        self.flap(scene, 10, 400, 700, 1100)
        for at in (1300, 1301, 1302):
            scene.at(at, ready=False, ready_since=T0 + 1300, gpus=8 - at % 2)
        assert scene.failed() == {}

    def test_quarantine_outlasts_the_window(self) -> None:
        """However short the hysteresis, the node is not back while it would still count as flapping."""
        scene = Scene(WIDE.model_copy(update={"hysteresis_seconds": 5}))
        self.flap(scene, 10, 20, 30)
        assert scene.world.fence is not None
        scene.world.fence.nodes["n"] = "quarantine.uid-a"  # type: ignore[index]
        scene.at(100, holder="quarantine.uid-a")
        assert scene.situation.verdict.recovered == frozenset()
        scene.at(610, gpus=8)
        assert scene.situation.verdict.recovered == {"n"}


PAUSE = {"laycan.dev/paused": "true"}


class TestPauses:
    """A pause of the contract, the node or the cluster."""

    @pytest.mark.parametrize("kind", ["contract", "node", "cluster by annotation", "cluster by setting"])
    @pytest.mark.parametrize("ailment", ["condition", "flapping", "taint", "silence"])
    def test_nothing_is_given_up(self, kind: str, ailment: str) -> None:
        """Whatever is found, nothing fails while the pause holds; without it the same is a failure."""
        for paused in (True, False):
            settings = WIDE.model_copy(update={"pause_all": paused and kind == "cluster by setting"})
            scene = Scene(settings, annotations=PAUSE if paused and kind == "contract" else {})
            notes = PAUSE if paused and kind == "cluster by annotation" else {}
            scene.world.put("fence", ONLY, FenceView(2, {"n": "acme"}, notes))
            scene.at(1, annotations=PAUSE if paused and kind == "node" else {})
            getattr(self, ailment)(scene)
            assert bool(scene.failed()) is not paused

    def condition(self, scene: Scene) -> None:
        scene.at(12, conditions=(XID,))
        scene.at(500)

    def flapping(self, scene: Scene) -> None:
        for at in (10, 20, 30):
            scene.at(at, ready=False, ready_since=T0 + at)
            scene.at(at + 5, ready=True, ready_since=T0 + at + 5)

    def taint(self, scene: Scene) -> None:
        scene.publish(1, 8)
        scene.publish(20, 8, 3)

    def silence(self, scene: Scene) -> None:
        clock = [T0]
        heard = scene.situation.health.heartbeats = Heartbeats(lambda: clock[0])
        scene.world.products["h100"] = {"spec": {"detection": {"seconds": 40, "heartbeatSeconds": 15}}}
        for seconds, nodes in ((0, ("n", "idle")), (12, ("idle",)), (20, ())):
            clock[0] = T0 + seconds
            for name in nodes:
                heard.put("leases", f"kube-node-lease/{name}", T0 + seconds)
            heard.look(True, T0 + seconds)
            scene.situation.look(T0 + seconds, full=True)


class TestDrivers:
    """GPUs that a DRA driver publishes: its word counts instead of the device plugin's."""

    def test_taint_needs_no_dwell(self) -> None:
        """A GPU that the driver taints is lost at once, for the failure, the plan and the meter."""
        scene = Scene()
        scene.publish(1, 8)
        scene.publish(20, 8, 3)
        assert scene.failed() == {"n": ("GpusLost", 20)}
        assert planned(scene, 20) == 7
        bound = Bound("n", "h100", 8, tuple(range(8)), T0, T0 + 10_000, T0, handed_over_at=T0)
        assert len(possessed(scene.world, bound, "acme", 1, "desk/a", T0 + 20)) == 7

    def test_whole_slice_dwells(self) -> None:
        """A driver that restarts publishes nothing for a while, and moves nothing."""
        scene = Scene()
        scene.publish(1, 8)
        scene.publish(20, 0)
        assert (scene.failed(), planned(scene, 20)) == ({}, 8)
        scene.at(140)
        assert scene.failed() == {}
        scene.at(141)
        assert scene.failed() == {"n": ("GpusLost", 20)}

    def test_slice_deleted(self) -> None:
        """So does one whose ResourceSlice is deleted: its node is looked at although nothing else of it changed."""
        scene = Scene()
        scene.world.put("nodes", "n", replace(scene.world.nodes["n"], resource_version=50, gpus=0, raw=bare(scene.world.nodes["n"])))
        scene.publish(1, 8)
        scene.world.drop("resource_slices", "n-gpus")
        scene.at(20)
        assert planned(scene, 20) == 8
        scene.at(141)
        assert scene.failed() == {"n": ("GpusLost", 20)}

    def test_slice_from_before_deleted(self) -> None:
        """The same where the slice was there before this process, and for a plan that comes between the deletion and the look."""
        scene = Scene()
        scene.world.put("nodes", "n", replace(scene.world.nodes["n"], resource_version=50, gpus=0, raw=bare(scene.world.nodes["n"])))
        scene.publish(1, 8)
        scene.situation.close()
        scene.situation = Situation(scene.world, WIDE, lambda: None)
        scene.at(2)
        scene.world.drop("resource_slices", "n-gpus")
        assert planned(scene, 20) == 8
        scene.at(20)
        assert planned(scene, 140) == 8
        scene.at(141)
        assert (planned(scene, 141), scene.failed()) == (0, {"n": ("GpusLost", 20)})

    def test_spare_gpu(self) -> None:
        """A tainted GPU that nobody was sold is no failure; the next that leaves too few is."""
        few: World = world([node("n", holder="acme")], [contract("a", "acme", [binding("n", 0, 10_000, gpus=6)])], {"n": "acme"})
        scene = Scene()
        scene.world = few
        scene.situation = Situation(few, WIDE, lambda: None)
        for at, unfit in ((0, ()), (20, (0,)), (30, (0, 1))):
            scene.publish(at, 8, *unfit)
            assert scene.failed() == {}
        scene.publish(40, 8, 0, 1, 2)
        assert scene.failed() == {"n": ("GpusLost", 40)}


def planned(scene: Scene, at: int) -> int:
    """GPUs that a plan may count on."""
    seen = scene.world.nodes["n"]
    return scene.situation.health.gpus(seen, WIDE, T0 + at, count_gpus(scene.world, seen).there)


def bare(seen: NodeView) -> dict[str, Any]:
    """A node without a device plugin."""
    return {**seen.raw, "status": {"capacity": {}}}
