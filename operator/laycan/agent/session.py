"""NVML kept open: samples in one thread, XIDs in another, and a session anew where that shows more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from laycan.agent.account import NO_DRIVER
from laycan.agent.nvml import Nvml
from laycan.agent.sample import NodeSample, NoDriverError, NoLibraryError, NvmlError, XidEvent

_AGAIN_SECONDS = 60.0  # NVML enumerates once per session: so often a card that came back is looked for
_WAIT_SECONDS = 2.0  # for XIDs; a session that is to end waits for it


class Session:
    """`sample` from one thread, `listen` in another."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._there = threading.Event()  # a session is open
        self._opened_at = 0.0

    def sample(self, complete: bool) -> NodeSample:
        """All GPUs now, none without a driver; unless all are `complete`, those that came back are looked for now and then.

        Raises NvmlError where NVML gives no sample, NoLibraryError among them.
        """
        now = time.monotonic()
        try:
            if not self._there.is_set() or (not complete and now - self._opened_at >= _AGAIN_SECONDS):
                self._there.clear()
                self._nvml.open()
                self._opened_at = now
                self._there.set()
            return self._nvml.sample()
        except NvmlError as error:
            self._there.clear()
            if isinstance(error, NoDriverError) and not isinstance(error, NoLibraryError):
                return NO_DRIVER
            raise

    def listen(self, heard: Callable[[list[XidEvent]], None]) -> None:
        """Tells XIDs as they come, for ever: for a thread of its own."""
        while True:
            self._there.wait()
            try:
                events = self._nvml.events(_WAIT_SECONDS)
            except NvmlError:  # the next sample says what is wrong
                time.sleep(_WAIT_SECONDS)
                continue
            if events:
                heard(events)
