"""Pictures of the chart's dashboard with the demo's data, where no Grafana is at hand.

    python -m demo.dashboard scrape http://127.0.0.1:PORT/metrics    # Prometheus, on port 9090; the address is in the demo's output
    python -m demo.dashboard draw docs/images                        # later: dashboard-<row>.png, by a headless Chromium

`draw` takes each row of charts/laycan/dashboards/laycan.json, asks Prometheus for its very queries, and draws each panel in its place.
It is not Grafana and does not look like it; that the file is right is what tests/chart/test_dashboard.py shows.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parents[1] / "charts" / "laycan" / "dashboards" / "laycan.json"
RULES = FILE.parents[1] / "alerts" / "rules.yaml"
PROMETHEUS = "http://127.0.0.1:9090"
POINTS, RATE = 240, "30s"
WIDTH, UNIT_HEIGHT = 1440, 34  # of a page, and of one step of the grid, in pixels
COLOURS = (
    "#3366cc",
    "#dc3912",
    "#109618",
    "#ff9900",
    "#990099",
    "#0099c6",
    "#dd4477",
    "#66aa00",
    "#b82e2e",
    "#316395",
    "#994499",
    "#22aa99",
)
Json = dict[str, Any]


class Series(NamedTuple):
    legend: str
    points: list[tuple[float, float]]  # Unix seconds, value; finite ones only


class Span(NamedTuple):
    start: float
    end: float

    @property
    def step(self) -> float:
        return max(1.0, (self.end - self.start) / POINTS)


def asked(target: Json, span: Span) -> Iterator[Series]:
    """What Prometheus says of one query, with the variables as Grafana fills them in."""
    expr = target["expr"].replace("$__rate_interval", RATE).replace("$product", ".*")
    query = urllib.parse.urlencode({"query": expr, "start": span.start, "end": span.end, "step": span.step})
    with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/query_range?{query}", timeout=30) as answer:  # noqa: S310 - of this machine
        found = json.load(answer)["data"]["result"]
    for each in found:
        legend = target["legendFormat"].replace("__auto", "")
        for label, value in each["metric"].items():
            legend = legend.replace(f"{{{{{label}}}}}", value)
        points = [(at, float(value)) for at, value in each["values"]]
        yield Series(legend, [(at, value) for at, value in points if math.isfinite(value)])


def said(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s" and value:
        sizes = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
        size, name = next(((size, name) for size, name in sizes if abs(value) >= size), (0.001, "ms"))
        return f"{value / size:.3g} {name}"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    words = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return words + {"ops": "/s", "s": " s"}.get(unit, "")


def stacked(found: Sequence[Series]) -> list[Series]:
    """Each on top of those before."""
    sums: dict[float, float] = {}
    made = []
    for series in found:
        for at, value in series.points:
            sums[at] = sums.get(at, 0.0) + value
        made.append(Series(series.legend, [(at, sums[at]) for at, _ in series.points]))
    return made


def chart(found: Sequence[Series], panel: Json, span: Span, width: int, height: int) -> str:
    """Lines over the time, with the axis at the left; stacked ones filled, the topmost first."""
    unit, custom = panel["fieldConfig"]["defaults"]["unit"], panel["fieldConfig"]["defaults"]["custom"]
    stacks = custom["stacking"]["mode"] == "normal"
    lines = stacked(found) if stacks else list(found)
    values = [value for series in lines for _, value in series.points]
    low, high = min([0.0, *values]), max(values, default=0.0)
    high = low + 1.08 * ((high - low) or 1)
    left, bottom = 62, height - 18

    def place(at: float, value: float) -> str:
        x = left + (at - span.start) / (span.end - span.start) * (width - left - 4)
        return f"{x:.1f},{bottom - (value - low) / (high - low) * (bottom - 6):.1f}"

    parts = []
    for share in (0, 0.5, 1):
        x, y = place(span.start, low + share * (high - low) / 1.08).split(",")
        parts.append(f'<line x1="{x}" x2="{width - 4}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{float(y) + 4}" text-anchor="end">{said(low + share * (high - low) / 1.08, unit)}</text>')
    for share in (0.0, 0.5, 1.0):
        at = span.start + share * (span.end - span.start)
        x, anchor = place(at, low).split(",")[0], {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}">{time.strftime("%H:%M:%S", time.gmtime(at))}</text>')
    for number, series in reversed(list(enumerate(lines))):
        if series.points:
            parts.append(_line([place(*point) for point in series.points], COLOURS[number % len(COLOURS)], bottom if stacks else None))
    return f'<svg width="{width}" height="{height}">{"".join(parts)}</svg>'


def _line(places: Sequence[str], colour: str, floor: int | None) -> str:
    line = f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    if floor is None:
        return line
    ends = f"{places[-1].split(',')[0]},{floor} {places[0].split(',')[0]},{floor}"
    area = f'<polygon points="{" ".join(places)} {ends}" fill='
    return f'{area}"#fff"/>{area}"{colour}" fill-opacity=".35"/>{line}'


def stat(found: Sequence[Series], panel: Json, span: Span) -> str:
    """The latest value, if there is one now."""
    points = [point for series in found for point in series.points[-1:] if point[0] > span.end - 2 * span.step]
    defaults = panel["fieldConfig"]["defaults"]
    if not points:
        return '<div class="stat">none</div>'
    value = points[-1][1]
    colours = [step["color"] for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return f'<div class="stat {colours[-1]}">{said(value, defaults["unit"])}</div>'


def _named(series: Series, colour: str, unit: str) -> str:
    text = f"{html.escape(series.legend)} {said(series.points[-1][1], unit)}"
    return f'<span><u style="background:{colour}"></u>{text}</span>'


def drawn(panel: Json, span: Span, top: int) -> str:
    place = panel["gridPos"]
    width, height = place["w"] * WIDTH // 24 - 12, place["h"] * UNIT_HEIGHT - 10
    found = [series for target in panel["targets"] for series in asked(target, span)]
    box = f"left:{place['x'] * WIDTH // 24 + 6}px;top:{(place['y'] - top) * UNIT_HEIGHT + 44}px;width:{width}px;height:{height}px"
    title = f"<b>{html.escape(panel['title'])}</b><i>{html.escape(panel['description'])}</i>"
    if panel["type"] == "stat":
        return f'<div class="panel" style="{box}">{title}{stat(found, panel, span)}</div>'
    unit, shown = panel["fieldConfig"]["defaults"]["unit"], [series for series in found if series.points]
    names = "".join(_named(series, COLOURS[number % len(COLOURS)], unit) for number, series in enumerate(shown))
    legend = f'<div class="legend">{names or "no data"}</div>'
    return f'<div class="panel" style="{box}">{title}{chart(shown, panel, span, width - 12, height - 95)}{legend}</div>'


STYLE = """
body{margin:0;background:#eef0f3;font:12px 'DejaVu Sans',sans-serif;position:relative}
h1{font-size:15px;margin:0;padding:10px 12px}
h1 small{font-weight:normal;color:#555}
.panel{position:absolute;background:#fff;border:1px solid #d4d8de;border-radius:3px;padding:6px;box-sizing:border-box;overflow:hidden}
.panel i{display:block;color:#667;font-size:10px;font-style:normal;height:26px;overflow:hidden}
.stat{font-size:26px;padding-top:6px}
.red{color:#c4162a}
.green{color:#1a7f37}
.grid{stroke:#e3e6ea}
svg text{font-size:10px;fill:#667}
.legend{font-size:10px;line-height:13px}
.legend span{margin-right:10px;white-space:nowrap}
.legend u{display:inline-block;width:9px;height:3px;margin-right:3px;vertical-align:middle}
"""


def pages(span: Span) -> Iterator[tuple[str, str, int]]:
    """(row, page, height in pixels) of each row of the dashboard."""
    panels = json.loads(FILE.read_text())["panels"]
    heads = [number for number, panel in enumerate(panels) if panel["type"] == "row"]
    for begin, end in zip(heads, [*heads[1:], len(panels)], strict=True):
        row, inside = panels[begin], panels[begin + 1 : end]
        top = row["gridPos"]["y"] + 1
        body = "".join(drawn(panel, span, top) for panel in inside)
        note = "the chart's dashboard, drawn by demo/dashboard.py from Prometheus's answers (not Grafana)"
        text = f"<meta charset=utf-8><style>{STYLE}</style><h1>Laycan / {row['title']} <small>{note}</small></h1>{body}"
        yield row["title"].lower(), text, max(p["gridPos"]["y"] + p["gridPos"]["h"] - top for p in inside) * UNIT_HEIGHT + 50


def draw(folder: Path, minutes: float, ago: float) -> None:
    """One picture for each row, of some minutes until so many minutes ago."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("error: no Chromium is installed")
    end = time.time() - 60 * ago
    folder.mkdir(parents=True, exist_ok=True)
    quiet = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name, text, height in pages(Span(end - 60 * minutes, end)):
            page = Path(scratch) / f"{name}.html"
            page.write_text(text)
            picture = folder.absolute() / f"dashboard-{name}.png"
            more = (f"--user-data-dir={scratch}/profile", f"--window-size={WIDTH},{height}", f"--screenshot={picture}", page.as_uri())
            subprocess.run([browser, *quiet, *more], check=True, capture_output=True, timeout=120)
            print(f"{picture} {picture.stat().st_size} bytes")


def scrape(url: str) -> None:
    """Becomes Prometheus, which asks the operator every two seconds and evaluates the chart's rules; its data goes with the folder."""
    parts = urllib.parse.urlsplit(url)
    folder = Path(tempfile.mkdtemp(prefix="laycan-prometheus-"))
    target = {"job_name": "laycan", "metrics_path": parts.path, "static_configs": [{"targets": [parts.netloc]}]}
    config = {"global": {"scrape_interval": "2s", "evaluation_interval": "2s"}, "rule_files": [str(RULES)], "scrape_configs": [target]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    listen = urllib.parse.urlsplit(PROMETHEUS).netloc
    os.execlp(  # noqa: S606
        "prometheus",
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}",
        f"--web.listen-address={listen}",
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.dashboard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("scrape").add_argument("url")
    drawing = commands.add_parser("draw")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("--minutes", type=float, default=4.0, help="how much is drawn")
    drawing.add_argument("--ago", type=float, default=0.0, help="how long ago it ended, minutes")
    arguments = parser.parse_args()
    if arguments.command == "scrape":
        scrape(arguments.url)
    else:
        draw(arguments.folder, arguments.minutes, arguments.ago)


if __name__ == "__main__":
    main()
