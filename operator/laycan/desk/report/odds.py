"""The chance of a shortfall of what was sold Firm, product by product, against the product's target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from laycan.desk.report.lines import Line
from laycan_solver.model import Problem, Product


@dataclass(frozen=True, slots=True)
class Odds:
    """Of the accepted Firm contracts of a product that are not over. Chances are of their worst 30 days, ppm, rounded up."""

    contracts: int
    target_ppm: int | None
    above: int  # contracts that do not keep the target
    worst_ppm: int
    worst: str  # the contract that has it
    fragile: int  # contracts for which a rack that is lost leaves fewer spares than it had nodes


def odds_of(problem: Problem, lines: Sequence[Line]) -> Mapping[str, Odds]:
    """By product; those without such contracts are left out."""
    sold: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.risk is not None:
            sold[line.contract.product].append(line)
    return {p.name: _odds(p, sold[p.name]) for p in problem.products if p.name in sold}


def _odds(product: Product, lines: Sequence[Line]) -> Odds:
    risks = sorted((-line.risk.ppb, line.contract.key, line.risk) for line in lines if line.risk)
    _, key, worst = risks[0]
    target = product.reliability.target_ppm
    above = sum(line.above(target) for line in lines)
    return Odds(len(risks), target, above, worst.ppm, key, sum(not risk.survives_domain for *_, risk in risks))
