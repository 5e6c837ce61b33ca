"""Where a webhook may go: to https anywhere but the cluster's soft underbelly, to http on this machine only.

An endpoint's URL is written by whoever may write ExchangeEndpoints; it must not turn the operator into a way to the cloud's metadata
service. Names are judged by the addresses that the connection is really made to, so a name that changes its address between check
and use gains nothing; and each socket once more by its address, however the URL was read. Private ranges are open: exchanges live there.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

# AWS and Google over IPv6, Alibaba, Oracle, Azure's wire server; the others are link-local
METADATA = tuple(map(ip_network, ("fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")))
CARRIERS = tuple(
    map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/96", "::ffff:0:0:0/96", "::/96"))
)  # IPv4 in the last 32 bits: NAT64, SIIT, old


class ForbiddenAddressError(Exception):
    """The endpoint's URL leads where no webhook may go."""


def check_url(url: str) -> None:
    """Raises ForbiddenAddressError for a scheme, host or literal address that is not allowed; names are judged when they are resolved."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise ForbiddenAddressError(f"{url!r} is no http or https URL with a host")
    if not host.isascii():  # digits of other scripts would become an address on the way
        raise ForbiddenAddressError(f"{host!r} must be written in ASCII (xn--… where the name has other letters)")
    literal = _literal(host)
    if literal is not None:
        check_address(host, str(literal), loopback=parts.scheme == "http")
    elif parts.scheme == "http" and host != "localhost":
        raise ForbiddenAddressError(f"http goes to this machine only, not to {host!r}: use https")


def check_address(host: str, address: str, *, loopback: bool) -> None:
    """Raises ForbiddenAddressError for link-local, metadata, unspecified and multicast addresses; for all but loopback if asked."""
    ip = _unwrapped(ip_address(address))
    if ip.is_link_local or ip.is_unspecified or ip.is_multicast or any(ip in net for net in METADATA):
        raise ForbiddenAddressError(f"{host} is {address}, which no webhook may go to")
    if loopback and not ip.is_loopback:
        raise ForbiddenAddressError(f"{host} is {address}: http goes to this machine only")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.split("%", 1)[0])
    except ValueError:
        return None


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip.sixtofour is not None:
            return ip.sixtofour
        if any(ip in net for net in CARRIERS) and not ip.is_loopback:
            return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


def guarded_socket(address: AddrInfoType) -> socket.socket:
    """The last gate before a connection: raises ForbiddenAddressError as `check_address` does."""
    family, kind, protocol, _, place = address
    check_address("the endpoint", str(place[0]).split("%", 1)[0], loopback=False)
    return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Resolves as usual and refuses what `check_address` refuses."""

    def __init__(self) -> None:
        self._inner = DefaultResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            check_address(host, result["host"].split("%", 1)[0], loopback=host == "localhost")
        return found

    async def close(self) -> None:
        await self._inner.close()
