"""`laycan agent`: the process that the chart runs on each node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def agent(
    node: Annotated[str, typer.Option(help="Name of the Node that it runs on.")],
    kubeconfig: Annotated[Path | None, typer.Option(help="How to reach the cluster; default: the ServiceAccount, else KUBECONFIG.")] = None,
    state: Annotated[Path | None, typer.Option(help="File to go on from after a restart; else the GpuMeter.", dir_okay=False)] = None,
    sample_seconds: Annotated[int, typer.Option(help="How often a sample is taken.", min=1, max=300)] = 10,
    report_seconds: Annotated[int, typer.Option(help="How often the GpuMeter is written where nothing changes.", min=1, max=3600)] = 300,
    exempt: Annotated[list[str] | None, typer.Option(help="A namespace whose processes are no strangers; may be repeated.")] = None,
    port: Annotated[int, typer.Option(help="Port of the probe, /healthz; 0: none.")] = 8080,
    metrics_port: Annotated[int, typer.Option(help="Port of Prometheus metrics, /metrics; 0: none.")] = 0,
    log_format: Annotated[Literal["json", "plain"], typer.Option(help="json: one object per line.")] = "json",
) -> None:
    """Measure this node's GPUs until it is told to stop.

    Needs: NVIDIA's driver, and the right to write the GpuMeter of its node, which the chart gives it.

    Example:
      laycan agent --node h100-a01

    Exit: 0 told to stop, 1 it must be started again.
    """
    from laycan.agent.agent import Options
    from laycan.agent.main import run

    options = Options(node, state, sample_seconds, report_seconds, tuple(exempt or ()))
    raise typer.Exit(run(options, kubeconfig, port, metrics_port, json_logs=log_format == "json"))
