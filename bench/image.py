"""The image: how large it is, what takes the room, and what a process costs to start in it.

    python -m bench.image

It builds the image without Docker (controlplane.image says what that needs), starts the operator in a container as strict as the chart's
pod, on a real API server, and asks for /healthz until it says yes. Wall time depends on what else the machine does; CPU time does not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row, Stopwatch, show
from controlplane import image
from controlplane.build import BuildError, binaries
from controlplane.container import Container
from controlplane.image import Image
from controlplane.waiting import until
from tests.cluster.operator import market
from tests.image.operator import ImageOperator

ROUNDS = 5
LARGEST = 10
SITE = "opt/laycan/lib/python3.11/site-packages"


def size(built: Image, folder: Path) -> Row:
    """Bytes of all files, links not followed, and of the compressed layers that a node fetches."""
    archive = image.save(built.name, "oci-archive", folder / "image.tar")
    files = [file for file in built.root.rglob("*") if file.is_file() and not file.is_symlink()]
    bytecode = sum(file.stat().st_size for file in files if file.suffix == ".pyc")
    return {
        "row": "size",
        "mb": sum(file.stat().st_size for file in files) // 10**6,
        "compressed_mb": archive.stat().st_size // 10**6,
        "bytecode_mb": bytecode // 10**6,
        "files": len(files),
    }


def largest(built: Image) -> Iterator[Row]:
    """The packages and folders that take most of the room."""
    places = [*(built.root / SITE).iterdir(), *(built.root / "usr/lib").iterdir()]
    sizes = {place: sum(file.lstat().st_size for file in (place.rglob("*") if place.is_dir() else [place])) for place in places}
    for place in sorted(sizes, key=lambda place: -sizes[place])[:LARGEST]:
        yield {"row": "largest", "place": place.name, "mb": round(sizes[place] / 1e6, 1)}


def command(built: Image, folder: Path, name: str, argv: list[str]) -> Row:
    """The fastest of some runs of a command in a container, runc's own time included."""
    spent = []
    for number in range(ROUNDS):
        container = Container(built, folder / f"{name}-{number}", argv, {})
        watch = Stopwatch()
        done = container.run()
        spent.append((watch.cpu_ms(), watch.wall_ms()))
        if done.returncode:
            raise SystemExit(done.stderr)
    return {"row": name, "cpu_ms": min(cpu for cpu, _ in spent), "wall_ms": min(wall for _, wall in spent)}


def start(built: Image, folder: Path) -> Row:
    """The operator, from the start of its container to its first healthy answer: the fastest of some starts."""
    spent = []
    with market(folder, binaries(), nodes=3) as town:
        for number in range(ROUNDS):
            operator = ImageOperator(built, town.plane, folder / f"operator-{number}")
            begun = time.monotonic()
            operator.start()
            try:
                until("the operator lives", operator.healthy, seconds=120, pause=0.01)
                spent.append((int(operator.cpu_seconds() * 1000), int((time.monotonic() - begun) * 1000)))
            finally:
                operator.stop()
    return {"row": "healthy", "cpu_ms": min(cpu for cpu, _ in spent), "wall_ms": min(wall for _, wall in spent)}


def main() -> None:
    """Builds and measures."""
    if lacking := image.missing():
        sys.exit(f"error: the image needs {', and '.join(lacking)}")
    try:
        image.build()
    except BuildError as error:
        sys.exit(f"error: {error}")
    with tempfile.TemporaryDirectory(prefix="laycan-image-") as made, image.mounted() as built:
        folder = Path(made)
        rows = [size(built, folder), *largest(built)]
        rows.append(command(built, folder, "nothing", ["/opt/laycan/bin/python", "-S", "-c", ""]))
        rows.append(command(built, folder, "help", ["laycan", "--help"]))
        rows.append(start(built, folder / "cluster"))
        show("image", rows)


if __name__ == "__main__":
    main()
