"""The Merkle tree of RFC 9162, section 2.1: what a log's head says about its entries, and proofs of it.

Proofs are made where the entries are; here they are checked. Hashes are 32 bytes, sizes and indices count leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """Of a list of leaves' data, in order."""
    peaks: list[bytes] = []
    for size, data in enumerate(leaves, 1):
        top = leaf_hash(data)
        while size % 2 == 0:
            top, size = node_hash(peaks.pop(), top), size // 2
        peaks.append(top)
    return join(peaks)


def join(peaks: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, the largest (the one for the highest bit of the size) first."""
    return reduce(lambda right, left: node_hash(left, right), reversed(peaks)) if peaks else sha256().digest()


def includes(head: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Is `leaf` (a leaf's hash) number `index` of the tree of `size` leaves with the root `head`? Section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, top = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if at % 2 or at == last:
            top = node_hash(other, top)
            at, last = _climb(at, last)
        else:
            top = node_hash(top, other)
        at, last = at // 2, last // 2
    return last == 0 and top == head


def extends(old: bytes, old_size: int, new: bytes, new_size: int, proof: Sequence[bytes]) -> bool:
    """Does the tree with root `new` begin with the one with root `old`? Section 2.1.4.2; the empty tree begins every tree."""
    if old_size == new_size:
        return not proof and old == new
    if old_size == 0:
        return not proof and old == join([]) and new_size > 0
    if not 0 < old_size < new_size or not proof:
        return False
    path = [old, *proof] if old_size & (old_size - 1) == 0 else proof
    at, last = old_size - 1, new_size - 1
    while at % 2:
        at, last = at // 2, last // 2
    before = after = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at % 2 or at == last:
            before, after = node_hash(other, before), node_hash(other, after)
            at, last = _climb(at, last)
        else:
            after = node_hash(after, other)
        at, last = at // 2, last // 2
    return last == 0 and before == old and after == new


def _climb(at: int, last: int) -> tuple[int, int]:
    """Up to where the subtree is a right child: as far as it stands at the right edge, it has no sibling."""
    while at and at % 2 == 0:
        at, last = at // 2, last // 2
    return at, last
