"""The planner's own process: a plan takes seconds of CPU, and the event loop must answer in milliseconds.

One warm child reads problems from its standard input and writes plans to its standard output, pickled, with a length before each.
The child keeps the last plan in memory: where little has happened since, it brings that plan up to date and answers with the part that
changed, in milliseconds instead of seconds. It also runs the independent checker on everything it sends, whoever made it, and sends
what it found. A child that dies or does not answer by the deadline is killed and replaced; it ends by itself when its parent is gone,
because its input ends.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from laycan_solver.check import check
from laycan_solver.model import Plan, Problem
from laycan_solver.planner import Planner

_LENGTH = struct.Struct(">Q")
DEADLINE_SECONDS = 60.0
PLANNER = "laycan_solver.planner:plan"


class SolverError(Exception):
    """No plan: the child died, hung, or raised; the message says which."""


class Solved(NamedTuple):
    """A plan, what the checker says against it, and whom it is about: None = all contracts, else those of the part that changed."""

    plan: Plan
    violations: tuple[str, ...]
    contracts: frozenset[str] | None


# Solved's fields, error, CPU seconds: a tuple, because the child knows its own classes by another module name
Answer = tuple[Plan | None, tuple[str, ...], frozenset[str] | None, str, float]


class Solver:
    """`planner` names the function, `module:name`, that the child calls with (problem, effort=N)."""

    def __init__(self, planner: str = PLANNER, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._planner, self._deadline = planner, deadline_seconds
        self.cpu_seconds = 0.0  # of the last answer
        self._child: asyncio.subprocess.Process | None = None

    async def plan(self, problem: Problem, effort: int, *, follow: bool = False) -> Solved:
        """A plan of the problem, or with `follow`, if the child can, of what has changed since the last one.

        Raises SolverError; the next call starts a fresh child.
        """
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._ask(problem, effort, follow)
        except TimeoutError as failure:
            await self.stop()
            raise SolverError(f"no plan within {self._deadline:.0f} s") from failure
        except (OSError, EOFError) as failure:
            await self.stop()
            raise SolverError(f"the planner's process ended ({type(failure).__name__})") from failure
        except BaseException:
            await self.stop()  # cancelled in the middle of an answer: the next one must not read its rest
            raise
        plan, violations, contracts, error, self.cpu_seconds = answer
        if plan is None:
            raise SolverError(error)
        return Solved(plan, violations, contracts)

    async def stop(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def _ask(self, problem: Problem, effort: int, follow: bool) -> Answer:
        child = await self._started()
        if child.stdin is None or child.stdout is None:
            raise EOFError
        raw = pickle.dumps((problem, effort, follow), protocol=pickle.HIGHEST_PROTOCOL)
        child.stdin.write(_LENGTH.pack(len(raw)) + raw)
        await child.stdin.drain()
        (size,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
        answer: Answer = pickle.loads(await child.stdout.readexactly(size))  # noqa: S301 - from our own child
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, self._planner, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        return self._child


def _read(stream: BinaryIO) -> tuple[Problem, int, bool] | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    question: tuple[Problem, int, bool] = pickle.loads(stream.read(size))  # noqa: S301 - from our own parent
    return question


class _Child:
    """Answers questions, and keeps the last plan that was found to be right."""

    def __init__(self, planner: str) -> None:
        module, _, name = planner.partition(":")
        self._function: Callable[..., Plan] = getattr(importlib.import_module(module), name)
        self._kept: Planner | None = None

    def answer(self, problem: Problem, effort: int, follow: bool) -> Answer:
        begun = time.process_time()
        try:
            plan, violations, contracts = (self._followed(problem) if follow else None) or self._planned(problem, effort)
        except Exception as error:
            self._kept = None
            return None, (), None, f"{type(error).__name__}: {error}", time.process_time() - begun
        if violations:
            self._kept = None
        return plan, violations, contracts, "", time.process_time() - begun

    def get_ready(self) -> None:
        """Lays the last plan out for what comes, while nobody waits."""
        if self._kept is not None:
            self._kept.kept()

    def _followed(self, problem: Problem) -> Solved | None:
        followed = self._kept.follow(problem) if self._kept is not None else None
        if followed is None:
            return None
        violations = tuple(str(violation) for violation in check(followed.part, followed.plan))
        keys = frozenset(contract.key for contract in followed.part.contracts)
        return Solved(replace(followed.plan, undelivered=followed.undelivered), violations, keys)

    def _planned(self, problem: Problem, effort: int) -> Solved:
        plan = self._function(problem, effort=effort)
        self._kept = Planner(problem, plan, effort)
        return Solved(plan, tuple(str(violation) for violation in check(problem, plan)), None)


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between two answers
    child = _Child(sys.argv[1])
    while (question := _read(sys.stdin.buffer)) is not None:
        raw = pickle.dumps(child.answer(*question), protocol=pickle.HIGHEST_PROTOCOL)
        answers.write(_LENGTH.pack(len(raw)) + raw)
        answers.flush()
        child.get_ready()


if __name__ == "__main__":
    main()
