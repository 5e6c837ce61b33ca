"""Builds the control plane's tools from source, once, into a cache.

Each folder beside this file is a Go module without code of ours: its `tool` directives name the commands, its go.mod and go.sum pin
every byte that goes into them. A module is built into `<cache>/<module>-<key>`, where the key covers go.mod, go.sum, the build flags and
the Go version, so that an entry is either absent or right, and a change of a pin never meets a stale binary. A folder is made under
another name and renamed when complete; a file lock lets parallel callers build once.

`KUBEBUILDER_ASSETS`, the convention of the controller tests in Go, may name a folder of prebuilt binaries; what lies there is taken from
there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
OLDEST_GO = (1, 26)
# No debug information, a fifth of the compiler's work, since the linker drops it anyway. No -trimpath: with it the compiler's cache tells
# apart the same source that one module names as it is and another by a `replace`, and kwok and helm would compile Kubernetes' parts again.
BUILD_FLAGS = ("-mod=readonly", "-buildvcs=false", "-gcflags=all=-dwarf=false")
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


class BuildError(Exception):
    """A tool could not be built; the message says what to do about it."""


@dataclass(frozen=True)
class Module:
    """One Go module and the commands it provides: package path -> name of the binary is its last element, but for etcd."""

    name: str
    commands: Mapping[str, str]  # binary -> Go package


MODULES = (
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "kubernetes", {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-scheduler", "kube-controller-manager")}
    ),
    Module("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
)
NODE = Module("node", {"kubelet": "k8s.io/kubernetes/cmd/kubelet"})  # for `make test-kubelet` only; the control plane needs none


def binaries() -> dict[str, Path]:
    """Returns the path of every tool by its name, building what is missing (minutes on two cores the first time)."""
    found = _prebuilt()
    for module in MODULES:
        if not module.commands.keys() <= found.keys():
            folder = built(module)
            found = {command: folder / command for command in module.commands} | found
    return found


def built(module: Module) -> Path:
    """Returns the cache folder with the binaries of one module, built now if need be. Raises BuildError."""
    flags = link_flags(SOURCE / module.name / "go.mod")
    folder = cache() / f"{module.name}-{cache_key(SOURCE / module.name, flags, go_version())}"
    if folder.is_dir():
        return folder
    with _locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _build(module, flags, folder)
    return folder


def cache() -> Path:
    """The folder of all built tools: `$LAYCAN_CACHE`, or the user's cache folder."""
    if chosen := os.environ.get("LAYCAN_CACHE"):
        return Path(chosen) / "controlplane"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laycan" / "controlplane"


def cache_key(module: Path, flags: str, go: str) -> str:
    """A digest of everything that decides what a build gives: the pins of the module folder, the flags, the Go toolchain."""
    digest = hashlib.sha256()
    for part in ((module / "go.mod").read_bytes(), (module / "go.sum").read_bytes(), " ".join((*BUILD_FLAGS, flags, go)).encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def link_flags(go_mod: Path) -> str:
    """Strips the symbols; tells Kubernetes its own version, which its Makefile would and `go build` does not."""
    pinned = re.search(r"^\s*k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)\b", go_mod.read_text(), re.MULTILINE)
    if not pinned:
        return "-s -w"
    major, minor, patch = pinned.groups()
    facts = {"gitVersion": f"v{major}.{minor}.{patch}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return "-s -w " + " ".join(f"-X {package}.{name}={value}" for package in VERSION_PACKAGES for name, value in facts.items())


def go_version() -> str:
    """The Go toolchain and its target, as in `go1.26.8 linux/amd64`. Raises BuildError when it is missing or too old."""
    if not shutil.which("go"):
        raise BuildError(f"Go is not installed: building the control plane needs Go {_dotted(OLDEST_GO)} or newer (https://go.dev/dl)")
    asked = subprocess.run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], capture_output=True, text=True, cwd=SOURCE, env=_environment())
    if asked.returncode:
        raise BuildError(f"`go env` failed: {asked.stderr.strip()}")
    version, system, machine = asked.stdout.split()
    known = re.match(r"go(\d+)\.(\d+)", version)
    if not known or (int(known[1]), int(known[2])) < OLDEST_GO:
        raise BuildError(f"{version} is too old: building the control plane needs Go {_dotted(OLDEST_GO)} or newer (https://go.dev/dl)")
    return f"{version} {system}/{machine}"


def _build(module: Module, flags: str, folder: Path) -> None:
    """Runs `go build` for all commands of the module at once, which share most of their packages; then one rename makes them visible."""
    names = ", ".join(module.commands)
    print(f"building {names} from source, once; this takes minutes", file=sys.stderr, flush=True)
    begun = time.monotonic()
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    output = f"{unfinished}/" if len(module.commands) > 1 else str(unfinished / names)  # in a folder, Go names them by their packages
    argv = ["go", "build", *BUILD_FLAGS, "-ldflags", flags, "-o", output, *module.commands.values()]
    result = subprocess.run(argv, cwd=SOURCE / module.name, env=_environment(), capture_output=True, text=True)
    if result.returncode:
        raise BuildError(f"building {names} failed:\n{result.stderr[-4000:]}")
    unfinished.rename(folder)
    print(f"built {names} in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def _prebuilt() -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        return {}
    names = [command for module in MODULES for command in module.commands]
    return {name: Path(assets) / name for name in names if os.access(Path(assets) / name, os.X_OK)}


def _environment() -> dict[str, str]:
    """The caller's environment, less what would change the bytes built: its own flags, a workspace, cgo."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel even when we are killed
        yield


if __name__ == "__main__":
    try:
        for tool, place in sorted(binaries().items()):
            print(f"{tool:24} {place}")
    except BuildError as error:
        sys.exit(f"error: {error}")
