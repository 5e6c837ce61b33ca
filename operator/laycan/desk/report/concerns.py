"""What somebody should know of: what is refused, short or at risk, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from laycan.desk.report.figures import counted
from laycan.desk.report.lines import Line, State
from laycan.desk.report.standing import Standing
from laycan_solver.model import Problem, Undelivered

AT_RISK = ("AtRisk", "Shortfall", "Degraded", "Suspended", "Stalled")  # conditions that somebody should look at


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that somebody should know: who, since when, how much, and why."""

    kind: str  # Refused, Short, Curtailed, or a condition
    contract: str
    gpus: int  # 0: of the contract as a whole
    start: int
    end: int
    code: str
    message: str
    pool: str


def concerns_of(problem: Problem, lines: Sequence[Line], standings: Iterable[Standing]) -> list[Concern]:
    """The most urgent first: refusals, then what is short, the largest before the others, then conditions, then curtailment."""
    return sorted((*_planned(problem, lines), *_told(standings)), key=_urgency)


def _planned(problem: Problem, lines: Sequence[Line]) -> Iterator[Concern]:
    targets = {p.name: p.reliability.target_ppm for p in problem.products}
    for line in lines:
        for u in line.gaps:
            yield _gap(line, u)
        if line.above(target := targets[line.contract.product]):
            yield _above(line, target or 0)


def _told(standings: Iterable[Standing]) -> Iterator[Concern]:
    for s in standings:
        if s.phase == "Rejected":
            yield Concern("Refused", s.key, s.gpus, s.start, s.end, s.code, s.message, s.pool)
        for c in s.conditions:
            if c.type in AT_RISK and s.phase != "Rejected":
                yield Concern(c.type, s.key, 0, 0, 0, c.reason, c.message, "")


def _gap(line: Line, u: Undelivered) -> Concern:
    kind = "Refused" if u.refused else "Curtailed" if line.state is State.CURTAILED else "Short"
    return Concern(kind, u.contract, u.gpus, u.start, u.end, u.code.value, u.message, line.contract.product)


def _above(line: Line, target_ppm: int) -> Concern:
    c, risk = line.contract, line.risk
    assert risk
    odds = f"the chance of a shortfall in its worst 30 days is {risk.ppm:,} ppm, and is to be below {target_ppm:,}"
    return Concern(
        "AtRisk", c.key, 0, c.start, c.end, "AboveTarget", f"{odds}; {counted(risk.spare_nodes, 'spare node')} at the fewest", c.product
    )


def _urgency(e: Concern) -> tuple[int, int, str, int]:
    order = ("Refused", "Short", *AT_RISK, "Curtailed")
    return order.index(e.kind), -e.gpus * (e.end - e.start), e.contract, e.start
