"""The answers of `laycan what-if` for people: before and after, the contracts that change, and one sentence that says what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from laycan.cli.table import aligned, listed, many
from laycan.cli.what_if_words import hours, sentence, span, verdict
from laycan.resources.money import format_money
from laycan.resources.times import format_time
from laycan_solver.model import Contract, Problem

if TYPE_CHECKING:
    from laycan.cli.selection import Selection
    from laycan.cli.what_if import Answers, Asked
    from laycan_solver.drain import Drain
    from laycan_solver.drain_order import Order
    from laycan_solver.effect import Change, Effect
    from laycan_solver.lose_each import Losses
    from laycan_solver.standing import Standing
    from laycan_solver.whatif import Sale

SHOWN = 20  # contracts, or groups, of a table; the rest is counted
NAMED = 8  # nodes of a list

Lines = Iterator[str]


def text_of(problem: Problem, asked: Asked, answers: Answers) -> Lines:
    """One part after the other, a blank line between."""
    book = {c.key: c for c in (*problem.contracts, *asked.sell)}
    parts: list[list[str]] = []
    if answers.effect:
        verdicts = [verdict(some, found) for some, found in answers.verdicts]
        parts.append([*_happened(asked), *_effect(answers.effect, book), *verdicts])
    parts += [list(_losses(word, losses)) for word, losses in answers.lose_each]
    parts += [list(_sale(sale, book)) for sale in answers.sell]
    parts += [list(_drain(some, drain)) for some, drain in answers.largest_drain]
    parts += [list(_order(some, order, asked.each, book)) for some, order in answers.drain_order]
    for i, lines in enumerate(parts):
        yield from ("", *lines) if i else lines


def _happened(asked: Asked) -> Lines:
    for word, some in (("lose", asked.lose), ("drain", asked.drain)):
        yield from (f"what if: {word} {s.words} ({many(len(s.nodes), 'node')}) {s.when}" for s in some)
    yield from (f"what if: add {many(a.count, 'node')} of {a.product}{f' in rack {a.rack}' if a.rack else ''}" for a in asked.add)


def _effect(effect: Effect, book: dict[str, Contract]) -> Lines:
    yield ""
    yield from _sums(effect)
    if effect.changes:
        yield ""
        yield from _changes(effect.changes, book)
    yield from ("", sentence(effect))


def _sums(effect: Effect) -> Lines:
    before, after = effect.before, effect.after
    rows: list[tuple[str, str, str, str]] = [("", "BEFORE", "AFTER", "CHANGE")]
    money = [
        ("owed", before.owed_micros, after.owed_micros),
        ("interruption", before.interruption_micros, after.interruption_micros),
        ("substitution", before.substitution_micros, after.substitution_micros),
        ("together", before.cost_micros, after.cost_micros),
        ("of it Firm, owed and interruption", before.firm_owed_micros, after.firm_owed_micros),
    ]
    rows += [(name, format_money(a), format_money(b), _signed(format_money(b - a), b - a)) for name, a, b in money]
    quantities = [
        ("GPU-hours contracted", before.contracted_gpu_seconds, after.contracted_gpu_seconds),
        ("GPU-hours bound", before.bound_gpu_seconds, after.bound_gpu_seconds),
        ("GPU-hours short", before.short_gpu_seconds, after.short_gpu_seconds),
        ("GPU-hours curtailed by right", before.curtailed_gpu_seconds, after.curtailed_gpu_seconds),
    ]
    rows += [
        (name, hours(a), hours(b), _signed(hours(b - a), b - a))
        for name, a, b in quantities
        if name != "GPU-hours curtailed by right" or a or b
    ]
    counts = [("lots short at once", before.lots_short, after.lots_short), ("lots moved", before.lots_moved, after.lots_moved)]
    rows += [(name, str(a), str(b), _signed(str(b - a), b - a)) for name, a, b in counts]
    yield from _right(rows)


def _changes(changes: Sequence[Change], book: dict[str, Contract]) -> Lines:
    rows: list[Sequence[str]] = [("CONTRACT", "CLASS", "LOTS SHORT", "GPU-HOURS SHORT", "CURTAILED", "COST", "LOTS MOVED")]
    for c in changes[:SHOWN]:
        contract = book.get(c.contract)
        kind = "-" if contract is None else "Firm" if contract.firm else "Interruptible"
        lots = f"{_lots(c.before)} -> {_lots(c.after)}" if _lots(c.before) != _lots(c.after) else str(_lots(c.after))
        seconds = [_signed(hours(value), value) for value in (c.short_gpu_seconds, _curtailed(c.after) - _curtailed(c.before))]
        rows.append((c.contract, kind, lots, *seconds, _signed(format_money(c.cost_micros), c.cost_micros), str(c.lots_moved)))
    if all(row[4] == "0.0" for row in rows[1:]):
        rows = [(*row[:4], *row[5:]) for row in rows]
    yield from _right(rows, left=2)
    if len(changes) > SHOWN:
        yield f"and {len(changes) - SHOWN} more; -o json lists all"


def _curtailed(standing: Standing | None) -> int:
    return standing.curtailed_gpu_seconds if standing else 0


def _lots(standing: Standing | None) -> int:
    return standing.lots_short if standing else 0


def _losses(word: str, losses: Losses) -> Lines:
    yield f"what if: lose each {word}, one at a time"
    yield ""
    rows: list[Sequence[str]] = [(word.upper(), "NODES", "CONTRACTS SHORT", "LOTS SHORT", "GPU-HOURS SHORT", "COST", "LOTS MOVED")]
    shown = [r for r in losses.rows if r.effect.changes][:SHOWN]
    for r in shown:
        short = sum(c.short_gpu_seconds for c in r.effect.harmed)
        numbers = (len(r.effect.harmed), r.effect.worst.lots, hours(short), format_money(r.effect.cost_micros), r.effect.after.lots_moved)
        rows.append((r.name, str(r.nodes), *map(str, numbers)))
    if shown:
        yield from _right(rows)
    hidden = sum(bool(r.effect.changes) for r in losses.rows) - len(shown)
    if hidden:
        yield f"and {hidden} more; -o json lists all"
    yield from ("",) if shown else ()
    start = f"{losses.harmless} of {many(len(losses.rows), word)} can be lost, one at a time, with nobody short of a GPU-second more"
    if losses.worst is None:
        yield f"{start}."
    else:
        worst = losses.worst
        yield f"{start}; the worst is {word} {worst.name}, at {format_money(worst.effect.cost_micros)}."


def _sale(sale: Sale, book: dict[str, Contract]) -> Lines:
    c = book[sale.contract]
    what = f"{c.gpus} GPUs of {c.product} {'Firm' if c.firm else 'Interruptible'} from {format_time(c.start)} to {format_time(c.end)}"
    yield f"what if: sell {sale.contract}, {what}"
    if sale.refusal:
        yield from ("", f"It would be refused: {sale.refusal.code.value}: {sale.refusal.message}. Nothing would change.")
        return
    yield from _effect(sale.effect, book)
    if sale.risks:
        yield ""
        yield from _risks(sale)
    others = sum(x.contract != sale.contract for x in sale.effect.changes)
    left = f"{sale.sellable[1]} GPUs of {c.product} could be sold Firm in its window after it, {sale.sellable[0]} before"
    whom = f"{many(others, 'other contract')} would change" if others else "nobody else would be moved"
    yield from ("", f"It would be accepted, and {whom}; {left}.")


def _risks(sale: Sale) -> Lines:
    rows: list[Sequence[str]] = [("CONTRACT", "CHANCE OF A SHORTFALL", "SPARE NODES")]
    for key, before, after in sale.risks[:SHOWN]:
        then = f"{before.ppm} -> " if before else ""
        spare = f"{before.spare_nodes} -> " if before else ""
        rows.append((key, f"{then}{after.ppm} ppm", f"{spare}{after.spare_nodes}"))
    yield from _right(rows)


def _drain(some: Selection, drain: Drain) -> Lines:
    yield f"what if: drain as much of {some.words} ({many(drain.of, 'node')}) as can be, {some.when}"
    yield ""
    if drain.nodes:
        yield f"out: {listed(drain.nodes, NAMED)}"
    found, most = len(drain.nodes), drain.at_most
    proof = "no more can, by counting (proved)" if drain.proved else f"a plan with more is not found; no plan has more than {most} (proved)"
    cost = drain.effect
    yield f"{found} of {many(drain.of, 'node')} can be out with nobody short of a GPU-second more; {proof}. {sentence(cost)}"


def _order(some: Selection, order: Order, each: int, book: dict[str, Contract]) -> Lines:
    yield f"what if: drain each of {some.words} ({many(len(some.nodes), 'node')}) for {span(each)}, {some.when}"
    yield ""
    rows = [("BATCH", "START", "END", "NODES", "NAMES")]
    for i, b in enumerate(order.batches, 1):
        rows.append((str(i), format_time(b.start), format_time(b.end), str(len(b.nodes)), listed(b.nodes, NAMED)))
    if order.batches:
        yield from aligned(rows, right=["NODES"])
        yield from _effect(order.effect, book)
    if order.left:
        yield f"no time was found for {listed(order.left, NAMED)}"
    yield _verdict(order, len(some.nodes))


def _verdict(order: Order, nodes: int) -> str:
    if not order.batches:
        never = "; no order can, by counting (proved)" if order.at_least is None else ""
        return f"No node of {nodes} can be out for so long in this window without a contract being short{never}: give a longer window."
    done = nodes - len(order.left)
    least = "" if order.at_least is None else f"; no order needs fewer than {order.at_least} (proved)"
    least = "; no order has fewer (proved)" if order.proved else least
    judged = f"the checker objects: {order.faults[0]}" if order.faults else "the independent checker agrees"
    batches = f"{len(order.batches)} batch{'' if len(order.batches) == 1 else 'es'}"
    return f"{done} of {many(nodes, 'node')} can be done in {batches} with nobody short of a GPU-second more{least}; {judged}."


def _signed(text: str, value: int) -> str:
    return f"+{text}" if value > 0 else text


def _right(rows: Sequence[Sequence[str]], left: int = 1) -> Lines:
    """The first `left` columns to the left and numbers to the right."""
    yield from aligned(rows, right=rows[0][left:])
