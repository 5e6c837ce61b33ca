"""What Prometheus reads of the operator's own work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from laycan import __version__
from laycan.control.gate import Gate
from laycan.control.office_metrics import OfficeMetrics, free_ratio
from laycan.control.planner import Planner
from laycan.control.reconcile import Reconcile
from laycan.control.requests import Requests
from laycan.control.solver_process import Solver
from laycan.control.writer import Authority, Writer
from laycan.delivery.drift import DriftWatch
from laycan.delivery.policies import Drift
from laycan.exposition import Exposition
from laycan.kube.client import ApiError, Client, Params
from laycan.kube.views import FenceView
from laycan.kube.world import World
from tests.laycan.control.planning import NOWHERE
from tests.laycan.control.town import NOW, SETTINGS, Fleet, contract, world


@dataclass
class Watch:
    kind: str
    last_event: float


class Answers(Client):
    """Answers each write with what a test has put there."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)

    async def patch_merge(self, path: str, body: Mapping[str, Any], params: Params | None = None) -> dict[str, Any]:
        status = self._answers.pop(0)
        if status != 200:
            raise ApiError(status, "", "")
        meta = {"namespace": "desk", "name": "a", "uid": "uid-a", "generation": 1, "resourceVersion": "9"}
        return {"metadata": meta, "spec": contract("a").spec, "status": {}}


@contextmanager
def office(seen: World, client: Client = NOWHERE) -> Iterator[tuple[Writer, Reconcile, DriftWatch]]:
    requests = Requests(client, seen, Gate(seen, lambda: None), lambda: True)
    writer = Writer(seen, Authority(SETTINGS, "urn:laycan:x", 1), lambda: NOW, requests)
    planner = Planner(seen, writer, Solver(), Fleet(seen), SETTINGS, lambda: NOW)
    yield writer, Reconcile(client, seen, writer, planner, lambda: NOW, 30), DriftWatch(client, SETTINGS, "me", lambda: NOW)


def read(exposition: Exposition) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(exposition.text().decode())
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name.removeprefix("laycan_"), ",".join(sample.labels.values())): sample.value for sample in samples}


def test_watches() -> None:
    """How long each has heard nothing."""
    exposition = Exposition()
    metrics = OfficeMetrics(exposition)
    metrics.take_watches([Watch("nodes", 90.0), Watch("pods", 100.0)], 130.0)
    found = read(exposition)
    assert (found["watch_age_seconds", "nodes"], found["watch_age_seconds", "pods"]) == (40, 30)


def test_writes_by_what_came_of_them() -> None:
    """Each is counted once, however often it is looked at."""
    seen, exposition = world([contract("a")]), Exposition()
    metrics = OfficeMetrics(exposition)
    with office(seen, Answers(200, 409, 503, 200)) as (writer, reconcile, drift):

        async def write() -> None:
            for _ in range(4):
                try:
                    await writer.requests.write_status(seen.contracts["desk/a"], {"phase": "Received"})
                except ApiError:
                    metrics.take(seen, SETTINGS, writer, reconcile, drift)

        asyncio.run(write())
        for _ in range(2):
            metrics.take(seen, SETTINGS, writer, reconcile, drift)
    found = read(exposition)
    assert {outcome: found["contract_writes_total", outcome] for outcome in ("written", "conflict", "failed")} == {
        "written": 2,
        "conflict": 1,
        "failed": 1,
    }


def test_what_is_wrong() -> None:
    """Contracts that fail, policies that were changed, nodes bound twice, and a pause; none of it while all is well."""
    seen, exposition = world(), Exposition()
    metrics = OfficeMetrics(exposition)
    names = ("contracts_failing", "policies_changed", "double_bookings_total", "paused")
    with office(seen) as (writer, reconcile, drift):
        metrics.take(seen, SETTINGS, writer, reconcile, drift)
        assert [read(exposition)[name, ""] for name in names] == [0, 0, 0, 0]
        writer._fail("desk/a", "on purpose")
        drift.drifts = frozenset({Drift("ValidatingAdmissionPolicy", "laycan-node-fence", "is missing")})
        reconcile.double_bookings = 2
        seen.fence = FenceView(1, {}, {"laycan.dev/paused": "true"})
        for _ in range(2):
            metrics.take(seen, SETTINGS, writer, reconcile, drift)
    assert [read(exposition)[name, ""] for name in names] == [1, 1, 2, 1]


def test_who_leads_and_since_when_figures_are_true() -> None:
    """Before the lease nobody leads here; figures that were never complete have the time 0."""
    exposition = Exposition()
    metrics = OfficeMetrics(exposition)
    found = read(exposition)
    assert (found["leader", ""], found["measured_timestamp_seconds", ""], found["build_info", __version__]) == (0, 0, 1)
    metrics.leads(True)
    metrics.complete(NOW)
    found = read(exposition)
    assert (found["leader", ""], found["measured_timestamp_seconds", ""]) == (1, NOW)


def test_mode() -> None:
    """Observe delivers nothing."""
    seen, exposition = world(), Exposition()
    metrics = OfficeMetrics(exposition)
    with office(seen) as found:
        for mode, value in (("Enforce", 1), ("Observe", 0)):
            metrics.take(seen, SETTINGS.model_copy(update={"mode": mode}), *found)
            assert read(exposition)["enforcing", ""] == value


def test_the_volume_of_the_log(tmp_path: Path) -> None:
    """Its free share; where it cannot be found out the last figure stands."""
    exposition = Exposition()
    metrics = OfficeMetrics(exposition)
    assert free_ratio(tmp_path / "gone") is None
    ratio = free_ratio(tmp_path)
    assert ratio is not None
    metrics.take_space(ratio)
    metrics.take_space(None)
    assert 0 < ratio <= 1
    assert read(exposition)["ledger_free_ratio", ""] == ratio
