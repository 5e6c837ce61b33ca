"""The operator as the image runs it: in a container with a read-only root, as the user of the chart, on the machine's network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.container import Container
from controlplane.image import Image
from controlplane.local import ControlPlane
from tests.cluster.operator import QUICK, Operator


class ImageOperator(Operator):
    """It has of this machine its settings, its credentials and the volume of its log, which belongs to its user."""

    def __init__(self, image: Image, plane: ControlPlane, folder: Path, *, settings: Mapping[str, Any] = QUICK) -> None:
        ledger = folder / "ledger"
        super().__init__(plane, folder, ledger=ledger, pod="operator-0", settings=settings)
        ledger.mkdir()
        self.owner = image.user
        os.chown(ledger, *self.owner)
        for file in (self._settings, self._kubeconfig):
            os.chown(file, *self.owner)
        shares = {self._settings: False, self._kubeconfig: False, plane.certificate: False, ledger: True}
        self.container = Container(image, folder, ["laycan", "operator", *self.arguments()], shares, {"POD_NAME": "operator-0"})
        self.log = self.container.log

    def start(self) -> None:
        self.container.start()

    def running(self) -> bool:
        return self.container.running()

    def stop(self) -> int:
        self.container.stop()
        return 0

    def kill(self) -> None:
        self.container.stop()

    def cpu_seconds(self) -> float:
        return self.container.cpu_seconds()
