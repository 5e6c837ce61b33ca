"""How often a product's nodes failed here, and for how long: counts in its status, from which the planner works out what it expects.

A failure is counted once, with its onset, when the node is first found down; it is over when the node has been sound for the hysteresis,
as long as it cannot serve anybody before. `nodeSeconds` is the time that the nodes were up: of each the time since the record began,
less its downtimes. So it does not matter when somebody looks, and a restart changes nothing: `down` says what was known.

Decided: after an absence no more than a day counts as time in which the nodes were watched. A node that is gone (deleted, or taken out
of the fleet) is back when one of its name is well, and counts as repaired after `GONE_SECONDS` at the latest. What was down already when
the record began is left out until it is back. A clock that goes back adds nothing until it has caught up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from laycan.delivery.faults.downtime import Downtime
from laycan.kube.sound import mapping, seconds_at, text_at
from laycan.resources.times import format_time, parse_time

DAY = 86_400
GONE_SECONDS = 7 * DAY
WRITE_SECONDS = 3600  # how often the time alone is written
MOST_DOWN = 4096  # as the schema says; what fails beyond it is not counted


@dataclass(frozen=True, slots=True)
class Record:
    """Counts of one product; times are Unix seconds."""

    since: int
    until: int
    node_seconds: int = 0
    failures: int = 0
    repairs: int = 0
    repair_seconds: int = 0
    down: Mapping[str, int] = field(default_factory=dict)  # node -> onset

    @classmethod
    def parse(cls, status: Any) -> Record | None:
        """What a product's status says; None where it says nothing that can be read."""
        raw = mapping(mapping(status).get("reliability"))
        rows = raw.get("down")
        try:
            until = parse_time(text_at(raw, "until"))
            return cls(
                since=min(parse_time(text_at(raw, "since")), until),
                until=until,
                node_seconds=max(0, seconds_at(raw, "nodeSeconds")),
                failures=max(0, seconds_at(raw, "failures")),
                repairs=max(0, seconds_at(raw, "repairs")),
                repair_seconds=max(0, seconds_at(raw, "repairSeconds")),
                down={text_at(row, "node"): parse_time(text_at(row, "since")) for row in (rows if isinstance(rows, list) else ())},
            )
        except ValueError:
            return None

    def dump(self) -> dict[str, Any]:
        """As it stands in the status."""
        rows = [{"node": node, "since": format_time(since)} for node, since in sorted(self.down.items())]
        return {
            "since": format_time(self.since),
            "until": format_time(self.until),
            "nodeSeconds": self.node_seconds,
            "failures": self.failures,
            "repairs": self.repairs,
            "repairSeconds": self.repair_seconds,
            "down": rows,
        }


def advance(record: Record | None, found: Downtime, nodes: Mapping[str, int], now: int) -> Record:
    """The record up to `now`. `nodes`: the product's nodes, and those of its that are gone -> when each was made, Unix seconds."""
    if record is None:
        return Record(now, now)
    if record.until > now:
        return _set_back(record, now) if record.until > now + DAY else record
    record = _set_back(record, now)
    begin = max(record.until, now - DAY)
    over = {node: end for node, since in record.down.items() if (end := _over(node, since, found, now)) is not None}
    lasting = {node: since for node, since in record.down.items() if node not in over}
    new = _new(record, found, nodes, MOST_DOWN - len(lasting), now)
    up = sum(max(0, now - max(begin, made)) for node, made in nodes.items() if node in found.up and node not in record.down)
    up += sum(now - (end if begin == record.until else max(end, begin)) for node, end in over.items() if node in found.up)
    up += sum(max(0, since - max(begin, nodes[node])) - max(0, record.until - since) for node, since in new.items())
    return Record(
        since=record.since,
        until=now,
        node_seconds=max(0, record.node_seconds + up),
        failures=record.failures + len(new),
        repairs=record.repairs + len(over),
        repair_seconds=record.repair_seconds + sum(end - record.down[node] for node, end in over.items()),
        down=lasting | new,
    )


def _new(record: Record, found: Downtime, nodes: Mapping[str, int], most: int, now: int) -> dict[str, int]:
    """Failures that are not known yet, the first to fail."""
    onsets = {node: since for node, since in found.down.items() if node in nodes and node not in record.down and record.since <= since}
    still = {node: since for node, since in onsets.items() if node in found.fleet or now < since + GONE_SECONDS}
    return dict(sorted(still.items(), key=lambda item: (item[1], item[0]))[:most])


def _over(node: str, since: int, found: Downtime, now: int) -> int | None:
    """When a failure was over; None while it lasts."""
    if node in found.well:
        return found.well[node] if found.well[node] > since else now  # its object does not tell: a card was broken
    return since + GONE_SECONDS if node not in found.fleet and since + GONE_SECONDS <= now else None


def _set_back(record: Record, now: int) -> Record:
    """Nothing of it lies in the future: the clock was wrong, what was counted is not."""
    return replace(
        record,
        since=min(record.since, now),
        until=min(record.until, now),
        down={node: min(since, now) for node, since in record.down.items()},
    )


def to_write(old: Record | None, new: Record) -> bool:
    """Whether anything but time has passed, or an hour of it."""
    if old is None or old.until > new.until:
        return True
    changed = (old.failures, old.repairs, old.down) != (new.failures, new.repairs, new.down)
    return changed or new.until - old.until >= WRITE_SECONDS
