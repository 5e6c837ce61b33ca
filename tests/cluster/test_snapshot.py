"""A snapshot of a cluster: the plan of it is the plan of the cluster, and what the operator has written; nothing confidential is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import fleet
from controlplane.users import service_account_token, write_kubeconfig
from controlplane.waiting import until
from tests.cluster.operator import GROUP, Market, at, await_phase, contract, market, product

HOUR = 3600
SECRET = "c2VjcmV0LW9mLXRoZS1leGNoYW5nZQ=="


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """One control plane with eight nodes for this module."""
    with market(tmp_path_factory.mktemp("snapshot"), tools, nodes=8) as made:
        yield made
        made.close()


def laycan(town: Market, *arguments: str, seed: str = "0") -> str:
    environment = {**os.environ, "KUBECONFIG": str(town.plane.admin_kubeconfig), "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-m", "laycan.cli.main", *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reader(town: Market, folder: Path) -> Path:
    """The kubeconfig of a user with the rights that docs/desk.md names, in a context of its own."""
    page = (Path(__file__).parents[2] / "docs" / "desk.md").read_text()
    resources = page.split("--verb=list --resource=")[1].split()[0].split(",")
    rules = [{"apiGroups": [name.partition(".")[2]], "resources": [name.partition(".")[0]], "verbs": ["list"]} for name in resources]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "desk-reader"}, "rules": rules}
    town.admin.apply(role)
    account = {"kind": "ServiceAccount", "name": "reader", "namespace": "desk"}
    town.admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "desk"}})
    town.admin.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "desk-reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "desk-reader"},
            "subjects": [account],
        }
    )
    file = folder / "reader.kubeconfig"
    token = service_account_token(town.admin, "desk", "reader", 3600)
    write_kubeconfig(file, town.plane.url, town.plane.certificate, {"token": token})
    config = yaml.safe_load(file.read_text())
    config["contexts"].append({"name": "reader", "context": config["contexts"][0]["context"]})
    file.write_text(yaml.safe_dump(config))
    return file


def announced(town: Market) -> list[tuple[Any, ...]]:
    """The bindings in the statuses."""
    found = town.admin.items(f"{GROUP}/computecontracts")
    return sorted(
        (f"desk/{c['metadata']['name']}", b["node"], b["product"], b["gpus"], b["start"], b["end"])
        for c in found
        for b in c.get("status", {}).get("bindings", ())
    )


def planned(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted((b["contract"], b["node"], b["product"], b["gpus"], b["start"], b["end"]) for b in document["bindings"])


def test_the_plan_of_a_snapshot_is_the_plan_of_the_cluster(town: Market, tmp_path: Path) -> None:
    """Byte for byte, in processes of different hash seeds; of a quiet cluster it is what stands in the statuses."""
    admin = town.admin
    admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gcx-key", "namespace": "desk"}, "data": {"key": SECRET}})
    endpoint = {"url": "http://127.0.0.1:1/hooks?token=hush", "secretRef": {"name": "gcx-key", "key": "key"}}
    meta = {"name": "gcx", "namespace": "desk"}
    admin.apply({"apiVersion": "laycan.dev/v1alpha1", "kind": "ExchangeEndpoint", "metadata": meta, "spec": endpoint})
    admin.apply(product("h100-plus", gpuProducts=["NVIDIA-H100-80GB-HBM3"]))
    town.operator()
    for i in range(4):
        sold = contract(f"sold-{i}", at(HOUR * (1 + i % 2)), at(HOUR * 4), price={"amount": f"{i + 1}.10", "currency": "USD"})
        sold["metadata"]["annotations"] = {"example.com/margin": "41 % - do not tell"}
        admin.create(sold)
    admin.create(contract("running", at(-60), at(3 * HOUR)))
    admin.create(contract("huge", at(HOUR), at(2 * HOUR), gpus=8 * 9))
    for name in ("sold-0", "sold-1", "sold-2", "sold-3"):
        await_phase(admin, name, "Accepted")
    await_phase(admin, "running", "Delivering")
    await_phase(admin, "huge", "Rejected")
    until(
        "the running contract is handed over",
        lambda: await_phase(admin, "running", "Delivering")["status"]["bindings"][0].get("handedOverAt"),
    )
    free = next(n for n in town.nodes if n not in {row[1] for row in announced(town)})
    fleet.kill_node(admin, free)
    until("a spare node is down", lambda: fleet.ready(admin.get(f"/api/v1/nodes/{free}")) != "True")

    file, now = tmp_path / "state.json", at(0)
    laycan(town, "snapshot", "--out", str(file), "--now", now)
    of_cluster = laycan(town, "plan", "--now", now, "-o", "json", seed="1")
    assert {laycan(town, "plan", str(file), "-o", "json", seed=seed) for seed in ("2", "77")} == {of_cluster}
    document = json.loads(of_cluster)
    assert document["now"] == now
    assert planned(document) == announced(town)
    assert len(planned(document)) == 5
    assert not document["undelivered"], "what was refused stays refused"
    assert not document["moves"]
    text = file.read_text()
    for hidden in (SECRET, "hush", "gcx-key", "do not tell", "managedFields", '"outbox"', '"receipts"'):
        assert hidden not in text


def test_the_plugin_on_a_cluster(town: Market, tmp_path: Path) -> None:
    """kubectl's conventions: --context, -n and --kubeconfig, with rights to list and no other, by kubectl itself where it is installed."""
    admin = town.admin
    admin.apply(sold := contract("plugin", at(HOUR), at(2 * HOUR)))
    assert sold["metadata"]["namespace"] == "desk"
    file = reader(town, tmp_path)
    for name in ("laycan", "kubectl-laycan"):
        (tmp_path / name).write_text(f"#!{sys.executable}\nfrom laycan.cli.main import run\nrun()\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(file)}
    plugin = ["kubectl", "laycan"] if shutil.which("kubectl") else ["kubectl-laycan"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*plugin, *arguments], capture_output=True, text=True, env=environment)

    told = run("status", "--context", "reader", "-o", "json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["fleet"][0]["nodes"] == len(town.nodes)
    for arguments in (["book", "-n", "desk"], ["why", "plugin", "-n", "desk"], ["plan", "--kubeconfig", str(file)]):
        assert "desk/plugin" in run(*arguments).stdout
    assert "desk/plugin" not in run("book", "-n", "default").stdout
    assert run("status", "--context", "nowhere").returncode == 2
    admin.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/desk-reader")
    until("the right is gone", lambda: run("status").returncode == 2)
    refused = run("status").stderr
    assert "no right to list nodes;" in refused
    assert "no right to list computecontracts.laycan.dev;" in refused
