"""The client repeats what may be repeated, and says what happened of the rest."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from laycan.kube.client import METADATA_ONLY, ApiError
from tests.laycan.kube.scripted import Scripted, hangs_up, refuses, says, serving


def test_a_busy_server_is_asked_again_for_reads_and_writes() -> None:
    """429 and 503 mean that the request was not looked at: both are tried again."""
    api = Scripted([refuses(429, "TooManyRequests"), refuses(503, "ServiceUnavailable"), says(200, {"done": True})])

    async def go() -> None:
        async with serving(api.handle) as client:
            assert await client.patch_merge("/x", {"a": 1}) == {"done": True}

    asyncio.run(go())
    assert [verb for verb, _ in api.requests] == ["PATCH /x"] * 3


def test_retry_after_is_obeyed() -> None:
    """The server names the second; the client does not come back before."""
    api = Scripted([refuses(429, "TooManyRequests", **{"Retry-After": "1"}), says(200, {})])

    async def go() -> float:
        async with serving(api.handle) as client:
            begun = asyncio.get_running_loop().time()
            await client.get("/x")
            return asyncio.get_running_loop().time() - begun

    assert asyncio.run(go()) >= 1.0


def test_a_write_whose_answer_was_lost_is_not_sent_again() -> None:
    """It may have been done: the caller is told, with status 0, and must read."""
    api = Scripted([hangs_up, says(200, {})])

    async def go() -> None:
        async with serving(api.handle) as client:
            with pytest.raises(ApiError) as caught:
                await client.create("/x", {"a": 1})
            assert caught.value.status == 0

    asyncio.run(go())
    assert len(api.requests) == 1


def test_a_read_whose_answer_was_lost_is_repeated() -> None:
    """Reading twice changes nothing."""
    api = Scripted([hangs_up, says(200, {"here": 1})])

    async def go() -> None:
        async with serving(api.handle) as client:
            assert await client.get("/x") == {"here": 1}

    asyncio.run(go())


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (404, "NotFound"), (409, "Conflict"), (422, "Invalid")])
def test_a_refusal_is_raised_at_once_with_the_servers_words(status: int, reason: str) -> None:
    """Asking again would not change the answer."""
    api = Scripted([refuses(status, reason)])

    async def go() -> None:
        async with serving(api.handle) as client:
            with pytest.raises(ApiError, match=f"{reason} it is") as caught:
                await client.patch_merge("/x", {})
            assert (caught.value.status, caught.value.reason) == (status, reason)

    asyncio.run(go())
    assert len(api.requests) == 1
    assert api.requests[0][1] == {"fieldManager": "laycan", "fieldValidation": "Strict"}


def test_a_refusal_that_repeats_a_huge_object_is_shortened() -> None:
    """Status messages quote the object; the reason at the end must survive in the log."""
    api = Scripted([says(422, {"reason": "Invalid", "message": "x" * 100_000 + " unknown field"})])

    async def go() -> str:
        async with serving(api.handle) as client:
            with pytest.raises(ApiError) as caught:
                await client.create("/x", {})
            return caught.value.message

    message = asyncio.run(go())
    assert len(message) < 1000
    assert message.endswith("unknown field")


def test_an_answer_that_is_no_json_counts_as_lost() -> None:
    """A middlebox that garbles the answer ends no process: a read is repeated, a write is in doubt."""

    async def garbled(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\x1f\x8b")

    api = Scripted([garbled, says(200, {"done": True}), garbled])

    async def go() -> None:
        async with serving(api.handle) as client:
            assert await client.get("/x") == {"done": True}
            with pytest.raises(ApiError, match="no JSON") as caught:
                await client.create("/x", {})
            assert caught.value.status == 0

    asyncio.run(go())
    assert [verb for verb, _ in api.requests] == ["GET /x", "GET /x", "POST /x"]


def test_what_is_accepted_and_when_it_was_answered() -> None:
    """A caller may ask for an object's metadata only; of the latest answer the client remembers the server's date, and its own."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers["Accept"])
        return web.json_response({}, headers={"Date": "Fri, 15 Jan 2027 08:00:00 GMT"})

    async def go() -> tuple[float, float, str] | None:
        async with serving(answer) as client:
            assert client.dated is None
            await client.get("/x")
            await client.get("/x", accept=METADATA_ONLY)
            return client.dated

    dated = asyncio.run(go())
    assert asked == ["application/json", METADATA_ONLY]
    assert dated is not None
    assert dated[0] <= dated[1]
    assert dated[2] == "Fri, 15 Jan 2027 08:00:00 GMT"
