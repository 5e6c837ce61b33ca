"""`laycan`: the table of commands and nothing else.

A command costs nothing until it is called: `laycan --help` prints the table's own lines, and the module behind a command (with
the planner, the operator or the Kubernetes client behind it) is imported when its name is the one on the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# command -> (module, function of it that typer calls, its line in the help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "plan": ("laycan.cli.plan", "plan", "Plan contracts from manifests, without a cluster."),
    "check-plan": ("laycan.cli.check_plan", "check_plan", "Re-check a plan, without the planner."),
    "operator": ("laycan.cli.operator", "operator", "Run the operator: the process of the chart."),
    "agent": ("laycan.cli.agent", "agent", "Measure this node's GPUs: the process on each node."),
    "preflight": ("laycan.cli.preflight", "preflight", "Say what would break in this cluster."),
    "conformance": ("laycan.cli.conformance", "conformance", "Attack the cluster's deliveries, and say what held."),
    "release": ("laycan.cli.release", "release", "Open every fence, before an uninstall."),
}


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
    module, function, _ = COMMANDS[name]
    callback: Callable[..., None] = getattr(import_module(module), function)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    single.command(name)(callback)
    return typer.main.get_command(single)


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
    """Entry point of `laycan` and `kubectl-laycan`."""
    app()


if __name__ == "__main__":
    run()
