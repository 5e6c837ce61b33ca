"""Builds the image of this checkout without Docker: `make image` by buildah in chroot isolation, on a Debian that debootstrap makes.

It needs Linux, root, the packages that `missing()` names, and a network: Debian's mirror, and the registry of Python packages at its
usual address. The Debian and the layers of earlier builds stay in buildah's own store.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.build import SOURCE, BuildError

NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap", "runc": "runc", "unshare": "util-linux"}  # command -> Debian package
SUITE = "bookworm"
DEBIAN = f"localhost/laycan-debian:{SUITE}"  # as debian:bookworm-slim, which is made the same way, with its documentation
PYTHON_BASE = f"{DEBIAN}-python"  # as python:3.11-slim-bookworm: a Debian with an interpreter, to stand on
IMAGE = "localhost/laycan:test"


def missing() -> list[str]:
    """What this machine lacks for a build without Docker, each with what to do about it."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return ["Linux on amd64 or arm64"]
    lacking = sorted({package for command, package in NEEDED.items() if not shutil.which(command)})
    found = [f"packages (on Debian: apt-get install --no-install-recommends {' '.join(lacking)})"] if lacking else []
    return found if os.geteuid() == 0 else [*found, "root"]


@dataclass(frozen=True)
class Image:
    """A built image: its root file system, mounted at `root`, and what its configuration says."""

    name: str
    root: Path
    config: Mapping[str, Any]  # OCI: Env, User, Cmd, WorkingDir, Labels

    @property
    def user(self) -> tuple[int, int]:
        """Its user and group."""
        uid, gid = self.config["User"].split(":")
        return int(uid), int(gid)


def build(name: str = IMAGE, *, base: str = "", flags: Sequence[str] = ()) -> None:
    """`make image` of this checkout, as this name; on the image `base` instead of the default one. Raises BuildError."""
    _make_debian()
    options = ["--isolation", "chroot", "--layers", "--timestamp", "0", *flags]
    argv = [
        "make",
        "--no-print-directory",
        "image",
        "CONTAINER=buildah",
        f"IMAGE={name}",
        f"BUILDER={DEBIAN}",
        f"BUILD_FLAGS={' '.join(options)}",
    ]
    argv += [f"BASE={base}"] if base else []
    if authority := os.environ.get("SSL_CERT_FILE"):  # of a proxy that looks into TLS, which a build does not know otherwise
        argv.append(f"CA={authority}")
    _run(argv)


def make_python_base() -> None:
    """The image PYTHON_BASE: the Debian with Debian's interpreter. Raises BuildError."""
    _make_debian()
    container = _run(["buildah", "from", "--pull-never", DEBIAN])
    for argv in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "python3-minimal", "python3"]):
        _run(["buildah", "run", "--isolation", "chroot", container, *argv])
    _run(["buildah", "commit", "--quiet", container, PYTHON_BASE])
    _run(["buildah", "rm", container])


def layers(name: str) -> list[str]:
    """The digests of an image's layers, uncompressed."""
    found: list[str] = json.loads(_run(["buildah", "inspect", "--type", "image", name]))["OCIv1"]["rootfs"]["diff_ids"]
    return found


@contextmanager
def mounted(name: str = IMAGE) -> Iterator[Image]:
    """The image, while its root file system is mounted."""
    container = _run(["buildah", "from", "--pull-never", name])
    try:
        root = Path(_run(["buildah", "mount", container]))
        config = json.loads(_run(["buildah", "inspect", "--type", "image", name]))["OCIv1"]["config"]
        yield Image(name, root, config)
    finally:
        _run(["buildah", "rm", container])


def save(name: str, kind: str, file: Path) -> Path:
    """Writes the image to a file: kind `docker-archive`, which `ctr images import` reads, or `oci-archive`, whose layers are compressed."""
    file.unlink(missing_ok=True)
    _run(["buildah", "push", name, f"{kind}:{file}" + (f":{name}" if kind == "docker-archive" else "")])
    return file


def _make_debian() -> None:
    if _run(["buildah", "images", "--quiet", "--filter", f"reference={DEBIAN}"]):
        return
    with tempfile.TemporaryDirectory(prefix="laycan-debian-") as folder:
        root = Path(folder, "root")
        _run(["debootstrap", "--variant=minbase", SUITE, str(root)])
        container = _run(["buildah", "from", "scratch"])
        _run(["buildah", "add", "--quiet", container, str(root), "/"])
        _run(["buildah", "commit", "--quiet", container, DEBIAN])
        _run(["buildah", "rm", container])


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, cwd=SOURCE.parent, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"`{' '.join(argv)}` failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.strip()
