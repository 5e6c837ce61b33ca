"""The answer to `intent: Quote`: can this be promised now, at which risk, and if not, what could be instead.

Full means that the admission which decides candidates would accept the contract at this moment beside everything accepted before,
holds included; partial, that it would accept fewer lots of it in the same window. Every alternative would itself be accepted if it
came now and alone. Nothing changes by asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .alternatives import Alternative, Kind, best_first
from .asking import Asking, candidate
from .counteroffers import in_the_window
from .live import Live
from .model import Contract, Undelivered
from .other_times import at_other_times
from .promise import Risk


class Promise(StrEnum):
    """How much of what was asked could be promised."""

    FULL = "Full"
    PARTIAL = "Partial"
    NONE = "None"


@dataclass(frozen=True)
class Answer:
    """`risk` is that of all that was asked, as it would lie, also where it is refused for it; None where there is no room for it.

    `alternatives` are the best first; none where the promise is full. `refusal` is None then, and says else what is short.
    """

    promise: Promise
    risk: Risk | None
    alternatives: tuple[Alternative, ...]
    refusal: Undelivered | None


def answer(live: Live, contract: Contract, refusal: Undelivered | None = None) -> Answer:
    """What the plan, kept by `live`, can promise of the contract; ValueError where its product is unknown or its end has passed.

    `refusal`: why admission has just refused it, where that is known.
    """
    asking, asked = Asking(live), candidate(contract)
    if refusal is None:
        tried = asking.would(asked, proving=True)
        refusal = tried.refusal
        if refusal is None:
            return Answer(Promise.FULL, tried.risk, (), None)
    same = in_the_window(asking, asked)
    fewer = next((a.contracts[0] for a in same if a.kind is Kind.FEWER), None)
    found = best_first((*same, *at_other_times(asking, asked, fewer)))
    promise = Promise.PARTIAL if fewer else Promise.NONE
    return Answer(promise, asking.risk_anyhow(asked), found, refusal)
