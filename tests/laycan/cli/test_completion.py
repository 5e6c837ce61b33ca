"""Completion: bash with the printed script, and what kubectl asks its plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laycan.cli.completion import kubectl_complete
from laycan.cli.main import COMMANDS, app

BASH = shutil.which("bash") or "bash"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH with a `laycan` of this very code, whatever is installed."""
    for name, code in (("laycan", "from laycan.cli.main import run; run()"), ("kubectl-laycan", "from laycan.cli.main import run; run()")):
        (tmp_path / name).write_text(f"#!{sys.executable}\n{code}\n")
        (tmp_path / name).chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def completed(path: str, *words: str) -> list[str]:
    """What bash offers for the last word, after it has read the script."""
    line = " ".join(f"'{word}'" for word in words)
    program = f"""
        source <(laycan completion bash)
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        $(complete -p laycan | sed 's/.*-F \\([^ ]*\\) .*/\\1/') laycan
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([BASH, "--norc", "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert not done.stderr, done.stderr
    return done.stdout.split()


class TestBash:
    """The script in a shell."""

    def test_commands(self, path: str) -> None:
        """All of them, or those that begin so."""
        assert set(completed(path, "laycan", "")) == set(COMMANDS)
        assert completed(path, "laycan", "sta") == ["status"]

    def test_options_and_their_values(self, path: str) -> None:
        """Of the command that stands before."""
        assert completed(path, "laycan", "book", "--pro") == ["--product"]
        assert completed(path, "laycan", "book", "-o", "") == ["table", "wide", "csv", "json", "yaml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    """It asks laycan by the variable that laycan listens to."""
    result = CliRunner().invoke(app, ["completion", shell])
    assert result.exit_code == 0
    assert "_LAYCAN_COMPLETE=complete_" in result.stdout


def test_an_unknown_shell() -> None:
    """Bad usage."""
    assert CliRunner().invoke(app, ["completion", "tcsh"]).exit_code == 2


class TestKubectl:
    """What kubectl asks `kubectl_complete-laycan`."""

    @pytest.mark.parametrize(
        ("words", "answer"),
        [
            (["sna"], ["snapshot", ":4"]),
            (["status", "--kube"], ["--kubeconfig", ":4"]),
            (["status", "-o", "j"], ["json", ":4"]),
            (["plan", "exampl"], [":0"]),  # files
        ],
    )
    def test_answers(
        self, words: list[str], answer: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One candidate a line, then what else kubectl may offer: nothing, or files where there is no candidate."""
        monkeypatch.setattr(sys, "argv", ["kubectl_complete-laycan", *words])
        monkeypatch.setenv("COMP_WORDS", "")
        monkeypatch.setenv("COMP_CWORD", "0")
        kubectl_complete()
        assert capsys.readouterr().out.splitlines() == answer

    def test_it_speaks_as_people_call_it(self, path: str) -> None:
        """Usage of the plugin names kubectl."""
        environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(["kubectl-laycan", "why"], capture_output=True, text=True, env=environment)
        assert done.returncode == 2
        assert "Usage: kubectl laycan why" in done.stderr
