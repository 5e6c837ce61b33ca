"""The optimum of small problems by CP-SAT: what no legal plan can beat, one constraint family after the other.

`lots[contract, node, slice]` are integers over the slices between events, so chains of bindings are just values that change from one
slice to the next. A plan that changes something between two events is not represented; it never pays except by tricks with gaps
shorter than a slice, which the times of `instances` make expensive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from laycan_solver.model import Contract, Level, MovePolicy
from tests.laycan_solver.sliced import Sliced, Table

MONTH = 30 * 86_400
UNIT = 3_600 * 10**6  # rate x GPU-seconds in a micro
Linear = Any  # OR-Tools' expressions, whose types depend on its version


@dataclass(frozen=True)
class Optimum:
    """`least` = proven, `value` = reached by `table`; equal when the solver finished. Micros."""

    least: int
    value: int
    table: Table


class Exact:
    """`solve` may be called for several objectives; what a contract is owed is exact when its times and prices are round.

    `loose`: what must come whole may come in part once all of it was served, as the terms may be read.
    """

    def __init__(self, sliced: Sliced, loose: bool = False) -> None:
        self.sliced, self.loose = sliced, loose
        self.model = cp_model.CpModel()
        self.lots: dict[tuple[str, str], dict[int, cp_model.IntVar]] = {}
        self.firm: Linear = 0
        self.total: Linear = 0
        for c in sliced.contracts.values():
            self._place(c)
            self._topology(c)
            self._money(c, self._interruptions(c))
        self._capacity()
        self._holders()

    def solve(self, objective: Linear, seconds: float = 20.0, firm_at_most: int | None = None, hint: Table | None = None) -> Optimum:
        """The least value of `firm` or `total`, in deterministic time."""
        model = self.model.clone() if firm_at_most is not None else self.model
        if firm_at_most is not None:
            model.add(self.firm <= firm_at_most)
        model.minimize(objective)
        model.clear_hints()
        for key, row in self.lots.items():
            for i, var in row.items():
                if hint is not None:
                    model.add_hint(var, hint.get(key, [0] * len(self.sliced.slices))[i])
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        solver.parameters.max_deterministic_time = seconds
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            raise RuntimeError(f"no solution: {solver.status_name(status)}")
        table: Table = {}
        for key, row in self.lots.items():
            table[key] = [solver.value(row[i]) if i in row else 0 for i in range(len(self.sliced.slices))]
        return Optimum(max(0, round(solver.best_objective_bound)), round(solver.objective_value), table)

    def _place(self, c: Contract) -> None:
        """Lots go where the grade, the GPUs of one node and a cordon allow it; never more than contracted; all or none."""
        for name, n in self.sliced.nodes.items():
            room = {i: self.sliced.room(c, n, i) for i in self.sliced.due(c)}
            if any(room.values()):
                row = {i: self.model.new_int_var(0, most, "") for i, most in room.items()}
                self.lots[c.key, name] = row
                for i in self.sliced.due(c)[1:] if n.cordoned else ():
                    self.model.add(row[i] <= row[i - 1])
        self.bound = {i: sum(row[i] for row in self._rows(c).values()) for i in self.sliced.due(c)}
        begun: Linear = 0
        for total in self.bound.values():
            before, begun = begun, self.model.new_bool_var("")
            if self.sliced.starts_whole(c):
                self.model.add(total >= c.lots * (begun - before * self.loose))
                self.model.add(begun >= before * self.loose)
            self.model.add(total <= c.lots * begun)

    def _rows(self, c: Contract) -> dict[str, dict[int, cp_model.IntVar]]:
        return {name: row for (key, name), row in self.lots.items() if key == c.key}

    def _topology(self, c: Contract) -> None:
        """One domain of the scope at an instant, and no more lots in one of the spread than allowed."""
        rows = self._rows(c)
        for level, most in ((c.scope, c.lots), (c.spread_level, -(-c.lots // c.spread_domains))):
            domains: dict[str, list[str]] = defaultdict(list)
            for name in rows if level else ():
                domains[self.sliced.nodes[name].domains[level - 1]].append(name)
            for i in self.sliced.due(c):
                used = []
                for names in domains.values():
                    used.append(self.model.new_bool_var(""))
                    self.model.add(sum(rows[n][i] for n in names) <= most * used[-1])
                if level == c.scope and used:
                    self.model.add(sum(used) <= 1)

    def _interruptions(self, c: Contract) -> list[cp_model.IntVar]:
        """At each instant all changes go one way, or the contract is interrupted; a cut that nothing forces is rationed."""
        due, rows, now = self.sliced.due(c), self._rows(c), self.sliced.problem.now
        stops, cuts = [], []
        for i in due:
            t = self.sliced.slices[i][0]
            if i == due[0]:
                ran = {name: self.sliced.ran[c.key, name] for key, name in self.sliced.ran if key == c.key}
                if t > now or not ran:
                    continue
                before: dict[str, Linear] = {name: ran.get(name, 0) for name in {*rows, *ran}}
            else:
                before = {name: row[i - 1] for name, row in rows.items()}
            stop, cut = self.model.new_bool_var(""), self.model.new_bool_var("")
            stayable = [n for n in before if self.sliced.could_stay(c, n, i)]
            self._one_way(c, i, before, stayable if t == now else list(before), stop)
            for n in stayable:
                self.model.add(rows[n][i] >= before[n]).only_enforce_if(stop, ~cut)
            stops.append(stop)
            cuts.append((t, cut))
        product = self.sliced.products[c.product]
        most = 0 if c.forced_moves_only or product.move_policy is MovePolicy.FORCED else product.moves_per_month
        for first, _ in cuts:
            self.model.add(sum(cut for t, cut in cuts if first <= t < first + MONTH) <= most)
        return stops

    def _one_way(self, c: Contract, i: int, before: dict[str, Linear], stayable: list[str], stop: cp_model.IntVar) -> None:
        """Unless stopped: no lot leaves a node where it could stay, or none arrives beyond those that had to leave."""
        rows, arrive = self._rows(c), self.model.new_bool_var("")
        for n in stayable:
            self.model.add(rows[n][i] >= before[n]).only_enforce_if(~stop, arrive)
        came: list[Linear] = []
        left: list[Linear] = []
        for n in before:
            here: Linear = rows[n][i] if n in rows else 0
            more = self.model.new_int_var(0, c.lots, "")
            self.model.add(more >= here - before[n])
            came.append(more)
            if n not in stayable:
                fewer = self.model.new_int_var(0, c.lots, "")
                if n in rows:
                    self.model.add_max_equality(fewer, [0, before[n] - here])
                else:
                    self.model.add(fewer == before[n])
                left.append(fewer)
        self.model.add(sum(came) <= sum(left)).only_enforce_if(~stop, ~arrive)

    def _money(self, c: Contract, stops: Iterable[cp_model.IntVar]) -> None:
        """Owed, less what is curtailed by right, plus interruption; in total also what substitutes cost."""
        seconds = {i: self.sliced.slices[i][1] - self.sliced.slices[i][0] for i in self.sliced.due(c)}
        product = self.sliced.products[c.product]
        pause = sum(_micros(c.rate * c.gpus * product.move_seconds) * s for s in stops)
        debt = sum(_micros(c.rate * c.lot_gpus * seconds[i]) * (c.lots - total) for i, total in self.bound.items())
        if not c.firm and c.notice_seconds is not None:
            noticed = self.sliced.problem.now + c.notice_seconds
            late = [i for i in self.bound if self.sliced.slices[i][0] >= noticed]
            curtailed = self.model.new_int_var(0, c.lots * c.curtailable_seconds // 3_600, "")  # lot-hours
            self.model.add(curtailed <= sum((c.lots - self.bound[i]) * (seconds[i] // 3_600) for i in late))
            debt -= _micros(c.rate * c.lot_gpus * 3_600) * curtailed
        extra: Linear = 0
        for name, row in self._rows(c).items():
            _, cost = self.sliced.sold_as(c, self.sliced.nodes[name]) or ("", 0)
            extra += sum(cost * c.lot_gpus * (seconds[i] // 3_600) * var for i, var in row.items() if cost)
        self.total += debt + pause + extra
        if c.firm:
            self.firm += debt + pause

    def _capacity(self) -> None:
        """The healthy GPUs of a node at an instant."""
        for name, n in self.sliced.nodes.items():
            for i in range(len(self.sliced.slices)):
                here = [
                    (self.sliced.contracts[key].lot_gpus, row[i]) for (key, node), row in self.lots.items() if node == name and i in row
                ]
                for k in range(1, n.gpus + 1):  # k > 1: implied for integers, but the relaxation does not know it
                    if any(g >= k for g, _ in here) and (k == 1 or any(g % k for g, _ in here)):
                        self.model.add(sum((g // k) * var for g, var in here) <= self.sliced.gpus(n, i) // k)

    def _holders(self) -> None:
        """A whole node has one holder at a time, with the turnaround of the two products between two, history included."""
        for name in (n.name for n in self.sliced.nodes.values() if n.level is Level.NODE):
            holds: dict[tuple[str, int, int], cp_model.IntVar] = {}  # holder, turnaround, slice
            for (key, node), row in self.lots.items():
                c = self.sliced.contracts[key]
                turnaround = self.sliced.products[c.product].turnaround_seconds
                for i, var in row.items() if node == name and c.holder else ():
                    held = holds.setdefault((c.holder, turnaround, i), self.model.new_bool_var(""))
                    self.model.add(var <= c.lots * held)
            for (a, ta, i), first in holds.items():
                for (b, tb, j), second in holds.items():
                    apart = self.sliced.slices[j][0] - self.sliced.slices[i][1]
                    if a != b and i <= j and (i == j or apart < max(ta, tb)):
                        self.model.add_bool_or(~first, ~second)
            for p in self.sliced.problem.previous:
                past = self.sliced.contracts.get(p.contract)
                if past and past.holder and p.node == name and p.start < self.sliced.problem.now:
                    left, kept = min(p.end, self.sliced.problem.now), self.sliced.products[past.product].turnaround_seconds
                    for (holder, turnaround, i), held in holds.items():
                        if holder != past.holder and self.sliced.slices[i][0] - left < max(turnaround, kept):
                            self.model.add(held == 0)


def _micros(units: int) -> int:
    if units % UNIT:
        raise ValueError("times and prices of an exact problem must be round")
    return units // UNIT
