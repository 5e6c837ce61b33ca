"""`make demo`: the product's main job on a real API server, shown live, ended by a summary. `--keep` leaves everything running."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from controlplane.api import ApiError
from controlplane.fleet import kill_node, revive_node
from demo.observer import Observer, seconds
from demo.picture import draw
from demo.proof import prove
from demo.script import CUES, DESK, Cue, Object, holders_workloads, intruders, is_short, load, pod_on, shifted
from demo.show import Show
from demo.stage import ROOT, Stage, fleet_of, restart, set_up
from demo.summary import OVER, Summary, summarise, unheard

EXAMPLES = ROOT / "examples"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CONTRACTS = "/apis/laycan.dev/v1alpha1/computecontracts"
RESTARTS = 2
SCENE_SECONDS = 64  # after the second death: what a picture shows
LIMIT_SECONDS = 165  # from the first contract; the whole ends within three minutes


class Play:
    """One performance: applies the script to the stage and keeps what the observer saw."""

    def __init__(self, stage: Stage, show: Show, contracts: list[Object]) -> None:
        self.stage, self.show, self.contracts = stage, show, contracts
        self.observer = Observer()
        self.refusals: dict[str, str] = {}  # malformed example -> the API server's message
        self.dead: list[str] = []
        self._told: set[str] = set()  # uids of the Events that the log has told
        self.restarts = 0
        self._heard = 0  # number of the exchange's event that the log told last
        self._rebinds_told = 0
        self._cues = list(CUES)
        self.scene: tuple[list[Object], int] | None = None  # the contracts at SCENE_SECONDS, and when that was

    def open(self) -> None:
        api, now = self.stage.api, datetime.now(UTC)
        for node in api.items("/api/v1/nodes"):
            self.observer.gpus_of[node["metadata"]["name"]] = int(node["status"]["capacity"].get("nvidia.com/gpu", 0))
        for obj in self.contracts:
            api.create(shifted(obj, now), fieldValidation="Strict")
        self.show.say(f"{len(self.contracts)} contracts applied")
        for path in sorted((EXAMPLES / "bad").glob("*.yaml"))[:1]:
            self._apply_malformed(path)
        for obj in (*holders_workloads(self.contracts), *intruders()):
            api.apply(obj)
        self.show.say("holders' Deployments and 66 strangers' pods that tolerate everything and outrank them are waiting for GPUs")

    def _apply_malformed(self, path: Path) -> None:
        for obj in load(path):
            try:
                self.stage.api.create(obj, fieldValidation="Strict")
                self.refusals[path.name] = ""
            except ApiError as error:
                self.refusals[path.name] = error.message
                self.show.say(f"malformed {path.name} refused: {error.message[:220]}", "red")

    def run(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < LIMIT_SECONDS:
            contracts = self.round()
            if self.scene is None and time.monotonic() - began >= SCENE_SECONDS:
                self.scene = (contracts, int(time.time()))
            while self._cues and time.monotonic() - began >= self._cues[0].at:
                self.act(self._cues.pop(0), contracts)
            if not self._cues and self.is_over(contracts):
                return
            self.keep_operator()
            time.sleep(0.5)

    def round(self) -> list[Object]:
        """One look at the cluster: the observer judges it, the log tells what is new, the table is redrawn."""
        api, now = self.stage.api, int(time.time())
        contracts = api.items(CONTRACTS)
        pods = api.items("/api/v1/pods", fieldSelector="spec.nodeName!=")
        self._hear()
        self.observer.round(contracts, self.fence(), pods, now)
        self._tell_events()
        self._tell_webhooks()
        for key, took in self.observer.rebound[self._rebinds_told :]:
            self.show.say(f"{key} has all its GPUs again, {took} s after its node died", "green")
        self._rebinds_told = len(self.observer.rebound)
        held, dead = len(self.fence()), ", ".join(self.dead) or "none"
        self.show.draw(contracts, now, f"{held} of {len(self.observer.gpus_of)} nodes held; killed so far: {dead}")
        return contracts

    def _hear(self) -> None:
        """When the dead nodes were last heard: their kubelets may have renewed once more before they learnt that they are dead."""
        for node in self.observer.silent():
            lease = self.stage.api.find(f"{LEASES}/{node}")
            if lease is not None:
                self.observer.hear(node, max(seconds(written["time"]) for written in lease["metadata"]["managedFields"]))

    def fence(self) -> dict[str, str]:
        found = self.stage.api.find("/apis/laycan.dev/v1alpha1/nodefences/cluster") or {}
        return dict((found.get("spec") or {}).get("nodes") or {})

    def _tell_events(self) -> None:
        """What happened and why, as the operator wrote it into Events on the contracts."""
        events = self.stage.api.items(f"/apis/events.k8s.io/v1/namespaces/{DESK}/events")
        for event in sorted(events, key=lambda e: int(e["metadata"]["resourceVersion"])):
            if event["metadata"]["uid"] not in self._told:
                self._told.add(event["metadata"]["uid"])
                self.show.say(
                    f"{event['regarding']['name']} {event['reason']}: {event['note']}", "yellow" if event["type"] == "Warning" else ""
                )

    def _tell_webhooks(self) -> None:
        """What the exchange verified since the last look, one line for all of it."""
        heard = self.stage.exchange.events(after=self._heard)
        if heard:
            self._heard = heard[-1][0]
            told = ", ".join(
                f"{e['subject'].rsplit('-', 1)[-1]} {e['type'].removeprefix('dev.laycan.').removesuffix('.v1')}" for _, e in heard
            )
            self.show.say(f"webhooks verified by the exchange: {told}", "cyan")

    def act(self, cue: Cue, contracts: list[Object]) -> None:
        serving = self._serving(contracts)
        if cue.what == "kill" and serving:
            self.dead.append(serving[0])
            self.observer.kill(serving[0], contracts, int(time.time()))
            kill_node(self.stage.api, serving[0])
            self.show.say(f"node {serving[0]} dies while a contract is being served on it", "bold red")
        elif cue.what == "revive" and self.dead:
            self._hear()
            self.observer.revive(self.dead[0], int(time.time()))
            revive_node(self.stage.api, self.dead[0])
            self.show.say(f"node {self.dead[0]} is back; it stays in quarantine until it was healthy for a while")
        elif cue.what == "sneak" and serving:
            try:
                self.stage.api.create(pod_on(serving[0], "sneak"))
                self.observer.wrong.add(f"a pod that names {serving[0]} itself was let in")
            except ApiError as error:
                self.show.say(f"a stranger's pod that names {serving[0]} itself is refused: {error.message[:160]}", "red")

    def _serving(self, contracts: list[Object]) -> list[str]:
        """Nodes that serve a short contract for another 25 seconds at least, alive ones only; the largest contract not yet hit first."""
        now = int(time.time())
        found = []
        for obj in filter(is_short, contracts):
            bindings = (obj.get("status") or {}).get("bindings") or ()
            current = [b for b in bindings if b.get("handedOverAt") and now + 25 < seconds(b["end"]) and b["node"] not in self.dead]
            hit = any(b["node"] in self.dead for b in bindings)
            found += [(hit, -sum(b["gpus"] for b in current), b["node"]) for b in current]
        return [node for _, _, node in sorted(found)]

    def is_over(self, contracts: list[Object]) -> bool:
        """Every short contract has ended, and the exchange's receiver has every event that was decided."""
        over = all(o.get("status", {}).get("phase") in OVER for o in filter(is_short, contracts))
        return over and not unheard(contracts, self.stage.exchange.heard())

    def keep_operator(self) -> None:
        """An operator that ends (a machine too busy to renew its lease) is started again, as its Deployment would; others must not end."""
        for process in list(self.stage.processes):
            if process.running():
                continue
            if process.name != "operator" or self.restarts >= RESTARTS:
                raise RuntimeError(f"the {process.name} has ended; its log ends with:\n{process.log_tail()}")
            self.restarts += 1
            self.show.say(f"the operator has ended and is started again: {process.log_tail(40).splitlines()[-1][:160]}", "bold yellow")
            restart(self.stage, process)


def report(show: Show, summary: Summary) -> int:
    width = max(len(what) for what, _ in summary.lines)
    show.console.print("\n[bold]Summary[/bold]")
    for what, value in summary.lines:
        show.console.print(f"  {what:<{width}}  {value}", soft_wrap=True)
    for line in summary.wrong:
        show.console.print(f"  WRONG: {line}", style="bold red", soft_wrap=True, markup=False)
    show.console.print(
        "[bold red]The demo failed.[/bold red]" if summary.wrong else "[bold green]All of it is as it should be.[/bold green]"
    )
    return 1 if summary.wrong else 0


def perform(folder: Path, keep: bool, picture: Path | None = None) -> int:
    fleet, products, contracts = fleet_of(EXAMPLES), load(EXAMPLES / "products.yaml"), load(EXAMPLES / "contracts.yaml")
    holders = sorted({c["spec"]["terms"]["delivery"].get("handover", {}).get("namespace", "") for c in contracts} - {""})
    with ExitStack() as stack:
        show = Show()
        stage = set_up(folder, fleet, products, holders, stack, show.say)
        with show:
            play = Play(stage, show, contracts)
            play.open()
            play.run()
            final = play.round()
        summary = summarise(final, play.observer, stage.exchange, play.refusals)
        summary.add("restarts of the operator", play.restarts)
        if stage.evidence.made:
            prove(stage.evidence, stage.exchange, final, summary, show.say)
        status = report(show, summary)
        if picture and play.scene and not status:
            draw(picture, *play.scene, show.told, summary)
        if keep:
            show.console.print(
                f"\nStill running. In another terminal: [bold]export KUBECONFIG={stage.plane.admin_kubeconfig}[/bold]\nCtrl-C ends it.",
                soft_wrap=True,
            )
            threading.Event().wait()
        return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running after the summary")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it as SVG")
    arguments = parser.parse_args()
    keep: bool = arguments.keep
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="laycan-demo-"))
    try:
        status = perform(folder, keep, arguments.picture)
    except KeyboardInterrupt:
        status = 130
    except RuntimeError as error:
        print(f"The demo failed: {error}\nIts logs are in {folder / 'logs'}", file=sys.stderr)
        return 1
    if status == 0 or keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Logs are in {folder / 'logs'}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
