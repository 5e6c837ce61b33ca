"""A real operator process whose watches are short: the API server ends each after seconds, and silence is noticed after as few.

Each begins anew, so that one that lives is never silent for long, as with the real times: a quiet kind gets its bookmarks a minute apart.
"""

from __future__ import annotations

import sys

from tests.cluster.operator import Operator

SILENCE_SECONDS = 6.0


class Impatient(Operator):
    """Give it a proxy's `server` that can fall silent."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.cluster.impatient", "operator"]


def main() -> None:
    """`python -m tests.cluster.impatient operator …`: as `laycan operator …`."""
    from laycan.cli.main import run
    from laycan.control import office
    from laycan.kube import reflector

    follow = reflector.Reflector._follow

    async def anew(self: reflector.Reflector) -> None:
        self._version = ""
        await follow(self)

    setattr(reflector.Reflector, "_follow", anew)  # noqa: B010 - mypy would have it typed as a method
    reflector._SERVER_SECONDS = (3, 5)
    reflector.SILENCE_SECONDS = SILENCE_SECONDS
    setattr(office, "SILENCE_SECONDS", SILENCE_SECONDS)  # noqa: B010 - there it is a name imported from elsewhere
    run()


if __name__ == "__main__":
    main()
