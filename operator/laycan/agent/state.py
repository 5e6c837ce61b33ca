"""The state file: the newest account, in the form of a GpuMeter, replaced as a whole after each sample."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)

Json = dict[str, Any]


class StateFile:
    """None as path: there is no file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._failing = False

    def load(self) -> Json | None:
        """What was saved last; None where that is nothing, or cannot be read."""
        if self._path is None:
            return None
        try:
            told = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        return told if isinstance(told, dict) else None

    def save(self, told: Json) -> None:
        """A reader finds the old file or the new one. Not flushed to the disk: after a loss of power the GpuMeter tells the most."""
        if self._path is None:
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.write_bytes(orjson.dumps(told))
            fresh.replace(self._path)
        except OSError as error:
            if not self._failing:
                log.warning("the state file is not written, so a restart loses what was not reported: %s", error)
            self._failing = True
            return
        self._failing = False
