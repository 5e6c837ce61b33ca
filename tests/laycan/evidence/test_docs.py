"""`docs/evidence.md` names what there is: keys, values, metrics and events. Commands and links of all pages are looked at in tests/docs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from laycan.control.metrics import Metrics
from laycan.events.cloudevents import NAMES
from laycan.events.evidence_keys import SALT, SECRET, USES, key_of
from laycan.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "evidence.md").read_text()


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
