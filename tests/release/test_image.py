"""The Dockerfile and its lists against the checkout; that the image is built and runs, `make test-image` shows."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

from laycan.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) of a Dockerfile, lines joined."""
    whole = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", whole).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def entries(name: str) -> list[str]:
    """The lines of one of the image's lists, without comments."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "image" / name).read_text().splitlines())
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    return instructions((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def last_stage(dockerfile: list[tuple[str, str]]) -> dict[str, list[str]]:
    """What the image itself is made of: instruction -> what it says, each time."""
    begin = max(i for i, (word, _) in enumerate(dockerfile) if word == "FROM")
    found: dict[str, list[str]] = {}
    for word, rest in dockerfile[begin:]:
        found.setdefault(word, []).append(rest)
    return found


def test_what_it_copies_is_there(dockerfile: list[tuple[str, str]]) -> None:
    """Every file that a stage copies from the checkout exists, and .dockerignore lets it through."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [rest.split() for word, rest in dockerfile if word == "COPY" and not rest.startswith("--from")]
    sources = [source for *found, _ in copies for source in found]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.partition("/")[0] in allowed, source


def test_stages_copy_from_stages(dockerfile: list[tuple[str, str]]) -> None:
    """What a stage copies from another one names a stage that comes before it."""
    stages: list[str] = []
    for word, rest in dockerfile:
        if word == "FROM":
            stages += rest.split(" AS ")[1:]
        elif found := re.match(r"--from=(\S+)", rest):
            assert found[1] in stages, rest


def test_the_base_is_an_argument(dockerfile: list[tuple[str, str]], last_stage: dict[str, list[str]]) -> None:
    """Before the first stage stand the base, where it is built, and the interpreter; the image stands on the base and nothing else."""
    first = next(i for i, (word, _) in enumerate(dockerfile) if word == "FROM")
    defaults = dict(rest.split("=", 1) for word, rest in dockerfile[:first] if word == "ARG")
    assert defaults.keys() == {"BUILDER", "BASE", "PYTHON"}
    assert re.fullmatch(r"docker\.io/library/debian:[a-z]+-slim", defaults["BUILDER"])
    assert last_stage["FROM"] == ["${BASE}"]
    assert "RUN" not in last_stage, "it may have no shell"


def test_only_hashed_packages(dockerfile: list[tuple[str, str]]) -> None:
    """Whatever is installed from a registry is named by a lock with hashes, as wheels; Laycan's own wheel asks no registry."""
    installs = [
        line for word, rest in dockerfile if word == "RUN" for line in rest.split("&&") if " install " in line and "apt-get" not in line
    ]
    assert len(installs) == 3
    for line in installs:
        if "--no-index" in line:
            continue
        assert {"--require-hashes", "--only-binary"} <= set(line.split()), line
        lock = re.search(r"-r /(image/\S+\.lock)", line)
        assert lock, line
        assert (ROOT / lock[1]).exists()


def test_who_runs_what(last_stage: dict[str, list[str]]) -> None:
    """A numeric user that is not root, no entry point before the pod's command, and help for who gives none."""
    assert last_stage["USER"] == ["65532:65532"]
    assert "ENTRYPOINT" not in last_stage
    assert last_stage["CMD"] == ['["laycan", "--help"]']
    assert "laycan" in (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2].splitlines()[1]
    assert {"operator", "agent", "release"} <= COMMANDS.keys()


def test_labels(last_stage: dict[str, list[str]]) -> None:
    """The image says what it is, where it came from, under which licence, and of which commit, by the keys that OCI has for it."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last_stage["LABEL"][0]))
    assert labels["licenses"] == "Apache-2.0"
    assert {labels[name] for name in ("version", "revision", "created")} == {"${VERSION}", "${REVISION}", "${CREATED}"}
    assert {"title", "description", "source", "documentation", "url"} <= labels.keys()


def test_nothing_left_out_is_imported() -> None:
    """All of Laycan, with credentials and the solver, loads no module of a package or folder that the image leaves out."""
    done = subprocess.run([sys.executable, ROOT / "image" / "try.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = [f"{name.replace('.', '/')}" for name in done.stdout.split()]
    assert "ortools/linear_solver/pywraplp" in loaded
    assert "kubernetes/client/configuration" in loaded
    absent = ("absl", "immutabledict", "pandas", "google/protobuf")
    assert {"absl-py", "immutabledict", "pandas", "protobuf"} == set(entries("left-out.txt"))
    patterns = [*entries("unused.txt"), *absent]
    assert not [name for name in loaded for pattern in patterns if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"{pattern}/*")]
