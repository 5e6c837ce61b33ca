"""The reflector's table is the server's collection, whatever happens to the stream between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from laycan.kube import client as client_module
from laycan.kube import reflector as reflector_module
from laycan.kube.reflector import Reflector
from laycan.kube.views import namespace_view
from laycan.kube.world import World
from tests.laycan.kube.scripted import Answer, Scripted, refuses, serving, streams

END = {"metadata": {"resourceVersion": "10", "annotations": {"k8s.io/initial-events-end": "true"}}}
COMPACTED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}}


def event(what: str, name: str, version: int) -> dict[str, Any]:
    return {"type": what, "object": {"metadata": {"name": name, "resourceVersion": str(version)}}}


def complete(version: int = 10) -> dict[str, Any]:
    return {"type": "BOOKMARK", "object": {"metadata": {**END["metadata"], "resourceVersion": str(version)}}}


def follow(answers: list[Answer], until: Callable[[World, Reflector], bool], optional: bool = False) -> tuple[Scripted, World, Reflector]:
    """Runs a reflector of namespaces against these answers until the condition holds."""
    api, world = Scripted(answers), World()

    async def go() -> Reflector:
        async with serving(api.handle) as client:
            reflector = Reflector(client, world, "namespaces", "/api/v1/namespaces", namespace_view, time.monotonic, optional=optional)
            task = asyncio.create_task(reflector.run())
            try:
                async with asyncio.timeout(10):
                    while not until(world, reflector):  # noqa: ASYNC110 - a condition of more than the world
                        await asyncio.sleep(0.01)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return reflector

    return api, world, asyncio.run(go())


def test_it_begins_with_all_objects_and_then_follows_changes() -> None:
    """`synced` is set at the end of the initial events, not before."""
    synced_with: set[str] = set()

    def watch(world: World, reflector: Reflector) -> bool:
        if not reflector.synced.is_set():
            synced_with.update(world.namespaces)
        return "c" in world.namespaces

    first = streams(
        event("ADDED", "a", 3), event("ADDED", "b", 2), complete(), event("DELETED", "a", 11), event("ADDED", "c", 12), stay=True
    )
    api, world, _ = follow([first], watch)
    assert world.namespaces.keys() == {"b", "c"}
    assert synced_with <= {"a", "b"}, "changes come after the end of the beginning"
    assert api.requests[0][1]["sendInitialEvents"] == "true"
    assert "resourceVersion" not in api.requests[0][1]


def test_after_a_break_it_resumes_and_does_not_list_again() -> None:
    """A drop costs one request, not the whole collection."""
    first = streams(event("ADDED", "a", 3), complete(), event("ADDED", "b", 11))
    api, _, reflector = follow([first, streams(event("ADDED", "c", 12), stay=True)], lambda world, _: "c" in world.namespaces)
    assert api.requests[1][1]["resourceVersion"] == "11"
    assert "sendInitialEvents" not in api.requests[1][1]
    assert reflector.relists == 1


@pytest.mark.parametrize("gone", [streams(COMPACTED), refuses(410, "Expired")], ids=["in the stream", "as an answer"])
def test_what_was_deleted_in_a_gap_is_dropped(gone: Answer) -> None:
    """After 410 nobody tells of the deletions: the new beginning is compared with what was known."""
    first = streams(event("ADDED", "a", 3), event("ADDED", "b", 4), complete())
    again = streams(event("ADDED", "b", 4), event("ADDED", "c", 20), complete(21), stay=True)
    _, world, reflector = follow([first, gone, again], lambda world, _: "c" in world.namespaces and "a" not in world.namespaces)
    assert world.namespaces.keys() == {"b", "c"}
    assert reflector.relists == 2


def test_a_beginning_that_breaks_off_drops_nothing() -> None:
    """Half a list is no evidence that the other half is gone."""
    first = streams(event("ADDED", "a", 3), event("ADDED", "b", 4), complete())
    half = streams(event("ADDED", "b", 4))
    dropped: list[str] = []

    def watch(world: World, reflector: Reflector) -> bool:
        dropped.extend({"a", "b"} - world.namespaces.keys() if reflector.synced.is_set() else ())
        return reflector.relists == 4

    follow([first, streams(COMPACTED), half, half, streams(event("ADDED", "a", 3), event("ADDED", "b", 4), complete(), stay=True)], watch)
    assert dropped == []


def test_a_server_that_is_not_ready_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted API server answers 429 for half a minute."""
    monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.001)
    busy = refuses(429, "TooManyRequests")
    api, *_ = follow([busy, busy, busy, streams(event("ADDED", "a", 3), complete(), stay=True)], lambda world, _: "a" in world.namespaces)
    assert len(api.requests) == 4


def test_a_kind_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional one is empty until it comes: nobody waits for it, it is no silence, and what it had when it went is dropped."""
    monkeypatch.setattr(reflector_module, "_ABSENT_SECONDS", 0.05)
    absent, begun = refuses(404, "NotFound"), time.monotonic()
    seen: list[tuple[bool, set[str]]] = []

    def watch(world: World, reflector: Reflector) -> bool:
        seen.append((reflector.synced.is_set(), set(world.namespaces)))
        return "b" in world.namespaces

    answers = [absent, absent, streams(event("ADDED", "a", 3), complete()), absent, streams(event("ADDED", "b", 4), complete(), stay=True)]
    api, world, reflector = follow(answers, watch, optional=True)
    assert len(api.requests) == 5
    assert (True, set()) in seen, "complete, and empty"
    assert world.namespaces.keys() == {"b"}, "what went with its kind is gone"
    assert reflector.last_event > begun


def test_a_kind_that_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other is waited for: without it nothing may be decided."""
    monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.001)
    synced: list[bool] = []

    def watch(world: World, reflector: Reflector) -> bool:
        synced.append(reflector.synced.is_set())
        return "a" in world.namespaces

    absent = refuses(404, "NotFound")
    follow([absent, absent, absent, streams(event("ADDED", "a", 3), stay=True)], watch)
    assert not any(synced)
