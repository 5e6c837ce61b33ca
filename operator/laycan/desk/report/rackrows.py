"""The strips of zones and racks: how busy each is, and how much of it is down or in an outage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from laycan.desk.report.lines import Line
from laycan.desk.report.racks import Zone, outages_of
from laycan.desk.report.scale import Scale
from laycan.desk.report.strips import Shade, Span, dark_times, shades, spread
from laycan_solver.model import Plan, Problem


@dataclass(frozen=True, slots=True)
class Strip:
    """`mean_ppm`: GPU-seconds bound of those there, from now to the end of the scale."""

    busy: tuple[Shade, ...]
    out: tuple[Shade, ...]
    mean_ppm: int


@dataclass(frozen=True, slots=True)
class Rows:
    """By number of the zone; by number of the rack over all zones; and of what is not delivered, all kinds together."""

    zones: tuple[Strip, ...]
    racks: tuple[Strip, ...]
    undelivered: tuple[Shade, ...]


def rows_of(problem: Problem, plan: Plan, scale: Scale, zones: Sequence[Zone], lines: Sequence[Line]) -> Rows:
    racks = [(z, rack) for z, zone in enumerate(zones) for rack in zone.racks]
    rack_of = {n.name: i for i, (_, rack) in enumerate(racks) for n in rack.nodes}
    busy = spread(scale, len(racks), (Span(rack_of[b.node], b.start, b.end, b.gpus) for b in plan.bindings))
    out = spread(scale, len(racks), _dark(problem, scale, rack_of))
    gpus = [rack.gpus for _, rack in racks]
    later = slice((scale.now - scale.start) // scale.bin_seconds, None)

    def strip(rows: list[int]) -> Strip:
        used, dark, most = busy[rows].sum(axis=0), out[rows].sum(axis=0), sum(gpus[i] for i in rows) * scale.bin_seconds
        there = int((most - dark[later]).sum())
        mean = int(used[later].sum()) * 1_000_000 // there if there else 0
        return Strip(shades(used, most, "h"), shades(dark, most, "o", 3), mean)

    missing = spread(scale, 1, (Span(0, u.start, u.end, u.gpus) for line in lines for u in line.gaps))[0]
    return Rows(
        zones=tuple(strip([i for i, (at, _) in enumerate(racks) if at == z]) for z in range(len(zones))),
        racks=tuple(strip([i]) for i in range(len(racks))),
        undelivered=shades(missing, int(missing.max(initial=0)), "u", 4),
    )


def _dark(problem: Problem, scale: Scale, rack_of: dict[str, int]) -> Iterator[Span]:
    outages = outages_of(problem)
    for n in problem.nodes:
        for start, end in dark_times(outages, n.name, n.usable, scale):
            yield Span(rack_of[n.name], start, end, n.gpus)
