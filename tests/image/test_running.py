"""What the image holds, and what runs in it: every command, the solver, and an operator that delivers, on a read-only root."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from controlplane import image
from controlplane.build import SOURCE
from controlplane.container import Container
from controlplane.image import Image
from controlplane.waiting import until
from laycan.cli.main import COMMANDS
from tests.cluster.operator import at, await_phase, contract, market, owners
from tests.image.operator import ImageOperator

EXAMPLES = SOURCE.parent / "examples"
PYTHON = "/opt/laycan/bin/python"


def output(built: Image, folder: Path, argv: Sequence[str], shares: Mapping[Path, bool] | None = None) -> subprocess.CompletedProcess[str]:
    """What a command says in a container that ends with it."""
    return Container(built, folder, argv, shares or {}).run()


def test_what_it_is(built: Image) -> None:
    """The chart's user, no command of its own to run before the pod's, and labels that say which source it came from."""
    assert built.user == (65532, 65532)
    assert not built.config.get("Entrypoint")
    assert {"source", "version", "revision", "created", "licenses"} <= {name.rpartition(".")[2] for name in built.config["Labels"]}


def test_what_is_not_in_it(built: Image) -> None:
    """No shell, no package manager, no test, nothing setuid, and nothing that the image's user can write outside its volume and /tmp."""
    kept = {".", "tmp", "var/tmp", "var/lib/laycan"}
    for folder, folders, files in os.walk(built.root):
        place = Path(folder).relative_to(built.root)
        for name in (*folders, *files):
            found = (Path(folder) / name).lstat()
            if stat.S_ISLNK(found.st_mode):
                continue
            assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID), place / name
            writable = found.st_mode & 0o002 or found.st_uid == built.user[0] or found.st_gid == built.user[1]
            assert not writable or str(place / name) in kept, place / name
    commands = {file.name for file in (*(built.root / "usr/bin").iterdir(), *(built.root / "opt/laycan/bin").iterdir())}
    assert commands == {"python", "python3", "python3.11", "laycan", "kubectl-laycan", "kubectl_complete-laycan"}
    packages = {file.name.partition("-")[0] for file in built.root.glob("opt/laycan/lib/python3.11/site-packages/*.dist-info")}
    assert packages.isdisjoint({"pip", "uv", "setuptools", "pytest", "pandas", "mypy", "hypothesis"})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(built: Image, tmp_path: Path, command: str) -> None:
    """Each loads all that it needs, and says how it is used."""
    done = output(built, tmp_path, ["laycan", command, "--help"])
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout or command == "verify"


def test_the_solver(built: Image, tmp_path: Path) -> None:
    """It plans the examples as the checkout does, and its plan holds before the checker, in the image too."""
    done = output(built, tmp_path / "plan", ["laycan", "plan", str(EXAMPLES), "-o", "json"], {EXAMPLES: False})
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    (tmp_path / "plan.json").write_text(done.stdout)
    checked = output(
        built,
        tmp_path / "check",
        ["laycan", "check-plan", str(tmp_path / "plan.json"), str(EXAMPLES)],
        {EXAMPLES: False, tmp_path / "plan.json": False},
    )
    assert checked.returncode == 0, checked.stderr
    assert plan["bindings"]


def test_the_root_is_read_only(built: Image, tmp_path: Path) -> None:
    """Its user can write /tmp and nothing else, and trusts the usual authorities."""
    asked = "import ssl; open('/tmp/x', 'w'); print(len(ssl.create_default_context().get_ca_certs())); open('/opt/laycan/x', 'w')"
    done = output(built, tmp_path, [PYTHON, "-c", asked])
    assert "Read-only file system" in done.stderr
    assert int(done.stdout) > 100


def test_nothing_is_missed(built: Image, tmp_path: Path) -> None:
    """Every module of Laycan can be imported: what image/unused.txt and image/left-out.txt leave out, nobody asks for."""
    script = SOURCE.parent / "image" / "try.py"
    done = output(built, tmp_path, [PYTHON, str(script)], {script: False})
    assert done.returncode == 0, done.stderr


def test_it_accepts_and_delivers(built: Image, tools: dict[str, Path], tmp_path: Path) -> None:
    """An operator of the image, on a real API server, with the rights of the chart, takes a contract and hands its node over."""
    with market(tmp_path, tools, nodes=3) as town:
        operator = ImageOperator(built, town.plane, tmp_path / "image-operator")
        operator.start()
        try:
            until("the operator lives", lambda: operator.healthy() or not operator.running(), seconds=60)
            assert operator.running(), operator.log.read_text()
            town.admin.create(contract("soon", at(5), at(600)))
            await_phase(town.admin, "soon", "Delivering", seconds=60)
            assert list(owners(town.admin).values()) == ["acme"]
            assert operator.metrics()
        finally:
            operator.stop()


def test_it_stands_on_another_base(built: Image, tmp_path: Path) -> None:
    """With a Debian that has Python as its base, by the argument, the same commands run."""
    name = f"{image.IMAGE}-debian"
    image.make_python_base()
    image.build(name, base=image.PYTHON_BASE)
    with image.mounted(name) as other:
        assert (other.root / "bin" / "sh").exists(), "it is another base"
        assert output(other, tmp_path, ["laycan", "--version"]).stdout == output(built, tmp_path / "own", ["laycan", "--version"]).stdout


def test_equal_sources_make_equal_layers(built: Image) -> None:
    """Built again without any layer of before, the layers have the same digests: what an image holds can be checked by building it."""
    again = f"{image.IMAGE}-again"
    image.build(again, flags=["--no-cache"])
    assert image.layers(again) == image.layers(built.name)
