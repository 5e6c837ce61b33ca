"""What each contract is to be served, and which nodes may serve it: the demands, and the pools of nodes that they share.

Eligibility by time (outages, what is free) is the ledger's.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .fleet import Fleet as Fleet
from .fleet import running_at
from .model import Binding, Contract, MovePolicy, Problem, Product, Scope
from .timegrid import Ints, due

UNLIMITED = 1 << 30  # planned cuts


@dataclass(frozen=True)
class Option:
    """A hardware grade in which a contract may be delivered: as which product, and what that costs (micros per GPU-hour)."""

    product: str
    cost: int


@dataclass(frozen=True)
class Pool:
    """The nodes that may take lots of one size anew, in some grades: shared by all contracts that ask the same."""

    columns: Ints
    costs: Ints  # per column: rank of the option's cost, 0 = own product
    spans: tuple[tuple[int, slice], ...]  # (rank, columns) of each grade, the cheapest first; holds nodes that cannot serve, too
    own: tuple[tuple[int, slice], ...]  # those of its own product


@dataclass(frozen=True)
class Demand:
    """One contract as the planner sees it. `columns` are the nodes that may take its lots anew; seconds and lots are integers."""

    index: int
    contract: Contract
    start: int
    end: int
    lots: int
    pool: Pool
    options: dict[int, Option]  # grade -> how it is delivered there
    holder: int  # 0 = shares every node by GPU; every reserve is one of its own, below 0
    turnaround: int
    together: bool  # all lots or none at every instant
    per_domain: int  # most lots in one domain of the spread level
    move_seconds: int
    moves_per_month: int  # 0 = planned cuts are not allowed; a reserve may be cut as often as it likes
    running: dict[int, int] = field(default_factory=dict)  # column -> lots that run there at now, if due (also where they cannot stay)
    before: tuple[Binding, ...] = ()  # bindings of the previous plan, clipped to the due window
    announced: tuple[Binding, ...] = ()  # those of them on nodes that still exist; on cordoned ones only what runs
    rights: dict[int, int] = field(default_factory=dict)  # cordoned column -> lots that may stay

    @property
    def columns(self) -> Ints:
        return self.pool.columns

    @property
    def costs(self) -> Ints:
        return self.pool.costs

    @property
    def scoped(self) -> bool:
        return self.contract.scope is not Scope.ANY

    @property
    def spread(self) -> bool:
        return self.contract.spread_level is not Scope.ANY

    def apart_from(self, other: Demand) -> bool:
        """Never together on a node that is handed over whole: two holders, or a reserve and anything else."""
        if self.holder < 0 or other.holder < 0:
            return self.index != other.index
        return self.holder != other.holder and 0 not in (self.holder, other.holder)

    def pause_between(self, other: Demand) -> int:
        """Seconds that such a node stays empty from one to the other: nobody has to be drained from a reserve."""
        return 0 if self.holder < 0 or other.holder < 0 else max(self.turnaround, other.turnaround)

    @property
    def lot_rate(self) -> int:
        """Owed per undelivered lot-second, in micros / 3.6e9."""
        return self.contract.rate * self.contract.lot_gpus


def options_of(contract: Contract, products: dict[str, Product], fleet: Fleet) -> dict[int, Option]:
    """Grades in which the contract may be delivered: its own, else by one hop of the published table, the cheapest first."""
    own = products[contract.product]
    found: dict[int, Option] = {}
    equivalents = sorted((cost, name) for name, cost in own.equivalents.items() if name in products) if contract.substitution else []
    for i, grade in enumerate(fleet.grades):
        if grade in own.grades:
            found[i] = Option(own.name, 0)
            continue
        for cost, name in equivalents:
            if grade in products[name].grades:
                found[i] = Option(name, cost)
                break
    return found


class Possession(NamedTuple):
    """A node handed over whole is `holder`'s in [start, end), and nobody else's for `turnaround` seconds after that."""

    start: int
    end: int
    holder: int
    turnaround: int


class Demands:
    """All contracts with something due, by index of the problem's contracts."""

    def __init__(self, problem: Problem, fleet: Fleet) -> None:
        self.problem, self.fleet, self.now = problem, fleet, problem.now
        self.products = {p.name: p for p in problem.products}
        self._names = {name: i + 1 for i, name in enumerate(sorted({c.holder for c in problem.contracts} - {""}))}
        self.previous: dict[str, list[Binding]] = {}
        for binding in sorted(problem.previous):
            self.previous.setdefault(binding.contract, []).append(binding)
        self._options: dict[tuple[str, bool], dict[int, Option]] = {}
        self._pools: dict[tuple[str, bool, int], Pool] = {}

    def copy(self, fleet: Fleet) -> Demands:
        """The same for a copy of the fleet."""
        other = copy(self)
        other.fleet, other._names, other.previous = fleet, dict(self._names), dict(self.previous)
        other._options, other._pools = dict(self._options), dict(self._pools)
        return other

    def demand(self, index: int) -> Demand | None:
        """The contract's demand; None when nothing is due any more."""
        return self.of(index, self.problem.contracts[index])

    def of(self, index: int, contract: Contract) -> Demand | None:
        """The same for any contract of these products, as a question that is asked under `index`."""
        now = self.now
        start, end = due(contract, now)
        if start >= end:
            return None
        product = self.products[contract.product]
        options = self._options_of(contract)
        previous = self.previous.get(contract.key, [])
        mine = [] if contract.reserve else running_at(previous, now)
        delivering = not contract.reserve and (contract.delivering or any(b.start < now for b in previous))
        forced = contract.forced_moves_only or product.move_policy is MovePolicy.FORCED
        cuts = UNLIMITED if contract.reserve else 0 if forced else product.moves_per_month
        before = tuple(self._clipped(contract, previous, start, end))
        return Demand(
            index, contract, start, end, contract.lots, self._pool(contract, options), options,
            -1 - index if contract.reserve else self.holder(contract), product.turnaround_seconds,
            contract.all_or_nothing and not delivering,
            -(-contract.lots // max(1, contract.spread_domains)) if contract.spread_level is not Scope.ANY else contract.lots,
            0 if contract.reserve else product.move_seconds, cuts, self._running(contract, mine) if start == now else {}, before,
            tuple(self._clipped(contract, self._open(contract, previous), start, end)),
            self._rights(contract, mine),
        )  # fmt: skip

    def holder(self, contract: Contract) -> int:
        """A number for each holder; 0 for none, and for a reserve, which is nobody's yet."""
        if contract.reserve or not contract.holder:
            return 0
        return self._names.get(contract.holder, len(self._names) + 1)  # nobody's yet that is asked for

    def know(self, holder: str) -> None:
        """The holder comes to stay."""
        if holder and holder not in self._names:
            self._names[holder] = len(self._names) + 1

    def possession(self, binding: Binding, contract: Contract) -> Possession | None:
        """What the binding means for other holders; None where the node is not handed over whole, or is gone."""
        column, holder = self.fleet.column.get(binding.node), self.holder(contract)
        if column is None or not self.fleet.whole[column] or not holder:
            return None
        return Possession(binding.start, binding.end, holder, self.products[contract.product].turnaround_seconds)

    def changed(self) -> None:
        """Some node may serve now that could not, or no longer."""
        self._pools.clear()

    def _options_of(self, contract: Contract) -> dict[int, Option]:
        key = contract.product, contract.substitution
        if key not in self._options:
            self._options[key] = options_of(contract, self.products, self.fleet)
        return self._options[key]

    def _pool(self, contract: Contract, options: dict[int, Option]) -> Pool:
        key = contract.product, contract.substitution, contract.lot_gpus
        if key not in self._pools:
            fleet = self.fleet
            ranks = {cost: i for i, cost in enumerate(sorted({0} | {o.cost for o in options.values()}))}
            rank = {grade: ranks[option.cost] for grade, option in options.items()}
            able = np.isin(fleet.grade, np.array(sorted(options), dtype=np.int64)) & fleet.open & (fleet.gpus >= contract.lot_gpus)
            columns = np.flatnonzero(able).astype(np.int64)
            costs = np.array([rank[g] for g in fleet.grade[columns].tolist()], dtype=np.int64)
            spans = tuple((rank[grade], fleet.span[grade]) for grade in sorted(options, key=lambda g: (rank[g], g)))
            self._pools[key] = Pool(columns, costs, spans, tuple(s for s in spans if not s[0]))
        return self._pools[key]

    def _running(self, contract: Contract, mine: Sequence[Binding]) -> dict[int, int]:
        """Lots at now; those on nodes that are gone count under columns of their own, -1, -2, …"""
        lots: dict[int, int] = {}
        for binding in mine:
            column = self.fleet.column.get(binding.node, -1)
            lots[column] = lots.get(column, 0) + binding.gpus // contract.lot_gpus
        return lots

    def _open(self, contract: Contract, previous: Sequence[Binding]) -> list[Binding]:
        """Announced bindings that may be kept: nothing begins on a cordoned node, at `now` as little as later."""
        fleet, now = self.fleet, self.now
        known = [b for b in previous if b.node in fleet.column]
        runs = [b.start < now and not contract.reserve for b in known]
        return [b for b, r in zip(known, runs, strict=True) if r or not fleet.nodes[fleet.column[b.node]].cordoned]

    def _clipped(self, contract: Contract, previous: Sequence[Binding], start: int, end: int) -> list[Binding]:
        """The parts of bindings inside [start, end)."""
        return [
            b if start <= b.start and b.end <= end else b._replace(start=max(b.start, start), end=min(b.end, end))
            for b in previous
            if max(b.start, start) < min(b.end, end) and b.gpus >= contract.lot_gpus
        ]

    def _rights(self, contract: Contract, mine: Sequence[Binding]) -> dict[int, int]:
        rights: dict[int, int] = {}
        for b in mine:
            column = self.fleet.column.get(b.node)
            if column is not None and self.fleet.nodes[column].cordoned:
                rights[column] = rights.get(column, 0) + b.gpus // contract.lot_gpus
        return rights
