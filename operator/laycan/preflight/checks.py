"""All checks of `laycan preflight`, and their order in its output."""

from __future__ import annotations

from laycan.preflight import agents, fleet, installation, workloads
from laycan.preflight.cluster import Cluster
from laycan.preflight.finding import Check, Finding, Level

CHECKS: tuple[Check, ...] = (*installation.CHECKS, *fleet.CHECKS, *agents.CHECKS, *workloads.CHECKS)
_ORDER = {level: number for number, level in enumerate(Level)}


def inspect(cluster: Cluster) -> list[Finding]:
    """All findings, errors first, else in the order of the checks."""
    return sorted((finding for check in CHECKS for finding in check(cluster)), key=lambda finding: _ORDER[finding.level])
