"""What is planned and what a plan is: immutable data in whole units, validated once.

Times are Unix seconds in UTC, intervals are half-open ``[start, end)``, capacity is in GPUs, quantity in GPU-seconds and money
in millionths of the plan's one currency ("micros"). Nothing here reads a clock, a file or the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .kinds import Level as Level
from .kinds import MovePolicy as MovePolicy
from .kinds import MoveReason as MoveReason
from .kinds import OutageType as OutageType
from .kinds import Reason as Reason
from .kinds import Scope as Scope
from .kinds import Stopped as Stopped

FOREVER = 1 << 40  # seconds; later than any window, the end of an outage without one


@dataclass(frozen=True, slots=True)
class Node:
    """A physical node. `usable` = Ready and not quarantined. `gpus` = healthy GPUs now; the node stays at that count.

    A cordoned node takes nothing new: only lots that run on it at `Problem.now` (a previous binding with start < now < end) may
    stay there, until that binding's end.
    """

    name: str
    grade: str  # the hardware: value of the label nvidia.com/gpu.product
    gpus: int
    domains: tuple[str, str, str, str]  # zone, fabric, rack, NVLink domain; a node without a label is a domain of its own
    usable: bool = True
    cordoned: bool = False
    level: Level = Level.DEVICE


@dataclass(frozen=True, slots=True)
class Reliability:
    """How nodes of a product fail, and how sure the operator wants to be of what is sold Firm on them."""

    failures_ppm: int = 6_500  # failures per node-day, millionths: Meta RSC-1 (Kokolis et al., HPCA 2025)
    repair_seconds: int = 86_400  # mean time to repair
    cure_seconds: int = 14_400  # an outage that is cured by then is no shortfall
    target_ppm: int | None = None  # chance of a shortfall in 30 days, millionths; None = admission by count


@dataclass(frozen=True, slots=True)
class Product:
    """A grade as sold. `equivalents`: product name -> cost of delivering it instead, micros per GPU-hour."""

    name: str
    grades: frozenset[str]  # hardware that is this product
    turnaround_seconds: int = 0
    equivalents: Mapping[str, int] = field(default_factory=dict)
    move_seconds: int = 900
    move_policy: MovePolicy = MovePolicy.RESCUE
    moves_per_month: int = 4
    notice_seconds: int | None = None  # how an Interruptible contract of it may be curtailed if its terms say nothing: None = not at all
    curtailable_seconds: int = 0
    lot_gpus: int = 1  # it is sold in lots of multiples of that
    reliability: Reliability = Reliability()


@dataclass(frozen=True, slots=True)
class Contract:
    """One forward. `gpus` is a multiple of `lot_gpus`; a lot is always on one node."""

    key: str  # namespace/name, unique
    contract_id: str
    product: str
    start: int
    end: int
    gpus: int
    lot_gpus: int
    holder: str = ""  # handover namespace; "" = planned at level Device on every node
    scope: Scope = Scope.ANY
    spread_level: Scope = Scope.ANY  # ANY = no spread
    spread_domains: int = 1  # at most ceil(lots / spread_domains) lots in one domain of spread_level
    all_or_nothing: bool = False  # all lots or none at every instant, until delivery has started
    firm: bool = True
    priority: int = 0
    notice_seconds: int | None = None  # Interruptible: None = no right of curtailment
    curtailable_seconds: int = 0  # what is left of interruption.maxHours, per lot
    substitution: bool = False  # may be delivered in an equivalent grade
    price_micros: int = 1_000_000  # per GPU-hour
    multiple_ppm: int = 1_000_000
    forced_moves_only: bool = False  # delivery.movePolicy: Forced
    accepted: bool = True  # False: a candidate, to be decided by this plan
    unwritten: bool = False  # accepted by a former plan, which is still to be written: not curtailed for a candidate
    admission_order: tuple[str, str, str] = ("", "", "")  # creationTimestamp, tradeTime, contractId
    due_from: int = 0  # owed from max(start, due_from): a contract created after its start owes from its creation
    delivering: bool = False  # delivery has started: all_or_nothing no longer binds
    judged: bool = False  # a candidate that takes up a live hold: no target refuses it, as it was judged with the quote
    hold: bool = False  # keeps the place of a contract to come, which a quote has asked for
    for_firm: bool = False  # such a hold for a Firm contract: it has that contract's target
    reserve: bool = False  # spare capacity that is planned after all contracts and released to them; never runs, owes nobody: `reserves`

    @property
    def lots(self) -> int:
        return self.gpus // self.lot_gpus

    @property
    def rate(self) -> int:
        """Weight of one undelivered GPU-hour, in micros x 10^6 (price x shortfall multiple)."""
        return self.price_micros * self.multiple_ppm


@dataclass(frozen=True, slots=True)
class Outage:
    """In [start, end) these nodes serve nobody."""

    name: str
    type: OutageType
    nodes: frozenset[str]
    start: int
    end: int = FOREVER


class Binding(NamedTuple):
    """`gpus` GPUs (whole lots) of one contract on one node for [start, end); `product` is the grade that the node is."""

    contract: str
    node: str
    product: str
    gpus: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One consistent snapshot. `previous` are the announced bindings: the warm start, and what moves are counted against."""

    now: int
    nodes: tuple[Node, ...]
    products: tuple[Product, ...]
    contracts: tuple[Contract, ...]
    outages: tuple[Outage, ...] = ()
    previous: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        for what, names in (
            ("node", [n.name for n in self.nodes]),
            ("product", [p.name for p in self.products]),
            ("contract", [c.key for c in self.contracts]),
        ):
            if len(set(names)) != len(names):
                seen: set[str] = set()
                double = next(n for n in names if n in seen or seen.add(n))  # type: ignore[func-returns-value]
                raise ValueError(f"{what} {double!r} is given twice; names must be unique")
        products = {p.name for p in self.products}
        for c in self.contracts:
            if c.product not in products:
                raise ValueError(f"contract {c.key}: product {c.product!r} is not given; add it or correct productRef.name")
            if not (c.start < c.end and 0 < c.lot_gpus <= c.gpus and c.gpus % c.lot_gpus == 0):
                raise ValueError(f"contract {c.key}: needs start < end and gpus a positive multiple of lotGpus")


class Undelivered(NamedTuple):
    """`gpus` GPUs of one contract that are not delivered in [start, end), and why; `message` is for people."""

    contract: str
    start: int
    end: int
    gpus: int
    code: Reason
    message: str
    refused: bool = False  # a candidate that this plan does not accept; owed to nobody


class Move(NamedTuple):
    """`gpus` of a continuing or announced lot that leave `source` for `target`."""

    contract: str
    source: str
    target: str
    gpus: int
    reason: MoveReason


@dataclass(frozen=True, slots=True)
class Totals:
    """Of [max(start, now), end) of every contract that the plan accepts; reserves have a total of their own."""

    value_micros: int  # what would be owed if nothing were delivered
    owed_micros: int
    firm_owed_micros: int  # owed + interruption of Firm contracts
    interruption_micros: int
    substitution_micros: int
    contracted_gpu_seconds: int
    bound_gpu_seconds: int
    moved_gpus: int
    contract_instants: int
    reserve_short_gpu_seconds: int = 0  # tier 3


@dataclass(frozen=True, slots=True)
class Bound:
    """Proven lower bounds, valid for every legal plan: of tier 1, and of the sum of tiers 1, 2, 4 and 5."""

    firm_micros: int
    total_micros: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All tuples are sorted: the same problem and effort give the same plan, byte for byte.

    `certificate` holds JSON-able prices from which `check` recomputes the bound; see `certificate`.
    """

    now: int
    bindings: tuple[Binding, ...]
    undelivered: tuple[Undelivered, ...]
    moves: tuple[Move, ...]
    totals: Totals
    bound: Bound
    firm_gap_ppm: int
    total_gap_ppm: int
    stopped: Stopped
    certificate: Mapping[str, object] = field(default_factory=dict)


# What can happen to a problem, for `Planner.update`. A name that exists is replaced, a new one is added.
@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A node is new, or not as it was."""

    node: Node


@dataclass(frozen=True, slots=True)
class NodeGone:
    """There is no node of this name any more."""

    name: str


@dataclass(frozen=True, slots=True)
class ContractChanged:
    """A contract is new, or not as it was."""

    contract: Contract


@dataclass(frozen=True, slots=True)
class ContractGone:
    """There is no contract of this key any more."""

    key: str


@dataclass(frozen=True, slots=True)
class OutageChanged:
    """An outage is new, or not as it was."""

    outage: Outage


@dataclass(frozen=True, slots=True)
class OutageGone:
    """There is no outage of this name any more."""

    name: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is `now`, Unix seconds."""

    now: int


Event = NodeChanged | NodeGone | ContractChanged | ContractGone | OutageChanged | OutageGone | TimePassed


@dataclass(frozen=True, slots=True)
class Difference:
    """What an update changed: bindings to drop and to add, and what is newly or no longer undelivered."""

    released: tuple[Binding, ...]
    acquired: tuple[Binding, ...]
    undelivered: tuple[Undelivered, ...]  # all that is undelivered now
    moves: tuple[Move, ...]
