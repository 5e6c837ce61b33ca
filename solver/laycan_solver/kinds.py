"""The words in which problems and plans are written: levels of topology and of handing over, kinds of outages, reasons."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Scope(IntEnum):
    """Topology levels from outside in; the index into `Node.domains` is the value - 1."""

    ANY = 0
    ZONE = 1
    FABRIC = 2
    RACK = 3
    NVLINK_DOMAIN = 4

    @property
    def label(self) -> str:
        """As a contract spells it: `Rack`, `NVLinkDomain`."""
        return "NVLinkDomain" if self is Scope.NVLINK_DOMAIN else self.name.capitalize()


class Level(StrEnum):
    """How exactly a node can be handed over: as a whole to one holder at a time, or GPU by GPU."""

    NODE = "Node"
    DEVICE = "Device"


class MovePolicy(StrEnum):
    """Which planned cuts a contract admits: none, those that lower what accepted contracts are owed, or all."""

    FORCED = "Forced"
    RESCUE = "Rescue"
    ANY = "Any"


class OutageType(StrEnum):
    """Maintenance that is known ahead, a fault, or the end of the nodes' service."""

    PLANNED = "Planned"
    FORCED = "Forced"
    RETIREMENT = "Retirement"


class Reason(StrEnum):
    """Why something is not delivered, or not accepted."""

    POOL_SHORT = "PoolShort"
    NODE_LOST = "NodeLost"
    OUTAGE_PLANNED = "OutagePlanned"
    MOVE_LIMIT = "MoveLimit"
    TOPOLOGY_SHORT = "TopologyShort"
    # of a refused candidate (contract.md 2)
    EXCEEDS_FLEET = "ExceedsFleet"
    NO_CAPACITY = "NoCapacity"


class MoveReason(StrEnum):
    """Why a lot leaves its node."""

    NODE_LOST = "NodeLost"
    OUTAGE = "Outage"
    RESCUE = "Rescue"
    PLANNED = "Planned"


class Stopped(StrEnum):
    """What ended the search for a better plan."""

    OPTIMAL = "Optimal"
    EFFORT = "Effort"
    TIME_LIMIT = "TimeLimit"
