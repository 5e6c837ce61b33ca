"""The operator's process on nodes whose GPUs a DRA driver publishes: from a product that asks for exact GPUs to pods that have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import Api, Object
from controlplane.waiting import until
from tests.cluster.operator import GROUP, Market, at, await_phase, contract, instruction, market, owners, product, read

pytestmark = pytest.mark.xdist_group("operator-devices")
NODES = ("d000", "d001")
CLAIMS = "/apis/resource.k8s.io/v1/namespaces/acme/resourceclaims"


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Two nodes of four GPUs each by DRA, beside one of the device plugin's."""
    with market(tmp_path_factory.mktemp("operator-devices"), tools, nodes=1) as made:
        made.admin.apply(fleet.device_class())
        fleet.apply_fleet(made.admin, [fleet.node(name, gpus=4, plugin=False) for name in NODES])
        for name in NODES:
            made.admin.apply(fleet.gpu_slice(name, gpus=4))
        until("all nodes Ready", lambda: all(fleet.ready(node) == "True" for node in made.admin.items("/api/v1/nodes")))
        made.admin.apply(product("exact", level="Device", nodeGpus=4, turnaroundSeconds=600))
        yield made


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    """The market, and afterwards nothing in it."""
    yield town
    town.close()


def cards(found: Object) -> dict[int, tuple[str, list[str]]]:
    """lot -> (node, uuids) of the bindings that have cards."""
    rows = found["status"].get("bindings", ())
    return {row["lots"][0]: (row["node"], row["devices"]) for row in rows if row.get("devices") and row["end"] > at(0)}


def devices(api: Api) -> dict[str, set[tuple[str, str]]]:
    """Name of a claim in acme -> (node, device) that it was allocated."""
    results = {
        claim["metadata"]["name"]: (claim.get("status", {}).get("allocation") or {}).get("devices", {}).get("results", ())
        for claim in api.items(CLAIMS)
    }
    return {name: {(found["pool"], found["device"]) for found in given} for name, given in results.items()}


def promised(found: Object) -> dict[str, set[tuple[str, str]]]:
    """The same as the contract's status promises it, by the slices' uuids."""
    minor = {fleet.gpu_uuid(node, i): (node, f"gpu-{i}") for node in NODES for i in range(4)}
    return {f"laycan-{found['metadata']['name']}-{lot}": {minor[uuid] for uuid in uuids} for lot, (_, uuids) in cards(found).items()}


def delivered(desk: Market, name: str) -> Object | None:
    """The contract, once everything is handed over and each claim has exactly what the status promises."""
    found = read(desk.admin, name)
    conditions: Mapping[str, str] = {c["type"]: c["status"] for c in (found or {}).get("status", {}).get("conditions", ())}
    if found is None or conditions.get("HandedOver") != "True":
        return None
    mine = {key: given for key, given in devices(desk.admin).items() if key.startswith(f"laycan-{name}-")}
    return found if mine == promised(found) else None


def await_delivered(desk: Market, name: str) -> Object:
    found = until(f"{name} is delivered", lambda: delivered(desk, name))
    assert found is not None
    return found


def user(name: str, claim: str) -> Object:
    """A pod that uses a claim."""
    pod = fleet.pod("acme", name)
    pod["spec"]["resourceClaims"] = [{"name": "gpus", "resourceClaimName": claim}]
    pod["spec"]["containers"][0]["resources"] = {"claims": [{"name": "gpus"}]}
    return pod


def runs(desk: Market, name: str) -> str:
    """The node on which a pod of acme runs, "" while it does not."""
    pod = desk.admin.get(f"/api/v1/namespaces/acme/pods/{name}")
    return str(pod["spec"].get("nodeName", "")) if pod["status"].get("phase") == "Running" else ""


def test_exact_gpus_from_promise_to_end(desk: Market) -> None:
    """Two contracts share the nodes GPU by GPU without fence or label; a lost card is replaced; what ends leaves no claim behind."""
    desk.operator()
    desk.admin.create(user("early", "laycan-one-0"))
    for name, gpus in (("one", 3), ("two", 5)):
        desk.admin.create(contract(name, at(-5), at(600), gpus=gpus, lotGpus=1, productRef={"name": "exact"}))
    one, two = await_delivered(desk, "one"), await_delivered(desk, "two")
    assert {row["level"] for found in (one, two) for row in found["status"]["bindings"]} == {"Device"}
    held = [uuid for found in (one, two) for _, uuids in cards(found).values() for uuid in uuids]
    assert len(set(held)) == len(held) == 8, "every GPU is somebody's, none is anybody else's"
    assert not set(NODES) & owners(desk.admin).keys()
    assert until("the early pod runs", lambda: runs(desk, "early")) == cards(one)[0][0]

    desk.delete("two")
    until("two is gone, and its claims", lambda: not read(desk.admin, "two") and not [c for c in devices(desk.admin) if "two" in c])
    node, (lost,) = cards(one)[0]
    minor = next(i for i in range(4) if fleet.gpu_uuid(node, i) == lost)
    fleet.taint_gpu(desk.admin, node, minor)
    until("another card is promised", lambda: lost not in str((read(desk.admin, "one") or {})["status"].get("bindings")))
    again = await_delivered(desk, "one")
    assert all(cards(again)[lot] == cards(one)[lot] for lot in (1, 2)), "the other lots are left alone"
    fleet.taint_gpu(desk.admin, node, minor, key="")
    desk.delete("one")
    until("nothing is left", lambda: not read(desk.admin, "one") and not devices(desk.admin) and not read_pod(desk, "early"))


def test_a_hold(desk: Market) -> None:
    """Suspended, the lots' claims and the pods that use them go, and nobody else is sold the cards; resumed, each lot has its own again."""
    desk.operator()
    desk.admin.create(contract("held", at(-5), at(600), gpus=6, lotGpus=2, productRef={"name": "exact"}))
    before = cards(await_delivered(desk, "held"))
    desk.admin.create(user("tenant", "laycan-held-0"))
    assert until("the pod runs", lambda: runs(desk, "tenant")) == before[0][0]

    instruct(desk, instruction("hold", "Suspend", on="held"))
    until("its claims and its pod are gone", lambda: not devices(desk.admin) and read_pod(desk, "tenant") is None)
    desk.admin.create(contract("rival", at(5), at(300), gpus=4, lotGpus=2, productRef={"name": "exact"}))
    await_phase(desk.admin, "rival", "Rejected")
    found = read(desk.admin, "held") or {}
    assert cards(found) == before
    assert not set(NODES) & owners(desk.admin).keys()

    until("the hold has lasted", lambda: found["status"]["instructions"]["suspendedSince"] < at(0))
    instruct(desk, instruction("release", "Resume", on="held", previous=found["status"]["instructions"]["headDigest"]))
    assert cards(await_delivered(desk, "held")) == before
    handover = (read(desk.admin, "held") or {})["status"]["handover"]
    assert handover["heldSeconds"] > 0
    for name in ("held", "rival"):
        desk.delete(name)


def instruct(desk: Market, what: Object) -> None:
    """Creates the instruction and waits until it is applied."""
    made = desk.admin.create(what)["metadata"]
    path = f"{GROUP}/namespaces/desk/contractinstructions/{made['name']}"
    until(f"{made['name']} is applied", lambda: (desk.admin.get(path).get("status") or {}).get("phase") == "Applied")


def read_pod(desk: Market, name: str) -> Object | None:
    return desk.admin.find(f"/api/v1/namespaces/acme/pods/{name}")


def test_a_level_that_nobody_gives(desk: Market) -> None:
    """A product that asks for exact GPUs of nodes without a DRA driver says so, and its contract is refused; whole nodes are sold on."""
    desk.operator()
    desk.admin.apply(product("sharp", level="Device", gpuProducts=[fleet.H200]))
    desk.admin.create(contract("sharp", at(600), at(1200), productRef={"name": "sharp"}))
    refused = await_phase(desk.admin, "sharp", "Rejected")
    assert refused["status"]["reason"]["code"] in ("ExceedsFleet", "NoCapacity")
    status = until(
        "the product says so", lambda: desk.admin.get("/apis/laycan.dev/v1alpha1/computeproducts/sharp").get("status"), seconds=60
    )
    assert [(c["status"], c["reason"]) for c in status["conditions"]] == [("False", "LevelNotEnforced")]
    desk.admin.create(contract("blunt", at(600), at(1200)))
    await_phase(desk.admin, "blunt", "Accepted")


def test_what_enforces_goes_and_comes_back(desk: Market) -> None:
    """Two buyers share a node. Neither a driver that publishes nothing for a while nor a guard that is deleted by hand moves or ends
    anything of theirs; while the guard is away exact GPUs are not claimed to be deliverable, and when it is back they are.
    """
    desk.operator()
    names = ("one", "two")
    for name in names:
        desk.admin.create(contract(name, at(-5), at(600), gpus=2, lotGpus=1, productRef={"name": "exact"}))
    before = {name: cards(await_delivered(desk, name)) for name in names}
    claims = {each["metadata"]["name"]: each["metadata"]["uid"] for each in desk.admin.items(CLAIMS)}
    for node in NODES:
        desk.admin.delete(f"/apis/resource.k8s.io/v1/resourceslices/{fleet.slice_name(node)}")
    until("it is seen", lambda: all(interrupted(desk, name) for name in names))
    desk.admin.delete(GUARD)
    until("no longer claimed", lambda: exact_is_ready(desk) == "False", seconds=60)
    for node in NODES:
        desk.admin.apply(fleet.gpu_slice(node, gpus=4))
    desk.admin.create(GUARD_BINDING)
    until("claimed again", lambda: exact_is_ready(desk) == "True", seconds=60)
    assert {name: cards(await_delivered(desk, name)) for name in names} == before
    assert {each["metadata"]["name"]: each["metadata"]["uid"] for each in desk.admin.items(CLAIMS)} == claims
    for name in names:
        desk.delete(name)


GUARD = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/laycan-claim-guard"
GUARD_BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "laycan-claim-guard"},
    "spec": {"policyName": "laycan-claim-guard", "validationActions": ["Deny"]},
}


def interrupted(desk: Market, name: str) -> bool:
    conditions = (read(desk.admin, name) or {}).get("status", {}).get("conditions", ())
    return ("HandedOver", "Interrupted") in {(c["type"], c["reason"]) for c in conditions}


def exact_is_ready(desk: Market) -> str:
    (condition,) = desk.admin.get("/apis/laycan.dev/v1alpha1/computeproducts/exact")["status"]["conditions"]
    return str(condition["status"])
