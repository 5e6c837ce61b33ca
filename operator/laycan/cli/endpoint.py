"""`laycan endpoint test NAME`: does an exchange hear us, and does it believe us?"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from laycan.cli.output import EXIT_BAD_INPUT, EXIT_VIOLATION, say, write

if TYPE_CHECKING:
    from laycan.events.ping import Ping
    from laycan.kube.client import Client
    from laycan.ledger.keys import Signer


def endpoint(
    action: Annotated[Literal["test"], typer.Argument(help="test: send a signed ping.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the ExchangeEndpoint, or NAMESPACE/NAME.")],
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the endpoint.")] = "default",
    release: Annotated[str, typer.Option(help="Namespace of the release, where the signing keys are.")] = "",
    output: Annotated[Literal["table", "json"], typer.Option("-o", "--output", help="table or json.")] = "table",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: the ServiceAccount in a cluster, else $KUBECONFIG.")] = None,
) -> None:
    """Send a signed ping to an exchange, as events are sent, and say what comes back.

    It stands in no log.

    Needs: to reach the exchange, and to read the Secret of its ExchangeEndpoint: in the operator's pod it goes the operator's own way.

    Example:
      kubectl exec -n laycan-system deploy/laycan-operator -- laycan endpoint test NAMESPACE/NAME

    Exit: 0 acknowledged, 1 not, 2 bad input, or no cluster.
    """
    from laycan.cli.installed import release_namespace
    from laycan.kube.client import ApiError
    from laycan.kube.credentials import CredentialsError

    space, _, short = name.rpartition("/")
    try:
        url, found, notes = asyncio.run(_test(kubeconfig, space or namespace, short, release_namespace(release)))
    except (ApiError, CredentialsError) as error:
        say("error", [str(error)])
        raise typer.Exit(EXIT_BAD_INPUT) from None
    say("note", notes)
    write(_json(url, found) if output == "json" else _table(url, found))
    if not found.acknowledged:
        raise typer.Exit(EXIT_VIOLATION)


async def _test(kubeconfig: Path | None, namespace: str, name: str, release: str) -> tuple[str, Ping, list[str]]:
    from laycan.events.cloudevents import source_of
    from laycan.events.ping import ping
    from laycan.events.secrets import secret_reader
    from laycan.kube.client import ApiError, Client
    from laycan.kube.credentials import load_credentials
    from laycan.resources.constants import API_VERSION

    async with Client(load_credentials(kubeconfig)) as client:
        endpoints = (await client.get(f"/apis/{API_VERSION}/exchangeendpoints"))["items"]  # what the operator itself may do
        found = [each for each in endpoints if (each["metadata"]["namespace"], each["metadata"]["name"]) == (namespace, name)]
        if not found:
            raise ApiError(404, "NotFound", f"there is no ExchangeEndpoint {namespace}/{name}")
        cluster = await client.get("/api/v1/namespaces/kube-system")
        signers, notes = await _signers(client, release)
        source = source_of(cluster)
        spec = found[0]["spec"]
        return spec["url"], await ping(f"{namespace}/{name}", spec, secret_reader(client), signers, source, int(time.time())), notes


async def _signers(client: Client, release: str) -> tuple[tuple[Signer, ...], list[str]]:
    """Those of the release beside the endpoint's own key; without them it is as it is for the operator."""
    from laycan.events.evidence_keys import SECRET, decoded, read_keys
    from laycan.kube.client import ApiError

    try:
        keys, trouble = read_keys(decoded(await client.get(f"/api/v1/namespaces/{release}/secrets/{SECRET}")))
    except ApiError as error:
        keys, trouble = None, str(error)
    if keys is None:
        return (), [f"signed by the endpoint's own key only: {trouble}"]
    return keys.webhook_signers, [trouble] if trouble else []


def _row(url: str, found: Ping) -> dict[str, Any]:
    return {
        "url": url,
        "acknowledged": found.acknowledged,
        "answer": found.answer.detail,
        "milliseconds": found.milliseconds,
        "signedBy": ["the endpoint's own key", *found.signatures],
        "reply": dict(found.answer.reply),
        "troubles": found.troubles(),
    }


def _json(url: str, found: Ping) -> bytes:
    import orjson

    return orjson.dumps(_row(url, found), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _table(url: str, found: Ping) -> bytes:
    import orjson

    row = _row(url, found)
    lines = [
        f"{'acknowledged' if found.acknowledged else 'NOT acknowledged'}: {row['answer']} in {found.milliseconds} ms from {url}",
        f"signed by: {', '.join(row['signedBy'])}",
        *([f"reply:     {orjson.dumps(row['reply']).decode()}"] if row["reply"] else []),
        *(f"wrong:     {words}" for words in row["troubles"]),
    ]
    return ("\n".join(lines) + "\n").encode()
