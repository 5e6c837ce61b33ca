"""What Prometheus reads of an agent."""

from __future__ import annotations

import asyncio

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from laycan.agent.agent import Agent
from laycan.agent.metrics import Metrics, described
from laycan.agent.processes import Processes
from laycan.kube.clock import ClockReading
from tests.laycan.agent.cards import NOON, card, name, node
from tests.laycan.agent.cluster import Machine, OneNode, agent_of


def families(*, sampled: bool = True) -> dict[str, Metric]:
    """Of an agent with two GPUs, of which one reported an XID and drew a kilowatt for ten seconds."""
    found: dict[str, Metric] = {}

    async def go() -> None:
        machine = Machine()
        async with agent_of(OneNode(), machine) as agent:
            if sampled:
                await story(agent, machine)
            metrics = Metrics(agent.status, agent.publisher, Processes(()), lambda: agent.account, lambda: NOON + 10)
            found.update({each.name: each for each in text_string_to_metric_families(metrics.text().decode())})

    asyncio.run(go())
    return {name: each for name, each in found.items() if name.startswith("laycan_")}


async def story(agent: Agent, machine: Machine) -> None:
    await agent.learn()
    agent.status.clock = ClockReading(True, -250)
    await agent.round()
    assert agent.account is not None
    agent.account.hear(name(0), 79)
    machine.now, machine.sample = 10, node(card(0, energy_millijoules=11_000_000), card(1))
    await agent.round()
    await agent.publisher.write()


def values(family: Metric) -> dict[str, float]:
    """By the values of the labels."""
    return {",".join(value for _, value in sorted(sample.labels.items(), reverse=True)): sample.value for sample in family.samples}


def test_each_gpu_has_its_series() -> None:
    """By uuid, in base units; a card with a fatal XID is not healthy by the default policy."""
    found = families()
    assert values(found["laycan_gpu_energy_joules"]) == {name(0): 10_000, name(1): 0}
    assert values(found["laycan_gpu_sampled_seconds"]) == {name(0): 10, name(1): 10}
    assert values(found["laycan_gpu_healthy"]) == {name(0): 0, name(1): 1}
    assert {key: value for key, value in values(found["laycan_gpu_findings"]).items() if value} == {f"{name(0)},Xid": 1}


def test_the_agent_itself() -> None:
    """What it did, and how the clock stands."""
    found = families()
    assert values(found["laycan_agent_samples"]) == {"taken": 2, "missed": 0}
    assert values(found["laycan_agent_reports"]) == {"written": 1, "failed": 0}
    assert values(found["laycan_agent_driver"]) == {"": 1}
    assert values(found["laycan_agent_sampled_timestamp_seconds"]) == {"": NOON + 10}
    assert values(found["laycan_agent_clock_offset_seconds"])[""] < 1.5


def test_before_the_first_sample() -> None:
    """Nothing is said of GPUs that nobody has looked at."""
    assert not [name for name in families(sampled=False) if name.startswith("laycan_gpu")]


def test_described() -> None:
    """What the page is told of each metric is what a scraper sees of an agent with GPUs: name, type, labels and words."""
    assert {(each.name, each.type, frozenset(each.labels), each.words) for each in described()} == {seen(f) for f in families().values()}


def seen(family: Metric) -> tuple[str, str, frozenset[str], str]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return name, family.type, frozenset(label for sample in family.samples for label in sample.labels), family.documentation
