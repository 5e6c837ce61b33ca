"""A finding: what would break, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laycan.preflight.cluster import Cluster


class Level(StrEnum):
    """Error: delivery does not work, or harms somebody. Warning: something will surprise. Info: good to know."""

    ERROR = "Error"
    WARNING = "Warning"
    INFO = "Info"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is the name of the check that found it; `what` names the object."""

    level: Level
    check: str
    what: str
    why: str
    do: str

    def row(self) -> dict[str, str]:
        """As JSON."""
        return {key: str(value) for key, value in asdict(self).items()}


Check = Callable[["Cluster"], Iterator[Finding]]
NAMES_SHOWN = 6


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + more
