"""The local control plane is a real one: it stops without a trace, survives crashes of its parts, and enforces what a cluster does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controlplane import fleet
from controlplane.api import Api, ApiError
from controlplane.local import ControlPlane, StartError
from controlplane.waiting import until

ROOT = Path(__file__).parents[2]


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def listening(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def phase(api: Api, namespace: str, name: str) -> str:
    """The phase of a pod."""
    return str(api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["phase"])


class TestStop:
    def test_leaves_no_process_and_no_port(self, fresh_control_plane: ControlPlane) -> None:
        """stop() returns when all five processes have exited and nobody listens on their ports, though a watch is still open."""
        processes, ports = fresh_control_plane.running(), fresh_control_plane.ports()
        assert len(processes) == 5
        assert all(listening(port) for port in ports.values())
        events = fresh_control_plane.admin.watch("/api/v1/namespaces", seconds=300)
        next(events)
        fresh_control_plane.stop()
        assert not [name for name, pid in processes.items() if exists(pid)]
        assert not [name for name, port in ports.items() if listening(port)]

    @pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
    def test_dies_with_its_parent(self, tmp_path: Path, death: signal.Signals) -> None:
        """A program that started a control plane and is killed, or interrupted, leaves no process behind."""
        program = (
            "import signal, sys, time; from pathlib import Path; from controlplane.local import ControlPlane\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background is started with SIGINT ignored
            "with ControlPlane(Path(sys.argv[1]), fsync=False) as plane:\n"
            "    print(*plane.running().values(), flush=True)\n"
            "    time.sleep(600)\n"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        with parent:
            assert parent.stdout is not None
            pids = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(pids) == 5
            parent.send_signal(death)
            parent.wait(60)
        until("all of them gone", lambda: not any(exists(pid) for pid in pids))


class TestStart:
    def test_failure_shows_the_log(self, tools: dict[str, Path], tmp_path: Path) -> None:
        """A component that exits at once is reported with the end of its log, and nothing stays behind."""
        broken = tmp_path / "kube-apiserver"
        broken.write_text("#!/bin/sh\necho no such flag: --secure-port; exit 1\n")
        broken.chmod(0o755)
        plane = ControlPlane(tmp_path / "plane", tools={**tools, "kube-apiserver": broken})
        with pytest.raises(StartError, match=r"(?s)kube-apiserver has exited.*no such flag: --secure-port"):
            plane.start()
        assert plane.running() == {}
        assert not listening(plane.ports()["etcd"])

    def test_keeps_its_state_between_starts(self, fresh_control_plane: ControlPlane) -> None:
        """A control plane that is stopped and started in the same folder has the same objects and users."""
        fresh_control_plane.admin.create(fleet.namespace("kept"))
        token = fresh_control_plane.tenant_kubeconfig("alice").read_text().split("token:")[1]
        fresh_control_plane.stop()
        fresh_control_plane.start()
        assert fresh_control_plane.admin.find("/api/v1/namespaces/kept")
        assert fresh_control_plane.tenant_kubeconfig("alice").read_text().split("token:")[1] == token

    def test_many_at_once_from_threads_that_end(self, new_control_plane: Callable[..., ControlPlane]) -> None:
        """Control planes run side by side and apart, and outlive the threads that started them."""
        with ThreadPoolExecutor(2) as starters:
            one, two = starters.map(lambda _: new_control_plane(), range(2))
        one.admin.create(fleet.namespace("only-here"))
        assert two.admin.find("/api/v1/namespaces/only-here") is None
        assert len(one.running()) == len(two.running()) == 5


class TestCommand:
    def test_up_outlives_the_command_and_down_ends_it(self, tools: dict[str, Path], tmp_path: Path) -> None:
        """`up` prints the line that a shell evaluates and leaves a working control plane; `down` leaves no process; twice is no error."""

        def run(*arguments: str) -> str:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBEBUILDER_ASSETS": ""}
            argv = [sys.executable, "-m", "controlplane", *arguments]
            return subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

        try:
            line = run("up", "--nodes", "2")
            assert run("up") == line
            kubeconfig = Path(line.splitlines()[0].removeprefix("export KUBECONFIG="))
            admin = Api(kubeconfig)
            until("two nodes Ready", lambda: [fleet.ready(node) for node in admin.items("/api/v1/nodes")] == ["True", "True"])
            pids = json.loads((kubeconfig.parent / "processes.json").read_text()).values()
            assert len([pid for pid in pids if exists(pid)]) == 5
        finally:
            run("down")
        assert not [pid for pid in pids if exists(pid)]
        assert run("down") == ""


class TestCrash:
    @pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
    def test_data_survives_sigkill(self, new_control_plane: Callable[..., ControlPlane], component: str) -> None:
        """What the API server acknowledged is there after it, or etcd, was killed and started again; the others go on by themselves."""
        plane = new_control_plane(fsync=True)
        admin = plane.admin
        fleet.apply_fleet(admin, [*fleet.nodes(1), fleet.namespace("kept")])
        plane.kill(component)
        assert component not in plane.running()
        plane.start(component)
        until("an answer", lambda: plane.admin.get("/readyz") == "ok")
        assert plane.admin.find("/api/v1/namespaces/kept")
        admin.create(fleet.pod("default", "after", gpus=1))
        until("a pod that was created after the crash to run", lambda: phase(admin, "default", "after") == "Running")


class TestRights:
    def test_anonymous_is_refused(self, control_plane: ControlPlane, tmp_path: Path) -> None:
        """Without a token nobody reads anything but health and version."""
        text = control_plane.admin_kubeconfig.read_text()
        kubeconfig = tmp_path / "anonymous.kubeconfig"
        kubeconfig.write_text("\n".join(line for line in text.splitlines() if "token:" not in line).replace("user:\n", "user: {}\n"))
        with pytest.raises(ApiError, match="system:anonymous") as refused:
            Api(kubeconfig).get("/api/v1/namespaces")
        assert refused.value.status == 403

    def test_tenant_rules_own_namespace_only(self, control_plane: ControlPlane, new_namespace: Callable[..., str]) -> None:
        """A tenant bound to the stock role `admin` creates pods in its namespace, and neither reads another nor touches nodes."""
        mine, other = new_namespace("mine", tenant="alice"), new_namespace("other", tenant="bob")
        alice = Api(control_plane.tenant_kubeconfig("alice"))
        assert alice.create(fleet.pod(mine, "p"))["spec"]["serviceAccountName"] == "default"
        for forbidden in (f"/api/v1/namespaces/{other}/pods", "/api/v1/nodes", "/api/v1/namespaces/kube-system/secrets"):
            with pytest.raises(ApiError, match="forbidden"):
                alice.get(forbidden)
        with pytest.raises(ApiError, match="forbidden"):
            alice.create({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "namespace": other}, "target": {"name": "n"}})

    def test_kubelet_cannot_label_itself_a_holder(self, admin: Api, new_nodes: Callable[..., list[str]]) -> None:
        """NodeRestriction is on: a kubelet may not set labels under node-restriction.kubernetes.io, nor change another node."""
        one, two = new_nodes(2)
        kubelet = admin.impersonating(f"system:node:{one}", "system:nodes")
        with pytest.raises(ApiError, match="is not allowed to modify labels") as refused:
            kubelet.patch(f"/api/v1/nodes/{one}", {"metadata": {"labels": {"laycan.node-restriction.kubernetes.io/holder": "me"}}})
        assert refused.value.status == 403
        with pytest.raises(ApiError, match="is not allowed to modify node"):
            kubelet.patch(f"/api/v1/nodes/{two}", {"metadata": {"labels": {"x": "y"}}})

    def test_kwok_has_its_own_rights(self, control_plane: ControlPlane) -> None:
        """The kubelets' player reports status and heartbeats, and can neither create pods nor read secrets."""
        kwok = Api(control_plane.folder / "kwok.kubeconfig")
        assert kwok.items("/api/v1/nodes") is not None
        with pytest.raises(ApiError, match='User "kwok" cannot list resource "secrets"'):
            kwok.get("/api/v1/secrets")
        with pytest.raises(ApiError, match='User "kwok" cannot create resource "pods"'):
            kwok.create(fleet.pod("default", "p"))

    def test_service_account_token_works(self, control_plane: ControlPlane, namespace: str) -> None:
        """The kubeconfig of a ServiceAccount authenticates as that account, which has no right by itself."""
        account = Api(control_plane.service_account_kubeconfig(namespace, "default"))
        with pytest.raises(ApiError, match=f"system:serviceaccount:{namespace}:default"):
            account.get("/api/v1/nodes")


class TestFleet:
    def test_pod_runs_on_a_node_with_free_gpus(self, admin: Api, namespace: str, new_nodes: Callable[..., list[str]]) -> None:
        """The scheduler binds pods by their GPUs and the kubelet runs them; the one that no longer fits stays Pending."""
        (name,) = new_nodes(1)
        here = {"kubernetes.io/hostname": name}
        for number in (1, 2):
            admin.create(fleet.pod(namespace, f"p{number}", gpus=4, nodeSelector=here))
        admin.create(fleet.pod(namespace, "p3", gpus=1, nodeSelector=here))
        until("two to run", lambda: {phase(admin, namespace, f"p{number}") for number in (1, 2)} == {"Running"})
        until("a verdict on the third", lambda: admin.get(f"/api/v1/namespaces/{namespace}/pods/p3")["status"].get("conditions"))
        assert phase(admin, namespace, "p3") == "Pending"
        admin.delete(f"/api/v1/namespaces/{namespace}/pods/p1")
        until("the third to take its place", lambda: phase(admin, namespace, "p3") == "Running")

    def test_killed_node_becomes_unknown_and_returns(self, admin: Api, namespace: str, new_nodes: Callable[..., list[str]]) -> None:
        """The real node-lifecycle controller finds a silent node; its pods freeze, others stay Ready; revived, it finishes its work."""
        dead, alive = new_nodes(2)
        admin.create(fleet.pod(namespace, "p", nodeSelector={"kubernetes.io/hostname": dead}))
        until("the pod to run", lambda: phase(admin, namespace, "p") == "Running")
        fleet.kill_node(admin, dead)
        admin.delete(f"/api/v1/namespaces/{namespace}/pods/p")
        until("the dead node Unknown", lambda: fleet.ready(admin.get(f"/api/v1/nodes/{dead}")) == "Unknown", seconds=60)
        assert fleet.ready(admin.get(f"/api/v1/nodes/{alive}")) == "True"
        assert admin.find(f"/api/v1/namespaces/{namespace}/pods/p"), "a dead kubelet ended a pod"
        fleet.revive_node(admin, dead)
        until("the node Ready again", lambda: fleet.ready(admin.get(f"/api/v1/nodes/{dead}")) == "True")
        until("the pod gone", lambda: admin.find(f"/api/v1/namespaces/{namespace}/pods/p") is None)

    def test_status_given_at_creation_is_kept(self, admin: Api, new_nodes: Callable[..., list[str]]) -> None:
        """Capacity and allocatable are those of the manifest; failing GPUs lower allocatable alone, and the kubelet leaves them so."""
        (name,) = new_nodes(1, product=fleet.GB200, gpus=4)
        status = admin.get(f"/api/v1/nodes/{name}")["status"]
        assert (status["capacity"][fleet.GPU], status["allocatable"][fleet.GPU]) == ("4", "4")
        fleet.set_gpus(admin, name, 3)
        fleet.kill_node(admin, name)
        until("it is Unknown", lambda: fleet.ready(admin.get(f"/api/v1/nodes/{name}")) == "Unknown", seconds=60)
        fleet.revive_node(admin, name)
        until("it is Ready again", lambda: fleet.ready(admin.get(f"/api/v1/nodes/{name}")) == "True")
        status = admin.get(f"/api/v1/nodes/{name}")["status"]
        assert (status["capacity"][fleet.GPU], status["allocatable"][fleet.GPU]) == ("4", "3")

    def test_daemonsets_are_ready_on_every_node(self, fresh_control_plane: ControlPlane) -> None:
        """The DaemonSets of a real GPU cluster run on all nodes, NVIDIA's device plugin on those with GPUs."""
        admin = fresh_control_plane.admin
        fleet.apply_fleet(admin, [*fleet.nodes(2), fleet.node("cpu-0", gpus=0), *fleet.daemonsets()])
        want = {"nvidia-device-plugin-daemonset": 2, "node-exporter": 3, "kube-proxy": 3}

        def ready() -> dict[str, int]:
            return {each["metadata"]["name"]: each["status"]["numberReady"] for each in admin.items("/apis/apps/v1/daemonsets")}

        until("all DaemonSets ready", lambda: ready() == want)

    def test_job_completes(self, admin: Api, namespace: str, new_nodes: Callable[..., list[str]]) -> None:
        """The pods of a Job end with success and the Job with them."""
        new_nodes(1)
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.invalid/train:1"}]}}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "train", "namespace": namespace},
            "spec": {"template": template},
        }
        admin.create(job)
        until("it to succeed", lambda: admin.get(f"/apis/batch/v1/namespaces/{namespace}/jobs/train")["status"].get("succeeded") == 1)

    def test_pod_runs_for_the_time_it_names(self, admin: Api, namespace: str, new_nodes: Callable[..., list[str]]) -> None:
        """A pod annotated to run for two seconds runs no less, and ends with success."""
        new_nodes(1)
        admin.create(fleet.pod(namespace, "p", annotations={"kwok.local/runs-for": "2s"}, restartPolicy="Never"))
        until("it to end", lambda: phase(admin, namespace, "p") == "Succeeded")
        state = admin.get(f"/api/v1/namespaces/{namespace}/pods/p")["status"]["containerStatuses"][0]["state"]["terminated"]
        began, ended = (datetime.fromisoformat(state[key]) for key in ("startedAt", "finishedAt"))
        assert timedelta(seconds=1) <= ended - began <= timedelta(seconds=20)  # times have whole seconds

    def test_grace_is_honoured(self, admin: Api, namespace: str, new_nodes: Callable[..., list[str]]) -> None:
        """A pod that ignores SIGTERM stays for its grace period; one that does not is gone long before."""
        new_nodes(1)
        admin.create(fleet.pod(namespace, "deaf", annotations={"kwok.local/ignores-sigterm": "true"}))
        admin.create(fleet.pod(namespace, "polite"))
        pods = f"/api/v1/namespaces/{namespace}/pods"
        until("both to run", lambda: {phase(admin, namespace, name) for name in ("deaf", "polite")} == {"Running"})
        admin.delete(f"{pods}/deaf", gracePeriodSeconds=5)
        admin.delete(f"{pods}/polite", gracePeriodSeconds=60)
        until("the polite one gone", lambda: admin.find(f"{pods}/polite") is None)
        until("the deaf one gone", lambda: admin.find(f"{pods}/deaf") is None)
