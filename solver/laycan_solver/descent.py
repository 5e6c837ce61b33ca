"""Prices of capacity by steepest descent: for many time slices at once, what the last GPU of each size of block is worth.

Lots of one size ask for GPUs at their density (worth per GPU-second); a grade has so many GPUs in whole nodes, so many in blocks of four
and more, … : a chain of capacities, each part of the next. Counted in GPUs this is a small flow problem per slice, and its dual in the
prices per GPU of every (grade, level of the chain) is L-natural convex: where no set of prices can be raised, or lowered, together by one
step with profit, none can at all (Murota, Discrete Convex Analysis, 2003, ch. 10). The best set to move is found by dynamic
programming along the chain, and steps are halved from coarse to fine. Floats are good enough: whatever comes out is a valid certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

HALVINGS = 17  # of the step, from the dearest density on
SLACK = 2e-7  # of what is asked for in a slice, that common prices of neighbouring slices may cost


class Bids(NamedTuple):
    """Contracts that can be served alike. `options`: (grade, cost per GPU-second) each; the rest per contract, by falling density."""

    level: int
    options: tuple[tuple[int, float], ...]
    density: Floats
    gpus: Floats  # [contract, slice] asked for


@dataclass
class Term:
    """What bids add to the dual, for any price and slice: the surplus of those above the price."""

    level: int
    grades: tuple[int, ...]
    costs: Floats
    falling: Floats  # minus density
    amount: Floats  # [contracts, slice] GPUs of the dearest so many
    worth: Floats

    def surplus(self, price: Floats, slices: Whole) -> Floats:
        rank = np.searchsorted(self.falling, -price, side="left")
        found: Floats = self.worth[rank, slices] - price * self.amount[rank, slices]
        return found


def term_of(bids: Bids) -> Term:
    zero = np.zeros((1, bids.gpus.shape[1]))
    return Term(
        bids.level, tuple(g for g, _ in bids.options), np.array([c for _, c in bids.options]), -bids.density,
        np.concatenate((zero, bids.gpus.cumsum(axis=0))), np.concatenate((zero, (bids.gpus * bids.density[:, None]).cumsum(axis=0))),
    )  # fmt: skip


class Descent:
    """Prices of one group of grades for some slices. `have`: [grade, level, slice] GPUs in blocks of the level or larger ones."""

    def __init__(self, have: Floats, bids: list[Bids]) -> None:
        self.grades, self.levels, self.slices = have.shape
        self.terms = [term_of(b) for b in bids]
        self.slope = have - np.concatenate((have[:, 1:], np.zeros_like(have[:, :1])), axis=1)
        self.top = max(float(-t.falling[0]) for t in self.terms)
        self.allowed = _forbidden(self.grades)

    def prices(self) -> Floats:
        """[grade, level, slice] price per GPU, rising with the level; common to neighbouring slices where that costs next to nothing."""
        prices = np.zeros((self.grades, self.levels, self.slices))
        step = self.top
        for _ in range(HALVINGS):
            step /= 2
            for sign in (step, -step):
                self._descend(prices, sign)
        return self._common(prices)

    def _descend(self, prices: Floats, step: float) -> None:
        active = np.arange(self.slices)
        while len(active):
            here = prices[:, :, active]
            gain, moves = self._best_move(here, step, active)
            better = gain < -1e-9 * self.top
            active = active[better]
            prices[:, :, active] = here[:, :, better] + step * moves[:, :, better]

    def _best_move(self, prices: Floats, step: float, slices: Whole) -> tuple[Floats, Floats]:
        """Change of the dual per slice by the best set of prices to move by `step`, and [grade, level, slice] that set."""
        sets = 1 << self.grades
        members = (np.arange(sets)[:, None] >> np.arange(self.grades)) & 1  # [set, grade]
        moved = np.einsum("sg,glt->lts", members * step, self.slope[:, :, slices])  # [level, slice, set]
        for term in self.terms:
            moved[term.level] += self._change(term, prices, step, slices, members)
        tied = self._tied(prices, step)
        best = moved[0] + (self.allowed[tied[0]][:, :, 0] if step < 0 else 0.0)
        choices = []
        for level in range(1, self.levels):
            fence = self.allowed[tied[level]]  # [slice, blocked from moving alone, …]
            ways = best[:, :, None] + (fence if step > 0 else fence.transpose(0, 2, 1))
            choices.append(ways.argmin(axis=1))
            best = ways.min(axis=1) + moved[level]
        rows = np.arange(len(slices))
        chosen = [best.argmin(axis=1)]
        for choice in reversed(choices):
            chosen.append(choice[rows, chosen[-1]])
        return best.min(axis=1), members[np.stack(chosen[::-1])].transpose(2, 0, 1).astype(np.float64)

    def _change(self, term: Term, prices: Floats, step: float, slices: Whole, members: Whole) -> Floats:
        """[slice, set] change of a term when the prices of a set of grades move."""
        lots = [prices[g, term.level] + cost for g, cost in zip(term.grades, term.costs, strict=True)]
        base = term.surplus(np.minimum.reduce(lots), slices)
        known: dict[tuple[int, ...], Floats] = {(0,) * len(lots): np.zeros(len(slices))}
        out = np.empty((len(slices), len(members)))
        for s, row in enumerate(members[:, term.grades].tolist()):
            key = tuple(row)
            if key not in known:
                price = np.minimum.reduce([lot + step * inside for lot, inside in zip(lots, key, strict=True)])
                known[key] = term.surplus(price, slices) - base
            out[:, s] = known[key]
        return out

    def _tied(self, prices: Floats, step: float) -> list[Whole]:
        """Per level and slice: the set of grades whose price is that of the level before (of nought, at the first)."""
        lower = np.concatenate((np.zeros_like(prices[:, :1]), prices[:, :-1]), axis=1)
        close = prices - lower < abs(step) / 2
        return list(np.einsum("g,glt->lt", 1 << np.arange(self.grades), close.astype(np.int64)))

    def value(self, prices: Floats) -> Floats:
        """The dual per slice; the lower, the better."""
        slices = np.arange(self.slices)
        value: Floats = (self.slope * prices).sum(axis=(0, 1))
        for term in self.terms:
            lots = [prices[g, term.level] + cost for g, cost in zip(term.grades, term.costs, strict=True)]
            value += term.surplus(np.minimum.reduce(lots), slices)
        return value

    def _common(self, prices: Floats) -> Floats:
        """The same prices for runs of slices as long as possible."""
        limit = self.value(prices) + SLACK * sum(term.worth[-1] for term in self.terms)
        starts = list(range(self.slices))  # of the runs
        idle = parity = 0
        while idle < 2 and len(starts) > 1:
            merged = False
            for forwards in (True, False):
                pairs = [(i, i + 1) for i in range(parity, len(starts) - 1, 2)]
                trial, spans = prices.copy(), []
                for a, b in pairs:
                    first, middle, last = starts[a], starts[b], starts[b + 1] if b + 1 < len(starts) else self.slices
                    spans.append((first, middle, last))
                    trial[:, :, first:last] = prices[:, :, first if forwards else middle, None]
                fits = self.value(trial) <= limit
                gone = set()
                for first, middle, last in spans:
                    if fits[first:last].all():
                        prices[:, :, first:last] = trial[:, :, first:last]
                        gone.add(middle)
                starts = [s for s in starts if s not in gone]
                merged |= bool(gone)
            parity ^= 1
            idle = 0 if merged else idle + 1
        return prices


def _forbidden(grades: int) -> Floats:
    """[tied, outer set, inner set]: infinite where a grade whose two prices are tied would move in the outer set only."""
    sets = np.arange(1 << grades)
    alone = sets[None, :, None] & ~sets[None, None, :]
    return np.where(sets[:, None, None] & alone, np.inf, 0.0)
