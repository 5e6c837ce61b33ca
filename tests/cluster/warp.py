"""A real operator process in another time: its clock is a file, which the test sets; machines are played with times of that clock.

The clock moves in the operator once it has seen what the agents reported until then, as it would have long before in real time.

The API server, its policies and the operator are real. What a kubelet and an agent would write (the Ready condition, the GpuMeter) the
test writes, because theirs would carry today's times. After a jump the operator looks at everything within its period of a second.

What compares the operator's clock with those of servers (`kube.clock`) is real on both sides, and agrees. Timers are real too: retries
and heartbeats do not jump, so a heartbeat comes each second instead of each minute.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.api import Api, Object
from controlplane.fleet import H100, gpu_uuid, node
from controlplane.local import ControlPlane
from laycan.resources.times import format_time, parse_time
from tests.cluster.operator import Operator

SETTINGS = {
    "leadSeconds": 600, "drainSeconds": 0, "hysteresisSeconds": 900, "dwellSeconds": 120, "meterSeconds": 60, "meterLagSeconds": 60,
    "reconcileSeconds": 1, "breaker": {"sharePpm": 1_000_000, "windowSeconds": 600},
}  # fmt: skip
REPORT_SECONDS = 300


class Warped(Operator):
    """`clock` is the file that tells its time."""

    def __init__(self, plane: ControlPlane, folder: Path, clock: Path) -> None:
        super().__init__(plane, folder, ledger=folder / "ledger", pod="operator-0", settings=SETTINGS)
        self._clock = clock

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.cluster.warp", str(self._clock)]


def main() -> None:
    """`python -m tests.cluster.warp CLOCK --settings F --kubeconfig F --port N …`: as `laycan operator`, by that clock."""
    from laycan import main as shell
    from laycan.control import exchanges, measure, office
    from laycan.events.sender import Sender
    from laycan.kube.meter_views import MeterView, meter_view
    from laycan.settings import load_settings

    file, reported, now = Path(sys.argv[1]), dict[str, int](), [0]

    def seen(raw: Object) -> MeterView | None:
        found = meter_view(raw)
        if found is not None:
            reported[found.node] = found.at
        return found

    def clock() -> int:
        target, agents = struct.unpack("<qq", file.read_bytes())
        if sum(at >= target for at in reported.values()) >= agents:
            now[0] = target
        return now[0]

    setattr(office, "meter_view", seen)  # noqa: B010 - there it is a name imported from elsewhere
    setattr(exchanges, "Sender", lambda *of, **more: Sender(*of, **{**more, "heartbeat_seconds": 1.0}))  # noqa: B010 - so is this
    measure.PERIOD_SECONDS = 1.0
    given = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    ports = int(given["--port"]), int(given["--metrics-port"])
    settings = load_settings(Path(given["--settings"]))
    raise SystemExit(shell.run(settings, Path(given["--kubeconfig"]), ports[0], json_logs=False, metrics_port=ports[1], clock=clock))


@dataclass
class Machine:
    """One node with its agent, as the API shows it."""

    name: str
    product: str = H100
    rack: str = ""
    findings: list[Object] = field(default_factory=list)
    missed: list[Object] = field(default_factory=list)
    silent: bool = False  # the agent reports nothing
    clock_offset: int = 0  # ahead of the API server, milliseconds
    node_uid: str = ""

    def gpu(self, number: int) -> str:
        return gpu_uuid(self.name, number)


class Age:
    """The machines and the clock of a test."""

    def __init__(self, api: Api, clock: Path, now: str) -> None:
        self._api, self._clock = api, clock
        self.machines: dict[str, Machine] = {}
        self.since = parse_time(now)
        self.set(now)

    @property
    def now(self) -> int:
        found: int = struct.unpack("<qq", self._clock.read_bytes())[0]
        return found

    def set(self, when: str | int) -> None:
        """Jumps; agents have sampled until then."""
        now = when if isinstance(when, int) else parse_time(when)
        for machine in self.machines.values():
            self.report(machine, now)
        new = self._clock.with_suffix(".new")
        new.write_bytes(struct.pack("<qq", now, sum(not machine.silent for machine in self.machines.values())))
        new.replace(self._clock)

    def add(self, machines: Iterable[Machine]) -> None:
        """Nodes that are Ready since long ago, each with its meter."""
        for machine in machines:
            manifest = node(machine.name, product=machine.product, rack=machine.rack)
            status = manifest.pop("status")
            made = self._api.create(manifest)
            machine.node_uid = made["metadata"]["uid"]
            self.machines[machine.name] = machine
            self._api.patch(f"/api/v1/nodes/{machine.name}/status", {"status": status})
            self.ready(machine.name, True, self.since)
            self.report(machine, self.now)

    def ready(self, name: str, holds: bool, since: int) -> None:
        """The Ready condition, since then."""
        word = format_time(since)
        condition = {"type": "Ready", "status": "True" if holds else "Unknown", "reason": "Test", "message": ""}
        condition |= {"lastTransitionTime": word, "lastHeartbeatTime": word}
        self._api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [condition]}})

    def report(self, machine: Machine, at: int) -> None:
        """What its agent publishes with its sample at that time."""
        if machine.silent:
            return
        registers = dict.fromkeys(
            ("sampledSeconds", "energyMillijoules", "slowdownMilliseconds", "pcieReplays", "uncorrectableErrors", "strangerSeconds"), 0
        )
        spec: dict[str, Any] = {
            "nodeUid": machine.node_uid,
            "bootId": "b0",
            "driver": "580.95.05",
            "agent": "test",
            "sampleSeconds": 10,
            "reportSeconds": REPORT_SECONDS,
            "since": format_time(self.since),
            "at": format_time(at),
            "completeSince": format_time(self.since),
            "gpus": [{"uuid": machine.gpu(i), "strangers": 0, "registers": registers} for i in range(8)],
            "findings": machine.findings,
            "missed": machine.missed,
            "clock": {"synchronized": True, "offsetMilliseconds": machine.clock_offset},
        }
        self._api.apply({"apiVersion": "laycan.dev/v1alpha1", "kind": "GpuMeter", "metadata": {"name": machine.name}, "spec": spec})


if __name__ == "__main__":
    main()
