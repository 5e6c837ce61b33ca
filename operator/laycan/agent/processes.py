"""Strangers: processes on a GPU that are another's than the node's holder.

A process is traced to its pod by its cgroup, a pod to its namespace by the folder of its logs. The node's own processes are in no
pod and no strangers; a pod that is gone while its process still runs has no folder any more, and is one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from laycan.agent.sample import NodeSample

# A pod's cgroup is kubepods-burstable-pod<uid>.slice under systemd, with underscores, and kubepods/burstable/pod<uid> elsewhere; the
# uid of a static pod is a hash without dashes.
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice|/|$)", re.MULTILINE)


def holder_of(label: str) -> str:
    """The namespace that has the node; "" while nobody has: a value with a dot is a state of the node."""
    return "" if "." in label else label


class Processes:
    """Whose processes are whose. `proc` and `logs` are /proc and /var/log/pods of the node."""

    def __init__(self, exempt: Collection[str], proc: Path = Path("/proc"), logs: Path = Path("/var/log/pods")) -> None:
        self._exempt, self._proc, self._logs = frozenset(exempt), proc, logs
        self._namespaces: dict[str, str] = {}  # pod uid -> namespace

    @property
    def known(self) -> bool:
        """Whether pods can be traced to their namespaces here."""
        return os.access(self._logs, os.R_OK | os.X_OK)

    def strange(self, sample: NodeSample, holder: str) -> dict[str, frozenset[int]]:
        """GPU -> pids of strangers on it; only GPUs with any. Nobody is one where there is no holder."""
        if not holder:
            return {}
        owned = {holder, *self._exempt, None}
        strange = {pid for gpu in sample.gpus for pid in gpu.pids if self._namespace(pid) not in owned}
        found = {gpu.uuid: strange.intersection(gpu.pids) for gpu in sample.gpus}
        return {uuid: frozenset(pids) for uuid, pids in found.items() if pids}

    def _namespace(self, pid: int) -> str | None:
        """None for a process of no pod, or none any more; "" where its pod is not known any more."""
        try:
            found = _POD.findall((self._proc / str(pid) / "cgroup").read_text())
        except OSError:
            return None
        if not found:
            return None
        uid = found[-1].replace("_", "-")
        if uid not in self._namespaces:
            try:
                self._namespaces = _listed(self._logs)
            except OSError:  # nobody is accused for want of a folder
                return None
        return self._namespaces.get(uid, "")


def _listed(logs: Path) -> dict[str, str]:
    """Pod uid -> namespace, from folders named <namespace>_<pod>_<uid>."""
    parts = [folder.name.split("_") for folder in logs.iterdir()]
    return {part[2]: part[0] for part in parts if len(part) == 3}
