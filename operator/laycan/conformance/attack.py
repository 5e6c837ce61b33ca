"""An attack: something that a tenant, an accident or an administrator does to a delivery, and what must come of it.

Each is a coroutine function that plays on a `Scene` and says what it saw; the decorator registers it. Its docstring is the claim
that it tests. Families are those of the conformance list: A for whole nodes, B for single devices.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import getdoc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laycan.conformance.scene import Scene


class Ability(StrEnum):
    """What cannot be done through the API server, or must not be done to a cluster that somebody uses."""

    KILL_OPERATOR = "kill and restart the operator"
    SILENCE = "silence a kubelet"
    SET_GPUS = "change the GPUs that a node reports"
    SWAP_GPU = "swap a GPU under its device's name"
    RESTART_API = "restart the API server"
    RESTART_CONTROLLERS = "restart the controller manager"
    CHART = "delete and install the chart and its parts"


@dataclass(frozen=True, slots=True)
class Seen:
    """What an attack saw, in a few words; `held` = as expected. `numbers` are worth a place in a report."""

    held: bool
    observed: str
    numbers: Mapping[str, float] = field(default_factory=dict)


class NotRun(Exception):  # noqa: N818 - no error: this cluster cannot show it
    """The attack was not made; the message says what it needs."""


Play = Callable[["Scene"], Awaitable[Seen]]


@dataclass(frozen=True, slots=True)
class Attack:
    """`stands`: it is made on the standing delivery. `disruptive`: it disturbs others on the cluster for its time."""

    family: str
    name: str
    claim: str
    expected: str
    play: Play
    needs: frozenset[Ability] = frozenset()
    disruptive: bool = False
    stands: bool = False

    @property
    def id(self) -> str:
        return f"{self.family}-{self.name}"


@dataclass(frozen=True, slots=True)
class Result:
    """`held` None: not run, and `observed` says what it needs."""

    id: str
    claim: str
    expected: str
    observed: str
    held: bool | None
    seconds: float
    numbers: Mapping[str, float]


ATTACKS: list[Attack] = []  # in the order in which the modules of attacks are imported


def attack(
    family: str, name: str, expected: str, *, needs: Iterable[Ability] = (), disruptive: bool = False, stands: bool = False
) -> Callable[[Play], Play]:
    """Registers the function under `family-name`."""

    def register(play: Play) -> Play:
        add(Attack(family, name, " ".join((getdoc(play) or "").split()), expected, play, frozenset(needs), disruptive, stands))
        return play

    return register


def add(made: Attack) -> None:
    """Registers an attack that is made from a table."""
    assert made.claim, f"{made.id} claims nothing"
    assert made.id not in {each.id for each in ATTACKS}, made.id
    ATTACKS.append(made)
