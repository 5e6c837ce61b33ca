"""`laycan quote`: can this be promised, at which risk, and if not, what could be instead. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laycan.cli.asked import asked_for, delivery, firmness
from laycan.cli.forms import Form, document, in_form
from laycan.cli.output import bad_input_exits, say, write, write_lines
from laycan.cli.source import Case, Context, Effort, Kubeconfig, Now, Paths, PlanFile, Previous, open_case
from laycan.cli.table import aligned
from laycan.planning.manifests import BadInputError
from laycan.resources.terms import FirmnessClass, ScopeLevel, SubstitutionPolicy
from laycan.resources.times import format_time
from laycan_solver.model import Contract

if TYPE_CHECKING:
    from laycan_solver.alternatives import Alternative
    from laycan_solver.offers import Answer
    from laycan_solver.promise import Risk

EXIT_NOT_FULL = 3


def quote(
    paths: Paths = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    previous: Previous = None,
    plan: PlanFile = None,
    now: Now = None,
    effort: Effort = None,
    product: Annotated[str, typer.Option(metavar="P", help="The ComputeProduct asked for.")] = ...,  # type: ignore[assignment]
    gpus: Annotated[int, typer.Option(metavar="N", help="GPUs asked for.")] = ...,  # type: ignore[assignment]
    start: Annotated[str, typer.Option(metavar="T", help="First second, as 2027-01-04T00:00:00Z.")] = ...,  # type: ignore[assignment]
    end: Annotated[str, typer.Option(metavar="T", help="First second after it.")] = ...,  # type: ignore[assignment]
    lot_gpus: Annotated[int | None, typer.Option(metavar="N", help="GPUs that are always on one node. Without: a whole node.")] = None,
    class_: Annotated[FirmnessClass, typer.Option("--class", help="How binding the promise is.")] = "Firm",
    notice_seconds: Annotated[int | None, typer.Option(metavar="S", help="Interruptible: notice. Without: the product's.")] = None,
    max_hours: Annotated[int | None, typer.Option(metavar="H", help="Interruptible: most of a lot. Without: the product's.")] = None,
    scope: Annotated[ScopeLevel, typer.Option(help="All lots inside one such domain.")] = "Any",
    spread: Annotated[str | None, typer.Option(metavar="LEVEL=N", help="Lots over at least so many domains, as Rack=4.")] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="From 800 on the loss of any rack is provided for.")] = None,
    substitution: Annotated[SubstitutionPolicy, typer.Option(help="May an equivalent grade be delivered?")] = "None",
    holder: Annotated[str | None, typer.Option(metavar="NAMESPACE", help="The buyer's namespace. Without: of somebody new.")] = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="Form of the result on stdout.")] = Form.TABLE,
) -> None:
    """Can this be promised now, beside everything accepted before, and if not, what could be instead? It changes nothing.

    Needs: files, or a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan quote examples/desk --product h100-sxm5-80g --gpus 32 --start 2027-02-01T00:00:00Z --end 2027-03-01T00:00:00Z

    Exit: 0 in full, 2 bad input, 3 in part or not at all.
    """
    with bad_input_exits():
        case = open_case(paths, context, kubeconfig, now=now, effort=effort, previous=previous, plan=plan)
        terms = {
            "productRef": {"name": product},
            "delivery": delivery(case, start, end, gpus, lot_gpus, product, holder)
            | ({"scope": scope} if scope != "Any" else {})
            | ({"spread": _spread(spread)} if spread else {}),
            "firmness": firmness(case, product, class_, priority, notice_seconds, max_hours),
            "substitution": {"policy": substitution},
        }
        contract = asked_for(case, terms)
        answer = answered(case, contract)
    say("note", case.notes)
    if output is Form.TABLE:
        write_lines(_lines(case, contract, answer))
    else:
        told = document("QuoteAnswer", {"now": format_time(case.now), **document_of(contract, answer)})
        write(in_form(told, output))
    if answer.refusal:
        raise typer.Exit(EXIT_NOT_FULL)


def answered(case: Case, contract: Contract) -> Answer:
    """What the case's plan can promise. Raises BadInputError where it is asked for nothing."""
    problem, plan = case.problem, case.plan
    from laycan_solver.offers import answer
    from laycan_solver.planner import EFFORT, Planner

    try:
        return answer(Planner(problem, plan, EFFORT if case.effort is None else case.effort).kept(), contract)
    except ValueError as error:
        raise BadInputError([str(error)]) from None


def _spread(text: str) -> dict[str, Any]:
    level, _, domains = text.partition("=")
    if not domains.isdecimal():
        raise BadInputError([f"--spread {text}: is not of the form LEVEL=N; write for example --spread Rack=4"])
    return {"level": level, "minDomains": int(domains)}


def _lines(case: Case, contract: Contract, answer: Answer) -> Iterator[str]:
    """For people: the promise, its risk, what is short, what could be instead, and what to do next."""
    yield f"{answer.promise.value}: {_what(contract)}"
    if answer.risk:
        target = next(p.reliability.target_ppm for p in case.problem.products if p.name == contract.product)
        kept = f"the target is {target} ppm" if target is not None and contract.firm else "nobody has set a target"
        yield f"chance of a shortfall in its worst 30 days: {answer.risk.ppm} ppm; {kept}"
        yield f"spare nodes at least: {answer.risk.spare_nodes}; nodes in the largest rack that it could lose: {answer.risk.largest_domain}"
    if answer.refusal:
        yield f"short: {answer.refusal.code.value}: {answer.refusal.message}"
    if answer.alternatives:
        yield "instead, the best first; each would be accepted if it came now:"
        rows = [("GPUS", "PRODUCT", "CLASS", "START", "END", "PPM", "HOW IT DIFFERS"), *map(_row, answer.alternatives)]
        yield from (f"  {line}" for line in aligned(rows, right=("GPUS", "PPM")))
    yield from _next(answer)


def _next(answer: Answer) -> Iterator[str]:
    if answer.refusal is None:
        yield "next: apply it as a ComputeContract with intent Quote to have it held, or with intent Firm to sell it"
    elif answer.alternatives:
        yield "next: apply one of these as a ComputeContract; nothing is held until it is a full promise"
    else:
        yield "next: laycan sellable shows what can be sold and when; laycan what-if --add shows what more nodes would do"


def _what(c: Contract) -> str:
    firm = "Firm" if c.firm else "Interruptible"
    return f"{c.gpus} GPUs of {c.product} in lots of {c.lot_gpus}, {firm}, {format_time(c.start)} to {format_time(c.end)}"


def _row(a: Alternative) -> tuple[str, ...]:
    firm = "Firm" if a.firm else "Interruptible"
    return str(a.gpus), a.product, firm, format_time(a.start), format_time(a.end), str(a.risk.ppm), a.reason


def document_of(contract: Contract, answer: Answer) -> dict[str, Any]:
    """The answer in the words of a contract's status."""
    refusal = answer.refusal
    return {
        "asked": _terms(contract),
        "promise": answer.promise.value,
        "risk": _risk(answer.risk) if answer.risk else None,
        "reason": {"code": refusal.code.value, "message": refusal.message} if refusal else None,
        "alternatives": [
            {
                "start": format_time(a.start),
                "end": format_time(a.end),
                "gpus": a.gpus,
                "product": a.product,
                "class": "Firm" if a.firm else "Interruptible",
                "reason": a.reason,
                **({"scope": a.scope.label} if a.scope is not None else {}),
                **({"parts": [{"start": format_time(s), "end": format_time(e), "gpus": n} for s, e, n in a.parts]} if a.parts else {}),
                "risk": _risk(a.risk),
            }
            for a in answer.alternatives
        ],
    }


def _terms(c: Contract) -> dict[str, Any]:
    return {
        "product": c.product,
        "gpus": c.gpus,
        "lotGpus": c.lot_gpus,
        "class": "Firm" if c.firm else "Interruptible",
        "start": format_time(c.start),
        "end": format_time(c.end),
    }


def _risk(risk: Risk) -> dict[str, Any]:
    return {
        "shortfallProbabilityPpm": risk.ppm,
        "spareNodes": risk.spare_nodes,
        "largestDomainNodes": risk.largest_domain,
        "survivesLargestDomain": risk.survives_domain,
    }
