"""Roots and proofs as RFC 9162 defines them, by recursion over the leaves: a second implementation to hold the first against."""

from __future__ import annotations

from hashlib import sha256

Hashes = list[bytes]


def recursive_root(leaves: list[bytes]) -> bytes:
    """Section 2.1.1, word for word."""
    if len(leaves) < 2:
        return sha256(b"\x00" + leaves[0]).digest() if leaves else sha256().digest()
    k = split(len(leaves))
    return sha256(b"\x01" + recursive_root(leaves[:k]) + recursive_root(leaves[k:])).digest()


def recursive_path(m: int, leaves: list[bytes]) -> Hashes:
    """PATH of section 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*recursive_path(m, leaves[:k]), recursive_root(leaves[k:])]
    return [*recursive_path(m - k, leaves[k:]), recursive_root(leaves[:k])]


def recursive_proof(m: int, leaves: list[bytes], whole: bool = True) -> Hashes:
    """SUBPROOF of section 2.1.4.1, word for word."""
    if m == len(leaves):
        return [] if whole else [recursive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*recursive_proof(m, leaves[:k], whole), recursive_root(leaves[k:])]
    return [*recursive_proof(m - k, leaves[k:], False), recursive_root(leaves[:k])]


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    return 1 << ((n - 1).bit_length() - 1)
