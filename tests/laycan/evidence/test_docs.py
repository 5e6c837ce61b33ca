"""`docs/evidence.md` names what there is: commands, options, keys, values, metrics and exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from typer.main import get_command

from laycan.cli.main import COMMANDS, app, load
from laycan.control.metrics import Metrics
from laycan.events.cloudevents import NAMES
from laycan.events.evidence_keys import SALT, SECRET, USES, key_of
from laycan.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "evidence.md").read_text()


def test_commands_and_options() -> None:
    """Every `laycan …` of the page is a command, and has the options that stand behind it."""
    assert get_command(app)
    lines = re.findall(r"(?:^|-- |`)laycan ((?!\.)[a-z][a-z-]+)([^`\n#|>]*)", PAGE, re.MULTILINE)
    assert {command for command, _ in lines} >= {"keys", "evidence", "verify", "endpoint"}
    for command, rest in lines:
        assert command in COMMANDS
        known = {option for parameter in load(command).params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert command == "verify" or set(re.findall(r"--[a-z-]+", rest)) <= known, command


def test_secret() -> None:
    """The Secret and all that it holds are named."""
    for name in (SECRET, SALT, *(key_of(use) for use in USES)):
        assert f"`{name}`" in PAGE


def test_values_metrics_and_events() -> None:
    """Settings are the chart's values, metrics are served, events are of the catalogue."""
    values = yaml.safe_load((ROOT / "charts" / "laycan" / "values.yaml").read_text())
    for block, name in re.findall(r"`(settings|ledger)\.([A-Za-z]+)", PAGE):
        assert name in values[block], name
    served = Metrics().text().decode()
    for name in re.findall(r"laycan_[a-z_]+", PAGE):
        assert f"\n# TYPE {name} " in served, name
    assert "key.rotated" in NAMES
    assert "log.replaced" in NAMES
    assert str(Settings().ledger_path) in PAGE


def test_links() -> None:
    """Links within the page lead to its headings."""
    headings = {line.lower().replace(" ", "-") for line in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= headings
