"""The chance of a shortfall of every contract of a plan. See `promise` for how it is reckoned and how admission uses it."""

from __future__ import annotations

from .model import Plan, Problem
from .planner import laid_out
from .promise import Risk as Risk
from .promise import Risks as Risks


def risks_of(problem: Problem, plan: Plan) -> dict[str, Risk]:
    """Contract -> its figures, of every Firm contract that the plan accepts and that has not ended, whether it has a target or not."""
    book, demands = laid_out(problem, plan.bindings, {u.contract for u in plan.undelivered if u.refused})
    return Risks(book, demands).all()
