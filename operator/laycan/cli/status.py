"""`laycan status`: one screen that says how things stand, what is wrong, what comes next, and where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from laycan.cli.fleet_rows import Pool, pools_of
from laycan.cli.forms import Form, document, in_form
from laycan.cli.output import bad_input_exits, keeps_all, say, write, write_lines
from laycan.cli.rows import TROUBLES, Row, Trouble, rows_of
from laycan.cli.source import Case, Context, Effort, Kubeconfig, Namespace, Now, Paths, PlanFile, Previous, open_case
from laycan.cli.table import aligned, many
from laycan.planning.manifests import OVER
from laycan.planning.problem import outage_from
from laycan.resources.times import format_time
from laycan_solver.model import FOREVER, Outage

SHOWN = 8  # lines of each part of the screen
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Turn:
    """A window that starts or ends."""

    time: int
    what: str  # Start | End
    row: Row

    def document(self) -> dict[str, Any]:
        gpus = self.row.contract.spec.terms.delivery.gpus
        return {"time": format_time(self.time), "what": self.what, "contract": self.row.key, "gpus": gpus, "product": self.row.product}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the screen shows."""

    now: int
    pools: Sequence[Pool]
    phases: Counter[str]
    troubles: Sequence[Trouble]
    turns: Sequence[Turn]
    outages: Sequence[tuple[Outage, str]]  # those that are not over, with the operator's verdict ("" without)


def status(
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    days: Annotated[int, typer.Option(metavar="N", min=0, max=3660, help="Days ahead of which starts and ends are listed.")] = 7,
    plan: PlanFile = None,
    previous: Previous = None,
    now: Now = None,
    effort: Effort = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Form.TABLE,
) -> None:
    """One screen: the fleet by product, contracts by phase, what is at risk or short, what is next.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan status examples/desk
      laycan status --context production --days 30

    Exit: 0 told, 2 bad input.
    """
    with bad_input_exits(), keeps_all():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, plan=plan)
        found = standing(case, namespace, days)
    say("note", case.notes)
    if output is Form.TABLE:
        write_lines(_screen(found, days))
    else:
        told = _document(found)
        write(in_form(told, output))


def standing(case: Case, namespace: str | None, days: int) -> Standing:
    """How things stand; contracts, not the fleet, only of one namespace if it is named. Raises BadInputError."""
    rows = rows_of(case)
    bindings = [binding for row in rows if row.phase not in OVER for binding in row.bindings]
    rows = [row for row in rows if not namespace or row.key.startswith(f"{namespace}/")]
    statuses = case.manifests.outage_statuses
    labels = {name: raw["metadata"].get("labels") or {} for name, raw in case.manifests.nodes.items()}
    known = (outage_from(name, spec, labels) for name, spec in case.manifests.outages.items())  # those that are not planned, too
    outages = [(o, str(statuses.get(o.name, {}).get("verdict") or "")) for o in known if o.end > case.now]
    return Standing(
        case.now,
        pools_of(case.problem, bindings),
        Counter(row.phase for row in rows),
        sorted((trouble for row in rows for trouble in row.troubles), key=_gravity),
        sorted(_turns(rows, case.now, case.now + days * DAY), key=lambda turn: (turn.time, turn.what, turn.row.key)),
        sorted(outages, key=lambda pair: (pair[0].start, pair[0].name)),
    )


def _gravity(trouble: Trouble) -> tuple[int, int, str]:
    """The worst first, then what has lasted longest; what a plan leaves short comes last."""
    rank = TROUBLES.index(trouble.condition) if trouble.condition in TROUBLES else len(TROUBLES)
    return rank, trouble.since or 0, trouble.contract


def _turns(rows: Iterable[Row], now: int, until: int) -> Iterator[Turn]:
    for row in rows:
        if row.phase in OVER or row.contract.spec.intent == "Quote":
            continue
        if now < row.start <= until:
            yield Turn(row.start, "Start", row)
        if now < row.end <= until:
            yield Turn(row.end, "End", row)


def _document(found: Standing) -> dict[str, Any]:
    return document(
        "DeskStatus",
        {
            "now": format_time(found.now),
            "fleet": [pool.document() for pool in found.pools],
            "contracts": dict(sorted(found.phases.items())),
            "troubles": [trouble.document() for trouble in found.troubles],
            "next": [turn.document() for turn in found.turns],
            "outages": [_outage(outage, verdict) for outage, verdict in found.outages],
        },
    )


def _outage(outage: Outage, verdict: str) -> dict[str, Any]:
    told = {"name": outage.name, "type": outage.type.value, "nodes": sorted(outage.nodes), "start": format_time(outage.start)}
    end = {} if outage.end == FOREVER else {"end": format_time(outage.end)}
    return {**told, **end, **({"verdict": verdict} if verdict else {})}


def _screen(found: Standing, days: int) -> Iterator[str]:
    yield f"as of {format_time(found.now)}"
    yield ""
    yield from _fleet(found.pools)
    yield ""
    yield f"contracts: {', '.join(f'{n} {phase}' for phase, n in sorted(found.phases.items())) or 'none'}"
    yield from _part("needs a look", [_trouble(trouble) for trouble in found.troubles], "laycan book -o wide")
    yield from _part(f"next {days} days", [_turn(turn) for turn in found.turns], "laycan book")
    yield from _part("outages", [_window(*pair) for pair in found.outages], "kubectl get outages")
    yield ""
    yield f"look next: {_advice(found)}"


def _fleet(pools: Sequence[Pool]) -> list[str]:
    heading = ("PRODUCT", "NODES", "GPUS", "DOWN", "OUT", "BOUND", "SPARE", "USED")
    rows = [
        (
            pool.products,
            str(pool.nodes),
            str(pool.gpus),
            str(len(pool.down)),
            str(len(pool.out)),
            str(pool.bound),
            str(pool.spare),
            _used(pool),
        )
        for pool in pools
    ]
    return aligned([heading, *rows], right=heading[1:])


def _used(pool: Pool) -> str:
    return f"{pool.utilisation_ppm // 10_000} %"


def _part(title: str, lines: Sequence[str], more: str) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield f"  and {len(lines) - SHOWN} more: {more}"


def _trouble(trouble: Trouble) -> str:
    since = "" if trouble.since is None else f" since {format_time(trouble.since)}"
    return f"{trouble.contract} {trouble.condition}{since}: {trouble.reason}: {trouble.message.partition(';')[0]}"


def _turn(turn: Turn) -> str:
    gpus = turn.row.contract.spec.terms.delivery.gpus
    return f"{format_time(turn.time)} {turn.what.lower() + 's':<6} {turn.row.key}: {gpus} GPUs of {turn.row.product}"


def _window(outage: Outage, verdict: str) -> str:
    until = "for good" if outage.end == FOREVER else f"to {format_time(outage.end)}"
    told = f"{outage.name}: {outage.type.value}, {many(len(outage.nodes), 'node')}, {format_time(outage.start)} {until}"
    return f"{told}: {verdict}" if verdict else told


def _advice(found: Standing) -> str:
    down = [name for pool in found.pools for name in pool.down]
    steps = [f"laycan why {found.troubles[0].contract}"] if found.troubles else []
    steps += [f"kubectl describe node {down[0]}"] if down else []
    return "; ".join([*steps, "laycan book"])
