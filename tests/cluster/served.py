"""A process of ours with its two ports, as a kubelet and Prometheus see it."""

from __future__ import annotations

import subprocess
import urllib.request
from urllib.error import HTTPError

from controlplane.process import free_ports


class Served:
    """What an operator and an agent have in common; `_process` is None before the start."""

    def __init__(self) -> None:
        self.port, self._metrics_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def healthy(self) -> bool:
        return self.probe("/healthz")[0] == 200

    def ready(self) -> bool:
        return self.probe("/readyz")[0] == 200

    def probe(self, path: str) -> tuple[int, str]:
        """Its status and what it says; (0, "") where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, str(answer.read().decode())
        except HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Laycan's own samples as Prometheus reads them, by name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line.startswith("laycan_"))}
