"""Planners that fail in each way in which one can: the child process calls them instead of the real one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from laycan_solver.model import Plan, Problem
from laycan_solver.planner import plan as honest


def hangs(problem: Problem, effort: int, deadline: Callable[[], bool]) -> Plan:
    if effort > 0:
        time.sleep(3600)
    return honest(problem, effort=effort)


def dies(problem: Problem, effort: int, deadline: Callable[[], bool]) -> Plan:
    if effort > 0:
        os._exit(3)
    return honest(problem, effort=effort)


def raises(problem: Problem, effort: int, deadline: Callable[[], bool]) -> Plan:
    if effort > 0:
        raise ZeroDivisionError("on purpose")
    return honest(problem, effort=effort)


def lies(problem: Problem, effort: int, deadline: Callable[[], bool]) -> Plan:
    """Binds everything to one node."""
    made = honest(problem, effort=effort)
    if effort == 0:
        return made
    return replace(made, bindings=tuple(sorted(b._replace(node=made.bindings[0].node) for b in made.bindings)))


def chatters(problem: Problem, effort: int, deadline: Callable[[], bool]) -> Plan:
    """Prints where the answers go."""
    print("hello")
    sys.stdout.flush()
    os.write(1, b"hello\n")
    return honest(problem, effort=effort)


_dawdled: list[int] = []


def dawdles(problem: Problem, effort: int, deadline: Callable[[], bool]) -> Plan:
    """The second plan takes until it is broken off, or half a minute."""
    _dawdled.append(problem.now)
    for _ in range(3000 if len(_dawdled) == 2 else 0):
        time.sleep(0.01)
        if deadline():
            break
    return honest(problem, effort=effort)
