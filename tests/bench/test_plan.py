"""What `make bench` counts and judges: unrest, needless moves, limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import agent, atp, catchup, delivery, ledger, verify, whatif
from bench.budgets import Limit, judged, limits
from bench.cold import unrest
from bench.measure import percentile, show
from bench.plan import ROWS, main
from bench.update import moves_beside
from laycan_solver.model import Binding, Contract, Difference, Node, Outage, OutageType, Problem, Product

NOW = 1_798_761_600  # 2027-01-01T00:00:00Z
HOUR = 3_600


def bound(contract: str, node: str, start: int, end: int, gpus: int = 8) -> Binding:
    return Binding(contract, node, "h100", gpus, NOW + start * HOUR, NOW + end * HOUR)


def problem(*contracts: tuple[str, int, int], dark: str = "") -> Problem:
    nodes = tuple(Node(f"n{i}", "H100", 8, ("z0", "f0", "r0", f"n{i}")) for i in range(4))
    outages = (Outage("o", OutageType.PLANNED, frozenset({dark}), NOW + 4 * HOUR, NOW + 5 * HOUR),) if dark else ()
    made = tuple(Contract(k, k, "h100", NOW + a * HOUR, NOW + b * HOUR, 16, 8) for k, a, b in contracts)
    return Problem(NOW, nodes, (Product("h100", frozenset({"H100"})),), made, outages)


def test_unrest_counts_lots_that_could_have_stayed() -> None:
    """One lot of two changes node twice: once by choice, once because of an outage; both are instants, one is a planned cut."""
    chain = [bound("a", "n0", 0, 4), bound("a", "n1", 4, 6), bound("a", "n2", 6, 9), bound("a", "n3", 0, 9)]
    assert unrest(problem(("a", 0, 9), ("b", 0, 1), dark="n0"), chain) == {
        "cuts_per_1000_lots": 250,  # one of four lots
        "instants_per_1000_contracts": 1_000,
        "instants_max": 2,
    }


def test_a_cut_at_now_counts_against_what_ran() -> None:
    """A running lot that leaves a healthy node at once is a cut, one that leaves a lost node is not."""
    made = problem(("a", -2, 9))
    previous = (bound("a", "n0", -2, 9), bound("a", "gone", -2, 9))
    moved = Problem(NOW, made.nodes, made.products, made.contracts, previous=previous)
    assert unrest(moved, [bound("a", "n1", 0, 9), bound("a", "n2", 0, 9)])["cuts_per_1000_lots"] == 500
    assert unrest(moved, [bound("a", "n0", -2, 9), bound("a", "n2", 0, 9)])["cuts_per_1000_lots"] == 0


def test_moves_beside_are_of_running_lots_on_living_nodes() -> None:
    """Neither what ran on the dead node, nor what has not begun, nor a binding that is only cut anew is a move beside."""
    released = (
        bound("a", "dead", -1, 9),
        bound("b", "n1", 5, 9),  # not begun
        bound("c", "n2", -1, 9),  # stays, until an earlier end
        bound("d", "n3", -1, 9),  # leaves
    )
    difference = Difference(released, (bound("c", "n2", -1, 6), bound("d", "n0", 0, 9)), (), ())
    assert [b.contract for b in moves_beside(difference, {"dead"}, NOW)] == ["d"]


def test_every_limit_has_its_row_and_its_reason() -> None:
    """A limit that no row fills, or that does not say how it was set, would judge nothing."""
    for limit in limits():
        named = (f"{bench}-{row}" for bench, module in (("agent", agent), ("atp", atp), ("verify", verify)) for row in module.ROWS)
        others = {"asking", "fence-2000", "fence-12500"}
        assert limit.row in {*ROWS, *delivery.ROWS, *ledger.ROWS, *catchup.ROWS, *whatif.ROWS, *others, *named}
        assert len(limit.how) > 20
        assert (limit.most is None) != (limit.least is None)


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        (Limit("x", "ms", "", most=5), (9, "worst of 3", "NO")),
        (Limit("x", "ms", "", most=4, median=True), (4, "median of 3", "yes")),
        (Limit("x", "ms", "", least=2), (1, "worst of 3", "NO")),
        (Limit("x", "ms", "", least=1), (1, "worst of 3", "yes")),
    ],
)
def test_a_limit_judges_the_worst_seed_or_the_median(limit: Limit, verdict: tuple[int, str, str]) -> None:
    """The worst is the largest for an upper limit and the smallest for a lower one; other rows do not count."""
    found = limit.judge([{"row": "x", "ms": 4}, {"row": "x", "ms": 9}, {"row": "x", "ms": 1}, {"row": "y", "ms": 100}])
    assert found is not None
    assert (found["value"], found["of"], found["kept"]) == verdict
    assert limit.judge([{"row": "y", "ms": 4}]) is None


def test_percentiles() -> None:
    """The p-th percentile is a value that occurs: at least p per cent are not above it."""
    assert [percentile(range(1, 201), p) for p in (50, 99, 100)] == [100, 198, 200]
    assert percentile([7], 99) == 7


def test_the_last_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables are for people; whoever compares reads the last line."""
    show("x", [{"row": "a", "ms": 3}, {"row": "b", "gap": None}], judged([{"row": "10k-85", "gap_ppm": 3}]), seed=4)
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(lines[-1])
    assert document["bench"] == "x"
    assert document["seed"] == 4
    assert document["rows"] == [{"row": "a", "ms": 3}, {"row": "b", "gap": None}]
    assert document["limits"][0]["limit"] == "<= 100"
    assert lines[0].split() == ["row", "ms"]


def test_rows_run_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row can be run by its name, on a small instance; a name that does not exist is told."""
    monkeypatch.chdir(tmp_path)
    main(["--rows", "10k-85", "--instance", "small", "--seeds", "0", "--effort", "2"])
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(r["row"], r["seed"]) for r in document["rows"]] == [("small", 0)]
    with pytest.raises(SystemExit, match="there is no 9k"):
        main(["--rows", "9k"])
