"""Instructions on a real API server: what the exchange signs is done, what it does not sign is not, whoever else may write objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import fleet
from controlplane.api import Api, ApiError, Object
from controlplane.waiting import until
from tests.cluster.operator import GROUP, Market, at, await_phase, contract, instruction, market, owners, read
from tests.cluster.policies.installed import refused
from tests.cluster.test_webhooks import listening, news, traded
from tests.laycan.control.acts import envelope, trusted
from tests.laycan.events.exchange import SECRET

pytestmark = pytest.mark.xdist_group("instructions")
HOUR = 3600
WINDOW = {"lots": "0", "start": "2027-01-04T00:00:00Z", "end": "2027-01-05T00:00:00Z"}
INSTRUCTIONS = f"{GROUP}/namespaces/desk/contractinstructions"


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A market of one exchange namespace."""
    with market(tmp_path_factory.mktemp("instructions"), tools, nodes=3) as made:
        made.installed.install("upgrade", "Enforce", "--set", "exchangeNamespaces={desk}")
        made.admin.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "desk"}, "stringData": {"hmac": SECRET}}
        )
        until("the kind is served", lambda: served(made.admin))
        yield made


def served(api: Api) -> bool:
    try:
        return bool(api.get(INSTRUCTIONS))
    except ApiError:
        return False


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    yield town
    town.close()
    for found in town.admin.items(INSTRUCTIONS):
        town.admin.delete(f"{INSTRUCTIONS}/{found['metadata']['name']}")


@pytest.fixture
def exchange(desk: Market) -> Api:
    """What the exchange may do, with the chart's Role bound to it."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "laycan-exchange"}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "gcx"}
    meta = {"name": "gcx", "namespace": "desk"}
    desk.admin.apply(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [user]}
    )
    api = desk.admin.impersonating("gcx", "system:authenticated")
    until("the Role is bound", lambda: allowed(lambda: api.find(f"{INSTRUCTIONS}/none") is None))
    return api


def allowed(attempt: Any) -> bool:
    try:
        return bool(attempt())
    except ApiError:
        return False


def signed(name: str, action: str, *, on: str, previous: str = "", key: int = 1, **payload: Any) -> Object:
    made = instruction(name, action, on=on, previous=previous, **payload)
    made["spec"]["envelope"] = envelope(made["spec"]["act"], key)
    return made


def outcome(desk: Market, name: str) -> tuple[str, str]:
    """Its phase and reason, once there is a final one."""

    def final() -> tuple[str, str] | None:
        status = desk.admin.get(f"{INSTRUCTIONS}/{name}").get("status") or {}
        done = status.get("phase") in ("Applied", "Rejected")
        return (status["phase"], (status.get("reason") or {}).get("code", "")) if done else None

    return until(f"{name} is answered", final)  # type: ignore[return-value]


def head(desk: Market, name: str) -> str:
    return str((read(desk.admin, name) or {})["status"]["instructions"]["headDigest"])


def test_a_contract_whose_exchange_signs(desk: Market, exchange: Api) -> None:
    """Held, released and ended by what the exchange signs; nobody else's instruction or deletion changes it; each flip is told once."""
    with listening(desk) as receiver:
        desk.admin.patch(f"{GROUP}/namespaces/desk/exchangeendpoints/gcx", {"spec": {"trustedKeys": [trusted(1)]}})
        desk.operator()
        exchange.create(traded("held", at(4), at(HOUR)))
        uid = await_phase(desk.admin, "held", "Delivering")["metadata"]["uid"]
        until("acme has its node", lambda: list(owners(desk.admin).values()) == ["acme"])
        until("the exchange knows", lambda: news(receiver, "held")[-1:] == ["delivery.started"])
        (node,) = owners(desk.admin)
        desk.installed.alice.create(fleet.pod("acme", "job", gpus=8))
        assert desk.installed.place("acme", "job") == node
        assert (read(desk.admin, "held") or {})["status"]["instructions"] == {"signed": True}

        exchange.create(instruction("unsigned", "Suspend", on="held"))
        exchange.create(signed("stranger", "Suspend", on="held", key=2))
        assert outcome(desk, "unsigned") == ("Rejected", "Unsigned")
        assert outcome(desk, "stranger") == ("Rejected", "UntrustedKey")
        assert list(owners(desk.admin).values()) == ["acme"]

        hold = signed("hold", "Suspend", on="held")
        exchange.create(hold)
        assert outcome(desk, "hold") == ("Applied", "")
        until("its node is closed", lambda: owners(desk.admin) == {node: f"frozen.{uid}"})
        until("the buyer's pod is gone", lambda: desk.admin.find("/api/v1/namespaces/acme/pods/job") is None)
        exchange.create({**hold, "metadata": {"name": "again", "namespace": "desk"}})
        assert outcome(desk, "again") == ("Rejected", "Replayed")

        exchange.create(signed("release", "Resume", on="held", previous=head(desk, "held")))
        assert outcome(desk, "release") == ("Applied", "")
        until("acme has its node again", lambda: owners(desk.admin) == {node: "acme"})
        until("the exchange knows", lambda: news(receiver, "held")[-1:] == ["delivery.restored"])

        path = f"{GROUP}/namespaces/desk/computecontracts/held"
        desk.admin.patch(path, {"metadata": {"annotations": {"laycan.dev/confirm-delete": "held"}}})
        refused(lambda: desk.admin.delete(path), "only a signed ContractInstruction with action Terminate ends it")
        exchange.create(signed("end", "Terminate", on="held", previous=head(desk, "held")))
        assert outcome(desk, "end") == ("Applied", "")
        await_phase(desk.admin, "held", "Terminated")
        until("its node is free", lambda: owners(desk.admin) == {})
        until("the exchange knows", lambda: news(receiver, "held")[-1:] == ["contract.terminated"])
        assert news(receiver, "held")[2:] == [
            "contract.delivering",
            "delivery.started",
            "contract.suspended",
            "delivery.interrupted",
            "contract.resumed",
            "delivery.restored",
            "contract.terminated",
        ]
        desk.admin.delete(path)
        until("it is gone", lambda: desk.admin.find(path) is None)


def test_what_the_exchange_may_do(desk: Market, exchange: Api) -> None:
    """Create contracts and instructions in its own namespace and read them by name; nothing more."""
    exchange.create(contract("offer", at(HOUR), at(2 * HOUR)))
    exchange.create(instruction("act", "Dispute", on="offer"))
    assert exchange.get(f"{INSTRUCTIONS}/act")["spec"]["act"]["action"] == "Dispute"
    exchange.create({**instruction("sly", "Dispute", on="offer"), "status": {"phase": "Applied"}})
    assert "status" not in exchange.get(f"{INSTRUCTIONS}/sly"), "what became of it is not its author's to say"
    path = f"{GROUP}/namespaces/desk/computecontracts/offer"
    assert exchange.get(path)["spec"]["intent"] == "Firm"
    for attempt in (
        lambda: exchange.patch(path, {"spec": {"intent": "Quote"}}),
        lambda: exchange.delete(path),
        lambda: exchange.patch(f"{path}/status", {"status": {"phase": "Accepted"}}),
        lambda: exchange.patch(f"{INSTRUCTIONS}/act/status", {"status": {"phase": "Applied"}}),
        lambda: exchange.delete(f"{INSTRUCTIONS}/act"),
        lambda: exchange.patch(f"{INSTRUCTIONS}/act", {"spec": {"act": {"action": "Terminate"}}}),
        lambda: exchange.create({**instruction("there", "Dispute", on="offer"), "metadata": {"name": "there", "namespace": "beta"}}),
        lambda: exchange.patch(f"{GROUP}/namespaces/desk/exchangeendpoints/gcx", {"spec": {"trustedKeys": []}}),
        lambda: exchange.items(INSTRUCTIONS),
        lambda: exchange.items("/api/v1/nodes"),
        lambda: exchange.create({**contract("there", at(HOUR), at(2 * HOUR)), "metadata": {"name": "there", "namespace": "beta"}}),
    ):
        refused(attempt, "gcx")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"action": "Explode"}, "spec.act.action: Unsupported value"),
        ({"effectiveTime": "2027-02-30T00:00:00Z"}, "spec.act.effectiveTime"),
        ({"previousDigest": "sha256:1"}, "spec.act.previousDigest"),
        (
            {"buyerCaused": {"lots": "0", "start": "2027-01-04T00:00:00Z", "end": "2027-01-05T00:00:00Z"}},
            "buyerCaused belongs to AcceptBuyerCaused",
        ),
        ({"action": "AcceptBuyerCaused"}, "buyerCaused belongs to AcceptBuyerCaused"),
        ({"action": "AcceptBuyerCaused", "buyerCaused": {**WINDOW, "end": WINDOW["start"]}}, "start must be earlier than end"),
        ({"action": "AcceptBuyerCaused", "buyerCaused": {**WINDOW, "lots": "-1"}}, "spec.act.buyerCaused.lots"),
        ({"action": "ElectMakeGood", "makeGood": {"mode": "Concurrent"}}, "spec.act.makeGood.mode: Unsupported value"),
        ({"action": "AcceptSubstitution"}, "substitution belongs to AcceptSubstitution"),
        ({"why": "because"}, 'unknown field "spec.act.why"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_api_server_refuses(desk: Market, change: dict[str, Any], says: str) -> None:
    """A wrong instruction is refused at its door, with the field and the rule."""
    made = instruction("bad", "Dispute", on="c")
    made["spec"]["act"] |= change
    with pytest.raises(ApiError) as caught:
        desk.admin.create(made, fieldValidation="Strict")
    assert says in caught.value.message


def test_immutable(desk: Market) -> None:
    """Not even its author changes an act, or signs it later."""
    desk.admin.create(instruction("fixed", "Dispute", on="c"))
    for patch in ({"act": {"action": "Terminate"}}, {"contractRef": {"name": "d"}}, {"envelope": "e30="}):
        refused(lambda patch=patch: desk.admin.patch(f"{INSTRUCTIONS}/fixed", {"spec": patch}), "an instruction is immutable", 422)  # type: ignore[misc]
