"""How long a desk waits for its answer: quotes through the API server to a real operator that has a book to keep.

    python -m bench.asking [--nodes 200] [--contracts 250] [--quotes 100] [--folder DIR]

From the moment that a quote is created until a watch shows it Quoted: two in a second at uneven intervals, on a fleet that is nearly sold
out. After every tenth a contract is tried to be sold, so that thorough plans are being made. Wall times of a machine that runs the whole
control plane as well.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from urllib3.exceptions import HTTPError

from bench.budgets import judged
from bench.delivery import PATIENCE_SECONDS, SETTINGS, stage_of
from bench.measure import Row, show
from bench.watching import spread
from controlplane.api import Api, ApiError, Object
from controlplane.waiting import until
from laycan.resources.times import format_time
from tests.cluster.operator import CONTRACTS, Market, contract, phase, product

DAY, SOLD = 86_400, "h100-promised"
HORIZON = 180  # days in which windows begin
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook", "namespace": "desk"}, "data": {"hmac": "c2VjcmV0"}}
ENDPOINT = {
    "apiVersion": "laycan.dev/v1alpha1",
    "kind": "ExchangeEndpoint",
    "metadata": {"name": "gcx", "namespace": "desk"},
    "spec": {
        "url": "http://127.0.0.1:9/hook",
        "secretRef": {"name": "hook", "key": "hmac"},
        "quote": {"validitySeconds": 5, "maxHeldGpus": 256},
    },
}


class Answers:
    """Follows the quotes of a namespace: when each was first seen answered, and how."""

    def __init__(self, api: Api) -> None:
        self.seen: dict[str, tuple[float, str]] = {}  # name -> (Unix seconds, promise)
        self._api, self._stop = api, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Answers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(HTTPError, ApiError, KeyError):  # a watch that breaks begins anew, with what is there by then
                listed = self._api.get(CONTRACTS)
                for found in listed["items"]:
                    self._take(found)
                self._follow(listed["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        while not self._stop.is_set():
            for event in self._api.watch(CONTRACTS, seconds=2, resourceVersion=version):
                version = event["object"]["metadata"]["resourceVersion"]
                self._take(event["object"])

    def _take(self, found: Object) -> None:
        if offer := found.get("status", {}).get("offer"):
            self.seen.setdefault(found["metadata"]["name"], (time.time(), offer["promise"]))


def asked(rng: random.Random, name: str, nodes: int, now: int) -> Object:
    """A window of a week to three months, of one to a sixteenth of the fleet's nodes."""
    start = now + DAY * rng.randrange(1, HORIZON)
    size = rng.choice([1, 1, 2, 4, 8, max(1, nodes // 16)])
    end = start + DAY * rng.choice([7, 30, 90])
    priority = {"class": rng.choice(["Firm", "Firm", "Interruptible"])}
    return contract(name, format_time(start), format_time(end), gpus=8 * size, firmness=priority, productRef={"name": SOLD})


def quote(manifest: Object) -> Object:
    return {**manifest, "spec": {**manifest["spec"], "intent": "Quote", "exchangeRef": {"name": "gcx"}}}


def answered(stage: Market, contracts: int, quotes: int, seed: int) -> Row:
    """Fills the book, then asks."""
    rng, now = random.Random(seed), int(time.time())
    offered = {"target": {"shortfallPpm": 100}, "interruption": {"noticeSeconds": 600, "maxHours": 72}}
    stage.admin.create(product(SOLD, **offered))
    operator = stage.operator(settings=SETTINGS)
    for i in range(contracts):
        stage.admin.create(asked(rng, f"sold-{i}", len(stage.nodes), now))
    until("the book is decided", lambda: _decided(stage.admin) >= contracts, seconds=PATIENCE_SECONDS, pause=1)
    stage.admin.create(SECRET)
    stage.admin.create(ENDPOINT)
    cpu, created = operator.cpu_seconds(), dict[str, float]()
    with Answers(stage.admin) as answers:
        for i in range(quotes):
            time.sleep(rng.uniform(0.1, 1.0))
            if i % 10 == 0:
                stage.admin.create(asked(rng, f"more-{i}", len(stage.nodes), now))
            created[f"q-{i}"] = time.time()
            stage.admin.create(quote(asked(rng, f"q-{i}", len(stage.nodes), now)))
        until("all are answered", lambda: created.keys() <= answers.seen.keys(), seconds=PATIENCE_SECONDS, pause=0.2)
    promises = Counter(promise for _, promise in answers.seen.values())
    waits = [round((answers.seen[name][0] - at) * 1000) for name, at in created.items()]
    accepted = sum(phase(stage.admin, f"sold-{i}") == "Accepted" for i in range(contracts))
    spent = round((operator.cpu_seconds() - cpu) * 1000)
    kinds = {promise.lower(): promises[promise] for promise in ("Full", "Partial", "None")}
    row = {"row": "asking", "nodes": len(stage.nodes), "accepted": accepted, "quotes": quotes, **kinds}
    return row | spread("answered_ms", waits) | {"operator_cpu_ms_each": spent // quotes}


def _decided(api: Api) -> int:
    return sum(found.get("status", {}).get("phase") in ("Accepted", "Rejected") for found in api.items(CONTRACTS))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200, help="of the fleet")
    parser.add_argument("--contracts", type=int, default=250, help="that the desk tries to sell first")
    parser.add_argument("--quotes", type=int, default=100, help="that are asked for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for the control plane and its logs; kept")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="laycan-bench-") as temporary, stage_of(given.folder or Path(temporary), given.nodes) as stage:
        rows = [answered(stage, given.contracts, given.quotes, given.seed)]
        show("asking", rows, judged(rows), fleet=given.nodes)
        stage.close()


if __name__ == "__main__":
    main()
