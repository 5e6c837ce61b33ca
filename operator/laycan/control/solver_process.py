"""The planner's own process: a plan takes seconds of CPU, and the event loop must answer in milliseconds.

One warm child reads problems from its standard input and writes plans to its standard output, pickled, with a length before each.
The child also runs the independent checker on every plan, whoever made it, and sends what it found. A child that dies or does not
answer by the deadline is killed and replaced; it ends by itself when its parent is gone, because its input ends.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import struct
import sys
import time
from typing import BinaryIO

from laycan_solver.check import check
from laycan_solver.model import Plan, Problem

_LENGTH = struct.Struct(">Q")
DEADLINE_SECONDS = 60.0
PLANNER = "laycan_solver.planner:plan"


class SolverError(Exception):
    """No plan: the child died, hung, or raised; the message says which."""


# (plan, violations of it, error, CPU seconds): a tuple, because the child knows its own classes by another module name
Answer = tuple[Plan | None, tuple[str, ...], str, float]


class Solver:
    """`planner` names the function, `module:name`, that the child calls with (problem, effort=N)."""

    def __init__(self, planner: str = PLANNER, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._planner, self._deadline = planner, deadline_seconds
        self.cpu_seconds = 0.0  # of the last answer
        self._child: asyncio.subprocess.Process | None = None

    async def plan(self, problem: Problem, effort: int) -> tuple[Plan, tuple[str, ...]]:
        """The plan and its violations. Raises SolverError; the next call starts a fresh child."""
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._ask(problem, effort)
        except TimeoutError as failure:
            await self.stop()
            raise SolverError(f"no plan within {self._deadline:.0f} s") from failure
        except (OSError, EOFError) as failure:
            await self.stop()
            raise SolverError(f"the planner's process ended ({type(failure).__name__})") from failure
        except BaseException:
            await self.stop()  # cancelled in the middle of an answer: the next one must not read its rest
            raise
        plan, violations, error, self.cpu_seconds = answer
        if plan is None:
            raise SolverError(error)
        return plan, violations

    async def stop(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def _ask(self, problem: Problem, effort: int) -> Answer:
        child = await self._started()
        if child.stdin is None or child.stdout is None:
            raise EOFError
        raw = pickle.dumps((problem, effort), protocol=pickle.HIGHEST_PROTOCOL)
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


def _read(stream: BinaryIO) -> tuple[Problem, int] | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    question: tuple[Problem, int] = pickle.loads(stream.read(size))  # noqa: S301 - from our own parent
    return question


def _answer(planner: str, problem: Problem, effort: int) -> Answer:
    module, _, name = planner.partition(":")
    begun = time.process_time()
    try:
        plan: Plan = getattr(importlib.import_module(module), name)(problem, effort=effort)
        violations = tuple(str(violation) for violation in check(problem, plan))
    except Exception as error:
        return None, (), f"{type(error).__name__}: {error}", time.process_time() - begun
    return plan, violations, "", time.process_time() - begun


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between two answers
    while (question := _read(sys.stdin.buffer)) is not None:
        raw = pickle.dumps(_answer(sys.argv[1], *question), protocol=pickle.HIGHEST_PROTOCOL)
        answers.write(_LENGTH.pack(len(raw)) + raw)
        answers.flush()


if __name__ == "__main__":
    main()
