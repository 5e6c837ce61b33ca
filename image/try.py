"""Imports every module of Laycan, reads credentials and solves a program of one variable; prints the modules that all of it has loaded.

The build of the image runs it on the base that was chosen: it ends with an error where the interpreter, a library or a file is missing.
Its argument is a pattern for the folder that Laycan lies in where it is not installed.
"""

from __future__ import annotations

import pkgutil
import sys
from glob import glob
from importlib import import_module
from pathlib import Path


def main() -> None:
    sys.path[:0] = (found for pattern in sys.argv[1:] for found in glob(pattern))
    for package in map(import_module, ("laycan", "laycan_solver", "laycan_verify")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    read_credentials()
    solve()
    sys.stdout.writelines(f"{name}\n" for name in sorted(sys.modules))


def read_credentials() -> None:
    """There are none: the library that looks for them is loaded all the same."""
    from laycan.kube.credentials import CredentialsError, load_credentials

    try:
        load_credentials(Path("/nowhere"))
    except CredentialsError:
        return
    raise SystemExit("credentials out of nowhere")


def solve() -> None:
    from ortools.linear_solver import pywraplp

    solver = pywraplp.Solver.CreateSolver("GLOP")
    solver.Maximize(solver.NumVar(0, 1, "x"))
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        raise SystemExit("the solver does not solve")


main()
