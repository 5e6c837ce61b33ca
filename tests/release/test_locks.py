"""The locks that a release is made of: what they hold, and that they agree with one another and with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.test_image import entries

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "image/runtime.lock", "image/build.lock", "image/supply.lock")
Pins = dict[str, tuple[Requirement, frozenset[str]]]  # "name marker" -> the requirement, its hashes


def pins(lock: str) -> Pins:
    """The entries of a lock."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip()):
        requirement = Requirement(entry.partition("\\")[0])
        found[f"{canonicalize_name(requirement.name)} {requirement.specifier}"] = (
            requirement,
            frozenset(re.findall(r"sha256:\w{64}", entry)),
        )
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_a_version_and_hashes(lock: str) -> None:
    """One version each, by its hashes; and no address, for a lock is the same wherever packages come from."""
    for name, (requirement, hashes) in pins(lock).items():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], name
        assert hashes, name
    assert "://" not in (ROOT / lock).read_text()


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_locks_agree(lock: str) -> None:
    """What a lock has in common with that of the tests is the same version with the same hashes: what ships is what was tested."""
    tested = pins("requirements.lock")
    names = {name.partition(" ")[0] for name in tested}
    for name, pin in pins(lock).items():
        if name.partition(" ")[0] in names:
            assert name in tested, f"{name} is not what is tested; run `make lock`"
            assert pin[1] == tested[name][1], name


def test_what_runs_is_what_is_needed() -> None:
    """image/runtime.lock is what pyproject.toml asks for, with what this needs in turn, less what the image leaves out; no more."""
    left_out = set(entries("left-out.txt"))
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pending, needed = [(Requirement(line), "") for line in asked], set()
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if name in left_out or (name in needed and not requirement.extras):
            continue
        needed.add(name)
        pending += [(Requirement(line), extra) for line in distribution(name).requires or () for extra in ("", *requirement.extras)]
    here = {name.partition(" ")[0] for name, (pin, _) in pins("image/runtime.lock").items() if not pin.marker or pin.marker.evaluate()}
    assert here == needed
