"""The account of one node: everything that its agent knows and publishes, from sample to sample. Pure: the time is an argument.

Between `since` and `at` every second is either sampled or listed as missed. A sample says what is there, what is lost and what cannot be
read; one without a driver says that nothing is there. No sample at all is `miss`: after two and a half periods nothing is known of any
GPU, and that is a finding too. After a restart the time since the last sample is always missed, however short: XIDs were not heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from laycan.agent.conditions import Ill
from laycan.agent.findings import Findings
from laycan.agent.gpu import Gpu
from laycan.agent.missed import MISSED_KEPT, Missed, missed, too_long
from laycan.agent.sample import GpuSample, NodeSample
from laycan.resources.signals import Signal

NO_DRIVER = NodeSample("", (), (), ())


class Moment(NamedTuple):
    """When a sample was taken."""

    now: int  # Unix seconds
    uptime: int  # seconds since boot
    boot_id: str


@dataclass(slots=True)
class Account:
    """Times are Unix seconds. `uptime` None: the agent was restarted, and what it wrote did not tell."""

    node_uid: str
    sample_seconds: int
    since: int
    at: int
    complete_since: int
    boot_id: str = ""
    uptime: int | None = None
    enumerated_in: str = ""  # boot id in which NVML last listed the GPUs
    driver: str = ""
    restarted: bool = False
    gpus: dict[str, Gpu] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    missed: list[Missed] = field(default_factory=list)

    @classmethod
    def begin(cls, node_uid: str, sample_seconds: int, now: int) -> Account:
        """Of a node without history; its first sample follows."""
        return cls(node_uid, sample_seconds, now, now, now)

    @property
    def complete(self) -> bool:
        """Whether no GPU is missing."""
        return not any(signal is Signal.MISSING for _, signal, _ in self.findings.open)

    def take(self, sample: NodeSample, moment: Moment, strangers: Mapping[str, int] | None = None) -> bool:
        """A sample, with the strangers' processes by GPU. Whether something changed that must be told at once."""
        now = max(moment.now, self.at)  # a clock that was set back waits until it is that late again
        told = {gpu.uuid: gpu for gpu in sample.gpus}
        sampled = not self.restarted and not too_long(self.at, now, self.sample_seconds)
        changed = self._note_missed(told, moment, now) if not sampled else False
        changed |= (self.boot_id, self.driver) != (moment.boot_id, sample.driver)
        if sample.driver:
            changed |= self._enumerate(told, (*sample.lost, *sample.unreadable), moment.boot_id, now)
        for uuid, gpu in self.gpus.items():
            count = min((strangers or {}).get(uuid, 0), 65_535)
            changed |= count != gpu.strangers
            if uuid in told:
                followed = sampled and not self._blind(gpu)
                changed |= gpu.identify(told[uuid])
                changed |= gpu.read(told[uuid], now, sampled=followed, strangers=count, findings=self.findings)
            else:
                gpu.strangers = 0
                changed |= self._without(gpu, unreadable=uuid in sample.unreadable, now=now)
        self.at, self.uptime, self.boot_id, self.driver, self.restarted = now, moment.uptime, moment.boot_id, sample.driver, False
        self._trim()
        return changed

    def miss(self, moment: Moment) -> bool:
        """No sample came by now. Whether that must be told at once."""
        elapsed = max(moment.now - self.at, moment.uptime - (self.uptime or moment.uptime))  # whatever became of the clock
        if not too_long(0, elapsed, self.sample_seconds):
            return False
        now = max(moment.now, self.at)
        read = [gpu for gpu in self.gpus.values() if not self._blind(gpu)]
        for gpu in read:
            self._without(gpu, unreadable=True, now=now)
        return bool(read)

    def hear(self, uuid: str, xid: int) -> bool:
        """An XID of a known GPU. Whether it must be told at once."""
        return uuid in self.gpus and self.findings.hear(uuid, xid, self.gpus[uuid].seen)

    def _note_missed(self, told: Mapping[str, GpuSample], moment: Moment, now: int) -> bool:
        """The stretch since the last sample was not sampled."""
        if now == self.at:
            return False
        known = [(gpu, told[uuid]) for uuid, gpu in self.gpus.items() if uuid in told]
        same = self.boot_id == moment.boot_id and not any(gpu.reloaded(sample) for gpu, sample in known)
        powers = [gpu.power(sample, now) for gpu, sample in known]
        self.missed.append(missed(self.at, now, same, moment.uptime - (self.uptime or moment.uptime), powers))
        return True

    def _enumerate(self, told: Mapping[str, GpuSample], ailing: tuple[str, ...], boot_id: str, now: int) -> bool:
        """Which GPUs there are: in the same boot those known before and new ones, after a reboot those that are listed now."""
        listed = dict.fromkeys((*told, *ailing))
        changed = not listed.keys() <= self.gpus.keys()
        if boot_id != self.enumerated_in:
            for uuid in [uuid for uuid in self.gpus if uuid not in listed]:
                self._forget(self.gpus.pop(uuid), now)
                changed = True
            for gpu in self.gpus.values():
                gpu.rebooted()
            self.enumerated_in = boot_id
        for uuid in listed:
            if uuid not in self.gpus:
                self.gpus[uuid] = Gpu.new(uuid, now)
        return changed

    def _forget(self, gpu: Gpu, now: int) -> None:
        """It was taken out while the node was down: until now it was missing, from now on there is no such GPU."""
        self.findings.set(gpu.uuid, Signal.MISSING, Ill(), since=gpu.seen, now=now)
        self.findings.end(gpu.uuid, now)

    def _without(self, gpu: Gpu, *, unreadable: bool, now: int) -> bool:
        """It could not be read; one that was missing may come back reset."""
        signal = Signal.UNREADABLE if unreadable else Signal.MISSING
        gpu.reset |= signal is Signal.MISSING
        return self.findings.set(gpu.uuid, signal, Ill(), since=gpu.seen, now=now)

    def _blind(self, gpu: Gpu) -> bool:
        """Whether it could not be read the last time."""
        return any(self.findings.has(gpu.uuid, signal) for signal in (Signal.MISSING, Signal.UNREADABLE))

    def _trim(self) -> None:
        """Bounds what is kept; what is not listed any more moves `complete_since`."""
        over = max(0, len(self.missed) - MISSED_KEPT)
        dropped, self.missed = self.missed[:over], self.missed[over:]
        self.complete_since = max(self.complete_since, self.findings.trim(), *(each.end for each in dropped))
