"""`laycan why CONTRACT`: what its status says, why the plan has it where it is, and what to do next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from pydantic.alias_generators import to_camel

from laycan.cli.forms import Form, document, in_form
from laycan.cli.next_steps import next_steps
from laycan.cli.output import bad_input_exits, keeps_all, say, write, write_lines
from laycan.cli.rows import Row, gpu_hours, rows_of
from laycan.cli.source import Case, Context, Effort, Kubeconfig, Namespace, Now, Paths, PlanFile, Previous, open_case
from laycan.planning.manifests import OVER, BadInputError
from laycan.planning.problem import bindings_from
from laycan.resources.times import format_time
from laycan_solver.explain import Explanation, explain
from laycan_solver.kinds import Reason
from laycan_solver.model import Move
from laycan_solver.reasons import Why

REFUSED = "Rejected"
ROOM_NOW = "there would be room now: send the contract again as a new object; what was refused stays refused"


@dataclass(frozen=True, slots=True)
class Told:
    """All that is said of a contract. `explanation` None: nothing is planned of it. `moves`: those that the plan makes now."""

    row: Row
    explanation: Explanation | None
    moves: tuple[Move, ...]
    steps: tuple[str, ...]


def why(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="Name of the ComputeContract, or NAMESPACE/NAME.")],
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    plan: PlanFile = None,
    previous: Previous = None,
    now: Now = None,
    effort: Effort = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Form.TABLE,
) -> None:
    """Why a contract is where it is, short or refused, and what to do next.

    Of a refused one it is told how it would fare if it were sent again now.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan why gamma-eval examples/desk
      laycan why desk/gamma-eval

    Exit: 0 told, 2 bad input, or no such contract.
    """
    with bad_input_exits(), keeps_all():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, plan=plan)
        told = _told(case, _key(case, contract, namespace))
    say("note", case.notes)
    if output is Form.TABLE:
        write_lines(_lines(told, case.now))
    else:
        write(in_form(_document(told, case.now), output))


def _key(case: Case, named: str, namespace: str | None) -> str:
    """`namespace/name` of the one that is meant: in the namespace that is named, else in the only one that has it."""
    known = case.manifests.contracts
    if "/" in named:
        found = [named] if named in known else []
    else:
        found = [key for key in known if key.partition("/")[2] == named and (not namespace or key.startswith(f"{namespace}/"))]
    if len(found) > 1:
        raise BadInputError([f"{named}: {', '.join(sorted(found))} are called so; give one of these, or --namespace"])
    if not found:
        close = get_close_matches(named, [*known, *(key.partition("/")[2] for key in known)], n=1, cutoff=0.4)
        mend = f"did you mean {close[0]}?" if close else "`laycan book` lists them"
        raise BadInputError([f"{named}: there is no such ComputeContract{f' in namespace {namespace}' if namespace else ''}; {mend}"])
    return found[0]


def _told(case: Case, key: str) -> Told:
    row = next(row for row in rows_of(case) if row.key == key)
    planned = _sent_again(case, key) if row.phase == REFUSED else case
    if not any(c.key == key for c in planned.problem.contracts):
        return Told(row, None, (), tuple(_steps(row, None)))
    found = explain(planned.problem, planned.plan, key)
    moves = tuple(move for move in planned.plan.moves if move.contract == key)
    return Told(row, found, moves, tuple(_steps(row, found)))


def _sent_again(case: Case, key: str) -> Case:
    """The case in which a refused contract is a candidate again."""
    refused = case.manifests.contracts[key]
    again = replace(refused, status={}, given=True)
    return replace(case, manifests=replace(case.manifests, contracts={**case.manifests.contracts, key: again}, notes=[]), given=None)


def _steps(row: Row, found: Explanation | None) -> list[str]:
    reason = row.contract.status.get("reason")
    codes = (
        [str(reason["code"])] if isinstance(reason, dict) and "code" in reason and (row.phase not in OVER or row.phase == REFUSED) else []
    )
    said = [text.partition(":")[0] for text in (found.said if found else ())]
    steps = next_steps(row.contract.phase if row.contract.given else row.phase, [t.condition for t in row.troubles], [*codes, *said])
    if row.phase == REFUSED and found is not None and not found.said:
        other = [code for code in codes if code not in set(Reason)]  # room is not all that it lacked
        return [*(next_steps(row.phase, [], other) if other else ()), ROOM_NOW]
    return steps


def _lines(told: Told, now: int) -> Iterator[str]:
    row = told.row
    delivery = row.contract.spec.terms.delivery
    price = f", {row.price} per GPU-hour" if row.price else ""
    yield f"{row.key}: {delivery.gpus} GPUs of {row.product}, {row.class_}, {delivery.start} to {delivery.end}{price}"
    yield from _status(row, now)
    if told.explanation is not None:
        again = ", if it were sent again" if row.phase == REFUSED else ""
        yield f"the plan as of {format_time(now)}{again}:"
        yield from (f"  {line}" for line in told.explanation.summary().splitlines())
    yield from (f"  {move.gpus} GPUs move from {move.source} to {move.target}: {move.reason.value}" for move in told.moves)
    yield from (f"next: {step}" for step in told.steps)


def _status(row: Row, now: int) -> Iterator[str]:
    """What the cluster says; nothing of a contract without status."""
    status = row.contract.status
    if not row.contract.phase:
        yield f"phase: {row.phase}"
        return
    since = status.get("phaseSince")
    yield f"phase: {row.phase}{f' since {since}' if since else ''}"
    reason = status.get("reason")
    if isinstance(reason, dict):
        word = "refused" if row.phase == REFUSED else "short" if row.phase not in OVER else "ended"
        yield f"{word}: {reason.get('code')}: {reason.get('message')}"
    for trouble in row.troubles:
        if not isinstance(reason, dict) or trouble.message != reason.get("message"):
            yield f"{trouble.condition}{_since(trouble.since)}: {trouble.reason}: {trouble.message}"
        else:
            yield f"{trouble.condition}{_since(trouble.since)}: {trouble.reason}"
    if row.delivered is not None:
        yield f"delivered: {gpu_hours(row.delivered)} GPU-hours, shortfall {gpu_hours(row.shortfall, up=True)}"
    yield from _moved(row, now)


def _since(instant: int | None) -> str:
    return "" if instant is None else f" since {format_time(instant)}"


def _moved(row: Row, now: int) -> Iterator[str]:
    """Where its bindings change while they run, by the status: which nodes are left, and which come in their place."""
    left: dict[int, set[str]] = defaultdict(set)  # instant -> nodes
    came: dict[int, set[str]] = defaultdict(set)
    for b in bindings_from(row.key, row.contract.status):
        if b.end < row.end:
            left[b.end].add(b.node)
        if b.start > row.start:
            came[b.start].add(b.node)
    for instant in sorted(left.keys() | came.keys()):
        gone, new = ", ".join(sorted(left[instant])), ", ".join(sorted(came[instant]))
        told = f"from {gone} to {new}" if gone and new else f"off {gone}" if gone else f"onto {new}"
        yield f"{'moved' if instant <= now else 'moves'}: {format_time(instant)} {told}"


def _document(told: Told, now: int) -> dict[str, Any]:
    status = told.row.contract.status
    fields: dict[str, Any] = {
        "now": format_time(now),
        "contract": told.row.document(),
        "phaseSince": status.get("phaseSince"),
        "conditions": status.get("conditions") or [],
        "reason": status.get("reason"),
        "moved": list(_moved(told.row, now)),
        "moves": [{"gpus": m.gpus, "from": m.source, "to": m.target, "reason": m.reason.value} for m in told.moves],
        "explanation": _published(asdict(told.explanation)) if told.explanation else None,
        "summary": told.explanation.summary().splitlines() if told.explanation else [],
        "next": list(told.steps),
    }
    return document("Explanation", fields)


def _published(value: Any, name: str = "") -> Any:
    """As our documents have it: names in camelCase, times as RFC 3339; keys that are reasons stay as they are."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key if isinstance(key, Why) else to_camel(key): _published(each, key) for key, each in value.items()}
    if name == "outages" and value is not None:
        return {"start": format_time(value[0]), "end": format_time(value[1])}
    if isinstance(value, list | tuple):
        return [_published(each) for each in value]
    return format_time(value) if name in ("start", "end") and isinstance(value, int) else value
