"""What an Outage object says, whatever is in it: which nodes it takes, when, and how it was judged.

Times of RFC 3339 in UTC sort as text, so nothing is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laycan.kube.sound import mapping, text_at
from laycan.kube.world import World

NEVER = "~"  # sorts after every time

Raw = Mapping[str, Any]


def window(raw: Raw) -> tuple[str, str]:
    """First second, and the first after it; "" where it does not say the first."""
    return text_at(raw, "spec", "start"), text_at(raw, "spec", "end") or NEVER


def lasts(raw: Raw, instant: str) -> bool:
    """Whether it has begun by then, and is not over."""
    start, end = window(raw)
    return bool(start) and start <= instant < end


def takes(raw: Raw, name: str, world: World) -> bool:
    """Whether the node is one of its nodes; one that is not there any more may still be named."""
    spec = mapping(raw.get("spec"))
    named, selector = spec.get("nodes"), mapping(spec.get("nodeSelector"))
    if isinstance(named, list) and name in named:
        return True
    node = world.nodes.get(name) if selector else None
    return node is not None and selector.items() <= mapping(mapping(node.raw.get("metadata")).get("labels")).items()
