"""`laycan plan`: plans contracts from manifests, a snapshot or a cluster, and changes nothing."""

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
from laycan.cli.source import Context, Effort, Kubeconfig, Now, Paths, Previous, open_case
from laycan.planning.manifests import BadInputError
from laycan.planning.plan_io import plan_json
from laycan.resources.constants import API_VERSION
from laycan_solver.model import Plan, Problem


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def plan(
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    previous: Previous = None,
    now: Now = None,
    effort: Effort = None,
    time_limit: Annotated[float | None, typer.Option(metavar="S", min=0, help="Wall-clock cap in seconds; shows in `stopped`.")] = None,
    stats: Annotated[Path | None, typer.Option(metavar="FILE", help="Write CPU seconds and peak memory there, as JSON.")] = None,
    admit: Annotated[
        bool, typer.Option("--admit", help="Take contracts as candidates and decide one by one, instead of as accepted.")
    ] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Format.TABLE,
) -> None:
    """Plan contracts from manifests, a snapshot or a cluster. It changes nothing.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan plan examples/
      laycan plan examples/ -o json > plan.json

    Exit: 0 planned, 2 bad input (every fault is listed on stderr).
    """
    over = _deadline(time_limit)
    with bad_input_exits(), keeps_all():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, admit=admit, deadline=over)
        problem = case.problem
    say("note", case.notes)
    result = case.plan
    if stats:
        with bad_input_exits():
            _write_stats(stats)
    with keeps_all():
        _print(problem, result, output)


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
