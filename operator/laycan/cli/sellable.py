"""`laycan sellable`: how much of a product can still be sold, for every start and length, at the stated probability."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laycan.cli.bar import waiting
from laycan.cli.forms import as_csv, as_json, document
from laycan.cli.output import bad_input_exits, say, write, write_lines
from laycan.cli.source import Case, Context, Effort, Kubeconfig, Now, Paths, PlanFile, Previous, instant, open_case
from laycan.cli.table import aligned
from laycan.planning.manifests import BadInputError
from laycan.planning.problem import MOST_GPUS
from laycan.resources.times import format_time, parse_time

if TYPE_CHECKING:
    from laycan_solver.sellable import Curve, Point

DAY = 86_400
DAYS = (1, 7, 30, 90, 180, 365)
MONTHS = 11  # month starts behind now
MOST_POINTS = 2_000
LAST = parse_time("9999-12-31T23:59:59Z")  # that can be written
MOST_DAYS = 1_098  # of a contract


class Form(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    SVG = "svg"


def sellable(
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    previous: Previous = None,
    plan: PlanFile = None,
    now: Now = None,
    effort: Effort = None,
    product: Annotated[str, typer.Option(metavar="P", help="The ComputeProduct to be sold.")] = ...,  # type: ignore[assignment]
    start: Annotated[
        list[str] | None, typer.Option(metavar="T", help="A start; may be repeated. Without: now and the next months' first days.")
    ] = None,
    days: Annotated[
        list[int] | None, typer.Option(metavar="N", min=1, help="A length; may be repeated. Without: 1, 7, 30, 90, 180 and 365.")
    ] = None,
    lot_gpus: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MOST_GPUS, help="GPUs that are always on one node. Without: whole nodes.")
    ] = None,
    target_ppm: Annotated[
        int | None,
        typer.Option(metavar="PPM", min=1, max=1_000_000, help="Chance of a shortfall in 30 days. Without: the product's."),
    ] = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Form.TABLE,
) -> None:
    """The most GPUs of a product that would be accepted Firm, for every start and length, beside the plan as it is.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan sellable examples/desk --product h100-sxm5-80g
      laycan sellable examples/desk --product h100-sxm5-80g --days 30 -o svg > curve.svg

    Exit: 0 told, 2 bad input.
    """
    with bad_input_exits():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, plan=plan)
        unit = case.product(product).lot_gpus or 1
        if lot_gpus and lot_gpus % unit:
            raise BadInputError([f"--lot-gpus: is {lot_gpus}, but {product} is sold in multiples of {unit} GPUs; use such a number"])
        starts = sorted({max(case.now, instant(text, "--start")) for text in start}) if start else _starts(case.now)
        lengths = sorted(set(days or DAYS))
        if len(starts) * len(lengths) > MOST_POINTS:
            raise BadInputError([f"--start, --days: {len(starts) * len(lengths)} points are asked for; at most {MOST_POINTS} are told"])
        if lengths[-1] > MOST_DAYS:
            raise BadInputError([f"--days: {lengths[-1]} is longer than a contract may be; ask for {MOST_DAYS} at most"])
        if starts[-1] + lengths[-1] * DAY > LAST:
            raise BadInputError([f"--start {format_time(starts[-1])}, --days {lengths[-1]}: ends after {format_time(LAST)}; ask for less"])
        found = curve_of(case, product, starts, [n * DAY for n in lengths], lot_gpus, target_ppm)
    say("note", case.notes)
    if output is Form.TABLE:
        write_lines(_table(found))
    else:
        write(_written(case, found, output))


def _starts(now: int) -> list[int]:
    from laycan_solver.months import month_starts

    return sorted({now, *month_starts(now + 1, MONTHS)[:MONTHS]})


def curve_of(case: Case, product: str, starts: list[int], lengths: list[int], lot_gpus: int | None, target_ppm: int | None) -> Curve:
    """The curve of the case's plan."""
    problem, plan = case.problem, case.plan
    from laycan_solver.planner import EFFORT, Planner
    from laycan_solver.sellable import curve

    live = Planner(problem, plan, EFFORT if case.effort is None else case.effort).kept()
    with waiting(f"asking for {len(starts) * len(lengths)} starts and lengths"):
        return curve(live, product, starts, lengths, lot_gpus=lot_gpus, target_ppm=target_ppm)


def _written(case: Case, found: Curve, output: Form) -> bytes:
    if output is Form.JSON:
        return as_json(document("SellableCurve", document_of(case, found)))
    if output is Form.CSV:
        return _csv(found)
    from laycan.desk.curve_svg import Sold, curve_svg

    points = [Sold(p.start, p.end - p.start, p.gpus) for p in found.points]
    return curve_svg(points, f"{found.product}: GPUs that can still be sold, {_at(found)}").encode()


def _at(found: Curve) -> str:
    return "by count" if found.target_ppm is None else f"at {found.target_ppm} ppm in 30 days"


def _table(found: Curve) -> Iterator[str]:
    """One row per start, one column per length; * where the target ends it and not the free GPUs."""
    lengths = sorted({p.end - p.start for p in found.points})
    cells = {(p.start, p.end - p.start): f"{p.gpus}{'*' if p.limit == 'target' else ''}" for p in found.points}
    heading = ("START", *(f"{n // DAY} d" for n in lengths))
    rows = [(format_time(s), *(cells.get((s, n), "-") for n in lengths)) for s in sorted({p.start for p in found.points})]
    lot = found.points[0].lot_gpus if found.points else "-"
    yield f"GPUs of {found.product} that can still be sold Firm, in lots of {lot}, {_at(found)}"
    yield from aligned([heading, *rows], right=heading[1:])
    if any(p.limit == "target" for p in found.points):
        yield "* ended by the target: more is free, and is kept in reserve"


def _row(p: Point) -> dict[str, Any]:
    return {
        "start": format_time(p.start),
        "end": format_time(p.end),
        "gpus": p.gpus,
        "lotGpus": p.lot_gpus,
        "limit": p.limit.value,
        "shortfallProbabilityPpm": p.risk.ppm if p.risk else None,
    }


def document_of(case: Case, found: Curve) -> dict[str, Any]:
    return {
        "now": format_time(case.now),
        "product": found.product,
        "targetPpm": found.target_ppm,
        "points": [_row(p) for p in found.points],
    }


def _csv(found: Curve) -> bytes:
    columns = ("product", "start", "end", "gpus", "lotGpus", "limit", "shortfallProbabilityPpm")
    return as_csv(columns, ({"product": found.product, **_row(p)} for p in found.points))
