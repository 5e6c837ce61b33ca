"""The agent's own process on the real API server: what it writes, when, and what it may not write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.api import Api, ApiError, Object
from controlplane.local import ControlPlane
from controlplane.users import service_account_token, write_kubeconfig
from controlplane.waiting import until
from laycan.resources.times import parse_time
from tests.cluster.agent import METERS, Agent, Fleet, fleet_of_agents
from tests.cluster.policies.installed import NAMESPACE, refused
from tests.nvml.standin import build

BOUNDS = "laycan-meter-bounds"


@pytest.fixture(scope="module")
def agents(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The chart in mode Observe on a control plane of this module's."""
    folder = tmp_path_factory.mktemp("agents")
    with ControlPlane(folder / "plane", tools=tools, fsync=False) as plane, fleet_of_agents(plane, folder, build(folder), 7) as made:
        yield made


@pytest.fixture(scope="module")
def sound(agents: Fleet) -> Agent:
    """One to which nothing happens; the last test that has it ends it."""
    return agents.take()


def test_reports(agents: Fleet, sound: Agent) -> None:
    """The first sample becomes a meter of that Node, with all its GPUs; the kind's schema takes it as it is; the probe is content."""
    agent, meter = sound, sound.meter()
    assert meter is not None
    node = agents.admin.get(f"/api/v1/nodes/{agent.node}")["metadata"]
    assert [(owner["kind"], owner["uid"]) for owner in meter["metadata"]["ownerReferences"]] == [("Node", node["uid"])]
    assert meter["spec"]["nodeUid"] == node["uid"]
    assert [gpu["product"] for gpu in meter["spec"]["gpus"]] == ["NVIDIA H100 80GB HBM3"] * 8
    assert abs(meter["spec"]["clock"]["offsetMilliseconds"]) < 1500
    metrics = agent.metrics()
    assert (metrics["laycan_agent_driver"], metrics['laycan_agent_reports_total{outcome="written"}']) == (1, 1)
    assert sum(value for name, value in metrics.items() if name.startswith("laycan_gpu_healthy")) == 8


def samples(agent: Agent) -> float:
    return agent.metrics()['laycan_agent_samples_total{outcome="taken"}']


def test_an_xid_is_told_at_once(agents: Fleet) -> None:
    """Two XIDs of one moment are one write, and nothing is written before or after it."""
    agent = agents.take()
    assert len(agents.writes(agent)) == 1
    agent.driver.events += [(3, 79), (3, 119)]
    agent.driver.write()
    until("it is told", lambda: agent.findings() == [("Xid", 79, True), ("Xid", 119, True)])
    told = samples(agent)
    until("it has sampled on", lambda: samples(agent) >= told + 3)
    assert len(agents.writes(agent)) == 2


@pytest.mark.parametrize("kept", ["file", "object only"])
def test_killed_and_started_again(agents: Fleet, kept: str) -> None:
    """Registers and findings go on, the time between is a missed stretch of the same boot, and the energy used in it counts."""
    agent = agents.take()
    agent.driver.xid(0, 79)
    until("it is told", lambda: agent.findings() == [("Xid", 79, True)])
    agent.kill()
    before = agent.spec()
    if kept != "file":
        agent.state.unlink()
    for gpu in agent.driver.gpus:
        assert gpu.energy is not None
        gpu.energy += 5_000_000
    agent.driver.write()
    agent.start()
    until("the stretch is told", lambda: agent.spec()["missed"])
    after = agent.spec()
    assert [(each["sameBoot"], each["leastWatts"] > 0) for each in after["missed"]] == [(True, True)]
    assert (after["since"], agent.findings()) == (before["since"], [("Xid", 79, True)])
    gained = [
        new["registers"]["energyMillijoules"] - old["registers"]["energyMillijoules"]
        for old, new in zip(before["gpus"], after["gpus"], strict=True)
    ]
    assert gained == [5_000_000] * 8


def test_only_its_own_nodes_meter(agents: Fleet, sound: Agent, tmp_path: Path) -> None:
    """An agent's token writes the meter of the node that its pod runs on; another's is refused, created or changed, and so is one whose
    token is bound to no pod. Nobody else is bound by that."""
    agent, [other] = sound, agents.nodes(1)
    mine = Api(agent.kubeconfig)
    patch = {"metadata": {"annotations": {"note": "mine"}}}
    assert mine.patch(f"{METERS}/{agent.node}", patch)["metadata"]["annotations"]["note"] == "mine"
    words = f'the agent of node "{agent.node}" writes the GpuMeter of that name only'
    refused(lambda: mine.create(meter_of(agent, other)), words)
    agents.admin.create(meter_of(agent, other))
    refused(lambda: mine.patch(f"{METERS}/{other}", patch), words)
    loose = service_account_token(agents.admin, NAMESPACE, "laycan-agent", 3600)
    unbound = Api(write_kubeconfig(tmp_path / "unbound", agents.plane.url, agents.plane.certificate, {"token": loose}))
    refused(lambda: unbound.patch(f"{METERS}/{agent.node}", patch), 'the agent of node "" writes')
    with pytest.raises(ApiError, match="cannot delete"):
        mine.delete(f"{METERS}/{agent.node}")
    with pytest.raises(ApiError, match="cannot list"):
        mine.get(METERS)


def meter_of(agent: Agent, node: str) -> Object:
    """The agent's meter under another node's name."""
    found = agent.meter()
    assert found is not None
    return {"apiVersion": found["apiVersion"], "kind": "GpuMeter", "metadata": {"name": node}, "spec": found["spec"]}


def test_readings_are_never_taken_back(agents: Fleet, sound: Agent) -> None:
    """The API server refuses a reading that is earlier than the one it has, and another beginning, to everybody."""
    for field in ("at", "since"):
        with pytest.raises(ApiError, match="never") as caught:
            agents.admin.patch(f"{METERS}/{sound.node}", {"spec": {field: "2020-01-01T00:00:00Z"}})
        assert caught.value.status == 422


def test_without_a_driver(agents: Fleet) -> None:
    """A node that never had one has no meter, and its agent is well and says so."""
    [node] = agents.nodes(1)
    agent = agents.start(agents.agent(node, driver=False))
    until("it has looked", lambda: samples(agent) >= 1)
    assert agent.metrics()["laycan_agent_driver"] == 0
    assert agent.healthy()
    assert agent.meter() is None


def test_the_driver_goes_and_comes_back(agents: Fleet) -> None:
    """All GPUs are missing until it is loaded anew, and then are there again."""
    agent = agents.take()
    agent.driver.unload()
    until("all are missing", lambda: agent.findings() == [("Missing", 0, True)] * 8)
    assert agent.metrics()["laycan_agent_driver"] == 0
    agent.driver.reload()
    until("all are back", lambda: agent.findings() == [("Missing", 0, False)] * 8)
    assert agent.running()


def test_a_driver_that_hangs(agents: Fleet) -> None:
    """Metrics and probe go on, nothing is known of any GPU, and that is told; when NVML answers again it is over."""
    agent = agents.take()
    agent.driver.gpus[5].faults = {"nvmlDeviceGetUtilizationRates": "~6"}
    agent.driver.write()
    until("it is told", lambda: agent.findings() == [("Unreadable", 0, True)] * 8)
    metrics = agent.metrics()
    assert (metrics["laycan_agent_hangs_total"], agent.healthy()) == (1, True)
    agent.driver.gpus[5].faults = {}
    agent.driver.write()
    until("it is over", lambda: agent.findings() == [("Unreadable", 0, False)] * 8)
    assert len(agent.spec()["missed"]) == 1


def test_sigterm(sound: Agent) -> None:
    """What it sampled last is written before it goes, and it goes in order."""
    agent = sound
    first = parse_time(agent.spec()["at"])
    until("it has sampled on", lambda: agent.metrics()["laycan_agent_sampled_timestamp_seconds"] > first)
    sampled_at = agent.metrics()["laycan_agent_sampled_timestamp_seconds"]
    assert agent.stop() == 0, agent.log.read_text()
    assert parse_time(agent.spec()["at"]) >= sampled_at


def test_the_api_server_goes_and_comes_back(agents: Fleet) -> None:
    """The agent samples on and is well; what happened meanwhile is told when the API server is back, with its time."""
    agent = agents.take()
    agents.plane.kill("kube-apiserver")
    agent.driver.xid(2, 48)
    until("it is heard", lambda: agent.metrics().get("laycan_agent_xids_total") == 1)
    heard_at = agent.metrics()["laycan_agent_sampled_timestamp_seconds"]
    until("a write has failed", lambda: agent.metrics()['laycan_agent_reports_total{outcome="failed"}'] >= 1)
    assert agent.healthy()
    agents.plane.start("kube-apiserver")
    until("it is told", lambda: agent.findings() == [("Xid", 48, True)], seconds=60)
    assert agent.metrics()["laycan_agent_sampled_timestamp_seconds"] >= heard_at
    assert agent.spec().get("missed") == []
