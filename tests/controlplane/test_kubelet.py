"""What a real node asks of the machine, and the files that it starts from; the node itself runs in tests/kubelet."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from controlplane import kubelet
from controlplane.kubelet import RealNode
from controlplane.local import ControlPlane, StartError
from controlplane.node_files import IMAGES, write_cni, write_image


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the commands, the rights and the control groups, each is named with what to do about it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(kubelet, "CGROUPS", tmp_path)
    packages, root, groups = kubelet.missing()
    assert packages == "packages (on Debian: apt-get install --no-install-recommends containerd mount runc util-linux)"
    assert (root, groups.split(" at ")[0]) == ("root", "control groups")


def test_a_long_folder_is_refused(tmp_path: Path) -> None:
    """A folder in which no socket can lie is refused before anything starts, and the error says what to do."""
    folder = tmp_path / ("x" * 100)
    with pytest.raises(StartError, match="too long a path for a socket; choose a shorter folder"):
        RealNode(ControlPlane(tmp_path), folder).start()
    assert not folder.exists()


def test_the_image(tmp_path: Path) -> None:
    """One layer with one static program, under the names that the fleet's manifests use."""
    write_image(tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        parts = {member.name: file.read() for member in archive if (file := archive.extractfile(member))}
    (manifest,), config = json.loads(parts["manifest.json"]), json.loads(parts["config.json"])
    assert manifest["RepoTags"] == list(IMAGES)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(parts['layer.tar']).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(parts[manifest["Layers"][0]])) as layer:
        (program,) = layer.getmembers()
    assert config["config"]["Entrypoint"] == [f"/{program.name}"]
    assert program.mode & 0o111


def test_the_network_plugin(tmp_path: Path) -> None:
    """It answers ADD with the interface that was asked for, as JSON, and names the version of its configuration."""
    write_cni(tmp_path)
    (config,) = (json.loads(file.read_text()) for file in (tmp_path / "net.d").iterdir())
    plugin = tmp_path / "bin" / config["plugins"][0]["type"]

    def answer(command: str) -> dict[str, object]:
        asked = {"CNI_COMMAND": command, "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/x"}
        found: dict[str, object] = json.loads(subprocess.run([str(plugin)], env=asked, capture_output=True, check=True).stdout)
        return found

    assert config["cniVersion"] in str(answer("VERSION")["supportedVersions"])
    added = answer("ADD")
    assert (added["cniVersion"], added["interfaces"]) == (config["cniVersion"], [{"name": "eth0", "sandbox": "/run/netns/x"}])
