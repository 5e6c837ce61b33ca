"""Asking a kept plan: would it accept this contract now, and at which risk? The same admission decides as for candidates.

Nothing changes by asking: every question is a rehearsal. Before one is held a look tells whether it is worth it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from .allot import units_in
from .headroom import Headroom, Window, last_true
from .live import Live
from .model import Contract, Undelivered
from .promise import Risk
from .quote import Desk
from .rehearsal import Rehearsal

LATEST = 2 * 365 * 86_400  # seconds behind everything that is planned until which a window may end


@dataclass(frozen=True)
class Tried:
    """What admission says: the refusal, or else the risk at which the contract lies."""

    refusal: Undelivered | None
    risk: Risk | None


class Asking:
    """Questions to one plan, between two updates. `desk` answers what can be answered without a rehearsal."""

    def __init__(self, live: Live) -> None:
        self.live, self.book, self.now = live, live.book, live.now
        self.desk = Desk(live.book, live.demands, live.admission.counting)
        self.risks = live.admission.risks
        self.risks.refresh()
        self.left = 0  # rehearsals that may still be held, where somebody counts them: see `alternative`
        self._headrooms: dict[tuple[str, bool], Headroom] = {}

    def would(self, *contracts: Contract, proving: bool = False) -> Tried:
        """Would all of these be accepted, one after the other? The risk is the largest of theirs; see `Risks.proving`."""
        live, book = self.live, self.book
        worst: Risk | None = None
        book.before, self.risks.proving = live.announced.refresh, proving
        try:
            with ExitStack() as rehearsals:
                for i, contract in enumerate(contracts):
                    rehearsals.enter_context(Rehearsal(book))
                    demand = replace(self.desk.demand(contract), index=live.next_index + i)
                    if refusal := live.admission.decide(demand):
                        return Tried(refusal, None)
                    risk = self.risks.rehearsed(demand)
                    worst = risk if worst is None or risk.ppb > worst.ppb else worst
        finally:
            book.before, self.risks.proving = None, True
        return Tried(None, worst)

    def fits(self, contract: Contract) -> bool:
        """All lots fit beside the plan as it is: a quick look, before anything is tried."""
        return self.desk.bindable(contract).lots == contract.lots

    def promising(self, contract: Contract) -> bool:
        """The same, and no target seems to be in the way."""
        return self.fits(contract) and self.look(contract).keeps_targets(contract.lots)

    def risk_anyhow(self, contract: Contract) -> Risk | None:
        """At what risk the contract would lie if nobody minded; None where it finds no room."""
        return self.would(replace(contract, judged=True)).risk if self.fits(contract) else None

    def look(self, contract: Contract) -> Look:
        """What is behind the targets in the contract's window."""
        demand = self.desk.demand(contract)
        if not (self.risks.targets and contract.firm):
            return Look([], None, 0, 1)
        key = contract.product, contract.substitution
        if key not in self._headrooms:
            self._headrooms[key] = Headroom(self.risks, demand, self.book.ledger.grid.times[-1] + LATEST)
        units = units_in(self.book, demand, demand.start, demand.end)
        each = self.book.fleet.gpus[units.columns] // contract.lot_gpus
        headroom = self._headrooms[key]
        windows = headroom.windows(demand.start, demand.end)
        return Look(windows, headroom, int(units.lots[units.lots < each].sum()), int(each.max(initial=1)))


@dataclass(frozen=True)
class Look:
    """Pools in a window, without placing anything. `beside`: lots that fit on nodes which others use in part; `each`: on a free node."""

    windows: list[Window]
    headroom: Headroom | None
    beside: int
    each: int

    def keeps_own(self, lots: int) -> bool:
        """False where so many lots would surely miss their own target."""
        return self.headroom is None or self.headroom.keeps_target(self.windows, self._nodes(lots))

    def keeps_targets(self, lots: int) -> bool:
        """The same, and nobody else's target seems to be missed for them; of one that is missed already nothing is known."""
        if self.headroom is None or not self.headroom.keeps_target(self.windows, self._nodes(lots)):
            return self.headroom is None
        return self.headroom.harms_nobody(self.windows, self._nodes(lots)) or not self.headroom.harms_nobody(self.windows, 0)

    def _nodes(self, lots: int) -> int:
        """Nodes that would be committed besides those that are."""
        return -(-max(0, lots - self.beside) // self.each)


def most_admitted(
    asking: Asking, part: Callable[[int], Contract], most: int, tries: int, guess: int | None = None
) -> tuple[int, Risk | None]:
    """The most lots that admission takes, at most so many, and their risk.

    It is asked first where targets seem to end, or for a `guess` below that, and from there by doubling and bisection.
    """
    look = asking.look(part(most)) if most else None
    if look is None:
        return 0, None
    high = last_true(most, look.keeps_own)
    low, step, risk = 0, 1, None
    lots = min(last_true(high, look.keeps_targets), most if guess is None else guess) or min(1, high)
    while low < lots <= high and tries > 0:
        better, tries = asking.would(part(lots)).risk, tries - 1
        if better is None:
            high = lots - 1
            break
        low, risk, lots, step = lots, better, min(lots + step, high), 2 * step
    while low < high and tries > 0:
        lots = (low + high + 1) // 2
        better, tries = asking.would(part(lots)).risk, tries - 1
        low, high, risk = (lots, high, better) if better else (low, lots - 1, risk)
    return low, risk


def candidate(contract: Contract) -> Contract:
    """The contract as of somebody who has not been accepted."""
    return replace(contract, accepted=False, delivering=False, reserve=False)
