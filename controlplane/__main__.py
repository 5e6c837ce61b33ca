"""`python -m controlplane up` starts a control plane that outlives the command, `down` stops it and waits until it is gone.

Its state lies in `.run` of the current folder and is kept: `up` after `down` finds the objects of before. `operator` runs the operator of
the chart that was installed in it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from controlplane import fleet
from controlplane.api import Api
from controlplane.beside import Beside
from controlplane.build import BuildError
from controlplane.leftover import left_running, stop_left_running
from controlplane.local import ControlPlane, StartError

FOLDER = Path(".run") / "controlplane"
OPERATOR_FOLDER = Path(".run") / "operator"


def up(nodes: int, device_nodes: int) -> None:
    """Starts it unless it runs, with so many more GPU nodes that nobody manages yet, and prints the line that a shell evaluates.

    `device_nodes` have NVIDIA's DRA driver instead of its device plugin.
    """
    plane = ControlPlane(FOLDER, outlives_us=True)
    if not left_running(FOLDER):
        stop_left_running(FOLDER)  # what is left of one that lost a part
        plane.start()
    if nodes:
        fleet.apply_fleet(plane.admin, [*fleet.daemonsets(), *fleet.nodes(nodes, managed=False)])
    if device_nodes:
        manifests = fleet.nodes(device_nodes, prefix="d", managed=False, plugin=False)
        slices = [fleet.gpu_slice(manifest["metadata"]["name"]) for manifest in manifests]
        fleet.apply_fleet(plane.admin, [*fleet.daemonsets(), fleet.device_class(), *manifests, *slices])
    print(f"the control plane runs; its logs: {plane.folder / 'logs'}; end it with `python -m controlplane down`", file=sys.stderr)
    print(f"export KUBECONFIG={plane.admin_kubeconfig}")
    print(f"export PATH={plane.helm.parent}:$PATH")


def down() -> None:
    """Stops it, if it runs."""
    stopped = stop_left_running(FOLDER)
    print(f"stopped: {', '.join(stopped) or 'nothing was running'}", file=sys.stderr)


def operator() -> None:
    """Runs the installed chart's operator as a process of this machine, until its release goes or Ctrl-C."""
    plane = ControlPlane(FOLDER)
    if not left_running(FOLDER):
        raise StartError("no control plane runs here; start it with `python -m controlplane up`")
    with contextlib.suppress(KeyboardInterrupt):
        Beside(Api(plane.admin_kubeconfig), plane.certificate, FOLDER, OPERATOR_FOLDER.resolve()).run()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start it")
    starting.add_argument("--nodes", type=int, default=0, help="add so many GPU nodes and their DaemonSets")
    starting.add_argument("--device-nodes", type=int, default=0, help="add so many whose GPUs a DRA driver publishes")
    commands.add_parser("operator", help="run the operator of the chart that is installed in it")
    commands.add_parser("down", help="stop it")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            up(arguments.nodes, arguments.device_nodes)
        else:
            {"operator": operator, "down": down}[arguments.command]()
    except (BuildError, StartError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
