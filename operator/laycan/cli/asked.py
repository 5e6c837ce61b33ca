"""The contract that a quote on the command line is about, read by the same rules as a ComputeContract: one field, one option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laycan.cli.source import Case
from laycan.planning.manifests import BadInputError
from laycan.planning.problem import contract_from
from laycan.resources.contract import ContractSpec
from laycan.resources.product import ProductSpec
from laycan.resources.times import format_time, parse_time
from laycan.resources.validate import against_product, contract_spec
from laycan_solver.model import Contract

KEY = "desk/quote"
HOLDER = "quote"  # namespace of a buyer who has none yet
OPTIONS = {  # field of the terms -> option that sets it, the longest first where one begins another
    "spec.terms.productRef.name": "--product",
    "spec.terms.delivery.gpus": "--gpus",
    "spec.terms.delivery.lotGpus": "--lot-gpus",
    "spec.terms.delivery.start": "--start",
    "spec.terms.delivery.end": "--end",
    "spec.terms.delivery.scope": "--scope",
    "spec.terms.delivery.spread": "--spread",
    "spec.terms.delivery.handover": "--holder",
    "spec.terms.delivery": "--start, --end, --gpus, --lot-gpus",
    "spec.terms.firmness.interruption": "--notice-seconds, --max-hours",
    "spec.terms.firmness.priority": "--priority",
    "spec.terms.firmness.class": "--class",
    "spec.terms.firmness": "--class",
    "spec.terms.substitution": "--substitution",
}


def asked_for(case: Case, terms: Mapping[str, Any]) -> Contract:
    """The candidate of these terms, whose fields are options. Raises BadInputError that names the options that are wrong."""
    name = terms["productRef"]["name"]
    product = case.product(name)
    read = contract_spec({"intent": "Quote", "terms": {"contractId": "quote", **terms}})
    if not isinstance(read, ContractSpec):
        raise BadInputError([f"{_option(fault.field)}: {fault.text}" for fault in read])
    if refusal := against_product(read.terms, product):
        raise BadInputError([f"--lot-gpus: {refusal.message.partition(': ')[2]}"])
    if parse_time(read.terms.delivery.end) <= case.now:
        raise BadInputError([f"--end: {read.terms.delivery.end} is over at {format_time(case.now)}; ask for a window that ends later"])
    return contract_from(KEY, read, product, created=case.now, accepted=False)


def delivery(case: Case, start: str, end: str, gpus: int, lot_gpus: int | None, product: str, holder: str | None) -> dict[str, Any]:
    """Terms of delivery; a lot is a whole node where nothing else is said, or all GPUs that fit on one."""
    known = case.manifests.products.get(product)
    handed_over = holder or (HOLDER if any(c.holder for c in case.problem.contracts) else None)
    return {
        "start": start,
        "end": end,
        "gpus": gpus,
        "lotGpus": _lot(known, gpus) if lot_gpus is None else lot_gpus,
        **({"handover": {"namespace": handed_over}} if handed_over else {}),
    }


def firmness(
    case: Case, product: str, class_: str, priority: int | None, notice_seconds: int | None, max_hours: int | None
) -> dict[str, Any]:
    """Terms of firmness; of the right of curtailment what is not said is the product's."""
    told: dict[str, Any] = {"class": class_} if priority is None else {"class": class_, "priority": priority}
    if notice_seconds is None and max_hours is None:
        return told
    usual = case.product(product).interruption
    notice = usual.notice_seconds if notice_seconds is None and usual else notice_seconds
    hours = usual.max_hours if max_hours is None and usual else max_hours
    return told | {"interruption": {"noticeSeconds": notice or 0, "maxHours": hours or 0}}


def _lot(product: ProductSpec | None, gpus: int) -> int:
    node = product.node_gpus if product else gpus
    return node if gpus % node == 0 else min(gpus, node)


def _option(field: str) -> str:
    return next((option for prefix, option in OPTIONS.items() if field.startswith(prefix)), field)
