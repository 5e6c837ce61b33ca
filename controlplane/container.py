"""One container of a mounted image on this machine, by runc, as strict as the chart's pods: a read-only root, no root user, no capability.

It has the machine's network, since the API server of a test listens on loopback. It needs Linux, root and runc; it dies with us.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from controlplane.image import Image
from controlplane.process import Process
from controlplane.waiting import until


class Container:
    """Runs `argv` as the image's user. `shares`: folders of this machine -> whether they can be written, at the same paths inside."""

    def __init__(
        self, image: Image, folder: Path, argv: Sequence[str], shares: Mapping[Path, bool], env: Mapping[str, str] | None = None
    ) -> None:
        self._bundle, self._state, self._name = folder / "bundle", folder / "runc", f"laycan-{os.getpid()}-{folder.name}"
        self._bundle.mkdir(parents=True, exist_ok=True)
        self.log = folder / "container.log"
        (self._bundle / "config.json").write_text(json.dumps(_specification(image, self._name, argv, shares, env or {})))
        self._process: Process | None = None

    @property
    def command(self) -> list[str]:
        """Runs it until it ends. `unshare` sees to it that the kernel ends it where this command is killed."""
        run = ["runc", "--root", str(self._state), "run", "--bundle", str(self._bundle), self._name]
        return ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", *run]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs it to its end; what it said, and its exit status."""
        return subprocess.run(self.command, capture_output=True, text=True, timeout=300)

    def start(self) -> None:
        """Returns at once."""
        self._process = Process(self._name, self.command, self.log)

    def running(self) -> bool:
        """Whether its first process has not ended."""
        return self._process is not None and self._process.running()

    def stop(self, seconds: float = 30) -> None:
        """SIGTERM to its first process, as a kubelet does; SIGKILL to what is left after this time."""
        if self._process is None or not self._process.running():
            return
        for runc in _children(self._process.pid):  # which passes it on
            os.kill(runc, signal.SIGTERM)
        try:
            until("the container has ended", lambda: not self.running(), seconds=seconds)
        finally:
            self._process.kill()

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far, with runc's own."""
        assert self._process is not None
        ticks = sum(_ticks(pid) for pid in _descendants(self._process.pid))
        return ticks / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task")
    return [int(child) for thread in threads.iterdir() for child in (thread / "children").read_text().split()]


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):  # it has ended
        for child in _children(pid):
            yield from _descendants(child)


def _ticks(pid: int) -> int:
    """CPU ticks of a process and of the children that it has waited for; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _specification(image: Image, name: str, argv: Sequence[str], shares: Mapping[Path, bool], env: Mapping[str, str]) -> dict[str, Any]:
    uid, gid = image.user
    process = {
        "user": {"uid": uid, "gid": gid},
        "args": list(argv),
        "env": [*image.config["Env"], *(f"{key}={value}" for key, value in env.items())],
        "cwd": image.config["WorkingDir"],
        "capabilities": {},
        "noNewPrivileges": True,
    }
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(image.root), "readonly": True},
        "mounts": [*_MOUNTS, *(_share(path, writable) for path, writable in shares.items())],
        "linux": {"cgroupsPath": f"/{name}", "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }


def _mount(kind: str, place: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": kind, "options": ["nosuid", *options]}


_MOUNTS = (
    _mount("proc", "/proc", "noexec", "nodev"),
    _mount("tmpfs", "/dev", "strictatime", "mode=755", "size=64k"),
    _mount("tmpfs", "/dev/shm", "noexec", "nodev", "mode=1777", "size=64m"),  # noqa: S108
    _mount("tmpfs", "/tmp", "nodev", "mode=1777", "size=256m"),  # noqa: S108 - the chart's emptyDir
)


def _share(path: Path, writable: bool) -> dict[str, Any]:
    return {"destination": str(path), "type": "bind", "source": str(path), "options": ["rbind", "rw" if writable else "ro"]}
