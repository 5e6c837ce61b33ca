"""Completion: `laycan completion SHELL` prints a shell's script; `kubectl_complete-laycan` answers kubectl for the plugin.

Both complete commands, options and their values; names of contracts would need a cluster at each key.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import Annotated, Literal

import typer

NO_FILES = ":4"  # kubectl's directive (cobra's ShellCompDirectiveNoFileComp)
FILES_TOO = ":0"


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Whose script.")],
) -> None:
    """Print the completion script of a shell.

    In ~/.bashrc or ~/.zshrc the first example stands for all sessions to come. For `kubectl laycan`, kubectl's own completion asks
    `kubectl_complete-laycan`, which is installed beside laycan.

    Needs: nothing.

    Example:
      source <(laycan completion bash)
      laycan completion fish > ~/.config/fish/completions/laycan.fish

    Exit: 0 printed, 2 no such shell.
    """
    typer.echo(_answer(f"source_{shell}").rstrip())


def _answer(instruction: str) -> str:
    """What typer answers to an instruction of its shells' scripts."""
    from typer.completion import completion_init, shell_complete  # type: ignore[attr-defined]

    from laycan.cli.main import COMPLETE, app

    completion_init()
    said = StringIO()
    with redirect_stdout(said):
        shell_complete(typer.main.get_command(app), {}, "laycan", COMPLETE, instruction)
    return said.getvalue()


def kubectl_complete() -> None:
    """Entry point of `kubectl_complete-laycan`: the words after `kubectl laycan`, the last of which is to be completed.

    Prints one candidate a line, then a directive to kubectl.
    """
    words = sys.argv[1:] or [""]
    os.environ["COMP_WORDS"] = shlex.join(["laycan", *words])
    os.environ["COMP_CWORD"] = str(len(words))
    found = [line for line in _answer("complete_bash").splitlines() if line]
    sys.stdout.write("".join(f"{line}\n" for line in (*found, NO_FILES if found else FILES_TOO)))
