"""The chart's operator beside a control plane whose pods run nothing: what its Deployment would run, as a process of this machine.

It reads the settings that helm rendered, acts with the rights of the chart's ServiceAccount, and is what a Deployment is to its pod:
changed settings are a new process, and so is one that ended. Without a release it waits for one; it ends with the release, and with the
control plane.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import urllib3

from controlplane.api import Api, ApiError
from controlplane.leftover import left_running
from controlplane.process import free_ports
from controlplane.users import service_account_token, write_kubeconfig

NAMESPACE, ACCOUNT = "laycan-system", "laycan-operator"
SETTINGS = f"/api/v1/namespaces/{NAMESPACE}/configmaps/laycan-settings"
LOOK_SECONDS = 0.5
RESTART_SECONDS = 5.0  # one that cannot start does not keep the machine busy


class Beside:
    """The operator of the release in the control plane whose folder is `plane`; its log, its evidence and its files lie in `folder`."""

    def __init__(self, admin: Api, certificate: Path, plane: Path, folder: Path) -> None:
        self._admin, self._certificate, self._plane, self._folder = admin, certificate, plane, folder
        self._rendered: str | None = None  # None: there is no release
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Until the release goes, or a signal comes."""
        signal.signal(signal.SIGTERM, _interrupt)
        _say("waiting for the chart: helm install")
        while left_running(self._plane) and not self._look():
            time.sleep(LOOK_SECONDS)
        while self._rendered is not None and left_running(self._plane):
            process = self._start(self._rendered)
            _say(f"the operator runs; its log: {self._folder / 'operator.log'}")
            try:
                while process.poll() is None and left_running(self._plane) and not self._look():
                    time.sleep(LOOK_SECONDS)
                if process.poll() is not None:
                    _say(f"it ended with {process.returncode}, and is started again")
                    time.sleep(RESTART_SECONDS)
                    self._look()
            finally:
                process.terminate()
                process.wait()
        _say("the release, or its control plane, is gone, and the operator with it")

    def _look(self) -> bool:
        """Reads the release's settings; whether they changed. An API server that is away has changed nothing."""
        before = self._rendered
        try:
            found = self._admin.find(SETTINGS)
        except (OSError, urllib3.exceptions.HTTPError, ApiError):
            return False
        self._rendered = str(found["data"]["settings.yaml"]) if found else None
        return self._rendered != before

    def _start(self, rendered: str) -> subprocess.Popen[bytes]:
        settings, kubeconfig = self._folder / "settings.yaml", self._folder / "kubeconfig"
        settings.write_text(f"{rendered}\nledgerPath: {self._folder / 'ledger'}\n")  # a folder of this machine, not a volume
        token = service_account_token(self._admin, NAMESPACE, ACCOUNT, 86_400)
        write_kubeconfig(kubeconfig, self._admin.url, self._certificate, {"token": token})
        port, metrics_port = free_ports(2)
        argv = [sys.executable, "-m", "laycan.cli.main", "operator", "--settings", str(settings), "--kubeconfig", str(kubeconfig)]
        argv += ["--port", str(port), "--metrics-port", str(metrics_port), "--log-format", "plain"]
        with (self._folder / "operator.log").open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "POD_NAME": "beside"})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
