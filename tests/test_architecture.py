"""The picture in ARCHITECTURE.md is the import graph."""

import re
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
FOLDERS = ("cli", "main", "control", "delivery", "events", "planning", "kube", "resources")


def drawn() -> set[tuple[str, str]]:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return set(re.findall(r"^    (\w+) --> (\w+)$", text, re.MULTILINE))


def imported() -> set[tuple[str, str]]:
    graph = grimp.build_graph("laycan", "laycan_solver", cache_dir=None)
    edges = set()
    for module in graph.modules:
        for target in graph.find_modules_directly_imported_by(module):
            pair = tuple(
                "solver" if name.startswith("laycan_solver") else name.split(".")[1] if "." in name else "laycan" for name in (module, target)
            )
            if pair[0] != pair[1] and pair[0] in FOLDERS and pair[1] in (*FOLDERS, "solver"):
                edges.add(pair)
    return edges


def test_the_picture_matches_the_imports() -> None:
    """An arrow that is drawn is an import, and an import between folders is drawn."""
    assert drawn() == imported()
