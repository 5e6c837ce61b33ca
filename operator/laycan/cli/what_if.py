"""`laycan what-if`: the plan after something against the plan before it. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from laycan.cli.bar import bar
from laycan.cli.forms import Form, in_form
from laycan.cli.output import bad_input_exits, say, write, write_lines
from laycan.cli.selection import Addition, Selection, addition_of, level_of, selection_of
from laycan.cli.sold import sold
from laycan.cli.source import Case, Context, Effort, Kubeconfig, Now, Paths, Previous, open_case
from laycan.planning.manifests import BadInputError
from laycan_solver.kinds import Scope
from laycan_solver.model import Contract, Problem

if TYPE_CHECKING:
    from laycan_solver.drain import Drain
    from laycan_solver.drain_order import Order
    from laycan_solver.effect import Effect
    from laycan_solver.lose_each import Losses
    from laycan_solver.outage_verdict import Verdict
    from laycan_solver.planner import Planner
    from laycan_solver.whatif import Sale

Some = TypeVar("Some")
Words = list[str] | None
SELL = "This is sold: the ComputeContract of a file, or so many GPUs Firm. May be repeated."
NODES = "NODE[,NODE] | rack=R | zone=Z | product=P | all"


@dataclass
class Asked:
    """What was asked, read and found good."""

    lose: list[Selection] = field(default_factory=list)
    drain: list[Selection] = field(default_factory=list)
    add: list[Addition] = field(default_factory=list)
    lose_each: list[tuple[str, Scope | None]] = field(default_factory=list)
    sell: list[Contract] = field(default_factory=list)
    largest_drain: list[Selection] = field(default_factory=list)
    drain_order: list[Selection] = field(default_factory=list)
    each: int = 0  # seconds that a node of a drain order is out


@dataclass
class Answers:
    """`effect` of what is lost, drained and added together, None where nothing is; the rest is asked of the plan after that."""

    effect: Effect | None = None
    verdicts: list[tuple[Selection, Verdict]] = field(default_factory=list)  # of each drain by itself
    lose_each: list[tuple[str, Losses]] = field(default_factory=list)
    sell: list[Sale] = field(default_factory=list)
    largest_drain: list[tuple[Selection, Drain]] = field(default_factory=list)
    drain_order: list[tuple[Selection, Order]] = field(default_factory=list)


def what_if(
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    previous: Previous = None,
    now: Now = None,
    effort: Effort = None,
    lose: Annotated[Words, typer.Option(metavar="NODES[@T[/END]]", help=f"These nodes fail: {NODES}. May be repeated.")] = None,
    drain: Annotated[Words, typer.Option(metavar="NODES@START[/END]", help="These are taken out by plan. May be repeated.")] = None,
    add: Annotated[Words, typer.Option(metavar="PRODUCT=N[:rack=R]", help="So many nodes more. May be repeated.")] = None,
    lose_each: Annotated[Words, typer.Option(metavar="node|rack|fabric|zone", help="Each of them fails, one at a time.")] = None,
    sell: Annotated[
        Words, typer.Option(metavar="FILE|PRODUCT=GPUS@START/END", help="This is sold: a ComputeContract, or so many GPUs Firm.")
    ] = None,
    largest_drain: Annotated[Words, typer.Option(metavar="NODES@START/END", help="Most of them that can be out with nobody short.")] = None,
    drain_order: Annotated[Words, typer.Option(metavar="NODES@START/END", help="Batches in which each is out once, nobody short.")] = None,
    each: Annotated[int | None, typer.Option(metavar="SECONDS", min=1, help="With --drain-order: how long each node is out.")] = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Form.TABLE,
) -> None:
    """The plan after something, against the plan before it, in money and lots. It changes nothing.

    What --lose, --drain and --add say happens together; every other question is asked of the plan after that, each by itself.
    A time is as 2027-01-12T02:00:00Z; without one it is from now on.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan what-if examples/desk --drain rack=r2@2027-01-14T02:00:00Z/2027-01-14T06:00:00Z
      laycan what-if examples/desk --lose-each rack

    Exit: 0 answered, 2 bad input.
    """
    with bad_input_exits():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous)
        asked = _asked(
            case, lose or [], drain or [], add or [], lose_each or [], sell or [], largest_drain or [], drain_order or [], each
        )  # fmt: skip
    say("note", case.notes)
    with bad_input_exits():
        answers = answered(case, asked)
    if output is Form.TABLE:
        from laycan.cli.what_if_table import text_of

        write_lines(text_of(case.problem, asked, answers))
    else:
        from laycan.cli.what_if_document import document_of

        write(in_form(document_of(case.problem, asked, answers), output))


def _asked(
    case: Case,
    lose: Sequence[str],
    drain: Sequence[str],
    add: Sequence[str],
    lose_each: Sequence[str],
    sell: Sequence[str],
    largest_drain: Sequence[str],
    drain_order: Sequence[str],
    each: int | None,
) -> Asked:
    """Reads every option; raises BadInputError with all that is wrong."""
    problem, faults = case.problem, list[str]()
    asked = Asked(
        _each(lose, lambda text: selection_of("--lose", text, problem), faults),
        _each(drain, lambda text: selection_of("--drain", text, problem), faults),
        _each(add, lambda text: addition_of("--add", text, problem), faults),
        _each(lose_each, lambda text: (text, level_of("--lose-each", text)), faults),
        [c for cs in _each(sell, lambda text: sold(case, text, sell.index(text) + 1), faults) for c in cs],
        _each(largest_drain, lambda text: selection_of("--largest-drain", text, problem, window=True), faults),
        _each(drain_order, lambda text: selection_of("--drain-order", text, problem, window=True), faults),
        each or 0,
    )
    if drain_order and not each:
        faults.append("--drain-order: says not how long each node is out; give --each SECONDS, such as --each 14400")
    if each and not drain_order:
        faults.append("--each: belongs to --drain-order, which is not given")
    if each and (narrow := [s for s in asked.drain_order if s.end - s.start < each]):
        faults.append(f"--drain-order {narrow[0].words}: its window is shorter than --each {each}; give a longer window or a shorter time")
    if not (lose or drain or add or lose_each or sell or largest_drain or drain_order):
        faults.append("nothing is asked; give --lose, --lose-each, --drain, --add, --sell, --largest-drain or --drain-order")
    if faults:
        raise BadInputError(faults)
    return asked


def _each(texts: Sequence[str], read: Callable[[str], Some], faults: list[str]) -> list[Some]:
    """What was read of each; what is wrong goes to `faults`."""
    found = []
    for text in texts:
        try:
            found.append(read(text))
        except BadInputError as error:
            faults += error.lines
    return found


def answered(case: Case, asked: Asked) -> Answers:
    """Everything that was asked, of copies of the plan."""
    plan, problem = case.plan, case.problem
    from laycan_solver import planner  # OR-Tools and numpy are loaded here, after the input was found good

    kept = planner.Planner(problem, plan, planner.EFFORT if case.effort is None else case.effort)
    answers = Answers()
    answers.verdicts = [(some, _verdict(kept, some)) for some in asked.drain]
    kept, answers.effect = _happened(kept, problem, asked)
    from laycan_solver.drain import largest_drain
    from laycan_solver.drain_order import drain_order
    from laycan_solver.lose_each import lose_each
    from laycan_solver.whatif import domains, selling

    for word, level in asked.lose_each:
        with bar(f"losing each {word}") as told:
            answers.lose_each.append((word, lose_each(kept, domains(kept.problem, level), problem.now, progress=told)))
    answers.sell = [selling(kept, contract) for contract in asked.sell]
    for some in asked.largest_drain:
        with bar(f"nodes of {some.words} that can be out") as told:
            answers.largest_drain.append((some, largest_drain(kept, some.nodes, some.start, some.end, told)))
    for some in asked.drain_order:
        with bar(f"nodes of {some.words} that have a batch") as told:
            answers.drain_order.append((some, drain_order(kept, some.nodes, some.start, some.end, asked.each, told)))
    return answers


def _verdict(kept: Planner, some: Selection) -> Verdict:
    """What an Outage of these nodes would be called."""
    from laycan_solver.outage_verdict import judge
    from laycan_solver.whatif import drained

    return judge(kept, drained(some.nodes, some.start, some.end))


def _happened(kept: Planner, problem: Problem, asked: Asked) -> tuple[Planner, Effect | None]:
    """The plan after all that is lost, drained and added, and what that does."""
    from laycan_solver.effect import effect_of
    from laycan_solver.standing import Before
    from laycan_solver.whatif import adding, draining, losing

    events = [losing(s.nodes, s.start, s.end, name=f"lost-{i}") for i, s in enumerate(asked.lose, 1)]
    events += [draining(s.nodes, s.start, s.end, name=f"drained-{i}") for i, s in enumerate(asked.drain, 1)]
    for i, a in enumerate(asked.add, 1):
        try:
            events += adding(problem, a.product, a.count, a.rack, name=f"added-{i}")
        except ValueError as error:
            raise BadInputError([f"--add {a.product}={a.count}: {error}; give a product that has nodes"]) from None
    if not events:
        return kept, None
    effect, after = effect_of(Before.of(kept), events)
    return after, effect
