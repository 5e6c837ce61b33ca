"""`laycan book`: the order book, one line a contract, by start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from laycan.cli.forms import BookForm, as_csv, document, in_form
from laycan.cli.output import bad_input_exits, keeps_all, say, write, write_lines
from laycan.cli.rows import Row, gpu_hours, rows_of
from laycan.cli.source import Context, Effort, Kubeconfig, Namespace, Now, Paths, PlanFile, Previous, instant, open_case
from laycan.cli.table import aligned, listed, many
from laycan.resources.times import format_time

COLUMNS = ("CONTRACT", "PRODUCT", "GPUS", "CLASS", "PRICE", "START", "END", "PHASE", "NODES", "DELIVERED", "SHORT")
WIDE = ("HOLDER", "CONTRACT ID", "TROUBLE", "ON")


def book(
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    product: Annotated[str | None, typer.Option(metavar="P", help="Only contracts of this product.")] = None,
    phase: Annotated[list[str] | None, typer.Option(metavar="PHASE", help="Only contracts in this phase; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="T", help="Only windows that reach beyond T.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="T", help="Only windows that begin before T.")] = None,
    plan: PlanFile = None,
    previous: Previous = None,
    now: Now = None,
    effort: Effort = None,
    output: Annotated[BookForm, typer.Option("--output", "-o", help="Form of the result on stdout.")] = BookForm.TABLE,
) -> None:
    """The order book: contracts by start, with what was delivered and what is short in GPU-hours.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan book examples/desk --phase Delivering
      laycan book --product h100-sxm5-80g --from 2027-01-01T00:00:00Z -o csv > book.csv

    Exit: 0 told, 2 bad input.
    """
    with bad_input_exits(), keeps_all():
        first, last = instant(since, "--from") if since else None, instant(until, "--to") if until else None
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, plan=plan)
        if product:
            case.product(product)
        rows = [
            row
            for row in rows_of(case)
            if (not namespace or row.key.startswith(f"{namespace}/"))
            and (not product or row.product == product)
            and (not phase or row.phase in phase)
            and (first is None or row.end > first)
            and (last is None or row.start < last)
        ]
    say("note", case.notes)
    if output in (BookForm.JSON, BookForm.YAML):
        told = document("Book", {"now": format_time(case.now), "contracts": [row.document() for row in rows]})
        write(in_form(told, output))
    elif output is BookForm.CSV:
        write(_csv(rows))
    else:
        write_lines(_table(rows, wide=output is BookForm.WIDE))


def _table(rows: Sequence[Row], *, wide: bool) -> list[str]:
    heading = (*COLUMNS, *(WIDE if wide else ()))
    lines = aligned(
        [heading, *((*_cells(row), *(_more(row) if wide else ())) for row in rows)], right=("GPUS", "NODES", "DELIVERED", "SHORT")
    )
    gpus = sum(row.contract.spec.terms.delivery.gpus for row in rows)
    return [*lines, f"{many(len(rows), 'contract')}, {gpus} GPUs"]


def _cells(row: Row) -> tuple[str, ...]:
    delivery = row.contract.spec.terms.delivery
    figures = (gpu_hours(row.delivered), gpu_hours(row.shortfall, up=True))
    window = (delivery.start, delivery.end)
    return (row.key, row.product, str(delivery.gpus), row.class_, row.price or "-", *window, row.phase, str(len(row.nodes)), *figures)


def _more(row: Row) -> tuple[str, ...]:
    terms = row.contract.spec.terms
    troubles = ",".join(dict.fromkeys(trouble.condition for trouble in row.troubles))
    return (terms.delivery.handover.namespace if terms.delivery.handover else "-", terms.contract_id, troubles or "-", listed(row.nodes))


def _csv(rows: Sequence[Row]) -> bytes:
    """A heading, and a line a contract; quantities in GPU-seconds."""
    fields = [
        "contract", "contractId", "intent", "product", "gpus", "lotGpus", "class", "price", "currency", "start", "end", "holder", "phase",
        "nodes", "deliveredGpuSeconds", "shortfallGpuSeconds", "troubles",
    ]  # fmt: skip
    return as_csv(fields, (_flat(row.document()) for row in rows))


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    price = told["price"] or {"amount": "", "currency": ""}
    troubles = " ".join(dict.fromkeys(trouble["condition"] for trouble in told["troubles"]))
    return {**told, "price": price["amount"], "currency": price["currency"], "nodes": " ".join(told["nodes"]), "troubles": troubles}
