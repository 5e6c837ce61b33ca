"""The workflows and what they lean on. That they run, only a run on GitHub shows; `make actionlint` checks their syntax."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import laycan

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
FIRST_PARTY = {"contents", "packages", "id-token", "attestations"}


def jobs(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())["jobs"]
    return found


def commands(file: Path) -> list[str]:
    """All that its steps run."""
    return [step["run"] for job in jobs(file).values() for step in job["steps"] if "run" in step]


def test_the_workflows() -> None:
    """There is one for every change, and one for a release."""
    assert [file.name for file in WORKFLOWS] == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_are_pinned(file: Path) -> None:
    """By the whole digest of a commit, with the version that it is beside it; the same action at the same commit everywhere."""
    lines = [line for line in file.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line), line
    everywhere = {line.partition("uses: ")[2] for other in WORKFLOWS for line in other.read_text().splitlines() if "uses:" in line}
    assert len({line.partition("@")[0] for line in everywhere}) == len(everywhere)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_rights(file: Path) -> None:
    """A workflow has none, each job says which it needs and how long it may take, and no checkout leaves a token behind."""
    whole = yaml.safe_load(file.read_text())
    assert whole["permissions"] == {}
    for name, job in whole["jobs"].items():
        assert job["permissions"].keys() <= FIRST_PARTY, name
        assert job["timeout-minutes"] <= 90, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name
    writers = {(name, right) for name, job in whole["jobs"].items() for right, what in job["permissions"].items() if what == "write"}
    assert writers == (
        set()
        if file.stem == "ci"
        else {
            ("files", "id-token"), ("files", "attestations"), ("image", "packages"), ("image", "id-token"),
            ("publish", "contents"), ("publish", "packages"), ("publish", "id-token"),
        }
    )  # fmt: skip


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_nothing_of_an_event_reaches_a_shell(file: Path) -> None:
    """A name that somebody else chose (a branch, a title) is never written into a script; it comes by the environment."""
    assert not [command for command in commands(file) if "${{" in command]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_targets_exist(file: Path) -> None:
    """Every `make` of a workflow names targets of the Makefile, and every file that it runs is there."""
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = [
        word for command in commands(file) for line in re.findall(r"\bmake ([^\n\"]*)", command) for word in line.split() if "=" not in word
    ]
    assert asked
    assert set(asked) <= targets
    assert all((ROOT / command).exists() for command in commands(file) if command.startswith("."))


def test_a_release_is_tested_first() -> None:
    """Nothing is built, signed or published before the tests, the audit and the check of the tag, and what people see comes last."""
    release = jobs(ROOT / ".github" / "workflows" / "release.yml")
    first = [step["run"] for step in release["test"]["steps"] if "run" in step]
    assert first.pop(0) == "git merge-base --is-ancestor HEAD origin/main"
    assert first == ['TAG="$GITHUB_REF_NAME" make release-check', ".ci/run", "make audit"]
    assert {name: job.get("needs") for name, job in release.items()} == {
        "test": None,
        "files": "test",
        "image": "test",
        "publish": ["files", "image"],
    }


@pytest.mark.parametrize("tag", ["v0.0.1", "v`touch OUT`", 'v"; touch "OUT', "v$(shell touch OUT)", "v$$(touch OUT)"])
def test_a_tag_is_compared_and_never_run(tag: str, tmp_path: Path) -> None:
    """git lets a tag's name hold quotes and backquotes: the check refuses it, and no shell reads it."""
    out = tmp_path / "out"
    asked = os.environ | {"TAG": tag.replace("OUT", str(out))}
    done = subprocess.run(["make", "--silent", "release-check"], cwd=ROOT, env=asked, capture_output=True, text=True)
    assert (done.returncode, "not found" in done.stderr) == (2, False)
    assert not out.exists()


def test_one_version() -> None:
    """The package, what it says of itself, the chart and the image that the chart asks for have the version that a tag must name."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((ROOT / "charts" / "laycan" / "Chart.yaml").read_text())
    values = yaml.safe_load((ROOT / "charts" / "laycan" / "values.yaml").read_text())
    assert (laycan.__version__, chart["version"], chart["appVersion"]) == (version, version, version)
    assert values["image"]["tag"] == "", "the chart's appVersion"
