"""Finds and ends the processes of a control plane whose starter has gone: what `down` does about `up`.

Each start writes its process ids into the folder. The folder's name is in every command line, which tells our processes from strangers
that were given the same id since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from controlplane.process import is_ours, stop_stranger

FILE = "processes.json"


def write_down(folder: Path, pids: Mapping[str, int]) -> None:
    """Notes the processes of a folder: component -> process id."""
    (folder / FILE).write_text(json.dumps(pids))


def left_running(folder: Path) -> bool:
    """Whether a control plane that `outlives_us` started in this folder runs, with all its parts."""
    pids = _written_down(folder)
    return bool(pids) and all(is_ours(pid, str(folder.resolve())) for pid in pids.values())


def stop_left_running(folder: Path, patience_seconds: float = 3.0) -> list[str]:
    """Stops what is left running in this folder and returns when it has exited; the names of the components that ran."""
    ours = str(folder.resolve())
    running = {name: pid for name, pid in _written_down(folder).items() if is_ours(pid, ours)}
    for pid in reversed(running.values()):
        stop_stranger(pid, ours, patience_seconds)
    return list(running)


def _written_down(folder: Path) -> dict[str, int]:
    file = folder / FILE
    return dict(json.loads(file.read_text())) if file.exists() else {}
