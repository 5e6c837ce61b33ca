"""What the viewer sees: a table of contracts and a log of what happened, redrawn in place on a terminal, printed in turn elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.observer import seconds

Object = dict[str, Any]
PRINT_EVERY_SECONDS = 20  # where there is no terminal to redraw
COLUMNS = ("contract", "product", "GPUs", "window", "phase", "nodes now", "delivered GPU-s", "short", "why")
COLOURS = {"Delivering": "green", "Delivered": "cyan", "Settled": "cyan", "Rejected": "red", "Accepted": "yellow", "Cancelled": "magenta"}


def relative(stamp: str, now: int) -> str:
    """A time as seen from now: `+12 s`, `-3 s`, or the date when it is far."""
    delta = seconds(stamp) - now
    return f"{delta:+d} s" if abs(delta) < 3600 else stamp[:10]


def contract_row(obj: Object, now: int) -> list[str | Text]:
    status, delivery = obj.get("status") or {}, obj["spec"]["terms"]["delivery"]
    phase = status.get("phase", "")
    current = [b for b in status.get("bindings") or () if seconds(b["start"]) <= now < seconds(b["end"])]
    nodes = " ".join(sorted({b["node"] for b in current}))
    quantities = status.get("quantities") or {}
    true = [c["type"] for c in status.get("conditions") or () if c["status"] == "True" and c["type"] not in ("Ready", "Reconciling")]
    note = (status.get("reason") or {}).get("code") or " ".join(true)
    return [
        obj["metadata"]["name"],
        obj["spec"]["terms"]["productRef"]["name"],
        str(delivery["gpus"]),
        f"{relative(delivery['start'], now)} .. {relative(delivery['end'], now)}",
        Text(phase, style=COLOURS.get(phase, "")),
        nodes if len(nodes) < 44 else f"{nodes[:40]} ... ({len(current)})",
        str(quantities.get("deliveredGpuSeconds", "")),
        str(quantities.get("shortfallGpuSeconds", "")),
        note,
    ]


def contract_table(contracts: list[Object], now: int, title: str, columns: tuple[str, ...] = COLUMNS) -> Table:
    table = Table(title=title, title_justify="left", expand=False, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("GPUs", "delivered GPU-s", "short") else "left", no_wrap=True)
    for obj in sorted(contracts, key=lambda o: (seconds(o["spec"]["terms"]["delivery"]["start"]), o["metadata"]["name"])):
        row = dict(zip(COLUMNS, contract_row(obj, now), strict=True))
        table.add_row(*(row[column] for column in columns))
    return table


class Show:
    """Use as a context manager; `say` adds a line to the log, `draw` shows the table as it is now."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, width=None if Console().is_terminal else 180)
        self._live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None
        self._lines: deque[Text] = deque(maxlen=22)
        self.told: list[Text] = []  # all that was said in colour
        self._began = time.monotonic()
        self._printed = 0.0
        self._table: Table | None = None

    def __enter__(self) -> Show:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        text = Text.assemble((f"{time.monotonic() - self._began:6.1f} s  ", "dim"), (line, style))  # `+` would dim the line as well
        self._lines.append(text)
        if style:
            self.told.append(text)
        if self._live:
            self._redraw()
        else:
            self.console.print(text, soft_wrap=True)

    def draw(self, contracts: list[Object], now: int, title: str) -> None:
        self._table = contract_table(contracts, now, title)
        if self._live:
            self._redraw()
        elif time.monotonic() - self._printed >= PRINT_EVERY_SECONDS:
            self._printed = time.monotonic()
            self.console.print(self._table)

    def _redraw(self) -> None:
        assert self._live is not None
        self._live.update(Group(*([self._table] if self._table else []), *self._lines))
