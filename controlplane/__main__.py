"""`python -m controlplane up` starts a control plane that outlives the command, `down` stops it and waits until it is gone.

Its state lies in `.run` of the current folder and is kept: `up` after `down` finds the objects of before.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from controlplane import fleet
from controlplane.build import BuildError
from controlplane.leftover import left_running, stop_left_running
from controlplane.local import ControlPlane, StartError

FOLDER = Path(".run") / "controlplane"


def up(nodes: int) -> None:
    """Starts it unless it runs, with so many more GPU nodes, and prints the line that a shell evaluates."""
    plane = ControlPlane(FOLDER, outlives_us=True)
    if not left_running(FOLDER):
        stop_left_running(FOLDER)  # what is left of one that lost a part
        plane.start()
    if nodes:
        fleet.apply_fleet(plane.admin, [*fleet.daemonsets(), *fleet.nodes(nodes)])
    print(f"the control plane runs; its logs: {plane.folder / 'logs'}; end it with `python -m controlplane down`", file=sys.stderr)
    print(f"export KUBECONFIG={plane.admin_kubeconfig}")


def down() -> None:
    """Stops it, if it runs."""
    stopped = stop_left_running(FOLDER)
    print(f"stopped: {', '.join(stopped) or 'nothing was running'}", file=sys.stderr)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it").add_argument(
        "--nodes", type=int, default=0, help="add so many GPU nodes and their DaemonSets"
    )
    commands.add_parser("down", help="stop it")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            up(arguments.nodes)
        else:
            down()
    except (BuildError, StartError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
