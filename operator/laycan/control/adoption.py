"""Contracts that are being served already, on nodes that their desk names: taken over as they are, or refused.

Such a contract (`spec.adopt.bindings`) is bound to exactly those nodes from now on, each as a whole, and nothing of its holder's is
drained: GPUs that his pods have by claims of their own cannot be taken over without ending them. It is judged before any plan by what
runs: the nodes are of the fleet, well and of the grade, lie as the terms ask, hold no other contract, and nobody else's pods use
their GPUs. What passes is a promise like any other, so that planning goes on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from laycan.control.decision import Decision, Reason
from laycan.control.snapshot import Promise
from laycan.control.specs import Specs
from laycan.delivery.devices.exact import gives_devices
from laycan.delivery.nodes.desired import FROZEN, NOBODY
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.planning.problem import contract_from, node_from, unplannable
from laycan.resources.constants import MANAGED_LABEL
from laycan.resources.contract import Adopt, ContractSpec
from laycan.resources.product import ProductSpec
from laycan.resources.times import format_time, parse_time
from laycan.resources.validate import Refusal
from laycan.settings import Settings
from laycan_solver.model import FOREVER, Binding, Contract, Level, Node

_FIELD = "spec.adopt.bindings"
NOT_KEPT = Refusal("NoCapacity", f"{_FIELD}: no plan keeps the contract where it runs beside what was accepted before (not found)")


@dataclass(slots=True)
class Adoptions:
    """`rest` are the candidates that adopt nothing."""

    promises: dict[str, Promise] = field(default_factory=dict)
    refused: dict[str, Decision] = field(default_factory=dict)
    rest: list[ContractView] = field(default_factory=list)


def take_over(
    candidates: list[ContractView],
    world: World,
    specs: Specs,
    settings: Settings,
    made: Mapping[str, Promise],
    unusable: Collection[str],
    now: int,
) -> Adoptions:
    """Judges the candidates that adopt, in their order; each counts for the next. All have been screened."""
    found = Adoptions()
    products = specs.products(world)
    for contract in candidates:
        spec = specs.contract(contract)
        if not isinstance(spec, ContractSpec) or spec.adopt is None:
            found.rest.append(contract)
            continue
        case = _Case(contract, spec, spec.adopt, products, world, settings, unusable, now)
        refusal = case.refusal({**made, **found.promises})
        if refusal is not None:
            found.refused[contract.key] = refuse(contract, refusal, now)
        else:
            found.promises[contract.key] = case.promise()
    return found


def refuse(contract: ContractView, refusal: Refusal, now: int) -> Decision:
    return Decision(False, now, Reason(refusal.code, refusal.message), uid=contract.uid)


def kept(promise: Promise, decision: Decision) -> bool:
    """Whether a plan begins with the contract on exactly the nodes that it adopts."""
    begin = min(b.start for b in promise.bindings)
    planned = Counter({(b.node, b.gpus): 1 for b in decision.bindings if b.start <= begin})
    return planned == Counter({(b.node, b.gpus): 1 for b in promise.bindings})


@dataclass(frozen=True, slots=True)
class _Case:
    contract: ContractView
    spec: ContractSpec
    adopt: Adopt
    products: Mapping[str, ProductSpec]
    world: World
    settings: Settings
    unusable: Collection[str]
    now: int

    @property
    def window(self) -> tuple[int, int]:
        delivery = self.spec.terms.delivery
        return max(parse_time(delivery.start), self.now), parse_time(delivery.end)

    @property
    def holder(self) -> str:
        handover = self.spec.terms.delivery.handover
        return handover.namespace if handover else ""

    def promise(self) -> Promise:
        start, end = self.window
        rows = self.adopt.bindings
        bindings = tuple(Binding(self.contract.key, row.node, self._grade(row.node), row.gpus, start, end) for row in rows)
        return Promise(self.contract, "Accepted", bindings, frozenset(row.node for row in rows))

    def refusal(self, made: Mapping[str, Promise]) -> Refusal | None:
        """The first thing that is wrong: with the list, with a node, with how the nodes lie."""
        if (text := self._list_fault()) is not None:
            return Refusal("Malformed", text)
        for number, row in enumerate(self.adopt.bindings):
            fault = next(self._node_faults(row.node, row.gpus, made), None)
            if fault is not None:
                return Refusal("NoCapacity", f"{_FIELD}[{number}].node: {row.node} {fault} (proved)")
        text = self._topology_fault()
        return Refusal("NoCapacity", f"{_FIELD}: {text} (proved)") if text else None

    def _list_fault(self) -> str | None:
        delivery, rows, sold = self.spec.terms.delivery, self.adopt.bindings, self.spec.terms.product_ref.name
        if self.products[sold].level == "Device":
            return f"{_FIELD}: {sold} is sold as exact GPUs (level Device), and only whole nodes can be adopted; leave adopt out"
        for number, row in enumerate(rows):
            if row.gpus % delivery.lot_gpus:
                return f"{_FIELD}[{number}].gpus: is {row.gpus}, no multiple of lotGpus ({delivery.lot_gpus}); only whole lots are adopted"
        double = [name for name, count in Counter(row.node for row in rows).items() if count > 1]
        if double:
            return f"{_FIELD}: {double[0]} stands there twice; name each node once with all its GPUs"
        if (total := sum(row.gpus for row in rows)) != delivery.gpus:
            return f"{_FIELD}: add up to {total} GPUs, but {delivery.gpus} are sold; name all nodes that serve the contract"
        return None

    def _node_faults(self, name: str, gpus: int, made: Mapping[str, Promise]) -> Iterator[str]:
        node = self.world.nodes.get(name)
        if node is None or not node.managed:
            yield f"is not a node of the fleet; a cluster admin must label it {MANAGED_LABEL}=true"
            return
        if (why := unplannable(node.raw)) is not None:
            yield f"cannot be delivered: {why}"
        if not self._grade(name):
            yield f"is of another grade than {self.spec.terms.product_ref.name}"
        if name in self.unusable or not self.world.alive(node):
            yield "is not well now"
        if gpus > (there := self.world.gpus(node)):
            yield f"has {there} healthy GPUs, not {gpus}"
        if (other := self._other_contract(name, made)) is not None:
            yield f"is bound to {other}"
        owner = self.world.fence.nodes.get(name, "") if self.world.fence else ""
        if owner not in ("", self.holder, f"{FROZEN}{NOBODY}"):
            yield f"is closed as {owner}"
        if (pod := self._stranger(name)) is not None:
            yield f"runs pod {pod}, which uses its GPUs and is not of namespace {self.holder}"

    def _other_contract(self, name: str, made: Mapping[str, Promise]) -> str | None:
        start, end = self.window
        gap = self.products[self.spec.terms.product_ref.name].turnaround_seconds or 0
        if gives_devices(self.world, name):  # until the end of this contract nobody could be given part of it
            end = FOREVER
        for key, promise in sorted(made.items()):
            for b in promise.bindings:
                shared = name in promise.exact and b.end > self.now  # it could not become a whole one before that ends
                if b.node == name and (shared or (b.start < end + gap and start < b.end + gap)):
                    return f"contract {key} from {format_time(b.start)} to {format_time(b.end)}"
        return None

    def _stranger(self, name: str) -> str | None:
        """A pod of another namespace that has GPUs of the node, by the device plugin or by a ResourceClaim."""
        allowed = {self.holder, *self.settings.exempt_namespaces}
        pods = [pod for key in self.world.pods_on.get(name, ()) if (pod := self.world.pods.get(key)) is not None]
        found = [
            f"{p.namespace}/{p.name}" for p in pods if p.gpus and p.namespace not in allowed and p.phase not in ("Succeeded", "Failed")
        ]
        claims = [self.world.resource_claims[key] for key in self.world.claims_on.get(name, ())]
        found += [f"{claim.namespace}/{pod}" for claim in claims if claim.namespace not in allowed for pod, _ in claim.pods]
        return min(found, default=None)

    def _grade(self, name: str) -> str:
        """The product that the node is: the one that was sold, or an equivalent that the terms allow; "" neither."""
        grade, sold = node_from(self.world.nodes[name].raw, level=Level.NODE).grade, self.spec.terms.product_ref.name
        substitution = self.spec.terms.substitution
        equal = self.products[sold].equivalents or () if substitution and substitution.policy == "EquivalentGrade" else ()
        names = [sold, *(each.product for each in equal if each.product in self.products)]
        return next((product for product in names if grade in self.products[product].gpu_products), "")

    def _topology_fault(self) -> str | None:
        terms: Contract = contract_from(self.contract.key, self.spec, self.products[self.spec.terms.product_ref.name])
        nodes: list[tuple[Node, int]] = [
            (node_from(self.world.nodes[row.node].raw, level=Level.NODE), row.gpus // terms.lot_gpus) for row in self.adopt.bindings
        ]
        if terms.scope and len(domains := {node.domains[terms.scope - 1] for node, _ in nodes}) > 1:
            return f"lie in {len(domains)} domains of scope {terms.scope.label}, not in one"
        if terms.spread_level:
            inside: Counter[str] = Counter()
            for node, lots in nodes:
                inside[node.domains[terms.spread_level - 1]] += lots
            most = -(-terms.lots // terms.spread_domains)
            domain, lots = max(inside.items(), key=lambda item: item[1])
            if lots > most:
                return f"{lots} lots lie in {terms.spread_level.label} {domain}, where the spread allows {most}"
        return None
