"""The kit as `python -m examples.exchange` runs it, but for a SIGKILL after so many answers (0: never), before the last one is said."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from examples.exchange import __main__ as kit
from examples.exchange.receiver import Answer, Receiver

die_at = int(sys.argv.pop(1))


class Dying(Receiver):
    answers = 0

    def receive(self, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
        answer = super().receive(headers, body, now)
        Dying.answers += 1
        if Dying.answers == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    vars(kit)["Receiver"] = Dying
    kit.main()
