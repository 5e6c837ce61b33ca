"""Limits of the benchmarks, from `budgets.yaml`, and whether figures keep within them. Nothing fails for a limit: it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

import yaml

from bench.measure import Row

FILE = Path(__file__).with_name("budgets.yaml")


@dataclass(frozen=True)
class Limit:
    """On one figure of one row: at `most` or at `least` so much, on every seed, or at the median of the seeds; `how` it was set."""

    row: str
    figure: str
    how: str
    most: int | None = None
    least: int | None = None
    median: bool = False

    def judge(self, rows: Sequence[Row]) -> Row | None:
        """The figure that counts among the rows of that name, against the limit; None without any."""
        found = [value for r in rows if r.get("row") == self.row and isinstance(value := r.get(self.figure), int)]
        if not found:
            return None
        value = median_low(found) if self.median else min(found) if self.most is None else max(found)
        kept = (self.most is None or value <= self.most) and (self.least is None or value >= self.least)
        limit = f"<= {self.most}" if self.most is not None else f">= {self.least}"
        over = f"median of {len(found)}" if self.median else f"worst of {len(found)}"
        return {"row": self.row, "figure": self.figure, "value": value, "of": over, "limit": limit, "kept": "yes" if kept else "NO"}


def limits(file: Path = FILE) -> list[Limit]:
    """All limits; raises TypeError for one without its reason or with an unknown field."""
    rows: Mapping[str, Mapping[str, Mapping[str, object]]] = yaml.safe_load(file.read_text())
    return [Limit(row, figure, **fields) for row, figures in rows.items() for figure, fields in figures.items()]  # type: ignore[arg-type]


def judged(rows: Sequence[Row]) -> list[Row]:
    return [verdict for limit in limits() if (verdict := limit.judge(rows))]
