"""`laycan operator`: the process of the chart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def operator(
    settings: Annotated[Path, typer.Option(help="The settings file that the chart renders.", exists=True, dir_okay=False)],
    kubeconfig: Annotated[Path | None, typer.Option(help="How to reach the cluster; default: the ServiceAccount, else KUBECONFIG.")] = None,
    namespace: Annotated[str | None, typer.Option(help="The release's own namespace, if the settings name another.")] = None,
    port: Annotated[int, typer.Option(help="Port of the probe, /healthz.")] = 8080,
    metrics_port: Annotated[int, typer.Option(help="Port of Prometheus metrics, /metrics; 0: none.")] = 0,
    log_format: Annotated[Literal["json", "plain"], typer.Option(help="json: one object per line.")] = "json",
) -> None:
    """Run the operator until it is told to stop.

    Needs: what the chart gives it: a settings file, the rights of its ServiceAccount, and a folder for the logs.

    Example:
      laycan operator --settings settings.yaml --metrics-port 8081

    Exit: 0 told to stop, 1 it failed, or another one leads: start it again.
    """
    from laycan.main import run
    from laycan.settings import load_settings

    loaded = load_settings(settings)
    if namespace is not None:
        loaded = loaded.model_copy(update={"namespace": namespace})
    raise typer.Exit(run(loaded, kubeconfig, port, json_logs=log_format == "json", metrics_port=metrics_port))
