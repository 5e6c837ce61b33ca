"""How the agent itself does: what its metrics and its probe tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from laycan.agent.clock import ClockReading

_PERIODS = 10  # so long may no sample end, or the loop not come round


@dataclass(slots=True)
class Status:
    """`ticked` is when the loop of samples last came round, monotonic seconds."""

    ticked: float
    driver: bool = False
    samples: Counter[str] = field(default_factory=Counter)  # taken, missed
    hangs: int = 0
    sample_seconds: float = 0.0  # how long the latest took
    xids: int = 0
    clock: ClockReading | None = None

    def troubles(self, now: float, attempt_ended: float, period: float) -> list[str]:
        """Why it should be started anew. That there is no driver, or no API server, is no reason."""
        found = []
        if now - self.ticked > _PERIODS * period:
            found.append(f"the loop did not come round for {now - self.ticked:.0f} s")
        elif now - attempt_ended > _PERIODS * period:
            found.append(f"NVML has not answered for {now - attempt_ended:.0f} s")
        return found
