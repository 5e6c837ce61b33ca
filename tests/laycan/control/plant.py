"""Nodes whose truth is known for every second, and what their agents, if they are correct, and the API server tell of it.

A plant is made of events with a start and a length in seconds after T0. From these follow, second by second: which GPUs are broken,
whether the agent takes samples and can write, whether the kubelet is heard. The agent is simulated as it is specified: a sample each
second, findings from the last good sample to the first good one, stretches without samples with what speaks for them, a report at once
when something changed (and at most one in five seconds), else every `report` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from laycan.kube.meter_views import MeterView, MissedView
from laycan.kube.views import NodeView
from laycan.resources.verdict import Found
from tests.laycan.control.desk import T0

GPUS = 2  # of each node
BEGIN = -15  # first second, after T0
LEAST_SECONDS = 5  # between two writes of an agent
STRETCH = 20  # seconds of which the share under slowdown is told


class Event(NamedTuple):
    """Something that happens to a node in [start, start + length), seconds after T0.

    fatal    GPU `gpu` has a fault that only a reset mends
    missing  GPU `gpu` is not there, for the device plugin neither
    stopped  the agent does not run; it finds its state when it starts again
    mute     the agent samples and cannot write
    lost     the agent's state and its GpuMeter are deleted at `start`
    deleted  its GpuMeter is, at `start`
    unheard  the kubelet is not heard; the node turns NotReady `delay` seconds later
    reboot   both stopped and unheard, and what was broken is reset
    slow     GPU `gpu` is under hardware slowdown
    """

    kind: str
    node: str
    start: int
    length: int
    gpu: int = 0
    delay: int = 3

    def covers(self, second: int) -> bool:
        return self.start <= second < self.start + self.length


@dataclass(slots=True)
class Agent:
    """One run of samples; its times are seconds after T0."""

    node: str
    report: int
    keep: int  # closed findings and missed stretches that are listed
    since: int
    at: int
    uid: str
    complete_since: int
    seen: dict[int, int] = field(default_factory=dict)  # GPU -> last sample in which it could be read
    good: dict[tuple[int, str], int] = field(default_factory=dict)  # (GPU, signal) -> last sample without it
    open: dict[tuple[int, str], int] = field(default_factory=dict)
    closed: list[Found] = field(default_factory=list)
    missed: list[MissedView] = field(default_factory=list)
    boot: int = 0
    restarted: bool = False
    slow: dict[int, int] = field(default_factory=dict)  # GPU -> seconds of the stretch under way that were slow
    told: int = -1_000  # latest write
    urged: bool = True

    def sample(self, now: int, wrong: dict[int, frozenset[str]], boot: int) -> None:
        """`wrong`: what each GPU shows."""
        if self.restarted or 2 * (now - self.at) > 5:
            self.missed.append(MissedView(T0 + self.at, T0 + now, boot == self.boot, now - self.at, 90, 600))
            self.urged = True
        for gpu, signals in wrong.items():
            for signal in ("Xid", "Missing"):
                if signal in signals and (gpu, signal) not in self.open:
                    self.open[gpu, signal], self.urged = self.good.get((gpu, signal), now), True
                elif signal not in signals and (gpu, signal) in self.open:
                    self._close(gpu, signal, now)
                if signal not in signals:
                    self.good[gpu, signal] = now
        self.at, self.boot, self.restarted = now, boot, False
        self._trim()

    def slowed(self, now: int, slow: dict[int, int]) -> None:
        """The counters at a sample: each GPU's slow seconds since the last one. A stretch is listed when it is over."""
        for gpu, seconds in slow.items():
            self.slow[gpu] = self.slow.get(gpu, 0) + seconds
            if now % STRETCH == 0 and (slowest := self.slow.pop(gpu)):
                share = slowest * 1_000_000 // STRETCH
                self.closed.append(Found(f"GPU-{self.node}-{gpu}", "Slowdown", 0, share, T0 + max(self.since, now - STRETCH), T0 + now))

    def _close(self, gpu: int, signal: str, now: int) -> None:
        self.closed.append(self._found(gpu, signal, self.open.pop((gpu, signal)), T0 + now))
        self.urged = True

    def _found(self, gpu: int, signal: str, start: int, end: int | None) -> Found:
        return Found(f"GPU-{self.node}-{gpu}", signal, 79 if signal == "Xid" else 0, 0, T0 + start, end)

    def _trim(self) -> None:
        self.closed.sort(key=lambda found: found.end or 0)
        dropped = [found.end or 0 for found in self.closed[: -self.keep]] + [missed.end for missed in self.missed[: -self.keep]]
        del self.closed[: -self.keep], self.missed[: -self.keep]
        self.complete_since = max([self.complete_since, *(end - T0 for end in dropped)])

    def due(self, now: int) -> bool:
        """Whether it writes now."""
        return now - self.told >= LEAST_SECONDS and (self.urged or now - self.told >= self.report)

    def write(self, now: int) -> MeterView:
        self.told, self.urged = now, False
        found = (*self.closed, *(self._found(gpu, signal, start, None) for (gpu, signal), start in sorted(self.open.items())))
        cards = frozenset(f"GPU-{self.node}-{i}" for i in range(GPUS))
        times = T0 + self.since, T0 + self.at, T0 + self.complete_since
        return MeterView(self.node, now - BEGIN + 1, self.uid, *times, self.report, cards, found, tuple(self.missed), 0, 0)


@dataclass(slots=True)
class Second:
    """One second of one node: what is, and what the API server shows at its beginning."""

    fit: int  # GPUs without fault, and out of their clean time
    sampled: bool  # by the agent: it has a sample at its beginning and one after it, and missed none
    heard: bool  # the kubelet, as far as the API server comes to know
    heartbeat: int  # its last one, seconds after T0
    node: NodeView
    meter: MeterView | None


def seconds_of(name: str, events: list[Event], *, born: int, report: int, clean: int, keep: int, end: int) -> dict[int, Second]:
    """The node's whole history in [BEGIN, end). The agent runs from `born` on."""
    mine = [event for event in events if event.node == name]
    if any(event.kind == "slow" for event in mine):  # counters that are read late are spread over stretches: no part of this
        mine = [event for event in mine if event.kind not in ("stopped", "lost", "reboot")]

    def on(second: int, *kinds: str) -> bool:
        return any(event.kind in kinds and event.covers(second) for event in mine)

    span = range(BEGIN, end)
    up = {t: t >= born and not on(t, "stopped", "reboot", "lost") for t in span}
    wrong = {t: {gpu: _wrong(mine, gpu, t) for gpu in range(GPUS)} for t in span}
    meters, agent_gaps = _agent(name, mine, up, wrong, report=report, keep=keep)
    lost = {event.start for event in mine if event.kind == "lost"}
    bad = {gpu: _bad(gpu, up, wrong, clean, lost) | _slow(mine, gpu, born, span) for gpu in range(GPUS)}
    silences = _silences(mine, span)
    made = {}
    for t in span:
        fit = sum(t not in bad[gpu] for gpu in range(GPUS))
        silence = next(((p, q, delay) for p, q, delay in silences if p <= t < q), None)
        ready = silence is None or t < silence[0] + silence[2]
        ended = [q for _, q, _ in silences if q <= t]
        ready_since = silence[0] + silence[2] if silence and not ready else max(ended, default=-9_000)
        told = silence[0] if silence else t  # it is the kubelet that tells of GPUs
        there = sum("Missing" not in wrong[told][gpu] for gpu in range(GPUS))
        raw = {"status": {"capacity": {"nvidia.com/gpu": str(GPUS)}}}
        view = NodeView(name, f"uid-{name}", 1, raw, True, ready, T0 + ready_since, there, "", {})
        sampled = up[t] and t >= born and not any(a <= t < b for a, b in agent_gaps)
        made[t] = Second(fit, sampled, silence is None, silence[0] if silence else t, view, meters[t])
    return made


def _wrong(mine: list[Event], gpu: int, t: int) -> frozenset[str]:
    """What a sample of the GPU would show. A reboot resets it."""
    boots = [event.start + event.length for event in mine if event.kind == "reboot"]
    shown = set[str]()
    for event in mine:
        if event.gpu == gpu and event.covers(t):
            if event.kind == "fatal" and not any(event.start < boot <= t for boot in boots):
                shown.add("Xid")
            elif event.kind == "missing":
                shown.add("Missing")
    return frozenset(shown)


def _bad(gpu: int, up: dict[int, bool], wrong: dict[int, dict[int, frozenset[str]]], clean: int, lost: set[int]) -> set[int]:
    """Seconds in which the GPU is unfit: broken, or in the clean time after the first good sample; unless nobody knows of it any more."""
    found, shown = set[int](), False
    for t in up:
        shown = shown and t not in lost
        if wrong[t][gpu]:
            found.add(t)
            shown = shown or up[t]
        elif shown and up[t]:
            found.update(range(t, t + clean))
            shown = False
        elif shown:
            found.add(t)
    return found


def _slow(mine: list[Event], gpu: int, born: int, span: range) -> set[int]:
    """Seconds of stretches of which more than a twentieth was slow, and of which the agent comes to tell in time."""
    slow = {t for t in span if t >= born and any(each.kind == "slow" and each.gpu == gpu and each.covers(t) for each in mine)}
    stretches = {t - t % STRETCH for t in slow}
    mute = [each for each in mine if each.kind == "mute"]
    stretches -= {at for at in stretches for m in mute if m.covers(at + STRETCH) and m.start + m.length > at + 2 * STRETCH}
    bad = [at for at in stretches if 20 * len(slow & set(range(at, at + STRETCH))) > STRETCH]
    return {t for at in bad for t in range(max(at, born), at + STRETCH)}


def _silences(mine: list[Event], span: range) -> list[tuple[int, int, int]]:
    """(from, until, delay) in which the kubelet was not heard, and for so long that the node turned NotReady."""
    found: list[tuple[int, int, int]] = []
    for t in span:
        here = [event.delay for event in mine if event.kind in ("unheard", "reboot") and event.covers(t)]
        if here and found and found[-1][1] == t:
            found[-1] = found[-1][0], t + 1, found[-1][2]
        elif here:
            found.append((t, t + 1, here[0]))
    return [(p, q, delay) for p, q, delay in found if q - p > delay]


def _agent(
    name: str, mine: list[Event], up: dict[int, bool], wrong: dict[int, dict[int, frozenset[str]]], *, report: int, keep: int
) -> tuple[dict[int, MeterView | None], list[tuple[int, int]]]:
    """The meter at each second, and the stretches that were not sampled."""
    agent: Agent | None = None
    shown: MeterView | None = None
    meters: dict[int, MeterView | None] = {}
    gaps: list[tuple[int, int]] = []
    for t in up:
        if any(event.kind == "deleted" and event.start == t for event in mine):
            shown = None
        if any(event.kind == "lost" and event.start == t for event in mine):
            if agent is not None:
                gaps.append((agent.at, t + 1))
            agent, shown = None, None
        if not up[t]:
            if agent is not None:
                agent.restarted = True
            meters[t] = shown
            continue
        boot = sum(event.kind == "reboot" and event.start + event.length <= t for event in mine)
        if agent is None:
            if gaps:
                gaps[-1] = gaps[-1][0], t
            agent = Agent(name, report, keep, t, t, f"uid-{name}", t, boot=boot)
        elif agent.restarted:
            gaps.append((agent.at, t))
        agent.sample(t, wrong[t], boot)
        slow = [each for each in mine if each.kind == "slow" and each.covers(t - 1)]
        agent.slowed(t, {gpu: int(any(each.gpu == gpu for each in slow)) for gpu in range(GPUS)})
        if agent.due(t) and not any(event.kind == "mute" and event.covers(t) for event in mine):
            shown = agent.write(t)
        meters[t] = shown
    if agent is not None:
        gaps.append((agent.at, max(up) + 1))
    return meters, gaps
