"""From a process to its pod to its namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from laycan.agent.processes import Processes, holder_of
from tests.laycan.agent.cards import card, name, node

UID = "0e8a3b1c-1f2d-4c55-9a6b-0123456789ab"
STATIC = "0e8a3b1c1f2d4c559a6b0123456789ab"
CGROUPS = {
    "systemd": f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-containerd-ab12.scope",
    "guaranteed, from another cgroup": f"0::/../../kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-ab12.scope",
    "cgroupfs": f"0::/kubepods/besteffort/pod{UID}/ab12",
    "version 1": f"12:memory:/kubepods/burstable/pod{UID}/ab12\n1:name=systemd:/kubepods/burstable/pod{UID}/ab12",
    "the pod's own": f"0::/kubepods/pod{UID}",
    "a nested one": f"0::/kubepods/pod{UID}/ab12/system.slice/sshd.service",
    "kind": f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-ab12.scope",
}


class Host:
    """/proc and /var/log/pods of a node."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.logs = folder / "proc", folder / "pods"
        self.logs.mkdir()

    def process(self, pid: int, cgroup: str) -> None:
        (self.proc / str(pid)).mkdir(parents=True)
        (self.proc / str(pid) / "cgroup").write_text(cgroup + "\n")

    def pod(self, namespace: str, uid: str = UID) -> None:
        (self.logs / f"{namespace}_trainer-0_{uid}").mkdir()

    def strange(self, holder: str = "acme", *pids: int, exempt: tuple[str, ...] = ()) -> dict[str, frozenset[int]]:
        return Processes(exempt, self.proc, self.logs).strange(node(card(0, pids=pids or (77,)), card(1)), holder)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize("how", CGROUPS)
def test_cgroups(host: Host, how: str) -> None:
    """Whatever way the kubelet and the runtime name cgroups, a process of another's pod is a stranger, and the holder's is none."""
    host.process(77, CGROUPS[how])
    host.pod("beta")
    assert host.strange("acme") == {name(0): frozenset({77})}
    assert host.strange("beta") == {}


def test_static_pods(host: Host) -> None:
    """Their uid is a hash."""
    host.process(77, f"0::/kubepods/pod{STATIC}/ab12")
    host.pod("kube-system", STATIC)
    assert host.strange("acme", exempt=("kube-system",)) == {}
    assert host.strange("acme") == {name(0): frozenset({77})}


@pytest.mark.parametrize("cgroup", ["0::/system.slice/nvidia-persistenced.service", "0::/user.slice/user-0.slice/podman-77.scope", "0::/"])
def test_the_nodes_own_processes(host: Host, cgroup: str) -> None:
    """Are in no pod, and no strangers."""
    host.process(77, cgroup)
    assert host.strange() == {}


def test_nobody_holds_the_node(host: Host) -> None:
    """Then everybody may be there."""
    host.process(77, CGROUPS["systemd"])
    host.pod("beta")
    assert host.strange("") == {}


def test_a_process_that_is_gone(host: Host) -> None:
    """Was somebody's, and nobody can say whose."""
    assert host.strange("acme", 1234) == {}


def test_a_pod_that_is_gone(host: Host) -> None:
    """Its process still runs: whoever it was, he is not the holder as far as anybody can see."""
    host.process(77, CGROUPS["systemd"])
    assert host.strange() == {name(0): frozenset({77})}


def test_folders_that_cannot_be_listed(host: Host) -> None:
    """Nobody is accused for want of a right; that nobody can be traced is told."""
    host.process(77, CGROUPS["systemd"])
    host.logs.rmdir()
    assert host.strange() == {}
    assert not Processes((), host.proc, host.logs).known


def test_a_new_pod_is_found(host: Host) -> None:
    """Folders are listed again when a pod is not known."""
    processes = Processes((), host.proc, host.logs)
    host.process(77, CGROUPS["systemd"])
    assert processes.strange(node(card(0, pids=(77,))), "beta")
    host.pod("beta")
    assert not processes.strange(node(card(0, pids=(77,))), "beta")


@pytest.mark.parametrize(
    ("label", "holder"), [("acme", "acme"), ("", ""), ("quarantine.1a2b", ""), ("frozen.none", ""), ("handover.gpus", "")]
)
def test_holder(label: str, holder: str) -> None:
    """A value with a dot is a state of the node, in which nobody has it."""
    assert holder_of(label) == holder
