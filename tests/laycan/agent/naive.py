"""The account again, naively: every look at every GPU is kept, and each second is asked for by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

READ = ("sound", "pending")  # looks in which NVML answered
AWAY = ("lost", "absent")
BAD = {"Missing": AWAY, "Unreadable": ("unreadable",), "RowRemapPending": ("pending",)}
GOOD = {"Missing": READ, "Unreadable": READ, "RowRemapPending": ("sound",)}  # all other looks do not tell


@dataclass(frozen=True)
class Look:
    """At one GPU. `fresh`: the first after a restart of the agent; a look that is no `sample` says that there was none for too long."""

    at: int
    state: str
    energy: int = 0
    boot: int = 0
    fresh: bool = False
    sample: bool = True


@dataclass
class Naive:
    """One GPU, known from its first look on."""

    period: int
    looks: list[Look] = field(default_factory=list)
    xids: list[tuple[int, int]] = field(default_factory=list)  # number of looks before it, code

    def samples(self) -> list[Look]:
        return [look for look in self.looks if look.sample]

    def missed(self) -> list[tuple[int, int]]:
        """Stretches without samples."""
        return [(a.at, b.at) for a, b in pairwise(self.samples()) if b.fresh or 2 * (b.at - a.at) > 5 * self.period]

    def sampled_seconds(self) -> int:
        """Time between samples in a row that both read it, none of it missed."""
        missed = self.missed()
        pairs = [(a, b) for a, b in pairwise(self.samples()) if (a.at, b.at) not in missed]
        return sum(b.at - a.at for a, b in pairs if a.state in READ and b.state in READ)

    def energy(self) -> int:
        """What its counter gained; from 0 where that began anew."""
        return sum(b.energy - (0 if b.boot != a.boot or b.energy < a.energy else a.energy) for a, b in pairwise(self._reads()))

    def covered(self, signal: str, now: int) -> set[int]:
        """Seconds before or after which the nearest look that tells of the signal says that it holds."""
        telling = [look for look in self.looks if look.state in (*BAD[signal], *GOOD[signal])]
        return {second for second in range(self.looks[0].at, now) if any(each.state in BAD[signal] for each in _beside(telling, second))}

    def xid_seconds(self, code: int, now: int) -> set[int]:
        """From the last reading before the XID to the first after which it was reset, or to now."""
        found = set[int]()
        for number, heard in self.xids:
            if heard == code:
                before = [look.at for look in self.looks[:number] if look.state in READ]
                start = before[-1] if before else self.looks[0].at
                end = next((self.looks[place].at for place in self._resets() if place >= number), now)
                found |= set(range(start, end))
        return found

    def _reads(self) -> list[Look]:
        return [look for look in self.looks if look.state in READ]

    def _resets(self) -> Iterator[int]:
        """Places of readings before which it was reset, or may have been."""
        read: Look | None = None
        away = False
        for place, look in enumerate(self.looks):
            away |= look.state in AWAY
            if look.state in READ:
                if away or (read is not None and (look.boot != read.boot or look.energy < read.energy)):
                    yield place
                read, away = look, False


def _beside(looks: list[Look], second: int) -> list[Look]:
    """The last look by then, and the first after."""
    return [look for look in looks if look.at <= second][-1:] + [look for look in looks if look.at > second][:1]
