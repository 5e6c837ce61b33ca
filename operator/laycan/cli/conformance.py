"""`laycan conformance`: attacks the deliveries of a running cluster, on nodes that are free, and says what held."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from laycan.cli.output import EXIT_BAD_INPUT, EXIT_VIOLATION, say, write

if TYPE_CHECKING:
    from laycan.conformance.attack import Attack, Result
    from laycan.conformance.scene import Options


def conformance(
    nodes: Annotated[str, typer.Option(help="Managed nodes to use, by name, separated by commas. Default: up to eight free ones.")] = "",
    only: Annotated[str, typer.Option(help="Families or single attacks, e.g. A1,A2-node-name.")] = "",
    disruptive: Annotated[bool, typer.Option("--disruptive", help="Also what disturbs others: cordons, edits of NodeFence.")] = False,
    output: Annotated[Literal["table", "json", "markdown"], typer.Option("-o", "--output", help="table, json or markdown.")] = "table",
    kubeconfig: Annotated[Path | None, typer.Option(help="A cluster admin's. Default: $KUBECONFIG.")] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the release.")] = "laycan-system",
    image: Annotated[str, typer.Option(help="Image of the attackers' pods; it needs `sleep`.")] = "busybox:1",
    flood_seconds: Annotated[float, typer.Option(help="How long the flood of A4 goes on after the hand-over.", min=0)] = 5.0,
    flood_per_second: Annotated[int, typer.Option(help="Pods per second of that flood.", min=1, max=1000)] = 40,
    collisions: Annotated[int, typer.Option(help="Timed collisions of B3.", min=1)] = 40,
) -> None:
    """Attack deliveries on free nodes, and say what held.

    What it made it takes away again. Attacks that need more than an API server, or others' patience, are told as not run.

    Needs: mode Enforce, some free managed nodes, and a cluster admin's kubeconfig, because it impersonates tenants.

    Example:
      laycan conformance --only A1,A2-node-name

    Exit: 0 all held that was run, 1 something did not, 2 nothing can be run.
    """
    from laycan.conformance.run import UnknownAttackError, attacks
    from laycan.conformance.scene import Options

    options = Options(image=image, flood_seconds=flood_seconds, flood_per_second=flood_per_second, collisions=collisions)
    try:
        chosen = attacks(_listed(only))
    except UnknownAttackError as error:
        say("error", [f"--only: {error}"])
        raise typer.Exit(EXIT_BAD_INPUT) from None
    results = _run(kubeconfig, namespace, chosen, _listed(nodes), options, disruptive)
    _print(results, output)
    if any(each.held is False for each in results):
        raise typer.Exit(EXIT_VIOLATION)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _run(
    kubeconfig: Path | None, namespace: str, chosen: list[Attack], nodes: list[str], options: Options, disruptive: bool
) -> list[Result]:
    from laycan.conformance.attack import NotRun
    from laycan.conformance.fleet import NoFleetError
    from laycan.conformance.harness import Foreign
    from laycan.conformance.report import line
    from laycan.conformance.run import run
    from laycan.kube.client import ApiError
    from laycan.kube.credentials import CredentialsError, load_credentials

    def tell(result: Result) -> None:
        say("attack", [line(result)])

    try:
        credentials = load_credentials(kubeconfig)
        return asyncio.run(run(credentials, namespace, chosen, nodes, options, Foreign(), disruptive=disruptive, tell=tell))
    except (ApiError, CredentialsError, NoFleetError, NotRun) as error:
        say("error", [f"nothing can be run: {error}"])
        raise typer.Exit(EXIT_BAD_INPUT) from None


def _print(results: list[Result], output: str) -> None:
    from laycan.conformance.report import document, markdown, table

    if output == "markdown":
        write(markdown(results).encode())
    else:
        write(document(results) if output == "json" else table(results))
