"""Webhooks go to https, or to http on this machine; never to link-local or metadata addresses, however they are written."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from laycan.events import attempt
from laycan.events.addresses import ForbiddenAddressError, GuardedResolver, check_address, check_url, guarded_socket


@pytest.mark.parametrize(
    "url",
    ["https://gcx.example/hooks", "https://10.1.2.3:8443/h", "http://127.0.0.1:9000/", "http://localhost:9000/", "http://[::1]:9000/x"],
)
def test_allowed(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://gcx.example/hooks",
        "http://10.1.2.3/",
        "ftp://gcx.example/",
        "https:///nowhere",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://224.0.0.1/",
        "https://[fd20:ce::254]/",
        "https://192.0.0.192/",
        "https://168.63.129.16/",
        "https://[64:ff9b:1::a9fe:a9fe]/",
        "https://[2002:a9fe:a9fe::1]/",
        "https://[::a9fe:a9fe]/",
        "https://[::ffff:0:a9fe:a9fe]/",
        "https://１６９.254.169.254/",
        "https://169。254。169。254/",
        "https://①⑥⑨.254.169.254/",
        "https://gçx.example/",
    ],
)
def test_forbidden(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_url(url)


def test_a_name_is_judged_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A harmless name that resolves to the metadata service is refused at the moment of connecting."""

    def resolved(address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        answer: list[Any] = [(family, socket.SOCK_STREAM, 6, "", (address, 443, 0, 0) if ":" in address else (address, 443))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: answer)

    async def resolve(name: str) -> str:
        resolver = GuardedResolver()
        try:
            return (await resolver.resolve(name, 443))[0]["host"]
        finally:
            await resolver.close()

    resolved("93.184.215.14")
    assert asyncio.run(resolve("gcx.example")) == "93.184.215.14"
    for address in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254"):
        resolved(address)
        with pytest.raises(ForbiddenAddressError):
            asyncio.run(resolve("gcx.example"))
    resolved("10.0.0.7")
    with pytest.raises(ForbiddenAddressError, match="this machine only"):
        asyncio.run(resolve("localhost"))


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%lo", "::ffff:169.254.169.254", "100.100.100.200"])
def test_a_socket_is_judged_by_its_address(address: str) -> None:
    """However the URL was read: nothing is connected to what is forbidden."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(ForbiddenAddressError):
        guarded_socket((family, socket.SOCK_STREAM, 6, "", (address, 443)))
    guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 443))).close()


def test_every_connection_has_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A literal address that nobody has judged does not get past it: here the check of the URL is away."""
    monkeypatch.setattr(attempt, "check_url", lambda url: None)

    async def get_secret(namespace: str, name: str, key: str) -> bytes:
        return b"whsec_AAAA"

    async def post(url: str) -> str:
        async with attempt.Courier(get_secret, lambda: (), lambda: 0) as courier:
            spec = {"url": url, "secretRef": {"name": "a", "key": "b"}}
            return (await courier.post("desk/gcx", spec, attempt.Message("1", b"{}", "application/json"))).detail

    assert "no webhook may go to" in asyncio.run(post("https://169.254.169.254/"))


def test_loopback_only_on_request() -> None:
    """http asks for loopback, https does not."""
    check_address("x", "10.0.0.1", loopback=False)
    with pytest.raises(ForbiddenAddressError):
        check_address("x", "10.0.0.1", loopback=True)
