"""`laycan`: the table of commands and nothing else.

A command costs nothing until it is called: `laycan --help` prints the table's own lines, and the module behind a command (with
the planner, the operator or the Kubernetes client behind it) is imported when its name is the one on the command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# command -> (module, function of it that typer calls, its line in the help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "plan": ("laycan.cli.plan", "plan", "Plan contracts from manifests, a snapshot or a cluster."),
    "status": ("laycan.cli.status", "status", "One screen: fleet, contracts, what is short, what is next."),
    "why": ("laycan.cli.why", "why", "Why a contract is where it is, and what to do next."),
    "book": ("laycan.cli.book", "book", "The order book: contracts by start."),
    "snapshot": ("laycan.cli.snapshot", "snapshot", "Write the cluster's state as a bundle for `plan`."),
    "quote": ("laycan.cli.quote", "quote", "Can this be promised, and if not, what could be instead."),
    "sellable": ("laycan.cli.sellable", "sellable", "What can still be sold, for every start and length."),
    "what-if": ("laycan.cli.what_if", "what_if", "What it would do to lose, drain, add or sell something."),
    "report": ("laycan.cli.report", "report", "Write the book, its plan and the proof as one page."),
    "check-plan": ("laycan.cli.check_plan", "check_plan", "Re-check a plan, without the planner."),
    "evidence": ("laycan.cli.evidence", "evidence", "Export the signed evidence of a contract."),
    "verify": ("laycan.cli.verify", "verify", "Verify the evidence of deliveries, offline."),
    "keys": ("laycan.cli.keys", "keys", "Print the trust file; make and change signing keys."),
    "endpoint": ("laycan.cli.endpoint", "endpoint", "Test whether an exchange hears and believes us."),
    "operator": ("laycan.cli.operator", "operator", "Run the operator: the process of the chart."),
    "agent": ("laycan.cli.agent", "agent", "Measure this node's GPUs: the process on each node."),
    "preflight": ("laycan.cli.preflight", "preflight", "Say what would break in this cluster."),
    "conformance": ("laycan.cli.conformance", "conformance", "Attack the cluster's deliveries, and say what held."),
    "completion": ("laycan.cli.completion", "completion", "Print the completion script of a shell."),
    "release": ("laycan.cli.release", "release", "Open every fence, before an uninstall."),
}
COMPLETE = "_LAYCAN_COMPLETE"  # environment variable by which a shell's script asks for completions
OWN_PARSER = ("verify",)  # they get their arguments as they stand


class _Lazy(TyperGroup):
    """Lists commands from the table, imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name][2])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest


def load(name: str) -> Any:
    """The real command of that name."""
    callback = callback_of(name)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    own_parser = {"ignore_unknown_options": True, "help_option_names": []} if name in OWN_PARSER else None
    single.command(name, context_settings=own_parser, help=help_of(callback))(callback)
    return typer.main.get_command(single)


def callback_of(name: str) -> Callable[..., None]:
    """The function behind it."""
    module, function, _ = COMMANDS[name]
    found: Callable[..., None] = getattr(import_module(module), function)
    return found


def help_of(callback: Callable[..., None]) -> str:
    """Its docstring; the mark \\b keeps the lines of a paragraph as they are where some are indented, as examples are."""
    paragraphs = cleandoc(callback.__doc__ or "").split("\n\n")
    return "\n\n".join(f"\b\n{paragraph}" if "\n  " in paragraph else paragraph for paragraph in paragraphs)


def _version(wanted: bool) -> None:
    if wanted:
        from laycan import __version__

        typer.echo(__version__)
        raise typer.Exit


app = typer.Typer(cls=_Lazy, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def _laycan(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and leave."),
) -> None:
    """The delivery office of physical compute forwards."""


def run() -> None:
    """Entry point of `laycan` and of kubectl's plugin `kubectl-laycan`, which speaks of itself as people call it."""
    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    app(prog_name="kubectl laycan" if Path(sys.argv[0]).stem == "kubectl-laycan" else "laycan", complete_var=COMPLETE)


if __name__ == "__main__":
    run()
