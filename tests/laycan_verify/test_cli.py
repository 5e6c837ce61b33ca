"""The command: its exit codes, what it prints, and that it stands alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laycan.cli.main import app
from laycan_verify.amounts import complete, deliveries, quantities, readings
from laycan_verify.cli import STEPS, main
from laycan_verify.steps import chain, confirmation, digests, entries, heads, one_history, signatures
from tests.laycan_verify.judging import judged, reason
from tests.laycan_verify.writer import DAY, Loss, Story, at, trust

ROOT = Path(__file__).parents[2]
START = at("2027-01-04T00:00:00")
EVIDENCE = ("cryptography", "cffi", "_cffi_backend", "pycparser")  # what a machine has that has `cryptography`


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "c.json").write_text(json.dumps(Story().days(2).bundle()))
    (tmp_path / "trust.json").write_text(json.dumps(trust()))
    return tmp_path


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dist") / "verify"
    ready = Path(sys.prefix) / ".ready"
    command = ["make", "-s", "-C", str(ROOT), "-o", str(ready), "verify.pyz", f"VENV={sys.prefix}", f"PYZ={made}"]
    subprocess.run(command, check=True, capture_output=True)
    return made.with_suffix(".pyz")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cryptography` and what it needs itself."""
    folder = tmp_path_factory.mktemp("bare")
    for found in Path(sysconfig.get_path("platlib")).iterdir():
        if found.name.split(".")[0] in EVIDENCE:
            (folder / found.name).symlink_to(found)
    return folder


class TestUsage:
    def test_holds(self, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Two files and nothing else; the last line is the verdict."""
        assert main([str(files / "c.json"), "--trust", str(files / "trust.json")]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "What was checked holds."

    @pytest.mark.parametrize(
        "arguments",
        [[], ["x.json"], ["--trust", "t"], ["c.json", "--trust", "t", "--bogus"], ["c", "--trust", "t", "--cosignatures", "-1"]],
    )
    def test_bad_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """Bad usage is 1 and says what is wrong; 2 has a meaning here."""
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 1
        assert capsys.readouterr().err.startswith("laycan verify: ")

    def test_no_such_file(self, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A file that cannot be read is named."""
        with pytest.raises(SystemExit) as left:
            main([str(files / "d.json"), "--trust", str(files / "trust.json")])
        assert (left.value.code, "d.json" in capsys.readouterr().err) == (1, True)

    def test_a_fault_of_our_own(self, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """A fault of the verifier is no verdict and no traceback."""
        monkeypatch.setattr("laycan_verify.cli.verify", lambda *_: 1 // 0)
        with pytest.raises(SystemExit) as left:
            main([str(files / "c.json"), "--trust", str(files / "trust.json")])
        assert (left.value.code, "ZeroDivisionError" in capsys.readouterr().err) == (1, True)

    def test_in_the_table_of_commands(self, files: Path) -> None:
        """`laycan verify` hands over its arguments, options and exit code as they are."""
        command = ["verify", str(files / "c.json"), "--trust", str(files / "trust.json"), "--require-readings", "--cosignatures", "1"]
        assert CliRunner().invoke(app, command).exit_code == 0
        assert CliRunner().invoke(app, [*command[:-1], "2"]).exit_code == 4
        assert CliRunner().invoke(app, ["verify"]).exit_code == 1


class TestVerdict:
    def test_the_first_failing_step_decides(self) -> None:
        """Of two files, one with wrong sums and one with a gap, the gap decides, because the chain is looked at first."""
        sums = Story()
        sums.edit = lambda statement: statement["predicate"]["cumulative"].update(estimatedGpuSeconds=1)
        gap = Story(contract_id="D").days(3).bundle()
        del gap["receipts"][1]
        assert (reason(sums.days(1))[0], reason(sums, gap)[0], reason(gap, sums)[0]) == (5, 3, 3)

    def test_codes_only_rise(self) -> None:
        """Steps run in the order of their exit codes."""
        codes = [code for code, _ in STEPS]
        assert codes == sorted(codes)

    def test_the_page(self) -> None:
        """docs/verify.md lists the steps in their order, with the exit codes and in the words of the code."""
        steps = [signatures, digests, confirmation, chain, heads, entries, one_history, quantities, readings, deliveries, complete]
        codes = [*(code for code, _ in STEPS), 7]
        table = [f"| {code} | {step.__name__} | {step.__doc__} |" for code, step in zip(codes, steps, strict=True)]
        page = (ROOT / "docs" / "verify.md").read_text().splitlines()
        assert [line for line in page if line[:3].strip("| ").isdigit()] == table

    def test_nothing_steers_the_terminal(self) -> None:
        """Names that hold control characters, or letters that write from right to left, are printed as escapes."""
        bundle = Story().days(1).bundle()
        del bundle["confirmation"]
        bundle["contract"]["exchange"] = "\x1b[2J\u202e"
        code, why = reason(bundle)
        assert (code, "\\x1b[2J\\u202e" in why) == (4, True)

    def test_several_contracts(self) -> None:
        """Contracts of one log verify together, and each says what was checked of it."""
        one = Story().days(2)
        two = Story(contract_id="D-2027-01", losses=[Loss((0,), START + 60, START + DAY)], log=one.log).days(2)
        code, said = judged(one, two)
        assert (code, said.count("a.json: "), said.count("b.json: ")) == (0, 9, 9)


class TestAlone:
    """What an auditor runs needs Python, `cryptography` and nothing of the operator."""

    def run(self, pyz: Path, *arguments: str | Path, path: Path | str = "") -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(path)}
        return subprocess.run([sys.executable, "-S", pyz, *arguments], capture_output=True, text=True, env=env, cwd="/", check=False)

    def test_one_file(self, pyz: Path, bare: Path, files: Path) -> None:
        """verify.pyz beside `cryptography` alone says what the command says."""
        done = self.run(pyz, files / "c.json", "--trust", files / "trust.json", path=bare)
        assert (done.returncode, done.stdout.splitlines()[-1:], done.stderr) == (0, ["What was checked holds."], "")
        assert self.run(pyz, files / "c.json", "--trust", files / "trust.json", "--cosignatures", "2", path=bare).returncode == 4

    def test_what_it_needs(self, pyz: Path) -> None:
        """Without `cryptography` it says what to install, and that is no verdict."""
        done = self.run(pyz)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("laycan verify needs the Python package cryptography")
        assert len(done.stderr.splitlines()) == 1

    def test_as_a_module(self, files: Path) -> None:
        """`python -m laycan_verify` is the same command."""
        command = [sys.executable, "-m", "laycan_verify", str(files / "c.json"), "--trust", str(files / "trust.json")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0

    def test_small(self) -> None:
        """What an auditor has to read stays small."""
        package = ROOT / "operator" / "laycan_verify"
        assert sum(len(file.read_text().splitlines()) for file in package.glob("*.py")) < 1_165
