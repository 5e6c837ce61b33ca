"""Where desk commands get their case from: files, or a cluster that is read into the same manifests, and so into the same plan.

A command takes `PATH…` or a cluster; without either, the cluster that kubectl would ask: the kubeconfig's current context, or the
ServiceAccount in a pod. A cluster is reduced to the bundle that `laycan snapshot` writes before anything is made of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from laycan.cli.bar import waiting
from laycan.planning.bundle import bundle, reduced
from laycan.planning.case import problem_of
from laycan.planning.manifests import BadInputError, Manifests, load, read
from laycan.planning.plan_io import read_plan, read_previous
from laycan.resources.product import ProductSpec
from laycan.resources.times import format_time, parse_time
from laycan_solver.model import Binding, Plan, Problem

# What desk commands share. A command names those that it takes, each `= None`, and hands them to `open_case`.
Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH", help="Files, folders (without the folders in them), or - for stdin. Without: a cluster."),
]
Context = Annotated[str | None, typer.Option("--context", metavar="C", help="Context of the kubeconfig. Without: the current one.")]
Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, in a pod the ServiceAccount.")]
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", metavar="NAMESPACE", help="Only contracts of this namespace.")]
Now = Annotated[
    str | None,
    typer.Option("--now", metavar="T", help="As 2027-01-01T00:00:00Z. Without: now of --previous, of the snapshot, else the clock."),
]
Effort = Annotated[
    int | None,
    typer.Option(
        "--effort",
        metavar="N",
        min=0,
        help="Iterations of improvement; same input and effort, same bytes. Without it: the planner's own.",
    ),
]
PlanFile = Annotated[
    str | None,
    typer.Option("--plan", metavar="PLAN", help="A plan of these files from `laycan plan -o json`, instead of planning again."),
]
Previous = Annotated[
    str | None,
    typer.Option("--previous", metavar="PLAN", help="Plan whose bindings were announced; needs only now and bindings."),
]


@dataclass
class Case:
    """What a command is about. `problem` and `plan` are made when they are asked for, and then kept.

    Raises BadInputError where they cannot be made.
    """

    manifests: Manifests
    now: int  # Unix seconds
    effort: int | None = None  # None: the planner's own
    admit: bool = False
    announced: list[Binding] | None = None  # None: those in the statuses
    deadline: Callable[[], bool] | None = None
    given: Plan | None = None  # instead of planning

    @cached_property
    def problem(self) -> Problem:
        refused = {u.contract for u in self.given.undelivered if u.refused} if self.given else ()
        return problem_of(self.manifests, now=self.now, previous=self.announced, admit=self.admit, candidates=refused)

    @cached_property
    def plan(self) -> Plan:
        if self.given is not None:
            return self.given
        problem = self.problem
        from laycan_solver import planner  # OR-Tools and numpy are loaded here, after the input was found good

        with waiting(f"planning {len(problem.contracts)} contracts on {len(problem.nodes)} nodes"):
            return planner.plan(problem, planner.EFFORT if self.effort is None else self.effort, deadline=self.deadline)

    def product(self, name: str, option: str = "--product") -> ProductSpec:
        """The product of that name; raises BadInputError that says what there is instead."""
        known = self.manifests.products
        if name not in known:
            close = get_close_matches(name, sorted(known), n=1)
            instead = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known)) or 'none'}"
            raise BadInputError([f"{option}: there is no ComputeProduct {name}; {instead}"])
        return known[name]

    @property
    def notes(self) -> list[str]:
        """What was passed over; complete once `problem` was asked for."""
        return self.manifests.notes


def open_case(
    paths: list[str] | None,
    context: str | None = None,
    kubeconfig: Path | None = None,
    *,
    now: str | None = None,
    effort: int | None = None,
    previous: str | None = None,
    plan: str | None = None,
    admit: bool = False,
    deadline: Callable[[], bool] | None = None,
) -> Case:
    """The case of these options. Raises BadInputError."""
    planned = read_plan(plan) if plan else None
    announced_now, announced = read_previous(previous) if previous else (None, None)
    given = planned.now if planned else instant(now) if now else announced_now
    if planned and now and instant(now) != planned.now:
        raise BadInputError([f"--now: the plan {plan} is of {format_time(planned.now)}; leave --now out, or plan again"])
    manifests = _read(paths, context, kubeconfig, given)
    at = next((t for t in (given, manifests.taken) if t is not None), None)
    return Case(manifests, int(time.time()) if at is None else at, effort, admit, announced, deadline, planned)


def _read(paths: list[str] | None, context: str | None, kubeconfig: Path | None, now: int | None) -> Manifests:
    if paths and (context or kubeconfig):
        raise BadInputError([f"both files ({paths[0]}) and a cluster (--{'context' if context else 'kubeconfig'}) are given; choose one"])
    if paths:
        return load(paths)
    written = cluster_bundle(context, kubeconfig, int(time.time()) if now is None else now)
    return read([("cluster", orjson.loads(written))])


def cluster_bundle(context: str | None, kubeconfig: Path | None, taken: int) -> bytes:
    """The cluster's state, `taken` at that instant (Unix seconds), as `laycan snapshot` writes it. What is planned of a cluster is
    planned of these bytes. Raises BadInputError where it cannot be read."""
    from laycan.kube.client import Client
    from laycan.kube.collect import CollectError, collect
    from laycan.kube.credentials import CredentialsError, load_credentials

    async def asked() -> dict[str, Any]:
        async with Client(load_credentials(kubeconfig, context)) as client:
            return bundle(await collect(client, reduced), taken)

    try:
        with waiting("reading the cluster"):
            found = asyncio.run(asked())
    except CredentialsError as error:
        raise BadInputError([f"{error}; or name files"]) from None
    except CollectError as error:
        raise BadInputError(error.lines) from None
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def instant(text: str, option: str = "--now") -> int:
    """Unix seconds of an option's time. Raises BadInputError."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadInputError([f"{option}: {error}"]) from None
