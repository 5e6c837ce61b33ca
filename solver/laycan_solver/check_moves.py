"""Are the moves that a plan lists what happened, and are they all?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from laycan_solver.check_contract import Fault, steps
from laycan_solver.check_facts import Facts, overlaps
from laycan_solver.model import Binding, Contract, Move, MoveReason, Plan


def move_faults(facts: Facts, plan: Plan, mine: Mapping[str, list[Binding]]) -> Iterator[Fault]:
    """Each move leads from a node that the contract was announced or bound on to one that it is bound on, and they cover what moved."""
    listed: Counter[str] = Counter()
    for m in plan.moves:
        listed[m.contract] += m.gpus
        if (c := facts.contracts.get(m.contract)) is None:
            continue
        after = {b.node for b in mine.get(m.contract, ())}
        before = after | {b.node for b in facts.previous.get(m.contract, ())}
        if m.source == m.target or m.source not in before or m.target not in after or m.gpus <= 0 or c.reserve:
            yield "Move", f"{m.contract}: {m.gpus} GPUs from {m.source} to {m.target}, but it was not there or is not bound there"
        elif not _moves_so(facts, c, m):
            yield "Reason", f"{m.contract}: {m.gpus} GPUs from {m.source} to {m.target}: {m.reason} is not so"
    for key, previous in facts.previous.items():
        c = facts.contracts[key]
        if not c.reserve and listed[key] < (least := _displaced(c, facts.begin(c), mine.get(key, []), previous)):
            yield "Move", f"{key}: {listed[key]} GPUs are listed as moved, at least {least} were"


def _moves_so(facts: Facts, c: Contract, m: Move) -> bool:
    """A node is called lost only if it is, and in an outage only if it is; what is lost for good is called so."""
    gone = facts.gone(c, m.source)
    if m.reason is MoveReason.NODE_LOST:
        return gone or facts.shrunk(c, m.source)
    return not gone and (m.reason is not MoveReason.OUTAGE or overlaps(facts.dark.get(m.source, ()), facts.begin(c), c.end))


def _displaced(c: Contract, begin: int, bindings: Iterable[Binding], previous: Iterable[Binding]) -> int:
    """Most GPUs that lie at one instant on other nodes than announced: so many must have moved."""
    extra: Counter[str] = Counter()  # node -> lots beyond the announced
    most = 0
    for step in steps(c, begin, [*bindings, *(b._replace(gpus=-b.gpus) for b in previous)], ()):
        extra.update(step.changed)
        most = max(most, min(sum(n for n in extra.values() if n > 0), -sum(n for n in extra.values() if n < 0)))
    return most * c.lot_gpus
