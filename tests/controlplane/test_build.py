"""The cache of built tools: an entry is found again only by what it was built from, and appears whole or not at all."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controlplane import build
from controlplane.build import BuildError, Module

GO_MOD = "module example.invalid/hello\n\ngo 1.26.0\n"


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A small Go module of our own in the place of the big ones, and an empty cache."""
    monkeypatch.setenv("LAYCAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return Module("hello", {"hello": "example.invalid/hello"})


class TestKey:
    @pytest.mark.parametrize(
        ("changed", "flags", "go"),
        [
            ({"go.sum": "one line more\n"}, "-s -w", "go1.26.8 linux/amd64"),
            ({"go.mod": GO_MOD + "// another pin\n"}, "-s -w", "go1.26.8 linux/amd64"),
            ({}, "-s", "go1.26.8 linux/amd64"),
            ({}, "-s -w", "go1.27.0 linux/amd64"),
            ({}, "-s -w", "go1.26.8 linux/arm64"),
        ],
        ids=["go.sum", "go.mod", "flags", "go", "machine"],
    )
    def test_covers_all_that_decides_the_binary(self, hello: Module, tmp_path: Path, changed: dict[str, str], flags: str, go: str) -> None:
        """A change of a pin, of the flags, of Go or of the target gives another key; the same again gives the same."""
        folder = tmp_path / hello.name
        before = build.cache_key(folder, "-s -w", "go1.26.8 linux/amd64")
        for name, text in changed.items():
            (folder / name).write_text(text)
        assert build.cache_key(folder, flags, go) != before
        for name in changed:
            (folder / name).write_text({"go.mod": GO_MOD, "go.sum": ""}[name])
        assert build.cache_key(folder, "-s -w", "go1.26.8 linux/amd64") == before

    def test_bytes_cannot_move_between_the_files(self, hello: Module, tmp_path: Path) -> None:
        """The end of go.mod and the start of go.sum are told apart."""
        folder = tmp_path / hello.name
        (folder / "go.sum").write_text("xy")
        before = build.cache_key(folder, "", "")
        (folder / "go.mod").write_text(GO_MOD + "x")
        (folder / "go.sum").write_text("y")
        assert build.cache_key(folder, "", "") != before


class TestBuild:
    def test_parallel_callers_build_once(self, hello: Module, capfd: pytest.CaptureFixture[str]) -> None:
        """Four callers at once get the same working binary from one build, and later ones from the cache."""
        with ThreadPoolExecutor(4) as callers:
            folders = {future.result() for future in [callers.submit(build.built, hello) for _ in range(4)]}
        (folder,) = folders
        assert build.built(hello) == folder
        assert capfd.readouterr().err.count("building hello") == 1
        ran = subprocess.run([folder / "hello"], capture_output=True, text=True, check=True)
        assert ran.stderr == "hello\n"

    def test_changed_pin_builds_anew_beside_the_old(self, hello: Module, tmp_path: Path) -> None:
        """After a change of go.sum the old entry stays and a new one is built."""
        old = build.built(hello)
        (tmp_path / hello.name / "go.sum").write_text("\n")
        new = build.built(hello)
        assert new != old
        assert (old / "hello").exists()
        assert (new / "hello").exists()

    def test_failed_build_leaves_no_entry(self, hello: Module, tmp_path: Path) -> None:
        """The compiler's message is shown, nothing half-made is found later, and a repaired source builds."""
        source = tmp_path / hello.name / "main.go"
        good = source.read_text()
        source.write_text("package main\n\nfunc main() { nonsense() }\n")
        with pytest.raises(BuildError, match=r"(?s)building hello failed.*undefined: nonsense"):
            build.built(hello)
        source.write_text(good)
        assert (build.built(hello) / "hello").exists()


class TestGo:
    def test_missing_go_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without Go the error says what is needed and where to get it."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BuildError, match=r"Go is not installed: .* needs Go 1\.26 or newer"):
            build.go_version()

    def test_old_go_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Go that is too old is refused with its version before anything is built."""
        go = tmp_path / "go"
        go.write_text("#!/bin/sh\necho go1.25.9\necho linux\necho amd64\n")
        go.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BuildError, match=r"go1\.25\.9 is too old: .* needs Go 1\.26"):
            build.go_version()


def versions(go_mod: Path) -> dict[str, str]:
    """Module path -> the version that is compiled."""
    text = go_mod.read_text()
    required = re.findall(r"^\t(\S+) (v\S+)", text, re.MULTILINE)
    return dict(required) | dict(re.findall(r"^\t\S+ => (\S+) (v\S+)", text, re.MULTILINE))


class TestPins:
    @pytest.mark.parametrize("module", [*build.MODULES, build.NODE], ids=lambda module: str(module.name))
    def test_go_mod_names_the_tools(self, module: Module) -> None:
        """Each command that we build is a `tool` of its module, which has no others; modules are replaced by other versions only."""
        text = (build.SOURCE / module.name / "go.mod").read_text()
        block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
        named = block[1].split() if block else re.findall(r"^tool (\S+)$", text, re.MULTILINE)
        assert sorted(named) == sorted(module.commands.values())
        assert all(old == new for old, new in re.findall(r"^(?:replace )?\t?(\S+) => (\S+) v", text, re.MULTILINE))
        assert text.count("=>") == len(re.findall(r" => \S+ v", text))

    @pytest.mark.parametrize("module", ["kwok", "helm"])
    def test_what_is_shared_with_kubernetes_is_compiled_once(self, module: str) -> None:
        """Every Go module that a tool has in common with kube-apiserver is of the same version, so that the compiler's cache has it."""
        theirs, ours = (versions(build.SOURCE / name / "go.mod") for name in ("kubernetes", module))
        assert len(theirs.keys() & ours.keys()) > 50
        assert {path: (ours[path], theirs[path]) for path in theirs.keys() & ours.keys() if ours[path] != theirs[path]} == {}

    def test_kubernetes_is_told_its_version(self) -> None:
        """The version that the API server reports is the one pinned."""
        flags = build.link_flags(build.SOURCE / "kubernetes" / "go.mod")
        assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
        assert "-X k8s.io/component-base/version.gitMinor=36" in flags
        assert build.link_flags(build.SOURCE / "kwok" / "go.mod") == "-s -w"

    def test_the_kubelet_is_of_the_same_release(self) -> None:
        """The real node's kubelet and the control plane that it joins are of one version."""
        assert build.link_flags(build.SOURCE / "node" / "go.mod") == build.link_flags(build.SOURCE / "kubernetes" / "go.mod")


def test_prebuilt_binaries_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_stub: Callable[[Module], Path]) -> None:
    """What KUBEBUILDER_ASSETS holds is taken from there; a module is built only when one of its commands is missing there."""
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("etcd", "kube-apiserver"):
        (assets / name).touch(mode=0o755)
    (assets / "kubectl").touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    monkeypatch.setattr(build, "built", built_stub)
    found = build.binaries()
    assert found["etcd"] == assets / "etcd"
    assert found["kube-apiserver"] == assets / "kube-apiserver"
    assert found["kube-scheduler"] == tmp_path / "kubernetes" / "kube-scheduler"
    assert found["helm"] == tmp_path / "helm" / "helm"
    assert not (tmp_path / "etcd").exists()
    assert set(found) == {"etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "kwok", "helm"}


@pytest.fixture
def built_stub(tmp_path: Path) -> Callable[[Module], Path]:
    """Stands for seven minutes of building; makes an empty folder for each module asked for."""

    def make(module: Module) -> Path:
        (tmp_path / module.name).mkdir()
        return tmp_path / module.name

    return make
