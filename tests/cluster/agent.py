"""An agent as its own process, with the rights of the chart's pod on its node, before the stand-in for NVIDIA's driver."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

from controlplane import fleet
from controlplane.api import Api, Object
from controlplane.local import ControlPlane
from controlplane.users import service_account_token, write_kubeconfig
from controlplane.waiting import until
from laycan.agent.timetable import Timetable
from tests.cluster.policies.installed import NAMESPACE, Installed
from tests.cluster.proxy import Proxy
from tests.cluster.served import Served
from tests.nvml.standin import StandIn

METERS = "/apis/laycan.dev/v1alpha1/gpumeters"
REPORT_SECONDS = 3600  # only what is urgent is written in a test
_SELECTOR = "app.kubernetes.io/component=agent"
_numbers = count()


class Agent(Served):
    """`server` is the address of the API server, or of a proxy before it."""

    def __init__(self, plane: ControlPlane, folder: Path, node: str, driver: StandIn, server: str) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.node, self.driver, self.state = node, driver, folder / "state.json"
        self.log, self.kubeconfig = folder / "agent.log", folder / "kubeconfig"
        self._admin = plane.admin
        token = service_account_token(plane.admin, NAMESPACE, "laycan-agent", 86_400, pod_of(plane.admin, node))
        write_kubeconfig(self.kubeconfig, server, plane.certificate, {"token": token})

    def start(self) -> None:
        seconds = ["--sample-seconds", "1", "--report-seconds", str(REPORT_SECONDS)]
        files = ["--node", self.node, "--kubeconfig", str(self.kubeconfig), "--state", str(self.state)]
        ports = ["--port", str(self.port), "--metrics-port", str(self._metrics_port), "--log-format", "plain"]
        argv = [str(Path(sys.executable).with_name("laycan")), "agent", *files, *seconds, *ports]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=self.driver.environment())

    def lives(self) -> bool:
        """Whether it answers its probe; fails if it has ended."""
        assert self.running(), self.log.read_text()
        return self.healthy()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> int:
        """As a kubelet does: SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def meter(self) -> Object | None:
        return self._admin.find(f"{METERS}/{self.node}")

    def spec(self) -> Object:
        """Of its meter; {} without one."""
        found: Object = (self.meter() or {}).get("spec", {})
        return found

    def findings(self) -> list[tuple[str, int, bool]]:
        """(signal, code, whether it lasts) of what its meter lists."""
        return [(each["signal"], each.get("code", 0), "end" not in each) for each in self.spec().get("findings", ())]


def pod_of(admin: Api, node: str) -> Object:
    """The DaemonSet's pod on a node."""

    def there() -> list[Object]:
        pods = admin.items(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=_SELECTOR, fieldSelector=f"spec.nodeName={node}")
        return [pod for pod in pods if pod["status"].get("phase") == "Running"]

    return until(f"the agent's pod on {node}", there)[0]


class Fleet:
    """The chart with its agents' DaemonSet on a control plane, and so many agents, each on a node of its own, that wait for a test.

    They talk to the API server through `proxy`, which notes their writes.
    """

    def __init__(self, plane: ControlPlane, proxy: Proxy, folder: Path, library: Path, agents: int) -> None:
        self.plane, self.proxy, self.admin = plane, proxy, plane.admin
        self._folder, self._library = folder, library
        Installed(plane).install("install", "Observe", "--set", "agent.enabled=true")
        until("meters are served", self._served)
        self._waiting = [self.agent(node) for node in self.nodes(agents)]
        self.started = list(self._waiting)
        for agent in self._waiting:
            agent.start()

    def _served(self) -> bool:
        return any(each["name"] == "gpumeters" for each in self.admin.get("/apis/laycan.dev/v1alpha1")["resources"])

    def nodes(self, number: int) -> list[str]:
        """New nodes, whose turn to report does not come while a test runs."""
        names = (f"n{each:04}" for each in _numbers)
        late = list(islice((name for name in names if Timetable(name, REPORT_SECONDS).wait(0, time.time()) > 900), number))
        fleet.apply_fleet(self.admin, [fleet.node(name) for name in late])
        return late

    def writes(self, agent: Agent) -> list[str]:
        """What it wrote to its meter, but for its creation, which names no object."""
        path = f"{METERS}/{agent.node}"
        return [write for write in self.proxy.writes if write.endswith(path)]

    def agent(self, node: str, *, driver: bool = True) -> Agent:
        """Not started yet."""
        standin = StandIn(self._library, self._folder / f"{node}.control")
        if not driver:
            standin.control.unlink()
        return Agent(self.plane, self._folder / node, node, standin, self.proxy.url)

    def start(self, agent: Agent) -> Agent:
        self.started.append(agent)
        agent.start()
        until("the agent lives", agent.lives)
        return agent

    def take(self) -> Agent:
        """One that has reported, and that no other test has."""
        agent = self._waiting.pop()
        until("a meter", lambda: agent.lives() and agent.spec().get("at"))
        return agent

    def close(self) -> None:
        for agent in self.started:
            agent.kill()


@contextmanager
def fleet_of_agents(plane: ControlPlane, folder: Path, library: Path, agents: int) -> Iterator[Fleet]:
    with Proxy(plane) as proxy:
        made = Fleet(plane, proxy, folder, library, agents)
        try:
            yield made
        finally:
            made.close()
