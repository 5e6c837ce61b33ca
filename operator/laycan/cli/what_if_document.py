"""The answers of `laycan what-if` as one document, for JSON and YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic.alias_generators import to_camel

from laycan.cli.forms import document
from laycan.resources.times import format_time
from laycan_solver.model import FOREVER, Problem, Undelivered

if TYPE_CHECKING:
    from laycan.cli.selection import Selection
    from laycan.cli.what_if import Answers, Asked
    from laycan_solver.drain import Drain
    from laycan_solver.drain_order import Order
    from laycan_solver.effect import Effect
    from laycan_solver.lose_each import Losses
    from laycan_solver.outage_verdict import Verdict
    from laycan_solver.promise import Risk
    from laycan_solver.standing import Standing, Sums
    from laycan_solver.whatif import Sale

Document = dict[str, Any]


def document_of(problem: Problem, asked: Asked, answers: Answers) -> Document:
    """What was asked and what the answers are; only kinds of questions that were asked are in it."""
    happened = {
        "lose": [_selection(s) for s in asked.lose],
        "drain": [_selection(s) for s in asked.drain],
        "add": [{"product": a.product, "nodes": a.count} | ({"rack": a.rack} if a.rack else {}) for a in asked.add],
    }
    found = document("WhatIf", {"now": format_time(problem.now)})
    if answers.effect:
        found |= {"happened": {k: v for k, v in happened.items() if v}, "effect": _effect(answers.effect)}
    if answers.verdicts:
        found["verdicts"] = [_verdict(some, verdict) for some, verdict in answers.verdicts]
    rows = {
        "loseEach": [_losses(word, losses) for word, losses in answers.lose_each],
        "sell": [_sale(sale) for sale in answers.sell],
        "largestDrain": [_drain(some, drain) for some, drain in answers.largest_drain],
        "drainOrder": [_order(some, order, asked.each) for some, order in answers.drain_order],
    }
    return found | {name: row for name, row in rows.items() if row}


def _selection(some: Selection) -> Document:
    return {"what": some.words, "nodes": list(some.nodes), **_window(some.start, some.end)}


def _window(start: int, end: int) -> Document:
    """An end that never comes is left out."""
    return {"start": format_time(start)} | ({} if end == FOREVER else {"end": format_time(end)})


def _effect(effect: Effect) -> Document:
    return {
        "costMicros": effect.cost_micros,
        "before": _sums(effect.before),
        "after": _sums(effect.after),
        "worst": {"lotsShort": effect.worst.lots, **_window(effect.worst.start, effect.worst.end)} if effect.worst.lots else None,
        "contracts": [
            {
                "contract": c.contract,
                "costMicros": c.cost_micros,
                "shortGpuSeconds": c.short_gpu_seconds,
                "lotsMoved": c.lots_moved,
                "before": _standing(c.before),
                "after": _standing(c.after),
            }
            for c in effect.changes
        ],
        "moves": [
            {"contract": m.contract, "gpus": m.gpus, "from": m.source, "to": m.target, "reason": m.reason.value} for m in effect.moves
        ],
        "refused": [_refusal(u) for u in effect.refused],
    }


def _sums(sums: Sums) -> Mapping[str, int]:
    return {to_camel(f.name): getattr(sums, f.name) for f in fields(sums)}


def _standing(standing: Standing | None) -> Document | None:
    if standing is None:
        return None
    numbers = {to_camel(f.name): getattr(standing, f.name) for f in fields(standing) if f.name != "gaps"}
    return numbers | {"gaps": [{"lots": g.lots, **_window(g.start, g.end)} for g in standing.gaps]}


def _refusal(u: Undelivered) -> Document:
    return {"contract": u.contract, "gpus": u.gpus, **_window(u.start, u.end), "reason": {"code": u.code.value, "message": u.message}}


def _verdict(some: Selection, verdict: Verdict) -> Document:
    worst = {"lotsShort": verdict.lots_short, **_window(verdict.worst.start, verdict.worst.end)} if verdict.lots_short else {"lotsShort": 0}
    return {
        "what": some.words,
        **_window(some.start, some.end),
        "verdict": verdict.cover.value,
        "worst": worst,
        "contracts": list(verdict.contracts),
        "shortfallProbabilityPpb": verdict.ppb,
    }


def _losses(word: str, losses: Losses) -> Document:
    rows = [{"name": r.name, "nodes": r.nodes, "harmless": r.effect.safe, "effect": _effect(r.effect)} for r in losses.rows]
    return {"of": word, "count": len(rows), "harmless": losses.harmless, "worst": losses.worst.name if losses.worst else None, "rows": rows}


def _sale(sale: Sale) -> Document:
    found: Document = {"contract": sale.contract, "admitted": sale.refusal is None, "effect": _effect(sale.effect)}
    found["risks"] = [{"contract": key, "before": _risk(before), "after": _risk(after)} for key, before, after in sale.risks]
    found["sellableGpus"] = {"before": sale.sellable[0], "after": sale.sellable[1]}
    return found | {"reason": {"code": sale.refusal.code.value, "message": sale.refusal.message}} if sale.refusal else found


def _risk(risk: Risk | None) -> Document | None:
    return {to_camel(f.name): getattr(risk, f.name) for f in fields(risk)} if risk else None


def _drain(some: Selection, drain: Drain) -> Document:
    return {
        "what": some.words,
        **_window(drain.start, drain.end),
        "of": drain.of,
        "nodes": list(drain.nodes),
        "atMost": drain.at_most,
        "proved": drain.proved,
        "effect": _effect(drain.effect),
    }


def _order(some: Selection, order: Order, each: int) -> Document:
    return {
        "what": some.words,
        **_window(some.start, some.end),
        "eachSeconds": each,
        "batches": [{**_window(b.start, b.end), "nodes": list(b.nodes)} for b in order.batches],
        "left": list(order.left),
        "atLeast": order.at_least,
        "proved": order.proved,
        "verified": not order.faults,
        "effect": _effect(order.effect),
    }
