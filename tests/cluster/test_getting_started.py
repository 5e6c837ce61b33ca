"""docs/getting-started.md, walked word by word on a local control plane, as a new user would.

Each fenced block of the page runs, in order, in a shell that keeps its variables: `bash` blocks have to succeed, a `console` block shows a
command and what it prints, and is tried until it prints that (`…` stands for any part of a line, or alone for any lines). A comment
`<!-- walk: … -->` above a block says where it runs: `local`, `cluster` (a real one: not here), or `once` (the checkout that we are in).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from controlplane.waiting import until
from tests.cluster.operator import QUICK

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
BLOCK = re.compile(r"(?:<!-- walk: (?P<where>\w+) -->\n)?```(?P<kind>bash|console)\n(?P<text>.*?)```\n", re.DOTALL)
# What is run for the page's own words: this checkout needs no set-up, and who waits for minutes waits for seconds.
INSTEAD: Mapping[str, str] = {
    'eval "$(make -s up NODES=4 DEVICE_NODES=1)"': 'eval "$("$PYTHON" -m controlplane up --nodes 4 --device-nodes 1)"',
    "make operator &": '"$PYTHON" -m controlplane operator > operator.out 2>&1 &',
    "make down": '"$PYTHON" -m controlplane down',
    "+3 minutes": "+45 seconds",  # long enough to be seen Accepted
    "+1 minutes": "+10 seconds",
    "mode: Observe\n": f"mode: Observe\n{yaml.safe_dump({'settings': QUICK})}",
}


@dataclass(frozen=True)
class Block:
    """One fenced block; `shown` is what a console block prints."""

    where: str
    kind: str
    command: str
    shown: str


def blocks(page: str) -> list[Block]:
    """In order; those in quoted boxes too."""
    plain = re.sub(r"^> ?", "", page, flags=re.MULTILINE)
    return [_block(found) for found in BLOCK.finditer(plain)]


def _block(found: re.Match[str]) -> Block:
    where, text = found["where"] or "", found["text"]
    if found["kind"] == "bash":
        return Block(where, "bash", text, "")
    first, _, shown = text.partition("\n")
    return Block(where, "console", first.removeprefix("$ "), shown)


def like(shown: str) -> re.Pattern[str]:
    """What may be printed where this is shown."""
    lines = (
        r"(?:.*\n)*" if line.strip() == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + r"\n" for line in shown.splitlines()
    )
    return re.compile("".join(lines))


class Walk:
    """A shell whose variables outlive each command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._variables = folder, folder / "variables"
        self._variables.touch()
        for name in ("charts", "crds"):
            (folder / name).symlink_to(ROOT / name)
        tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        known = {"PYTHON": sys.executable, "PATH": tools, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"}
        self._environment = {**os.environ, **known, "KUBECONFIG": "/nonexistent"}

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        for words, others in INSTEAD.items():
            command = command.replace(words, others)
        script = f'. "{self._variables}"\nset -ea -o pipefail\n{command}\nset +a\nexport -p > "{self._variables}"\n'
        bash = ["bash", "-c", script]
        out = self.folder / "out"  # a file: what stays in the background would keep a pipe open
        with out.open("w") as stream:
            done = subprocess.run(bash, cwd=self.folder, env=self._environment, stdout=stream, stderr=subprocess.STDOUT, timeout=240)
        return subprocess.CompletedProcess(bash, done.returncode, out.read_text())

    def shows(self, block: Block) -> None:
        """The command prints what the page shows, sooner or later."""
        pattern = like(block.shown)

        def same() -> bool:
            told = "".join(f"{line.rstrip()}\n" for line in self.run(block.command).stdout.splitlines())
            seen.append(told)
            return bool(pattern.fullmatch(told))

        seen: list[str] = []
        try:
            until(block.command, same, seconds=90, pause=1)
        except TimeoutError:
            pytest.fail(f"the page shows of `{block.command}`:\n{block.shown}\nit prints:\n{seen[-1]}", pytrace=False)


@pytest.fixture
def walk(tmp_path: Path, tools: dict[str, Path]) -> Iterator[Walk]:
    """Whatever the walk started is gone at its end."""
    if not shutil.which("kubectl"):
        pytest.skip("the page needs kubectl, which is not installed here")
    shell = Walk(tmp_path)
    yield shell
    shell.run('"$PYTHON" -m controlplane down')


def test_the_page_on_a_local_control_plane(walk: Walk) -> None:
    """Every command of the page does what the page says, from `make up` to `make down`."""
    for block in blocks(PAGE.read_text()):
        if block.where in ("cluster", "once"):
            continue
        if block.kind == "console":
            walk.shows(block)
            continue
        done = walk.run(block.command)
        assert done.returncode == 0, f"{block.command}\nprinted:\n{done.stdout}"


def test_what_stands_in_for_the_pages_words() -> None:
    """The page still says each of them, and the Makefile's targets are what is run for them."""
    page, makefile = PAGE.read_text(), (ROOT / "Makefile").read_text()
    assert [words for words in INSTEAD if words not in page] == []
    for target in ("up", "operator", "down"):
        assert re.search(rf"^{target}:.*\n\t\$\(BIN\)/python -m controlplane {target}\b", makefile, re.MULTILINE), target


def test_blocks_are_found() -> None:
    """Plain ones, those in boxes, where they run, and what a command shows."""
    page = "```bash\na\n```\n> <!-- walk: local -->\n> ```bash\n> b\n> c\n> ```\n```yaml\nno: 1\n```\n```console\n$ d\ne\n```\n"
    assert blocks(page) == [Block("", "bash", "a\n", ""), Block("local", "bash", "b\nc\n", ""), Block("", "console", "d", "e\n")]
