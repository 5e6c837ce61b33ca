"""The demo is the product's main job: it runs to its end, leaves nothing behind, and its checker finds what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.evidence import LIES
from demo.observer import Observer, claims, double_bookings, seconds
from demo.script import END
from demo.summary import Summary, hidden_shortfall

ROOT = Path(__file__).parents[2]
T = "2030-01-01T00:00:00Z"


def contract(name: str, holder: str, node: str, start: str, end: str, gpus: int = 8, handed_over: str = "") -> dict[str, Any]:
    binding = {"node": node, "gpus": gpus, "start": start, "end": end, **({"handedOverAt": handed_over} if handed_over else {})}
    return {
        "metadata": {"namespace": "desk", "name": name},
        "spec": {"terms": {"delivery": {"handover": {"namespace": holder}, "start": start, "end": end, "gpus": gpus}}},
        "status": {"phase": "Delivering", "bindings": [binding]},
    }


def at(second: int) -> str:
    return f"2030-01-01T00:{second // 60:02}:{second % 60:02}Z"


class TestObserver:
    def test_two_holders_on_one_node(self) -> None:
        """Windows of two holders that overlap on a node are a double booking; windows that touch are not."""
        first = contract("a", "acme", "n1", at(0), at(60))
        assert double_bookings(claims([first, contract("b", "beta", "n1", at(60), at(90))]), {"n1": 8}) == []
        assert len(double_bookings(claims([first, contract("b", "beta", "n1", at(59), at(90), 1)]), {"n1": 16})) == 1

    def test_more_gpus_than_there_are(self) -> None:
        """One holder's contracts may share a node, up to its GPUs."""
        both = [contract(name, "acme", "n1", at(0), at(60), 4) for name in "ab"]
        assert double_bookings(claims(both), {"n1": 8}) == []
        assert len(double_bookings(claims(both), {"n1": 7})) == 1

    def test_an_intruder(self) -> None:
        """A stranger's pod on a held node is seen; the holder's own and the cluster's agents are not strangers."""
        pods = [
            {"metadata": {"namespace": ns, "name": "p"}, "spec": {"nodeName": "n1"}, "status": {}}
            for ns in ("mallory", "acme", "monitoring")
        ]
        observer = Observer()
        observer.round([], {"n1": "acme"}, pods, seconds(T))
        assert observer.intruders == {"mallory/p on n1, held by acme"}

    def test_from_a_death_to_the_next_node(self) -> None:
        """A re-bind takes from the death until the contract has as many GPUs again, whenever that is seen."""
        observer, before = Observer(), [contract("a", "acme", "n1", at(0), at(60), handed_over=at(0))]
        observer.kill("n1", before, seconds(at(10)))
        observer.round(before, {}, [], seconds(at(15)))
        assert observer.rebound == []
        observer.hear("n1", seconds(at(12)))
        observer.round([contract("a", "acme", "n2", at(18), at(60), handed_over=at(20))], {}, [], seconds(at(31)))
        assert observer.rebound == [("desk/a", 8)]

    @pytest.mark.parametrize(
        ("heard", "missing"), [(8, 8 * 12), (10, 8 * 10), (13, 8 * 7)], ids=["before", "at once", "it learnt of it late"]
    )
    def test_what_is_missing_after_a_death(self, heard: int, missing: int) -> None:
        """From the last heartbeat of the dead node, not from the order to die, which a busy machine may carry out seconds later."""
        observer, before = Observer(), contract("a", "acme", "n1", at(0), at(60), handed_over=at(0))
        observer.kill("n1", [before], seconds(at(10)))
        observer.hear("n1", seconds(at(heard)))
        after = contract("a", "acme", "n2", at(18), at(60), handed_over=at(20))
        after["spec"] = before["spec"]
        after["status"]["bindings"].insert(0, before["status"]["bindings"][0] | {"end": at(18)})
        observer.round([after], {}, [], seconds(at(59)))
        assert observer.missing(after) is None, "its window is not over"
        observer.round([after], {}, [], seconds(at(60)))
        assert observer.missing(after) == missing

    def test_what_is_missing_besides(self) -> None:
        """A hand-over that is late counts, each lot by itself; two nodes at a time for one lot do not count twice."""
        observer, late = Observer(), contract("a", "acme", "n1", at(0), at(60), handed_over=at(5))
        late["spec"]["terms"]["delivery"]["gpus"] = 16
        late["status"]["bindings"] += [
            contract("a", "acme", *row)["status"]["bindings"][0]
            for row in (("n2", at(0), at(40), 8, at(2)), ("n3", at(30), at(60), 8, at(33)), ("n4", at(30), at(60), 8))
        ]
        observer.round([late], {}, [], seconds(at(60)))
        assert observer.missing(late) == 8 * 5 + 8 * 2

    def test_a_node_that_lives_again(self) -> None:
        """From then on it may serve again."""
        observer, served = Observer(), contract("a", "acme", "n1", at(0), at(60), handed_over=at(0))
        observer.kill("n1", [served], seconds(at(10)))
        observer.revive("n1", seconds(at(30)))
        assert observer.silent() == []
        observer.round([served], {}, [], seconds(at(60)))
        assert observer.missing(served) == 8 * 20

    @pytest.mark.parametrize(("told", "wrong"), [(96, 0), (95, 1)])
    def test_a_hidden_shortfall(self, told: int, wrong: int) -> None:
        """Less told than was missing is wrong, in whatever class it is told."""
        observer, ended = Observer(), contract("a", "acme", "n1", at(0), at(60), handed_over=at(12))
        observer.round([ended], {}, [], seconds(at(60)))
        ended["metadata"]["annotations"] = {END: "+60s"}
        ended["status"] |= {"phase": "Settled", "quantities": {"excusedGpuSeconds": 40, "shortfallGpuSeconds": told - 40}}
        summary = Summary()
        hidden_shortfall([ended], observer, summary)
        assert len(summary.wrong) == wrong


@pytest.mark.cluster
def test_the_demo_runs_to_its_end() -> None:
    """`make demo` ends by itself, finds nothing wrong, and leaves no process behind."""
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert re.search(r"double bookings found by the independent checker +0\n", done.stdout)
    assert re.search(r"receipts verified offline +[1-9][0-9]* of", done.stdout)
    assert len(re.findall(r"one byte changed: .*REFUSED \([1-7]\)", done.stdout)) == len(LIES)
    left = [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if b"laycan-demo-" in _read(entry)]
    assert left == []


def _read(entry: Path) -> bytes:
    try:
        return entry.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
