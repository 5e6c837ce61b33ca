"""A session with NVIDIA's driver: which cards there are, a sample of all of them, and their XIDs.

A card that is lost or does not answer never stops the others.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pynvml

from laycan.agent.card import GONE, LOST, NO_ANSWERS, NO_DRIVER, STALE, Card, Handle, asked
from laycan.agent.sample import Fabric, GpuSample, NodeSample, NoDriverError, NoLibraryError, NvmlError, Pcie, StaleLibraryError, XidEvent

__all__ = ["Fabric", "GpuSample", "NoDriverError", "NodeSample", "Nvml", "NvmlError", "Pcie", "StaleLibraryError", "XidEvent"]

XID = pynvml.nvmlEventTypeXidCriticalError


class Nvml:
    """A session with the driver. `events` may run in another thread than the rest.

    NVML enumerates cards and takes them into use once per session: open again to see one that came back, and close to let one be reset.
    A call into a hanging driver does not return, though other threads go on: who must not hang calls from a thread of its own.
    """

    def __init__(self) -> None:
        self._driver: str | None = None  # None: no session
        self._cards: dict[int, Card] = {}  # address of the handle -> card
        self._uuids: list[str | None] = []  # by index, when last told: a card that is lost does not tell it
        self._set: Any = None  # nvmlEventSet_t; None where events are not supported
        self._waiting = threading.Lock()  # held while the event set is in use

    def open(self) -> None:
        """Start a session; one that is open is ended before. Raises NvmlError and its kinds."""
        self.close()
        try:
            pynvml.nvmlInit()
            self._driver = ""
            self._driver = pynvml.nvmlSystemGetDriverVersion()
        except pynvml.NVMLError as error:
            raise named(error) from error
        with self._waiting:
            self._watch()

    def close(self) -> None:
        """End the session; never raises. Waits for `events` to return."""
        with self._waiting:
            self._unwatch()
            if self._driver is not None:
                with suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()
            self._driver = None
            self._cards = {}

    def sample(self) -> NodeSample:
        """All GPUs now. Raises NvmlError; after NoDriverError (the driver went away) `open` may be called again."""
        if self._driver is None:
            raise NoDriverError("no session")
        gpus: list[GpuSample] = []
        lost: list[int] = []
        unreadable: list[int] = []
        try:
            for index in range(self._count()):
                try:
                    gpus.append(self._card(index).sample(index))
                except pynvml.NVMLError as error:
                    if error.value in NO_ANSWERS - {LOST}:
                        raise
                    (lost if error.value in GONE else unreadable).append(index)
        except pynvml.NVMLError as error:
            raise named(error) from error
        seen = {gpu.uuid for gpu in gpus}
        return NodeSample(self._driver, tuple(gpus), self._known(lost, seen), self._known(unreadable, seen))

    def events(self, timeout_seconds: float) -> list[XidEvent]:
        """XIDs since the last call, as soon as there is one, or [] after the timeout. Raises NvmlError like `sample`."""
        with self._waiting:
            if self._driver is None:
                raise NoDriverError("no session")
            found: list[XidEvent] = []
            try:
                self._collect(found, round(timeout_seconds * 1000))
            except pynvml.NVMLError as error:
                if found or error.value == pynvml.NVML_ERROR_TIMEOUT:
                    return found  # any other error will be there again
                if error.value != LOST:
                    raise named(error) from error
                self._watch()  # without the card: with it, each wait ends so at once
            time.sleep(timeout_seconds)
            return found

    def _collect(self, found: list[XidEvent], milliseconds: int) -> None:
        """Raises NVMLError after the last event, Timeout if all is well; returns at once where events are not supported."""
        while self._set is not None:
            event = pynvml.nvmlEventSetWait_v2(self._set, 0 if found else milliseconds)
            card = self._cards.get(address(event.device))
            if uuid := card.uuid if card else asked(pynvml.nvmlDeviceGetUUID, event.device):
                found.append(XidEvent(uuid, event.eventData))

    def _watch(self) -> None:
        """A new event set, of all cards that answer; never raises."""
        self._unwatch()
        with suppress(pynvml.NVMLError):
            self._set = pynvml.nvmlEventSetCreate()
            for index in range(self._count()):
                with suppress(pynvml.NVMLError):
                    handle = self._card(index).handle
                    if pynvml.nvmlDeviceGetSupportedEventTypes(handle) & XID:
                        pynvml.nvmlDeviceRegisterEvents(handle, XID, self._set)

    def _unwatch(self) -> None:
        if self._set is not None:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)
        self._set = None

    def _count(self) -> int:
        """Cards that are enumerated. As long as they are as many, in whatever session, an index is taken for the same card's."""
        count: int = pynvml.nvmlDeviceGetCount()
        if count != len(self._uuids):
            self._uuids = [None] * count
        return count

    def _card(self, index: int) -> Card:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        where = address(handle)
        if where not in self._cards:
            self._cards[where] = Card.of(handle, self._driver or "")
        card = self._cards[where]
        self._uuids[index] = card.uuid
        return card

    def _known(self, indices: Iterable[int], seen: set[str]) -> tuple[str, ...]:
        """The uuids that these cards told, without those that another index has now."""
        return tuple(uuid for index in indices if (uuid := self._uuids[index]) and uuid not in seen)


def address(handle: Handle) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def named(error: Any) -> NvmlError:
    if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return NoLibraryError(str(error))
    if error.value in NO_DRIVER:
        return NoDriverError(str(error))
    return StaleLibraryError(str(error)) if error.value == STALE else NvmlError(str(error))
