"""The sellable curve as one SVG: a line of GPUs over starts for each length. Plain text, the same bytes for the same points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from laycan.resources.times import format_time

WIDTH, HEIGHT = 860, 340  # pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 112, 40, 48  # margins
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8d6a9f", "#e09f3e", "#3d405b", "#7a5c3e", "#4a90a4")
DAY = 86_400
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.axis{stroke:#888}"
    ".line{fill:none;stroke-width:2}.title{font-weight:600}"
)


@dataclass(frozen=True, slots=True)
class Sold:
    """`gpus` GPUs could be sold from `start` (Unix seconds) for `length` seconds."""

    start: int
    length: int
    gpus: int


def curve_svg(points: Sequence[Sold], title: str) -> str:
    """The drawing. Each point is a dot that tells its number when it is pointed at; what is not to be had lies on the axis."""
    top = _round_up(max((p.gpus for p in points), default=0))
    starts = sorted({p.start for p in points})
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>',
        *_grid(top),
        *_dates(starts),
    ]
    for i, length in enumerate(sorted({p.length for p in points})):
        body += _line([p for p in points if p.length == length], starts, top, i)
    return "\n".join((*body, "</svg>")) + "\n"


def span_words(seconds: int) -> str:
    """A length as a desk says it: whole days, else hours, else seconds."""
    for unit, size in (("d", DAY), ("h", 3_600)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _round_up(gpus: int) -> int:
    """The next number of one leading digit, at least 4: the upper end of the axis."""
    size = int("1" + "0" * (len(str(max(gpus, 1))) - 1))
    return max(4, -(-gpus // size) * size)


def _x(start: int, starts: Sequence[int]) -> int:
    whole = max(1, starts[-1] - starts[0])
    return LEFT + (start - starts[0]) * (WIDTH - LEFT - RIGHT) // whole


def _y(gpus: int, top: int) -> int:
    return HEIGHT - BOTTOM - gpus * (HEIGHT - TOP - BOTTOM) // top


def _grid(top: int) -> list[str]:
    lines = []
    for part in range(5):
        gpus, y = top * part // 4, _y(top * part // 4, top)
        lines.append(f'<line class="{"axis" if part == 0 else "grid"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{gpus}</text>')
    return [*lines, f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">GPUs</text>']


def _dates(starts: Sequence[int]) -> list[str]:
    """At most a dozen, so that none runs into the next."""
    step = -(-len(starts) // 12) or 1
    texts = []
    for start in starts[::step]:
        day = format_time(start).partition("T")[0]
        x, y = _x(start, starts), HEIGHT - BOTTOM + 18
        texts.append(f'<text x="{x}" y="{y}" text-anchor="end" transform="rotate(-30 {x} {y})">{day}</text>')
    return texts


def _line(points: Sequence[Sold], starts: Sequence[int], top: int, number: int) -> list[str]:
    colour, name = COLOURS[number % len(COLOURS)], span_words(points[0].length)
    at = [(_x(p.start, starts), _y(p.gpus, top), p) for p in sorted(points, key=lambda p: p.start)]
    path = " ".join(f"{x},{y}" for x, y, _ in at)
    dots = [
        f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"><title>{format_time(p.start)}, {name}: {p.gpus} GPUs</title></circle>'
        for x, y, p in at
    ]
    legend = TOP + 18 * number
    return [
        f'<polyline class="line" stroke="{colour}" points="{path}"/>',
        *dots,
        f'<line class="line" stroke="{colour}" x1="{WIDTH - RIGHT + 16}" x2="{WIDTH - RIGHT + 40}" y1="{legend}" y2="{legend}"/>',
        f'<text x="{WIDTH - RIGHT + 46}" y="{legend + 4}">{name}</text>',
    ]
