"""Webhook keys, as they are read from Secrets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from laycan.events.secrets import secret_reader
from laycan.kube.client import ApiError, Client


class Answers:
    """A client that has one answer."""

    def __init__(self, answer: ApiError | dict[str, Any]) -> None:
        self.answer = answer

    async def get(self, path: str) -> dict[str, Any]:
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer


def read(answer: ApiError | dict[str, Any]) -> bytes:
    async def asked() -> bytes:
        return await secret_reader(cast(Client, Answers(answer)))("desk", "gcx-webhook", "hmac")

    return asyncio.run(asked())


def test_a_key() -> None:
    """Its bytes, decoded."""
    assert read({"data": {"hmac": "a2V5"}}) == b"key"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ApiError(403, "Forbidden", "no"), "is desk in the chart's exchangeNamespaces, and gcx-webhook in its exchangeSecretNames?"),
        (ApiError(404, "NotFound", "gone"), "gone"),
        ({"data": {"other": "a2V5"}}, "holds no key 'hmac'"),
    ],
)
def test_what_is_not_there(answer: ApiError | dict[str, Any], words: str) -> None:
    """The Secret is named; where the operator has no right to it, so are the two values that give it."""
    with pytest.raises(LookupError, match="Secret desk/gcx-webhook") as told:
        read(answer)
    assert str(told.value).endswith(words)
