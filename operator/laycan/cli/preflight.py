"""`laycan preflight`: what would break in this cluster, before and after an install. It reads and writes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from laycan.cli.output import EXIT_BAD_INPUT, EXIT_VIOLATION, say, write

if TYPE_CHECKING:
    from laycan.preflight.finding import Finding


def preflight(
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: the ServiceAccount in a cluster, else $KUBECONFIG.")] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the release.")] = "laycan-system",
    output: Annotated[Literal["table", "json"], typer.Option("-o", "--output", help="table or json.")] = "table",
) -> None:
    """Say what would break in this cluster. It changes nothing.

    Before an install it looks at versions, nodes, device plugin, DRA driver and workloads; after it at policies and agents, too.

    Needs: a kubeconfig that may read the cluster, as a cluster admin may.

    Example:
      laycan preflight --kubeconfig admin.conf

    Exit: 0 nothing is an error, 1 something is, 2 no cluster.
    """
    from laycan.kube.client import ApiError
    from laycan.kube.credentials import CredentialsError
    from laycan.preflight.finding import Level

    try:
        findings = asyncio.run(_inspect(kubeconfig, namespace))
    except (ApiError, CredentialsError) as error:
        say("error", [f"no cluster: {error}"])
        raise typer.Exit(EXIT_BAD_INPUT) from None
    write(_json(findings) if output == "json" else _table(findings))
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(EXIT_VIOLATION)


async def _inspect(kubeconfig: Path | None, namespace: str) -> list[Finding]:
    from laycan.kube.client import Client
    from laycan.kube.credentials import load_credentials
    from laycan.preflight.checks import inspect
    from laycan.preflight.cluster import read

    async with Client(load_credentials(kubeconfig)) as client:
        return inspect(await read(client, namespace))


def _json(findings: list[Finding]) -> bytes:
    import orjson

    return orjson.dumps([finding.row() for finding in findings], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _table(findings: list[Finding]) -> bytes:
    """A block for each finding: what it is on one line, why and what to do below."""
    lines = [f"{each.level.upper():<8}{each.what}\n        why: {each.why}\n        do:  {each.do}" for each in findings]
    counts = {level: sum(each.level == level for each in findings) for level in ("Error", "Warning", "Info")}
    return ("\n".join([*lines, ", ".join(f"{count} {level.lower()}s" for level, count in counts.items())]) + "\n").encode()
