"""`laycan check-plan`: an independent look at a plan. It must not load the planner: what it trusts is arithmetic alone."""

from __future__ import annotations

from typing import Annotated

import typer

from laycan.cli.output import EXIT_VIOLATION, bad_input_exits, keeps_all, say
from laycan.planning.case import problem_of
from laycan.planning.manifests import load
from laycan.planning.plan_io import read_plan, read_previous
from laycan_solver.check import check


@keeps_all()
def check_plan(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Plan from `laycan plan -o json`.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="The manifests that it was made from.")],
    previous: Annotated[str | None, typer.Option(metavar="PLAN", help="The previous plan that it was made from.")] = None,
) -> None:
    """Re-check a plan, without the planner.

    Feasibility, totals and the certificate are computed anew. Contracts that the plan refuses are taken as candidates.

    Needs: the plan, and the files that it was made from.

    Example:
      laycan check-plan plan.json examples/

    Exit: 0 sound, 1 violations (each on a line), 2 unreadable.
    """
    with bad_input_exits():
        judged = read_plan(plan)
        announced = read_previous(previous)[1] if previous else None
        manifests = load(paths)
        refused = {u.contract for u in judged.undelivered if u.refused}
        problem = problem_of(manifests, now=judged.now, previous=announced, candidates=refused)
    say("note", manifests.notes)
    violations = check(problem, judged)
    for violation in violations:
        typer.echo(str(violation))
    if violations:
        raise typer.Exit(EXIT_VIOLATION)
    typer.echo(f"sound: {len(judged.bindings)} bindings of {len(problem.contracts)} contracts on {len(problem.nodes)} nodes")
