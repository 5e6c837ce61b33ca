"""The baseline that the planner must never be worse than: running lots stay, every other lot goes to the fullest node that holds it.

A lot keeps one node for its whole window; nothing is cut, moved or decided twice.
"""

from __future__ import annotations

from collections import Counter

from laycan_solver.model import Contract, Level, Node
from tests.laycan_solver.sliced import Sliced, Table


class BestFit:
    def __init__(self, sliced: Sliced) -> None:
        self.sliced = sliced
        self.table: Table = {}
        self.used = {name: [0] * len(sliced.slices) for name in sliced.nodes}  # node -> GPUs per slice
        self.holders: dict[str, set[str]] = {name: set() for name in sliced.nodes}
        for b in sliced.problem.previous:
            if b.start < sliced.problem.now and b.contract in sliced.contracts and b.node in sliced.nodes:
                self.holders[b.node].add(sliced.contracts[b.contract].holder)

    def fill(self) -> Table:
        contracts = sorted(self.sliced.contracts.values(), key=lambda c: (self.sliced.begin(c), -c.gpus, c.key))
        for c in contracts:
            self._keep(c)
        for c in contracts:
            self._place(c)
        return self.table

    def _put(self, c: Contract, node: str, slices: list[int], lots: int = 1) -> None:
        row = self.table.setdefault((c.key, node), [0] * len(self.sliced.slices))
        for i in slices:
            row[i] += lots
            self.used[node][i] += lots * c.lot_gpus
        self.holders[node].add(c.holder)

    def _keep(self, c: Contract) -> None:
        for (key, name), lots in sorted(self.sliced.ran.items()):
            if key == c.key and (node := self.sliced.nodes.get(name)):
                stays = []
                for i in self.sliced.due(c):
                    if self.sliced.room(c, node, i) < lots or self.sliced.gpus(node, i) < self.used[name][i] + lots * c.lot_gpus:
                        break
                    stays.append(i)
                self._put(c, name, stays, lots)

    def _spare(self, c: Contract, node: Node, slices: list[int]) -> int:
        """Least GPUs left on the node if it took one more lot; negative: it cannot."""
        row = self.table.get((c.key, node.name), [0] * len(self.sliced.slices))
        if node.cordoned or any(self.sliced.room(c, node, i) <= row[i] for i in slices):
            return -1
        if node.level is Level.NODE and self.holders[node.name] - {c.holder}:
            return -1
        return min(self.sliced.gpus(node, i) - self.used[node.name][i] for i in slices) - c.lot_gpus

    def _place(self, c: Contract) -> None:
        slices = self.sliced.due(c)
        rows = {n: row for (key, n), row in self.table.items() if key == c.key and any(row)}
        missing = c.lots - max(sum(row[i] for row in rows.values()) for i in slices)
        best: list[str] = []
        for domain in sorted({n.domains[c.scope - 1] if c.scope else "" for n in self.sliced.nodes.values()}):
            if not c.scope or all(self.sliced.nodes[n].domains[c.scope - 1] == domain for n in rows):
                best = max(best, self._try(c, slices, rows, domain, missing), key=len)
        if len(best) == missing or not self.sliced.starts_whole(c):
            for name in best:
                self._put(c, name, slices)

    def _try(self, c: Contract, slices: list[int], rows: dict[str, list[int]], domain: str, missing: int) -> list[str]:
        """Nodes inside the domain of the scope, one for each further lot."""
        inside = [n for n in self.sliced.nodes.values() if not c.scope or n.domains[c.scope - 1] == domain]
        room = {n.name: self._spare(c, n, slices) for n in inside}
        spread: Counter[str] = Counter()
        for name, row in rows.items():
            spread[self._group(c, name)] += max(row)
        taken: Counter[str] = Counter()
        most = -(-c.lots // c.spread_domains)
        for _ in range(missing):
            open_ = [n for n, left in room.items() if left >= 0 and (not c.spread_level or spread[self._group(c, n)] < most)]
            if not open_:
                break
            name = min(open_, key=lambda n: (room[n], n))
            room[name] -= c.lot_gpus
            spread[self._group(c, name)] += 1
            taken[name] += 1
        return list(taken.elements())

    def _group(self, c: Contract, name: str) -> str:
        return self.sliced.nodes[name].domains[c.spread_level - 1] if c.spread_level else ""


def best_fit(sliced: Sliced) -> Table:
    return BestFit(sliced).fill()
