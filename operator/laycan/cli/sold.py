"""What is sold in a what-if: contracts of a file, or so many GPUs of a product, as candidates beside the book."""

from __future__ import annotations

from dataclasses import replace

from laycan.cli.source import Case
from laycan.planning.case import problem_of
from laycan.planning.manifests import BadInputError, Manifests, ReadContract, load, read
from laycan.resources.constants import API_VERSION
from laycan_solver.model import Contract

NAME = "what-if"  # of what no file names, and whose it is


def sold(case: Case, text: str, number: int) -> list[Contract]:
    """The contracts of a file, a quote as what it asks for, or that of `PRODUCT=GPUS@START/END`, the so many-th that is asked for.

    Raises BadInputError.
    """
    asked, at, window = text.partition("@")
    try:
        given = (_plain(case, asked, window, number) if at and "=" in asked else load([text])).contracts
    except BadInputError as error:
        raise BadInputError([line if line.startswith("--sell") else f"--sell {line}" for line in error.lines]) from None
    if not given:
        raise BadInputError([f"--sell {text}: holds no ComputeContract; give a file with the contract that is to be sold"])
    if known := sorted(given.keys() & {c.key for c in case.problem.contracts}):
        raise BadInputError([f"--sell {text}: {known[0]} is in the book already; give the contract another name"])
    found = _candidates(case, {key: _firm(c) for key, c in given.items()})
    if over := [c.key for c in found if c.end <= case.now]:
        raise BadInputError([f"--sell {text}: {over[0]} has ended; give it a window that ends later"])
    return found


def _firm(contract: ReadContract) -> ReadContract:
    return replace(contract, spec=contract.spec.model_copy(update={"intent": "Firm"}), status={})


def _candidates(case: Case, given: dict[str, ReadContract]) -> list[Contract]:
    """As the planner sees them beside the book."""
    manifests = replace(case.manifests, contracts=case.manifests.contracts | given, notes=[])
    problem = problem_of(manifests, now=case.now, previous=[], candidates=given.keys())
    return [c for c in problem.contracts if c.key in given]


def _plain(case: Case, asked: str, window: str, number: int) -> Manifests:
    """A Firm contract of so many GPUs, in whole nodes where it comes out even."""
    product, _, gpus = asked.partition("=")
    start, _, end = window.partition("/")
    text = f"--sell {asked}@{window}"
    spec = case.product(product, text)
    if not (gpus.isascii() and gpus.isdigit() and 0 < len(gpus) < 7 and start and end):
        raise BadInputError([f"{text}: is not PRODUCT=GPUS@START/END, such as {product}=64@2027-01-04T00:00:00Z/2027-02-03T00:00:00Z"])
    whole = spec.node_gpus
    lot = whole if int(gpus) % whole == 0 else spec.lot_gpus or 1
    terms = {
        "contractId": NAME,
        "productRef": {"name": product},
        "delivery": {"start": start, "end": end, "gpus": int(gpus), "lotGpus": lot, "handover": {"namespace": NAME}},
    }
    document = {"apiVersion": API_VERSION, "kind": "ComputeContract", "metadata": {"name": f"sold-{number}", "namespace": NAME}}
    return read([(text, document | {"spec": {"intent": "Firm", "terms": terms}})])
