"""The planner's own process: a plan takes seconds of CPU, and the event loop must answer in milliseconds.

One warm child reads problems from its standard input and writes plans to its standard output, pickled, with a length before each.
The child keeps the last plan in memory: where little has happened since, it brings that plan up to date and answers with the part that
changed, in milliseconds instead of seconds. It also runs the independent checker on everything it sends, whoever made it, and sends
what it found. A child that dies or does not answer by the deadline is killed and replaced; it ends by itself when its parent is gone,
because its input ends. An empty question asks it to leave the plan that it is making for what comes next.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import select
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from io import FileIO

from laycan.control.questions import Answered, Question, Solved, consult
from laycan_solver.check import check
from laycan_solver.model import Plan
from laycan_solver.planner import Planner

_LENGTH = struct.Struct(">Q")
DEADLINE_SECONDS = 60.0
PLANNER = "laycan_solver.planner:plan"


class SolverError(Exception):
    """No plan: the child died, hung, or raised; the message says which."""


class InterruptedPlanError(Exception):
    """The plan was left for something more urgent; the last one stands."""


class Solver:
    """`planner` names the function, `module:name`, that the child calls with (problem, effort=N, deadline=F)."""

    def __init__(self, planner: str = PLANNER, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._planner, self._deadline = planner, deadline_seconds
        self.cpu_seconds = 0.0  # of the last answer
        self._child: asyncio.subprocess.Process | None = None

    async def ask(self, question: Question) -> Solved:
        """The answer; of a plan that follows the last one it is about what has changed, if the child can follow.

        Raises SolverError, after which the next call starts a fresh child, and InterruptedPlanError.
        """
        try:
            async with asyncio.timeout(self._deadline):
                answered = await self._ask(question)
        except TimeoutError as failure:
            await self.stop()
            raise SolverError(f"no plan within {self._deadline:.0f} s") from failure
        except (OSError, EOFError) as failure:
            await self.stop()
            raise SolverError(f"the planner's process ended ({type(failure).__name__})") from failure
        except BaseException:
            await self.stop()  # cancelled in the middle of an answer: the next one must not read its rest
            raise
        self.cpu_seconds = answered.cpu_seconds
        if answered.interrupted:
            raise InterruptedPlanError
        if answered.solved is None:
            raise SolverError(answered.error)
        return answered.solved

    def interrupt(self) -> None:
        """Asks the child to leave a thorough plan for the next question; it may be too late for that."""
        if self._child is not None and self._child.stdin is not None and self._child.returncode is None:
            self._child.stdin.write(_LENGTH.pack(0))

    async def stop(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def _ask(self, question: Question) -> Answered:
        child = await self._started()
        if child.stdin is None or child.stdout is None:
            raise EOFError
        raw = pickle.dumps(question, protocol=pickle.HIGHEST_PROTOCOL)
        child.stdin.write(_LENGTH.pack(len(raw)) + raw)
        await child.stdin.drain()
        (size,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
        answered: Answered = pickle.loads(await child.stdout.readexactly(size))  # noqa: S301 - from our own child
        return answered

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, self._planner, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        return self._child


def _read(stream: FileIO) -> Question | None:
    """The next question; interruptions that came too late are passed over."""
    while len(head := _bytes(stream, _LENGTH.size)) == _LENGTH.size:
        (size,) = _LENGTH.unpack(head)
        if size:
            question: Question = pickle.loads(_bytes(stream, size))  # noqa: S301 - from our own parent
            return question
    return None


def _bytes(stream: FileIO, count: int) -> bytes:
    """So many bytes and not one more, fewer at the end. A buffer would hide from `select` what has come."""
    found = bytearray()
    while len(found) < count and (part := stream.read(count - len(found))):
        found += part
    return bytes(found)


class _LeftError(Exception):
    """Thrown through the planner, which is left where it stands."""


def _leaves(stream: FileIO) -> Callable[[], bool]:
    """A deadline for the planner that raises _LeftError when an interruption has come: the parent sends nothing else meanwhile."""

    def come() -> bool:
        if select.select([stream], [], [], 0)[0]:
            raise _LeftError
        return False

    return come


class _Child:
    """Answers questions, and keeps the last plan that was found to be right."""

    def __init__(self, planner: str, deadline: Callable[[], bool]) -> None:
        module, _, name = planner.partition(":")
        self._function: Callable[..., Plan] = getattr(importlib.import_module(module), name)
        self._kept: Planner | None = None
        self._deadline = deadline

    def answer(self, question: Question) -> Answered:
        begun = time.process_time()
        try:
            solved = (self._followed(question) if question.follow else None) or self._planned(question)
        except _LeftError:
            return Answered(None, "", time.process_time() - begun, interrupted=True)
        except Exception as error:
            self._kept = None
            return Answered(None, f"{type(error).__name__}: {error}", time.process_time() - begun)
        if solved.violations:
            self._kept = None
        return Answered(solved, "", time.process_time() - begun)

    def get_ready(self) -> None:
        """Lays the last plan out for what comes, while nobody waits."""
        if self._kept is not None:
            self._kept.kept()

    def _followed(self, question: Question) -> Solved | None:
        followed = self._kept.follow(question.problem) if self._kept is not None else None
        if followed is None or self._kept is None:
            return None
        violations = tuple(str(violation) for violation in check(followed.part, followed.plan))
        keys = frozenset(contract.key for contract in followed.part.contracts)
        solved = Solved(replace(followed.plan, undelivered=followed.undelivered), violations, keys)
        return solved if violations else consult(self._kept, solved, question)

    def _planned(self, question: Question) -> Solved:
        problem = question.problem
        plan = self._function(problem, effort=question.effort, deadline=self._deadline)
        solved = Solved(plan, tuple(str(violation) for violation in check(problem, plan)), None)
        self._kept = Planner(problem, plan, question.effort)
        return solved if solved.violations else consult(self._kept, solved, question)


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between two answers
    questions = FileIO(os.dup(sys.stdin.fileno()))
    child = _Child(sys.argv[1], _leaves(questions))
    while (question := _read(questions)) is not None:
        raw = pickle.dumps(child.answer(question), protocol=pickle.HIGHEST_PROTOCOL)
        answers.write(_LENGTH.pack(len(raw)) + raw)
        answers.flush()
        child.get_ready()


if __name__ == "__main__":
    main()
