"""`laycan snapshot`: the cluster's state as one file, from which the same plan is made again anywhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import orjson
import typer

from laycan.cli.output import bad_input_exits, say, write_file
from laycan.cli.source import Context, Kubeconfig, Now, cluster_bundle, instant
from laycan.resources.times import format_time


def snapshot(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The bundle; `-` is stdout.")],
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    now: Now = None,
) -> None:
    """Write the cluster's state as a bundle for `laycan plan` and its like.

    No Secret is read, and of each object only what a plan depends on is kept.
    `laycan plan FILE` then gives what `laycan plan` gives of the cluster at that instant, byte for byte.

    Needs: a kubeconfig that may list nodes, ResourceSlices and Laycan's kinds (docs/desk.md).

    Example:
      laycan snapshot --out monday.json

    Exit: 0 written, 2 bad input, or no cluster.
    """
    with bad_input_exits():
        taken = instant(now) if now else int(time.time())
        found = cluster_bundle(context, kubeconfig, taken)
    write_file(out, found)
    kinds = [item["kind"] for item in orjson.loads(found)["items"]]
    told = ", ".join(f"{kinds.count(kind)} {words}" for kind, words in _TOLD.items() if kind in kinds)
    say("snapshot", [f"{told or 'nothing'} as of {format_time(taken)}; next: laycan plan {out}"] if str(out) != "-" else [])


_TOLD = {"Node": "nodes", "ComputeProduct": "products", "ComputeContract": "contracts", "Outage": "outages"}
