"""What if: questions to a plan, answered on copies of it. Nothing changes by asking.

Each question is a list of events; the answer is the plan after them against the plan before (`effect`). A node is lost from `start`
on as if that were known now: until then nothing is cut, and what has to leave it then is interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .effect import Effect, effect_of
from .kinds import Scope
from .live import Live
from .model import FOREVER, Contract, ContractChanged, Event, Node, NodeChanged, Outage, OutageChanged, OutageType, Problem, Undelivered
from .planner import Planner
from .promise import Risk, Risks
from .sellable import curve
from .standing import Before

MARK = "what-if/"  # no resource can have a name with a slash


def losing(nodes: Iterable[str], start: int, end: int = FOREVER, *, name: str = "lost") -> Event:
    """These nodes fail at `start`, until `end`."""
    return OutageChanged(Outage(MARK + name, OutageType.FORCED, frozenset(nodes), start, end))


def draining(nodes: Iterable[str], start: int, end: int = FOREVER, *, name: str = "drain") -> Event:
    """These nodes are out of service by plan in [start, end): what is on them goes elsewhere first."""
    return OutageChanged(drained(nodes, start, end, name=name))


def drained(nodes: Iterable[str], start: int, end: int = FOREVER, *, name: str = "drain") -> Outage:
    """The outage of it."""
    return Outage(MARK + name, OutageType.PLANNED, frozenset(nodes), start, end)


def adding(problem: Problem, product: str, count: int, rack: str | None = None, *, name: str = "added") -> list[Event]:
    """`count` more nodes like those that the product has; raises ValueError without any to be like.

    Without `rack` they stand in one of their own, in the zone and fabric of the node that they are like.
    """
    like = _typical(problem, product)
    rack = rack or f"{MARK}{name}"
    there = [n for n in problem.nodes if n.domains[Scope.RACK - 1] == rack]
    zone, fabric = (there[0] if there else like).domains[:2]
    links = {n.domains[Scope.NVLINK_DOMAIN - 1] for n in there}
    shared = next(iter(links)) if len(there) > 1 and len(links) == 1 else None
    names = [f"{MARK}{name}-{i}" for i in range(1, count + 1)]
    new = [replace(like, name=n, domains=(zone, fabric, rack, shared or f"node/{n}"), usable=True, cordoned=False) for n in names]
    return [NodeChanged(node) for node in new]


def _typical(problem: Problem, product: str) -> Node:
    """The node of which the product has most, the first by name; of whole ones, if there are any."""
    grades = next((p.grades for p in problem.products if p.name == product), frozenset[str]())
    kinds = Counter((n.grade, n.gpus, n.level) for n in problem.nodes if n.grade in grades and n.gpus)
    if not kinds:
        raise ValueError(f"no node of {product} is given for new ones to be like")
    kind = max(kinds, key=lambda k: (kinds[k], k))
    return min((n for n in problem.nodes if (n.grade, n.gpus, n.level) == kind), key=lambda n: n.name)


def what_if(planner: Planner, events: Sequence[Event]) -> Effect:
    """What these events would do to the plan."""
    return effect_of(Before.of(planner), events)[0]


@dataclass(frozen=True, slots=True)
class Sale:
    """What selling a contract would do; `refusal` says why it cannot be sold, and then nothing changes.

    `risks`: Firm contracts whose chance of a shortfall changes, before and after, the greatest after first; None before = the one sold.
    `sellable`: most GPUs of its product, in lots of its size, that would be admitted Firm in its window, before and after.
    """

    contract: str
    refusal: Undelivered | None
    effect: Effect
    risks: tuple[tuple[str, Risk | None, Risk], ...]
    sellable: tuple[int, int]


def selling(planner: Planner, contract: Contract) -> Sale:
    """Would the contract be admitted now, as a candidate, and what would that do to the others?"""
    asked = replace(contract, accepted=False)
    before = Before.of(planner)
    effect, after = effect_of(before, [ContractChanged(asked)])
    refusal = next((u for u in effect.refused if u.contract == asked.key), None)
    lives = (before.live, after.kept())
    then, now = (Risks(live.book, live.demands).all() if refusal is None else {} for live in lives)
    changed = [(key, then.get(key), risk) for key, risk in now.items() if then.get(key) != risk]
    changed.sort(key=lambda row: (-row[2].ppb, row[0]))
    first, last = (_sellable(live, asked) for live in lives)
    return Sale(asked.key, refusal, effect, tuple(changed), (first, last))


def _sellable(live: Live, asked: Contract) -> int:
    start = max(asked.start, live.now)
    points = curve(live, asked.product, [start], [asked.end - start], lot_gpus=asked.lot_gpus).points
    return points[0].gpus if points else 0


def domains(problem: Problem, level: Scope | None) -> Mapping[str, tuple[str, ...]]:
    """Nodes by the domain of a level; each by itself without a level. Both in order of name."""
    groups: dict[str, list[str]] = {}
    for node in problem.nodes:
        groups.setdefault(node.name if level is None else node.domains[level - 1], []).append(node.name)
    return {name: tuple(sorted(groups[name])) for name in sorted(groups)}
