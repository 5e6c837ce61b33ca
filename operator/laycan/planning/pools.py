"""Which nodes can stand behind which products: the grade, and how exactly its GPUs are delivered.

A node gives one level at a time: exact GPUs (Device) where the cluster can enforce them, else the whole node (Node). A product may
ask for one of them. The nodes of a grade of which some product does are two pools, one for each level, and a product draws from
those that it accepts; to the planner a pool is a grade like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from laycan.resources.product import ProductSpec
from laycan_solver.model import Level

_LEVELS = {"Node": (Level.NODE,), "Device": (Level.DEVICE,), None: (Level.NODE, Level.DEVICE)}


@dataclass(frozen=True, slots=True)
class Pools:
    divided: frozenset[str] = frozenset()  # grades of which some product asks for a level
    whole: frozenset[str] = frozenset()  # of these, those of which nobody asks for exact GPUs: their nodes go as a whole

    @classmethod
    def of(cls, products: Mapping[str, ProductSpec]) -> Pools:
        asked: dict[str, set[str]] = {"Node": set(), "Device": set()}
        for spec in products.values():
            if spec.level is not None:
                asked[spec.level].update(spec.gpu_products)
        return cls(frozenset(asked["Node"] | asked["Device"]), frozenset(asked["Node"] - asked["Device"]))

    def level(self, grade: str, exact: bool) -> Level:
        """How a node of this grade is delivered; `exact`: the cluster can enforce single GPUs on it."""
        return Level.DEVICE if exact and grade not in self.whole else Level.NODE

    def name(self, grade: str, level: Level) -> str:
        """The pool that a node of this grade and level belongs to."""
        return f"{grade}/{level.value}" if grade in self.divided else grade

    def accepted(self, product: ProductSpec) -> frozenset[str]:
        """The pools that a product is delivered from."""
        return frozenset(self.name(grade, level) for grade in product.gpu_products for level in _LEVELS[product.level])
