"""`laycan report`: the book, its plan and the proof of it as one page. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from laycan.cli.bar import bar
from laycan.cli.output import bad_input_exits, keeps_all, say, write_file
from laycan.cli.source import Case, Context, Effort, Kubeconfig, Now, Paths, PlanFile, Previous, open_case
from laycan.planning.manifests import BadInputError

Out = Annotated[Path, typer.Option("--out", metavar="FILE.html", help="Where the page goes; - is stdout.")]
Title = Annotated[str, typer.Option("--title", metavar="TEXT", help="What stands at the top of the page.")]


def report(
    out: Out,
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    plan: PlanFile = None,
    previous: Previous = None,
    now: Now = None,
    effort: Effort = None,
    title: Title = "Laycan report",
    curve: Annotated[bool, typer.Option("--curve/--no-curve", help="Tell what can still be sold; it takes half of the time.")] = True,
) -> None:
    """Write the book, its plan and the proof of it as one page.

    It needs a browser and nothing else, and the same input gives the same bytes.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan report examples/desk --out report.html

    Exit: 0 written, 2 bad input (every fault is listed on stderr), or FILE.html cannot be written.
    """
    with bad_input_exits(), keeps_all():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, plan=plan)
        document = _document(case, title, curve)
    say("note", case.notes)
    write_file(out, document)


def _document(case: Case, title: str, curve: bool) -> bytes:
    problem, plan = case.problem, case.plan
    from laycan.desk.report.page import page_of  # jinja2 and numpy are loaded here, after the input was found good
    from laycan.desk.report.render import render
    from laycan.desk.report.standing import standing_of

    contracts = case.manifests.contracts.values()
    standings = [standing for contract in contracts if (standing := standing_of(contract))]
    currency = next((c.spec.terms.price.currency for c in contracts if c.spec.terms.price), "")
    try:
        with bar("report") as told:
            page = page_of(problem, plan, standings, title=title, currency=currency, curve=curve, step=told)
    except ValueError as error:
        raise BadInputError([f"--plan: {error}; give the manifests that it was made from"]) from None
    return render(page).encode()
