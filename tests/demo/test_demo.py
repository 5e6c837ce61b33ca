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

ROOT = Path(__file__).parents[2]
T = "2030-01-01T00:00:00Z"


def contract(name: str, holder: str, node: str, start: str, end: str, gpus: int = 8, handed_over: str = "") -> dict[str, Any]:
    binding = {"node": node, "gpus": gpus, "start": start, "end": end, **({"handedOverAt": handed_over} if handed_over else {})}
    return {
        "metadata": {"namespace": "desk", "name": name},
        "spec": {"terms": {"delivery": {"handover": {"namespace": holder}}}},
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

    def test_what_is_missing_after_a_death(self) -> None:
        """From the death of a node until its contract has as many GPUs again, its GPU-seconds are missing."""
        observer, before = Observer(), [contract("a", "acme", "n1", at(0), at(60), handed_over=at(0))]
        observer.kill("n1", before, seconds(at(10)))
        observer.round(before, {}, [], seconds(at(15)))
        assert observer.rebound == []
        observer.round([contract("a", "acme", "n2", at(18), at(60), handed_over=at(20))], {}, [], seconds(at(21)))
        assert (observer.rebound, observer.missing) == ([("desk/a", 10)], {"desk/a": 80})


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
