"""One picture of a performance, for the README: contracts after the second death, what happened, and the summary, as SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.script import Object, is_short
from demo.show import COLUMNS, contract_table
from demo.summary import Summary

WIDTH = 124
TABLE = tuple(column for column in COLUMNS if column not in ("product", "why"))
# Of the log the first line that says each of these.
SHOWN = ("malformed", "dies while", "has all its GPUs again", "itself is refused", "what the readings give")
LEFT_OUT = ("one byte changed", "repeated deliveries", "GPU-seconds missing", "restarts of")  # lines of the summary


def draw(file: Path, contracts: list[Object], now: int, told: Sequence[Text], summary: Summary) -> None:
    """Writes the picture; `contracts` are as they were at `now`."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(contract_table([obj for obj in contracts if is_short(obj)], now, "", TABLE))
    for line in highlights(told):
        line.truncate(WIDTH, overflow="ellipsis")
        console.print(line)
    console.print()
    console.print(_table(summary))
    drawn = console.export_svg(title="make demo", unique_id="demo")
    file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # it fetches nothing: any monospaced font will do


def highlights(told: Sequence[Text]) -> list[Text]:
    """The lines that are shown, in their order."""
    first = {next((place for place, line in enumerate(told) if words in line.plain), -1) for words in SHOWN}
    return [told[place].copy() for place in sorted(first - {-1})]


def _table(summary: Summary) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for what, value in summary.lines:
        if not what.startswith(LEFT_OUT):
            table.add_row(what, Text(value, overflow="ellipsis", no_wrap=True))
    return table
