"""The picture in ARCHITECTURE.md is the import graph."""

import re
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
FOLDERS = ("cli", "desk", "main", "agent", "control", "delivery", "evidence", "events", "ledger", "planning", "kube", "resources")


def drawn() -> set[tuple[str, str]]:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return set(re.findall(r"^    (\w+) --> (\w+)$", text, re.MULTILINE))


def folder(module: str) -> str:
    """`laycan.kube.world` -> kube, anything of the solver -> solver, of the verifier -> verify."""
    package, _, rest = module.partition(".")
    return rest.split(".")[0] if package == "laycan" else package.removeprefix("laycan_")


def imported() -> set[tuple[str, str]]:
    graph = grimp.build_graph("laycan", "laycan_solver", "laycan_verify", cache_dir=None)
    pairs = ((folder(module), folder(target)) for module in graph.modules for target in graph.find_modules_directly_imported_by(module))
    return {(a, b) for a, b in pairs if a != b and a in FOLDERS and b in (*FOLDERS, "solver", "verify")}


def test_the_picture_matches_the_imports() -> None:
    """An arrow that is drawn is an import, and an import between folders is drawn."""
    assert drawn() == imported()
