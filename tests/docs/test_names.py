"""What pages set as code in their sentences is called so in the code: words, fields, files, values and keys.

Metrics are compared with what is served, each where its table is.
"""

from __future__ import annotations

import json
import re
from functools import cache

from laycan.resources.about import KEYS
from laycan.resources.constants import API_VERSION, FINALIZER, PLURALS
from tests.docs.pages import ROOT, WORDS, pages, spans
from tests.docs.runnable import FOLDERS, has_field, is_value

SPANS = [(page, span) for page in pages() for span in sorted(spans(page))]
CODE = ("operator", "solver", "charts", "crds", "examples", "demo", "controlplane", "bench")
ELSEWHERE = ("docs/comparison.md", "CHANGELOG.md")  # they speak of others, and of what was


@cache
def words() -> set[str]:
    """Every word in the code and the chart."""
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml", ".json", ".tpl", ".txt")]
    return set(re.findall(r"\w+", "\n".join(path.read_text() for path in files)))


def test_words() -> None:
    """A name like `ExceedsFleet`, `meterLagSeconds` or `Malformed` occurs in the code."""
    named = {(page, span) for page, span in SPANS if re.fullmatch(r"(?=\w*[A-Z])(?=\w*[a-z])[A-Za-z]\w*", span) and page not in ELSEWHERE}
    assert len(named) > 150
    assert sorted(f"{page}: {span}" for page, span in named if span not in words() and span not in WORDS["others"]) == []


def test_fields() -> None:
    """A path like `spec.terms.delivery` is a field of one of our kinds."""
    paths = [(page, span) for page, span in SPANS if re.fullmatch(r"(spec|status)\.[\w.\[\]*]+", span)]
    assert paths
    assert [f"{page}: {path}" for page, path in paths if not any(has_field(kind.lower(), path) for kind in PLURALS)] == []


def test_files() -> None:
    """A path like `tests/cluster` is there."""
    named = [(page, span) for page, span in SPANS if span.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", span)]
    assert named
    assert [f"{page}: {span}" for page, span in named if not (ROOT / span).exists()] == []


def test_values() -> None:
    """A path like `settings.drainSeconds` is a value of the chart."""
    roots = json.loads((ROOT / "charts/laycan/values.schema.json").read_text())["properties"]
    named = [(page, found[0]) for page, span in SPANS if (found := re.match(r"(\w+)\.[A-Za-z][\w.]*", span)) and found[1] in roots]
    assert named
    assert [f"{page}: {key}" for page, key in named if not is_value(key) and key.partition(".")[2] not in words()] == []


def test_keys() -> None:
    """A key like `laycan.dev/paused` is a label, an annotation or the finalizer, and listed in docs/api.md."""
    known = {*KEYS, FINALIZER, API_VERSION}
    named = [(page, key.rstrip("-.")) for page, span in SPANS for key in re.findall(r"(?<![\w.])laycan\.dev/[\w.-]+", span)]
    assert named
    assert [f"{page}: {key}" for page, key in named if key not in known] == []
