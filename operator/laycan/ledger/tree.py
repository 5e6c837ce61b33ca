"""Where the hashes of complete subtrees stand, and which of them make a root or a proof (RFC 9162, section 2.1).

The hash of every complete subtree is kept at its *position*: the order in which the subtrees become complete as leaves are appended.
So a leaf adds to the end only, one hash on its own level and one for each tree that it completes, about two per leaf in the long run.
A range of leaves whose hash a proof asks for is a handful of complete subtrees; nothing is ever hashed anew but those few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from laycan_verify.merkle import join, leaf_hash, node_hash

Range = tuple[int, int]  # leaves [first, end)


class StoredTree:
    """Roots and proofs of every size that the tree ever had. `read`: positions -> their hashes."""

    def __init__(self, read: Callable[[Sequence[int]], Mapping[int, bytes]]) -> None:
        self._read = read

    def peaks(self, size: int) -> list[bytes]:
        """Of the complete subtrees that make up the first `size` leaves, the largest first."""
        positions = cover((0, size))
        found = self._read(positions)
        return [found[position] for position in positions]

    def root(self, size: int) -> bytes:
        return join(self.peaks(size))

    def hashes(self, ranges: Sequence[Range]) -> list[bytes]:
        """Of ranges as `inclusion` and `consistency` name them."""
        parts = [cover(part) for part in ranges]
        found = self._read([position for part in parts for position in part])
        return [join([found[position] for position in part]) for part in parts]


def positions_before(leaves: int) -> int:
    """How many subtrees are complete within the first `leaves` leaves."""
    return 2 * leaves - leaves.bit_count()


def cover(part: Range) -> list[int]:
    """Positions of the complete subtrees that make up a range which begins where a subtree of its size may; the largest first."""
    first, end = part
    found = []
    while first < end:
        level = (end - first).bit_length() - 1
        first += 1 << level
        found.append(positions_before(first - 1) + level)
    return found


def grow(size: int, peaks: list[bytes], data: bytes) -> list[bytes]:
    """The hashes that leaf number `size` completes, from its own upwards; `peaks` of that size become those of the next."""
    made = [leaf_hash(data)]
    for _ in range(_trees_completed(size)):
        made.append(node_hash(peaks.pop(), made[-1]))
    peaks.append(made[-1])
    return made


def inclusion(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove leaf `index` in the tree of `size` leaves, in the order of section 2.1.3.1."""
    first, end, found = 0, size, []
    while end - first > 1:
        middle = first + _half(end - first)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((first, middle))
            first = middle
    return found[::-1]


def consistency(old: int, new: int) -> list[Range]:
    """The ranges whose hashes prove that the tree of `new` leaves begins with the one of `old`, in the order of section 2.1.4.1."""
    first, end, found = 0, new, []
    while 0 < old < end:
        middle = first + _half(end - first)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((first, middle))
            first = middle
    return [*([(first, end)] if first else []), *found[::-1]]


def mismatches(leaves: Iterable[bytes], hashes: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """(level, index) of every stored hash that is not that of its leaf (level 0) or of the two stored below it; missing ones too."""
    stored, peaks = iter(hashes), list[bytes]()
    for index, data in enumerate(leaves):
        made = leaf_hash(data)
        for level in range(_trees_completed(index) + 1):
            if level:
                right, left = peaks.pop(), peaks.pop()
                made = node_hash(left, right)
            found = next(stored, b"")
            if found != made:
                yield level, index >> level
            peaks.append(found)


def _trees_completed(index: int) -> int:
    """How many trees of two or more leaves are complete once leaf `index` is there."""
    return (index ^ (index + 1)).bit_length() - 1


def _half(leaves: int) -> int:
    """The largest power of two smaller than `leaves`, of which there are at least two."""
    return 1 << ((leaves - 1).bit_length() - 1)
