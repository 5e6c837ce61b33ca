"""Tables, lists and counts for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence

NODES_SHOWN = 6


def aligned(rows: Sequence[Sequence[str]], right: Collection[str]) -> list[str]:
    """Columns as wide as their widest cell and two apart, those of these names to the right; the first row names them. Nothing trails."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [f"{{:{'>' if name in right else '<'}{width}}}" for name, width in zip(rows[0], widths, strict=True)]
    line = "  ".join(cells).format
    return [line(*row).rstrip() for row in rows]


def listed(names: Sequence[str], most: int = NODES_SHOWN, apart: str = " ") -> str:
    """The first of them, and how many more there are."""
    hidden = len(names) - most
    return apart.join(names[:most]) + (f" and {hidden} more" if hidden > 0 else "")


def many(count: int, word: str) -> str:
    """`1 node`, `12 nodes`."""
    return f"{count} {word}{'' if count == 1 else 's'}"
