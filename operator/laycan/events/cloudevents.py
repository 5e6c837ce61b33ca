"""Events as CloudEvents 1.0 in structured JSON, in RFC 8785 bytes: the same change always makes the same bytes.

`id` and `sequence` come from the contract's own counter in its status, so an event that is written twice after a crash is the same
event. Every event carries the change and the contract as it is after it; the latest one is enough to know where things stand. No
event names a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rfc8785

from laycan.resources.times import format_time

# What may be said, without prefix and version: phases, then delivery as the buyer sees it, then the outlook.
NAMES = frozenset(
    {
        "contract.received",
        "contract.rejected",
        "contract.quoted",
        "contract.expired",
        "contract.accepted",
        "contract.delivering",
        "contract.delivered",
        "contract.settled",
        "contract.cancelled",
        "contract.terminated",
        "contract.suspended",
        "contract.resumed",
        "delivery.started",
        "delivery.interrupted",
        "delivery.restored",
        "delivery.substituted",
        "delivery.curtailed",
        "delivery.degraded",
        "delivery.recovered",
        "shortfall.opened",
        "shortfall.cured",
        "shortfall.cure_expired",
        "makegood.owed",
        "makegood.delivered",
        "risk.raised",
        "risk.cleared",
        "outage.planned",
        "receipt.issued",
        "key.rotated",
        "log.replaced",
        "statement",
    }
)


def source_of(cluster: Mapping[str, Any]) -> str:
    """The CloudEvents source of a cluster, by its namespace kube-system, a raw object."""
    return f"urn:laycan:{cluster['metadata']['uid']}"


def event_type(name: str) -> str:
    """`dev.laycan.<name>.v1`; raises ValueError for a name that is not in the catalogue."""
    if name not in NAMES:
        raise ValueError(f"there is no event {name!r}; add it to the catalogue in {__name__}")
    return f"dev.laycan.{name}.v1"


def event_id(contract_uid: str, sequence: int) -> str:
    return f"{contract_uid}/{sequence}"


def event_body(*, uid: str, sequence: int, name: str, source: str, contract_id: str, time: int, data: Mapping[str, Any]) -> str:
    """The canonical text of one event; `time` in Unix seconds. Encoded as UTF-8 it is what is signed and sent."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id(uid, sequence),
        "source": source,
        "subject": contract_id,
        "type": event_type(name),
        "time": format_time(time),
        "datacontenttype": "application/json",
        "sequence": f"{sequence:020d}",
        "data": dict(data),
    }
    return rfc8785.dumps(event).decode()


def operator_event(*, event_id: str, name: str, source: str, subject: str, time: int, data: Mapping[str, Any]) -> str:
    """The canonical text of an event that is about no contract; `time` in Unix seconds."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "subject": subject,
        "type": event_type(name),
        "time": format_time(time),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    return rfc8785.dumps(event).decode()
