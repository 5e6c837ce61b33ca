"""`laycan conformance` against the local control plane and the operator's own process: everything holds, and what does not is seen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.waiting import until
from laycan.conformance.attack import Result
from laycan.conformance.run import attacks, one
from laycan.conformance.scene import GROUP, Options
from laycan.conformance.stage import scene
from laycan.delivery.policies import PATH
from laycan.kube.credentials import load_credentials
from tests.cluster.conform import attack_all, audit, exercise, town
from tests.cluster.harness import Loopback
from tests.cluster.operator import Market
from tests.cluster.policies.installed import NAMESPACE

pytestmark = pytest.mark.xdist_group("conformance-cli")

# The others take minutes; `make conformance` makes them all.
QUICK = ["A1-early-pods", "A2", "A3", "A4-flood", "A5-agents", "A6", "A7", "A9-delete-crds", "A9-delete-fence", "A9-entry-changed",
         "A9-entry-removed", "A9-label-removed", "A9-old-epoch", "A12", "B1", "B2", "B3", "B4", "B5", "B7"]  # fmt: skip
SHORT = Options(flood_seconds=1.0, deaths=2, collisions=4)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Market, Loopback]]:
    """A control plane with an operator for this module."""
    with town(tmp_path_factory.mktemp("conformance-cli")) as made:
        yield made


def test_everything_holds(place: tuple[Market, Loopback]) -> None:
    """Each attack ends as expected, and nothing of the run is left on the cluster."""
    made, harness = place
    results = attack_all(made, harness, QUICK, SHORT)
    assert [(result.id, result.observed) for result in results if not result.held] == []
    assert {result.id for result in results} == {each.id for each in attacks(QUICK)}
    assert not [each for each in made.admin.items("/api/v1/namespaces") if each["metadata"]["name"].startswith("laycan-conformance")]
    assert not [each for kind in ("computecontracts", "outages") for each in made.admin.items(f"{GROUP}/{kind}")]
    assert [each["metadata"]["name"] for each in made.admin.items(f"{GROUP}/computeproducts")] == ["h100"]


def test_rights_are_used_and_enough(place: tuple[Market, Loopback]) -> None:
    """After those attacks every right of the rendered roles was used by a request, and RBAC refused the operator none."""
    exercise(*place)
    used = audit(place[0])
    assert used.idle == ()
    assert used.refused == {}


def test_a_defect_is_seen(place: tuple[Market, Loopback]) -> None:
    """Without the fence's binding an attack on what was delivered before fails, and says what it saw."""
    made, harness = place

    async def attacked() -> Result:
        (node_name,) = attacks(["A2-node-name"])
        where = load_credentials(made.plane.admin_kubeconfig)
        async with scene(where, NAMESPACE, [], SHORT, harness, harness.settings) as stage:
            node = (await stage.standing()).nodes[0]
            await stage.admin.delete(f"{PATH}/validatingadmissionpolicybindings/laycan-node-fence")
            while await stage.fenced(node):  # noqa: ASYNC110 - the API server does not tell when it has dropped a policy
                await asyncio.sleep(0.05)
            result = await one(stage, node_name, disruptive=True)
            await asyncio.to_thread(harness.upgrade)
            await stage.drop_standing()
            return result

    result = asyncio.run(attacked())
    assert (result.held, result.observed) == (False, "not refused")
    until("the fence is on", lambda: made.admin.find(f"{PATH}/validatingadmissionpolicybindings/laycan-node-fence"))


def run_cli(made: Market, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as somebody else's cluster sees it."""
    command = [str(Path(sys.executable).with_name("laycan")), "conformance", "--kubeconfig", str(made.plane.admin_kubeconfig)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=240)


def test_on_a_foreign_cluster(place: tuple[Market, Loopback]) -> None:
    """The command needs no harness: it runs what the API lets it run, on the nodes it was given, and names what it lacks."""
    made, _ = place
    done = run_cli(made, "--only", "A2-node-name,A7,A11-cordon", "--nodes", ",".join(made.nodes[:3]), "-o", "json")
    assert done.returncode == 0, done.stderr
    told = {result["id"]: result for result in json.loads(done.stdout)}
    assert {name: result["held"] for name, result in told.items()} == {"A2-node-name": True, "A7-heartbeat": None, "A11-cordon": None}
    assert "n000 is held by" in told["A2-node-name"]["observed"]
    assert "silence a kubelet" in told["A7-heartbeat"]["observed"]
    assert told["A11-cordon"]["observed"] == "not run: needs --disruptive"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "A99"], "--only: no attack A99; there are A1,"),
        (["--nodes", "alien-0"], "not free, not Ready or not managed: alien-0"),
        (["--namespace", "elsewhere"], "the chart is not installed: no ConfigMap laycan-settings in elsewhere"),
    ],
    ids=["attack", "node", "release"],
)
def test_bad_input(place: tuple[Market, Loopback], arguments: list[str], words: str) -> None:
    """Exit code 2, one line that names what is wrong, and nothing on stdout."""
    done = run_cli(place[0], *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
