"""The operator's process on a real control plane: contracts are decided, bound, kept, re-bound and wound up, by one operator at a time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import ApiError
from controlplane.waiting import until
from laycan.control.admission import SETTLING_SECONDS
from laycan.resources.times import parse_time
from tests.cluster.impatient import Impatient
from tests.cluster.operator import (
    GROUP,
    Market,
    at,
    await_all,
    await_phase,
    bindings,
    contract,
    market,
    owners,
    phase,
    read,
)
from tests.cluster.policies.installed import LEADER_EPOCH, NAMESPACE
from tests.cluster.proxy import Proxy

pytestmark = pytest.mark.xdist_group("operator")
HOUR = 3600
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/laycan-operator"


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """One control plane with twelve nodes for this module."""
    with market(tmp_path_factory.mktemp("operator"), tools, nodes=12) as made:
        yield made


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    """The market, and afterwards nothing in it."""
    yield town
    town.close()


def holder(desk: Market) -> str:
    return str((desk.admin.find(LEASE) or {}).get("spec", {}).get("holderIdentity", ""))


def told(desk: Market) -> set[tuple[str, str]]:
    """(contract, reason) of the Kubernetes Events in the desk's namespace."""
    return {(event["regarding"]["name"], event["reason"]) for event in desk.admin.items("/apis/events.k8s.io/v1/namespaces/desk/events")}


def test_good_contracts_are_bound_and_bad_ones_refused_with_their_reasons(desk: Market) -> None:
    """Each contract gets its own answer; one that is wrong, or waits for what it names, delays nobody."""
    desk.operator()
    start, end = at(HOUR), at(2 * HOUR)
    desk.admin.create(contract("nowhere", start, end, productRef={"name": "b300"}))
    desk.admin.create(
        contract("unheard", start, end) | {"spec": {**contract("unheard", start, end)["spec"], "exchangeRef": {"name": "gcx"}}}
    )
    desk.admin.create(contract("system", start, end, handover={"namespace": "kube-system"}))
    desk.admin.create(contract("beta", start, end, handover={"namespace": "beta"}))
    desk.admin.create(contract("huge", start, end, gpus=8 * 13))
    desk.admin.create(contract("past", at(-2 * HOUR), at(-HOUR)))
    for i in range(6):
        desk.admin.create(contract(f"good-{i}", start, end, gpus=16))
    desk.admin.create(contract("repeated", start, end, contractId="good-0"))
    desk.admin.create(contract("late", start, end))

    accepted = [await_phase(desk.admin, f"good-{i}", "Accepted") for i in range(6)]
    rows = [row for found in accepted for row in bindings(found)]
    assert sorted(node for node, *_ in rows) == desk.nodes, "twelve lots of a whole node each, on twelve nodes"
    assert {row[1:] for row in rows} == {(8, start, end)}
    codes = {
        "nowhere": "UnknownProduct", "unheard": "UnknownExchange", "system": "HandoverNamespace", "beta": "HandoverNamespace",
        "huge": "ExceedsFleet", "past": "PastEnd", "repeated": "TermsConflict", "late": "NoCapacity",
    }  # fmt: skip
    refused = {name: await_phase(desk.admin, name, "Rejected")["status"]["reason"] for name in codes}
    assert {name: reason["code"] for name, reason in refused.items()} == codes
    assert "spec.terms.productRef.name" in refused["nowhere"]["message"]
    nowhere = read(desk.admin, "nowhere") or {}
    waited = parse_time(nowhere["status"]["phaseSince"]) - parse_time(nowhere["metadata"]["creationTimestamp"])
    assert waited >= SETTLING_SECONDS, "it waits for its product; the others do not wait for it"
    assert refused["late"]["pool"] == "h100"
    until(
        "people are told",
        lambda: {("good-0", "Accepted"), ("good-5", "Accepted"), ("huge", "Rejected"), ("late", "Rejected")} <= told(desk),
    )


def test_what_a_contract_names_may_arrive_after_it(desk: Market) -> None:
    """One apply creates a contract, its product and its namespace in any order; the contract waits a moment for them."""
    desk.operator()
    desk.admin.create(contract("early", at(HOUR), at(2 * HOUR), handover={"namespace": "newcomer"}))
    until("it was looked at", lambda: phase(desk.admin, "early") == "Received")
    desk.admin.apply(fleet.namespace("newcomer", {"laycan.dev/desk": "desk"}))
    await_phase(desk.admin, "early", "Accepted")


def test_a_restart_keeps_every_promise_and_writes_nothing(desk: Market) -> None:
    """All state is in the API: a second process reads it back, finds it right, and changes no contract."""
    first = desk.operator()
    for i in range(4):
        desk.admin.create(contract(f"kept-{i}", at(HOUR), at(2 * HOUR)))
    before = [await_phase(desk.admin, f"kept-{i}", "Accepted") for i in range(4)]
    assert first.stop() == 0
    assert holder(desk) == "", "an orderly end hands the lease back"
    second = desk.operator()
    until("it has planned", lambda: second.said("laycan.control.plan"))
    desk.admin.create(contract("new", at(HOUR), at(2 * HOUR)))
    await_phase(desk.admin, "new", "Accepted")
    after = [read(desk.admin, f"kept-{i}") or {} for i in range(4)]
    assert [found["metadata"]["resourceVersion"] for found in after] == [found["metadata"]["resourceVersion"] for found in before]


def test_a_dead_node_is_replaced_and_a_cordon_moves_nothing(desk: Market) -> None:
    """The contract of the dead node gets another node; a contract on a cordoned node stays, and nothing else moves."""
    desk.operator()
    for i in range(3):
        desk.admin.create(contract(f"run-{i}", at(1), at(HOUR)))
    running = [await_phase(desk.admin, f"run-{i}", "Delivering") for i in range(3)]
    dead, cordoned, other = (bindings(found)[0][0] for found in running)
    until("they run", lambda: all(b[2] < at(0) for found in running for b in bindings(found)))
    desk.admin.patch(f"/api/v1/nodes/{cordoned}", {"spec": {"unschedulable": True}})
    fleet.kill_node(desk.admin, dead)

    def served_by() -> list[str]:
        return [
            b["node"]
            for b in (read(desk.admin, "run-0") or {})["status"]["bindings"]
            if b["end"] == running[0]["spec"]["terms"]["delivery"]["end"]
        ]

    until("run-0 has another node", lambda: served_by() and dead not in served_by(), seconds=90)
    (spare,) = served_by()
    until("it is handed over", lambda: owners(desk.admin).get(spare) == "acme")
    assert owners(desk.admin)[dead].startswith("quarantine."), "the dead node is nobody's"
    assert [bindings(read(desk.admin, f"run-{i}") or {})[0][0] for i in (1, 2)] == [cordoned, other]


def test_deleting_winds_up_and_frees_the_node(desk: Market) -> None:
    """A promise that is deleted is cancelled or terminated first, its node is given back, and then it is gone."""
    desk.operator()
    desk.admin.create(contract("soon", at(1), at(HOUR)))
    desk.admin.create(contract("later", at(HOUR), at(2 * HOUR)))
    ((node, _, start, _),) = bindings(await_phase(desk.admin, "soon", "Delivering"))
    until("it is handed over", lambda: owners(desk.admin).get(node) == "acme")
    until("it runs", lambda: start < at(0))
    await_phase(desk.admin, "later", "Accepted")
    with pytest.raises(ApiError, match="confirm-delete"):
        desk.admin.delete(f"{GROUP}/namespaces/desk/computecontracts/later")
    for name in ("soon", "later"):
        desk.delete(name)
    await_all("both are gone", {name: lambda name=name: read(desk.admin, name) is None for name in ("soon", "later")})  # type: ignore[misc]
    assert node not in owners(desk.admin), "the node was given back before the contract went"


def test_a_new_epoch_ends_the_old_operator(desk: Market) -> None:
    """Whoever counts the epoch up deposes the operator: its writes are refused and it exits with an error."""
    operator = desk.operator()
    desk.admin.create(contract("known", at(HOUR), at(2 * HOUR)))
    epoch = await_phase(desk.admin, "known", "Accepted")["status"]["epoch"]
    operator.signal(signal.SIGSTOP)
    desk.admin.patch(LEADER_EPOCH, {"spec": {"epoch": epoch + 1}})
    path = f"{GROUP}/namespaces/desk/computecontracts/known/status"

    def refused() -> str:
        try:
            desk.installed.operator.patch(path, {"status": {"epoch": epoch}}, dryRun="All")
        except ApiError as error:
            return error.message
        return ""

    assert "laycan-epoch" in until("the old epoch is refused", refused)
    operator.signal(signal.SIGCONT)
    assert operator.wait() == 1


def test_of_two_operators_one_leads_and_a_stalled_one_gives_way(desk: Market) -> None:
    """The second waits while the first lives; when the first stalls beyond its lease the second takes over, and the first ends for good."""
    first = desk.operator(pod="operator-a")
    until("the first leads", lambda: holder(desk).startswith("operator-a_"))
    second = desk.operator(pod="operator-b")
    desk.admin.create(contract("one", at(HOUR), at(2 * HOUR)))
    kept = await_phase(desk.admin, "one", "Accepted")
    assert not second.said("plan 1"), "it has no lease, so it does nothing"
    first.signal(signal.SIGSTOP)
    until("the second leads", lambda: holder(desk).startswith("operator-b_"), seconds=90)
    desk.admin.create(contract("two", at(HOUR), at(2 * HOUR)))
    await_phase(desk.admin, "two", "Accepted")
    first.signal(signal.SIGCONT)
    assert first.wait() == 1
    assert second.running()
    assert bindings(read(desk.admin, "one") or {}) == bindings(kept)


def test_a_watch_that_stalls_fails_the_probe(desk: Market) -> None:
    """Open but silent, also of bookmarks, it makes the operator not ready before all is read and planned, and not alive after too long."""
    with Proxy(desk.plane) as proxy:
        proxy.silent = "/computecontracts"
        operator = desk.operator(kind=Impatient, server=proxy.url)
        until("it is not ready", lambda: "not all contracts are read" in operator.probe("/readyz")[1])
        assert operator.healthy(), "it may still be told"
        proxy.silent = ""
        until("it is ready", operator.ready)
        proxy.silent = "/pods"
        until("it is not alive", lambda: "no event of pods" in operator.probe("/healthz")[1])
        assert not operator.healthy()
        assert not operator.ready()
        proxy.silent = ""
        until("it lives", operator.healthy)
