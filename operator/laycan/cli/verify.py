"""`laycan verify`: hands its arguments to the verifier, which stands alone. Its exit codes are its own, bad usage included."""

from __future__ import annotations

from typing import Annotated

import typer

from laycan_verify.cli import main


def verify(arguments: Annotated[list[str] | None, typer.Argument(metavar="FILE… --trust F")] = None) -> None:
    """Verify the evidence of contracts' deliveries, offline.

    Needs: the bundle of `laycan evidence` and the trust file of `laycan keys`: no cluster, no network.
    """
    raise typer.Exit(main(arguments or []))
