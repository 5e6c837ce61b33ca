"""`kill -9` between any two writes of the operator, and between a write and its answer: nothing is held twice and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from controlplane.waiting import until
from tests.cluster.operator import CONTRACTS, GROUP, Market, Operator, at, bindings, contract, market, owners, phase, read
from tests.cluster.proxy import Proxy, Strike
from tests.cluster.reader import Reader, final_faults
from tests.draws import TIMES

pytestmark = pytest.mark.xdist_group("crash")
HOUR = 3600
BULK = 250 * min(TIMES, 2)
Side = Literal["before", "after"]
# Where to die: shares, in thousandths, of the writes of a clean run, so that a shorter or a longer run is sampled alike.
POINTS: list[tuple[int, Side]] = [(share, "after") for share in range(0, 1000, 160 // TIMES)]
POINTS += [(share, "before") for share in range(80 // TIMES, 1000, 320 // TIMES)]


@pytest.fixture(scope="module")
def town(tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """One control plane with twelve nodes for this module."""
    with market(tmp_path_factory.mktemp("crash"), tools, nodes=12) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(town: Market) -> Iterator[Proxy]:
    """Between the operators of this module and the API server."""
    with Proxy(town.plane) as listening:
        yield listening


@pytest.fixture
def desk(town: Market) -> Iterator[Market]:
    """The market, and afterwards nothing in it."""
    yield town
    town.admin.delete(f"{GROUP}/outages/repair")
    town.close()


class Phoenix:
    """An operator behind the proxy that is started again when it was struck."""

    def __init__(self, desk: Market, proxy: Proxy) -> None:
        self._desk, self._proxy = desk, proxy
        self.operator = self._start()

    def _start(self) -> Operator:
        return self._desk.operator(server=self._proxy.url)

    def die_at(self, number: int, side: Side) -> None:
        self._proxy.arm(Strike(number, side, lambda: self.operator.signal(signal.SIGKILL)))

    def rise(self) -> None:
        """If it is dead by now, the next one starts."""
        if self._proxy.struck.is_set():
            self._proxy.struck.clear()
            self.operator.wait()
            self.operator = self._start()


def story(desk: Market, phoenix: Phoenix, reader: Reader) -> None:
    """Two contracts are delivered, one of them loses its node to an outage, one is cancelled, one refused. Returns when all is settled."""

    def reach(what: str, holds: Callable[[], bool]) -> None:
        def there() -> bool:
            phoenix.rise()
            return holds()

        until(what, there, seconds=90)

    desk.admin.create(contract("first", at(1), at(HOUR), gpus=16))
    desk.admin.create(contract("second", at(1), at(HOUR)))
    desk.admin.create(contract("third", at(HOUR), at(2 * HOUR)))
    desk.admin.create(contract("huge", at(HOUR), at(2 * HOUR), gpus=8 * 13))
    names = {"first": "Delivering", "second": "Delivering", "third": "Accepted", "huge": "Rejected"}
    reach("all are decided", lambda: all(phase(desk.admin, name) == wanted for name, wanted in names.items()))
    reach("they run", lambda: all(b[2] < at(0) for name in ("first", "second") for b in bindings(read(desk.admin, name) or {})))
    lost = bindings(read(desk.admin, "first") or {})[0][0]
    reader.excused.add(lost)
    outage = {"type": "Forced", "nodes": [lost], "start": at(0)}
    desk.admin.create({"apiVersion": "laycan.dev/v1alpha1", "kind": "Outage", "metadata": {"name": "repair"}, "spec": outage})
    desk.delete("third")

    def served() -> set[str]:
        running = [b for name in ("first", "second") for b in bindings(read(desk.admin, name) or {}) if b[3] > at(0)]
        return {b[0] for b in running if b[2] <= at(0)}

    reach("third is gone", lambda: read(desk.admin, "third") is None)
    reach("first has left the node", lambda: len(served()) == 3 and lost not in served())
    reach("all nodes are handed over", lambda: {node for node, owner in owners(desk.admin).items() if owner == "acme"} == served())


def tell(desk: Market, proxy: Proxy, point: tuple[int, Side] | None) -> tuple[int, bool]:
    """The story from an empty market to its end, dying once at `point`: its writes, and whether it died. Fails when a state was wrong."""
    begun = len(proxy.writes)
    proxy.arm(None)
    with Reader(desk.admin, desk.nodes) as reader:
        phoenix = Phoenix(desk, proxy)
        if point is not None:
            phoenix.die_at(*point)
        story(desk, phoenix, reader)
    wrong = reader.faults + final_faults(desk.admin, {"first": "Delivering", "second": "Delivering", "huge": "Rejected"})
    assert not wrong, (point, wrong, proxy.writes[begun:])
    writes, died = len(proxy.writes) - begun, len(desk.operators) > 1
    desk.admin.delete(f"{GROUP}/outages/repair")
    desk.close()
    return writes, died


def test_a_crash_at_any_write_loses_nothing_and_doubles_nothing(desk: Market, proxy: Proxy) -> None:
    """The story ends the same way wherever the operator dies, and no state on the way was wrong."""
    writes, died = tell(desk, proxy, None)
    assert not died
    deaths = {share: tell(desk, proxy, (1 + share * writes // 1000, side))[1] for share, side in POINTS}
    assert all(died for share, died in deaths.items() if share <= 500), "the last points may lie beyond the end of a shorter run"
    assert sum(deaths.values()) >= len(POINTS) * 2 // 3
    print(f"{writes} writes in a clean run, {sum(deaths.values())} deaths")


def test_a_crash_in_the_middle_of_a_large_apply_loses_nothing(desk: Market, proxy: Proxy) -> None:
    """Hundreds of contracts fill the fleet to the last node while the operator is killed three times: each is bound once and whole."""
    with Reader(desk.admin, desk.nodes) as reader:
        proxy.arm(None)
        phoenix = Phoenix(desk, proxy)
        begun = time.monotonic()
        first = at(HOUR)
        deaths = iter((50, 125, 200))
        phoenix.die_at(next(deaths), "after")
        for number in range(BULK):
            slot = number // len(desk.nodes)
            desk.admin.create(contract(f"c{number:03}", at_after(first, slot), at_after(first, slot + 1)))
            if proxy.struck.is_set():
                phoenix.rise()
                phoenix.die_at(next(deaths, 1 << 30), "before")

        def undecided() -> int:
            if proxy.struck.is_set():
                phoenix.rise()
                phoenix.die_at(next(deaths, 1 << 30), "before")
            return sum(c.get("status", {}).get("phase") != "Accepted" for c in desk.admin.items(CONTRACTS))

        until("all are accepted", lambda: undecided() == 0, seconds=120, pause=0.5)
        seconds = time.monotonic() - begun
    assert reader.faults == []
    assert final_faults(desk.admin, {f"c{number:03}": "Accepted" for number in range(BULK)}) == []
    assert next(deaths, None) is None, "it died three times"
    print(f"{seconds:.1f} s, {reader.states} states seen")


def at_after(first: str, hours: int) -> str:
    return (datetime.fromisoformat(first) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
