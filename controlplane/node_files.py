"""What lies in the folder of a real node before it starts: configurations of containerd, of its network and of the kubelet, and one image.

Nothing is fetched. The image is a static program of ours under the names that the fleet's manifests use, imported from a file; the
network plugin is a script that says that there is a network, since no pod of a test has anybody to talk to.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from controlplane.build import BuildError

PAUSE = Path(__file__).with_name("pause.go")
IMAGES = tuple(f"example.invalid/{name}:1" for name in ("pause", "kube-proxy", "node-exporter", "nvidia-device-plugin-daemonset"))
_CNI_VERSION = "0.4.0"
_CNI = f"""#!/bin/sh
case "$CNI_COMMAND" in
ADD) echo '{{"cniVersion":"{_CNI_VERSION}","interfaces":[{{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}}],\
"ips":[{{"version":"4","interface":0,"address":"10.244.0.2/24"}}]}}' ;;
VERSION) echo '{{"cniVersion":"{_CNI_VERSION}","supportedVersions":["{_CNI_VERSION}"]}}' ;;
esac
"""


def write_cni(folder: Path) -> None:
    """A network plugin that does nothing, in `bin`, and `net.d` which names it. containerd asks for `loopback` too: it is both."""
    plugin, config = folder / "bin" / "loopback", folder / "net.d" / "10-nothing.conflist"
    network = {"cniVersion": _CNI_VERSION, "name": "nothing", "plugins": [{"type": plugin.name}]}
    for file, text in ((plugin, _CNI), (config, json.dumps(network))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    plugin.chmod(0o755)


def containerd_config(folder: Path, socket: Path) -> str:
    """containerd's, for its 1.x (version 2) and later releases, which read that too."""
    return f"""version = 2
root = "{folder / "containerd"}"
state = "{folder / "containerd-state"}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGES[0]}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder / "cni" / "bin"}"
    conf_dir = "{folder / "cni" / "net.d"}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def kubelet_config(folder: Path, socket: Path, cgroup: str, ports: Sequence[int]) -> str:
    """The kubelet's. `ports`: of its API and of its health endpoint. Nothing on the node is to be evicted for want of disk or memory."""
    config: Mapping[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{socket}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "address": "127.0.0.1",
        "port": ports[0],
        "healthzPort": ports[1],
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "staticPodPath": str(folder / "static"),
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }
    return yaml.safe_dump(dict(config), sort_keys=False)


def write_image(file: Path) -> None:
    """The image in a file that `ctr images import` reads. Raises BuildError."""
    program = file.with_name("pause")
    argv = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(program), str(PAUSE)]
    done = subprocess.run(argv, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"building {PAUSE.name} failed:\n{done.stderr}")
    layer = _tar({"pause": program.read_bytes()})
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": list(IMAGES), "Layers": ["layer.tar"]}]
    parts = {"config.json": json.dumps(config).encode(), "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    file.write_bytes(_tar(parts))


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
