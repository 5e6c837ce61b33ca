"""The chance that so many nodes are down at once: the upper tail of a Poisson distribution, exact and rounded up.

Nodes that fail at a constant rate and are away for any time of a given mean are, at any instant, down in a Poisson distributed number
(M/G/infinity; the shape of the repair time does not matter). Sums are made in `decimal` with fifty digits, which rounds alike
everywhere: the same promise on every machine.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache

ONE = 10**18  # certainty; what is below one part of it is rounded up to one
MEAN = 10**6 * 86_400  # a mean of one node down, in ppm per day x seconds of repair
MOST_DOWN = 10_000  # nodes on average, beyond which every failure counts: a table of more is not made

_CONTEXT = Context(prec=50)
_NOTHING = Decimal("1e-40")


def tail(mean: int, least: int) -> int:
    """P(at least `least` nodes are down) in parts of `ONE`, rounded up, where `mean` / `MEAN` nodes are down on average."""
    if least <= 0 or mean > MOST_DOWN * MEAN:
        return ONE
    table = _tails(mean)
    return table[least] if least < len(table) else min(mean, 1)


@lru_cache(maxsize=4096)
def _tails(mean: int) -> tuple[int, ...]:
    """The same for 0, 1, 2, … nodes, until less than a part of `ONE` is left."""
    c = _CONTEXT
    m = c.divide(Decimal(mean), Decimal(MEAN))
    terms = [c.exp(c.minus(m))]
    while len(terms) <= m or terms[-1] > _NOTHING:
        terms.append(c.divide(c.multiply(terms[-1], m), Decimal(len(terms))))
    found, total = [], Decimal(0)
    for term in reversed(terms):
        total = c.add(total, term)
        found.append(int(c.multiply(total, Decimal(ONE)).to_integral_value(ROUND_CEILING)))
    found[-1] = ONE  # at least none is certain
    while len(found) > 1 and found[0] <= 1:
        del found[0]
    return tuple(min(part, ONE) for part in reversed(found))
