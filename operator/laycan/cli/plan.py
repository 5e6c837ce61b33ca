"""`laycan plan`: plans contracts from manifests. Needs no cluster and changes nothing."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from laycan.cli.output import bad_input_exits, keeps_all, say, write
from laycan.planning.case import problem_of
from laycan.planning.manifests import BadInputError, load
from laycan.planning.plan_io import plan_json, read_previous
from laycan.resources.constants import API_VERSION
from laycan.resources.times import parse_time
from laycan_solver.model import Plan, Problem


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def plan(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders (without the folders in them), or - for stdin.")],
    previous: Annotated[
        str | None, typer.Option(metavar="PLAN", help="Plan whose bindings were announced; needs only now and bindings.")
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(metavar="T", help="Time to plan at, as 2027-01-01T00:00:00Z. Without it: now of --previous, else the clock."),
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Iterations of improvement; same input and effort, same bytes. Without it: the planner's own."
        ),
    ] = None,
    time_limit: Annotated[float | None, typer.Option(metavar="S", min=0, help="Wall-clock cap in seconds; shows in `stopped`.")] = None,
    stats: Annotated[Path | None, typer.Option(metavar="FILE", help="Write CPU seconds and peak memory there, as JSON.")] = None,
    admit: Annotated[
        bool, typer.Option("--admit", help="Take contracts as candidates and decide one by one, instead of as accepted.")
    ] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Format.TABLE,
) -> None:
    """Plan contracts from manifests, without a cluster.

    Exit: 0 planned, 2 bad input (every fault is listed on stderr).
    """
    over = _deadline(time_limit)
    with bad_input_exits(), keeps_all():
        problem = _problem(paths, previous, now, admit)
    from laycan_solver import planner  # OR-Tools and numpy are loaded here, after the input was found good

    result = planner.plan(problem, planner.EFFORT if effort is None else effort, deadline=over)
    if stats:
        with bad_input_exits():
            _write_stats(stats)
    with keeps_all():
        _print(problem, result, output)


def _problem(paths: list[str], previous: str | None, now: str | None, admit: bool) -> Problem:
    announced_now, announced = read_previous(previous) if previous else (None, None)
    at = _time(now) if now else announced_now if announced_now is not None else int(time.time())
    manifests = load(paths)
    problem = problem_of(manifests, now=at, previous=announced, admit=admit)
    say("note", manifests.notes)
    return problem


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadInputError([f"--now: {error}"]) from None


def _deadline(seconds: float | None) -> Callable[[], bool] | None:
    if seconds is None:
        return None
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _print(problem: Problem, result: Plan, output: Format) -> None:
    if output is Format.JSON:
        write(plan_json(result))
    elif output is Format.YAML:
        from laycan.planning.plan_yaml import plan_yaml

        write(plan_yaml(result))
    else:
        from laycan.cli.plan_table import print_plan

        print_plan(problem, result, wide=output is Format.WIDE)


def _write_stats(path: Path) -> None:
    try:
        path.write_bytes(orjson.dumps(_usage(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise BadInputError([f"--stats {path}: cannot be written: {error.strerror}; correct the path"]) from None


def _usage() -> dict[str, str | float | int]:
    """CPU seconds and the largest resident set in KiB, of this process and of those that it waited for.

    It has a kind, so that it may lie in a folder of manifests.
    """
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return {
        "apiVersion": API_VERSION,
        "kind": "PlanStats",
        "cpuSeconds": round(cpu, 3),
        "maxResidentKiB": max(own.ru_maxrss, children.ru_maxrss),
    }
