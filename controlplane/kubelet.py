"""One real node beside a control plane on loopback: the pinned release's kubelet, with containerd and runc of this machine.

It shows what KWOK cannot: that a kubelet turns pods away which the scheduler never saw, that containers run and end with their grace,
what a kubelet does that comes back. It needs Linux, root and the packages that `missing()` names, and is no part of the default tests.

Everything lives in a mount and a PID namespace of its own, whose first process dies with us: the kernel then ends every container and
every mount with it, whatever became of the test. What the kubelet changes outside, a few kernel settings and its cgroups, is put back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

import yaml

from controlplane.build import NODE, built
from controlplane.local import ControlPlane, StartError
from controlplane.node_files import containerd_config, kubelet_config, write_cni, write_image
from controlplane.process import Process, free_ports
from controlplane.users import write_kubeconfig
from controlplane.waiting import until

NEEDED = {  # command -> Debian package
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
}
CGROUPS = Path("/sys/fs/cgroup")
_TUNABLES = tuple(  # what a kubelet sets at its start
    Path("/proc/sys", *name.split("."))
    for name in (
        "vm.overcommit_memory",
        "vm.panic_on_oom",
        "kernel.panic",
        "kernel.panic_on_oops",
        "kernel.keys.root_maxkeys",
        "kernel.keys.root_maxbytes",
    )
)
_LONGEST_SOCKET = 100  # of the 107 bytes that a Unix socket's path may have


def missing() -> list[str]:
    """What this machine lacks for a real node, each with what to do about it."""
    if sys.platform != "linux":
        return ["Linux"]
    lacking = sorted({package for command, package in NEEDED.items() if not shutil.which(command)})
    found = [f"packages (on Debian: apt-get install --no-install-recommends {' '.join(lacking)})"] if lacking else []
    if os.geteuid() != 0:
        found.append("root")
    if not any((CGROUPS / name).exists() for name in ("cgroup.controllers", "memory")):
        found.append(f"control groups at {CGROUPS}, with the memory controller")
    return found


class RealNode:
    """A node `name` of a control plane, registered when `start()` returns. Use as a context manager.

    `folder` takes its state; a short path, since sockets lie in it. Raises StartError, BuildError.
    """

    def __init__(self, plane: ControlPlane, folder: Path, name: str = "real-0") -> None:
        self.name, self.folder = name, folder.resolve()
        self._plane, self._socket = plane, self.folder / "containerd.sock"
        self._cgroup = f"laycan-{os.getpid()}-{name}"
        self._ports = free_ports(2)
        self._processes: dict[str, Process] = {}  # in the order of starting
        self._tunables: dict[Path, str] = {}

    def __enter__(self) -> RealNode:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the kubelet is healthy and the node is registered."""
        if len(str(self._socket)) > _LONGEST_SOCKET:
            raise StartError(f"{self._socket} is too long a path for a socket; choose a shorter folder")
        try:
            self._prepare()
            self._launch("node", ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", _INIT])
            until("the namespaces are there", lambda: _child(self._processes["node"].pid))
            self._launch("containerd", self._inside(["containerd", "--config", str(self.folder / "containerd.toml")]))
            self._await("containerd", lambda: self._ctr("version"))
            self._await("containerd", lambda: self._ctr("images", "import", str(self.folder / "image.tar")))
            self.start_kubelet()
            self._await("kubelet", lambda: self._plane.admin.find(f"/api/v1/nodes/{self.name}") is not None)
        except BaseException:
            self.stop()
            raise

    def start_kubelet(self) -> None:
        """Starts the kubelet, for the first time or after `kill_kubelet`, and waits until it is healthy."""
        argv = [
            str(built(NODE) / "kubelet"),
            f"--config={self.folder / 'kubelet.yaml'}",
            f"--kubeconfig={self.folder / 'kubelet.kubeconfig'}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet-certificates'}",
            f"--hostname-override={self.name}",
        ]
        self._launch("kubelet", self._inside(argv))
        self._await("kubelet", self._healthy)

    def kill_kubelet(self) -> None:
        """SIGKILL to the kubelet alone: no more heartbeats, and the containers run on."""
        nsenter = self._processes.pop("kubelet")
        os.kill(_child(nsenter.pid), signal.SIGKILL)
        until("the kubelet is gone", lambda: not nsenter.running())

    def import_image(self, archive: Path) -> None:
        """Gives the node an image out of a file of Docker's format."""
        if not self._ctr("images", "import", str(archive)):
            raise StartError(f"containerd does not take the image {archive}")

    def logs(self, uid: str) -> list[str]:
        """What the containers of the pod of this uid have said."""
        return [file.read_text() for file in sorted((self.folder / "pod-logs").glob(f"*_{uid}/*/*.log"))]

    def containers(self, uid: str) -> list[int]:
        """Process ids, on this machine, of what runs for the pod of this uid: its sandbox and its containers."""
        return sorted({pid for place in self._cgroups() for pid in _processes_below(place, uid)})

    def stop(self) -> None:
        """Ends everything on the node, and puts back what the kubelet changed on the machine."""
        if init := self._processes.get("node"):
            inside = init.running() and _child(init.pid)
            init.kill()  # its child, the namespace's first process, goes with it, and so does everything else
            if inside:
                until("the namespace is gone", lambda: not Path(f"/proc/{inside}").exists())
        for process in self._processes.values():
            process.stop(5)
        self._processes.clear()
        for file, value in self._tunables.items():
            file.write_text(value)
        for place in self._cgroups():
            until(f"{place} is empty", partial(_removed, place))

    def _prepare(self) -> None:
        for name in ("static", "kubelet"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_cni(self.folder / "cni")
        write_image(self.folder / "image.tar")
        (self.folder / "containerd.toml").write_text(containerd_config(self.folder, self._socket))
        (self.folder / "kubelet.yaml").write_text(kubelet_config(self.folder, self._socket, f"/{self._cgroup}", self._ports))
        admin = yaml.safe_load(self._plane.admin_kubeconfig.read_text())["users"][0]["user"]
        identity = {**admin, "as": f"system:node:{self.name}", "as-groups": ["system:nodes", "system:authenticated"]}
        write_kubeconfig(self.folder / "kubelet.kubeconfig", self._plane.url, self._plane.certificate, identity)
        self._tunables = {file: file.read_text() for file in _TUNABLES if file.exists()}
        for place in self._cgroup_places():
            place.mkdir(exist_ok=True)

    def _launch(self, name: str, argv: list[str]) -> None:
        self._processes[name] = Process(name, argv, self.folder / f"{name}.log")

    def _inside(self, argv: list[str]) -> list[str]:
        return ["nsenter", f"--target={_child(self._processes['node'].pid)}", "--mount", "--pid", "--", *argv]

    def _await(self, name: str, holds: Callable[[], bool]) -> None:
        process = self._processes[name]
        try:
            until(f"{name} is ready", lambda: not process.running() or holds(), seconds=60)
        except TimeoutError as error:
            raise StartError(f"{error}; the log of {name} ends with:\n{process.log_tail()}") from error
        if not process.running():
            raise StartError(f"{name} has exited; its log {process.log} ends with:\n{process.log_tail()}")

    def _ctr(self, *arguments: str) -> bool:
        return (
            subprocess.run(["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments], capture_output=True).returncode
            == 0
        )

    def _healthy(self) -> bool:
        with (
            contextlib.suppress(OSError, urllib.error.URLError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._ports[1]}/healthz", timeout=5),
        ):
            return True
        return False

    def _cgroup_places(self) -> list[Path]:
        """Our group in each hierarchy: one in version 2, one for each controller in version 1; both where both are mounted."""
        roots = (
            [CGROUPS]
            if (CGROUPS / "cgroup.controllers").exists()
            else [root for root in CGROUPS.iterdir() if (root / "cgroup.procs").exists()]
        )
        return [root / self._cgroup for root in roots]

    def _cgroups(self) -> list[Path]:
        return [place for place in self._cgroup_places() if place.exists()]


_INIT = "while sleep 60; do :; done"  # the first process of the namespace: it reaps, and does nothing


def _child(pid: int) -> int:
    """The only child of a process; 0 while it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def _processes_below(place: Path, uid: str) -> Iterator[int]:
    """The processes of all groups below `place` that belong to a pod; groups come and go meanwhile."""
    for folder, _, files in os.walk(place):
        if uid in folder and "cgroup.procs" in files:
            with contextlib.suppress(OSError):
                yield from map(int, Path(folder, "cgroup.procs").read_text().split())


def _removed(place: Path) -> bool:
    """Removes a group and all below it; False while somebody is in it."""
    try:
        for folder, _, _ in os.walk(place, topdown=False):
            Path(folder).rmdir()
    except OSError:
        return False
    return True
