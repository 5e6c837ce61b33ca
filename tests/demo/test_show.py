"""What the demo says as it goes."""

from __future__ import annotations

import io

from rich.console import Console

from demo.show import Show


def test_only_the_time_is_dim() -> None:
    """What happened stands out in its own style; nothing fades with the time before it."""
    show = Show(Console(file=io.StringIO(), width=80))
    show.say("node n1 dies", "bold red")
    (line,) = show.told
    assert line.style == ""
    assert [str(span.style) for span in line.spans] == ["dim", "bold red"]
    assert line.plain[line.spans[1].start :] == "node n1 dies"
