"""`laycan release`: opens every fence entry and removes the holder labels, before an uninstall.

The operator still runs then and would close everything again. So its lease is taken away first, for long enough that the release
can go, and the epoch moves on, so that what it has under way is refused.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from laycan.kube.client import Client

_LEASE_SECONDS = 30  # no operator starts for so long
_FOLLOWER_SECONDS = 3.0  # a leader looks at its lease every two
_ATTEMPTS = 5


def release(
    settings: Annotated[Path | None, typer.Option(help="The chart's settings.yaml.")] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the release.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: the ServiceAccount in a cluster, else $KUBECONFIG.")] = None,
) -> None:
    """Open every fence entry, remove the holder labels, let exact GPUs go; running it again changes nothing.

    The chart runs it before an uninstall. The operator's lease is taken away first, so that it does not close everything again.

    Needs: the rights of the operator's ServiceAccount, or a cluster admin's.

    Example:
      laycan release --namespace laycan-system

    Exit: 0 open, 1 not all of it, or no cluster.
    """
    from laycan.kube.client import ApiError
    from laycan.kube.credentials import CredentialsError
    from laycan.settings import load_settings

    where = namespace or (load_settings(settings).namespace if settings else "laycan-system")
    try:
        told = asyncio.run(_release(kubeconfig, where))
    except (ApiError, CredentialsError) as error:
        typer.echo(f"laycan release: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(told)


async def _release(kubeconfig: Path | None, namespace: str) -> str:
    from laycan.control.epoch import advance_epoch
    from laycan.delivery.release import release
    from laycan.kube.client import ApiError, Client
    from laycan.kube.credentials import load_credentials

    nodes = entries = claims = 0
    async with Client(load_credentials(kubeconfig)) as client:
        seized = await _seize_lease(client, namespace)
        epoch = await advance_epoch(client)
        for attempt in range(_ATTEMPTS):
            try:
                done = await release(client, epoch)
            except ApiError as error:
                if error.status not in (404, 409, 422) or attempt == _ATTEMPTS - 1:
                    raise
                continue  # a node or the fence changed meanwhile
            nodes, entries, claims = nodes + done.nodes, entries + done.entries, max(claims, done.claims)
            if not seized or (attempt and not done.nodes and not done.entries):
                break
            await asyncio.sleep(_FOLLOWER_SECONDS)  # a write that the operator had under way may still come
    left = f"; not managed, so left labelled: {', '.join(done.left)}" if done.left else ""
    exact = f" and {claims} lots of exact GPUs" if claims else ""
    return f"released {nodes} nodes and {entries} fence entries{exact}{left}"


async def _seize_lease(client: Client, namespace: str) -> bool:
    """Whether somebody else held it."""
    from laycan.control.leader import LEASE
    from laycan.kube.client import ApiError
    from laycan.resources.times import format_time

    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"
    now = format_time(int(time.time())).removesuffix("Z") + ".000000Z"
    spec = {"holderIdentity": "laycan-release", "leaseDurationSeconds": _LEASE_SECONDS, "acquireTime": now, "renewTime": now}
    try:
        held = (await client.get(path)).get("spec", {}).get("holderIdentity") or ""
        await client.patch_merge(path, {"spec": spec})
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return held not in ("", "laycan-release")
