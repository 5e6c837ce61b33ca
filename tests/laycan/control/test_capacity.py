"""What there is, what is sold of it, and what may fail before somebody is short."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from laycan.control.capacity import AHEAD_SECONDS, SOON_SECONDS, Standing, first_breach, standings
from laycan.control.decision import Decision
from laycan.control.specs import Specs
from laycan.kube.views import ContractView
from laycan.kube.world import World
from laycan.resources.times import format_time
from laycan_solver.model import Reason, Undelivered
from tests.laycan.control.town import HOUR, NOW, Fleet, bound, contract, node, product, world

RUNNING: dict[str, Any] = {"created": NOW - 2 * HOUR, "delivery_start": format_time(NOW - HOUR), "delivery_end": format_time(NOW + HOUR)}


def running(name: str, *nodes: str, gpus: int = 8, level: str = "Node", lot: int = 8, **more: Any) -> ContractView:
    """It has run for an hour, and will for another; `gpus` are due."""
    status = bound(*nodes, start=NOW - HOUR, end=NOW + HOUR, phase="Delivering", gpus=gpus // max(1, len(nodes)))
    for binding in status["bindings"]:
        binding["level"] = level
    return contract(name, status=status, **RUNNING, delivery_gpus=gpus, delivery_lotGpus=lot, **more)


def standing(seen: World, failed: Iterable[str] = (), name: str = "h100", down: Iterable[str] = ()) -> Standing:
    fleet = Fleet(seen)
    fleet.failed = frozenset(failed)
    return standings(seen, Specs().products(seen), fleet, NOW, frozenset(down))[name]


def test_what_there_is() -> None:
    """GPUs in service are those of nodes that plans may use; sold is what is due in this second."""
    seen = world([running("a", "n1"), contract("b", status=bound("n2"))], ["n1", "n2", "n3", "n4"])
    found = standing(seen, failed=["n4"])
    assert (found.in_service, found.sold, found.spare, found.node_gpus) == (24, 8, 16, 8)


def test_nodes_of_others() -> None:
    """Nodes that are not of the fleet, of another grade, or whose GPUs are shared are none of the product's."""
    seen = world([], ["n1"])
    seen.nodes["foreign"] = node("foreign", managed=False)
    seen.nodes["other"] = node("other", labels={"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"})
    seen.nodes["shared"] = node("shared", labels={"nvidia.com/gpu.sharing-strategy": "time-slicing"})
    assert standing(seen).in_service == 8


def test_the_margin_is_what_is_free_for_the_lots_of_a_running_firm_contract() -> None:
    """And no more once its nodes fail: then it is what the contract lacks."""
    seen = world([running("a", "n1")], ["n1", "n2", "n3"])
    assert standing(seen).margin == 16
    assert standing(seen, failed=["n2"]).margin == 8
    assert standing(seen, failed=["n1"]).margin == -8


def test_a_failed_node_that_is_kept_delivers_nothing() -> None:
    """The breaker keeps it, or it is not Ready for a moment: no plan leaves it yet, but what the buyer lacks is no margin."""
    seen = world([running("a", "n1")], ["n1", "n2", "n3"])
    assert standing(seen, down=["n1"]).margin == -8
    assert standing(seen, down=["n2"]).margin == 8
    seen.silent["n1"] = NOW
    assert standing(seen).margin == -8


def test_the_margin_of_a_day() -> None:
    """What is free now and sold within a day covers no failure then; what is sold later on is free today."""
    until = NOW + 2 * SOON_SECONDS
    status = bound("n1", start=NOW - HOUR, end=until, phase="Delivering")
    long = contract("a", status=status, delivery_start=format_time(NOW - HOUR), delivery_end=format_time(until))
    for ahead, margin in ((HOUR, 0), (SOON_SECONDS - 1, 0), (SOON_SECONDS, 8)):
        later = contract("b", status=bound("n2", start=NOW + ahead, end=NOW + ahead + HOUR))
        assert standing(world([long, later], ["n1", "n2"])).margin == margin, ahead
    back_to_back = contract("b", status=bound("n2", start=NOW + HOUR, end=until))
    assert standing(world([running("a", "n1"), back_to_back], ["n1", "n2"])).margin == 8


def test_no_margin_without_a_running_firm_contract() -> None:
    """An Interruptible one, one that is still ahead and one that was ended have none."""
    interruptible = running("a", "n1", firmness={"class": "Interruptible"})
    over = running("c", "n3")
    ended = contract("c", status={**over.status, "endedAt": format_time(NOW)}, **RUNNING)
    assert standing(world([interruptible, contract("b", status=bound("n2")), ended], ["n1", "n2", "n3"])).margin is None


def test_the_least_of_several() -> None:
    """The contract with the larger lots has less to move to."""
    whole, small = running("a", "n1"), running("b", "n2", gpus=2, lot=2, level="Device")
    seen = world([whole, small], ["n1", "n2"])
    assert standing(world([small], ["n2"])).margin == 6
    assert standing(seen).margin == 0  # 6 GPUs are free on n2, no lot of 8


def test_a_node_that_is_delivered_whole_has_nothing_left() -> None:
    """Whoever has 4 of its 8 GPUs keeps everybody else off."""
    assert standing(world([running("a", "n1", gpus=4, lot=4)], ["n1"])).spare == 0


def test_two_contracts_of_one_holder_on_one_node() -> None:
    """Count once."""
    found = standing(world([running("a", "n1", gpus=4, lot=4), running("b", "n1", gpus=4, lot=4)], ["n1", "n2"]))
    assert (found.spare, found.spare_least, found.sold) == (8, 8, 8)


def test_the_fewest_ahead() -> None:
    """What ends in the second in which another begins leaves its GPUs to it; what begins after 30 days is not looked at."""
    later = contract("b", status=bound("n2", "n3", start=NOW + HOUR, end=NOW + 3 * HOUR))
    far = bound("n1", "n2", "n3", "n4", start=NOW + AHEAD_SECONDS, end=NOW + AHEAD_SECONDS + HOUR)
    found = standing(world([running("a", "n1"), later, contract("c", status=far)], ["n1", "n2", "n3", "n4"]))
    assert (found.spare, found.spare_least) == (24, 16)


def test_what_is_sold_ahead() -> None:
    """The share of the GPU-seconds of 30 days: one node of two for half of them."""
    month = contract("a", status=bound("n1"), delivery_start=format_time(NOW), delivery_end=format_time(NOW + AHEAD_SECONDS // 2))
    assert standing(world([month], ["n1", "n2"])).sold_ahead_ppm == 250_000
    assert standing(world([month], [])).sold_ahead_ppm == 0


def test_a_grade_that_two_products_sell_counts_for_both() -> None:
    """And what is due is counted for the product that was sold."""
    seen = world([running("a", "n1")], ["n1", "n2"])
    seen.products["h100-cheap"] = product("h100-cheap")
    found = standing(seen, name="h100-cheap")
    assert (found.in_service, found.spare, found.sold, found.margin) == (16, 8, 0, None)


def test_terms_that_cannot_be_read() -> None:
    """An object that is older than the rules of its CRD takes its nodes, and says nothing else."""
    made = running("a", "n1")
    seen = world([contract("a", status=made.status, delivery=None)], ["n1", "n2"])
    assert (standing(seen).spare, standing(seen).margin) == (8, None)


def short(start: int, gpus: int = 8, *, refused: bool = False) -> Undelivered:
    return Undelivered("desk/a", start, start + HOUR, gpus, Reason.NO_CAPACITY, "", refused)


def decided(*undelivered: Undelivered, uid: str = "uid-a") -> dict[str, Decision]:
    return {"desk/a": Decision(True, NOW, None, (), undelivered, uid=uid)}


def test_the_first_breach() -> None:
    """The earliest stretch that the plan leaves short; one that has begun is at 0; None where it leaves none."""
    seen = world([contract("a", status=bound("n1"))])
    assert first_breach(seen, decided(short(NOW + 7200), short(NOW + 60)), NOW) == 60
    assert first_breach(seen, decided(short(NOW - 60)), NOW) == 0
    assert first_breach(seen, decided(), NOW) is None
    assert first_breach(seen, {}, NOW) is None


def test_an_open_shortfall_is_a_breach_now() -> None:
    """Whatever the plan says of the time ahead."""
    lacking = {"type": "Shortfall", "status": "True", "reason": "NodeFailed", "message": "", "lastTransitionTime": format_time(NOW)}
    seen = world([contract("a", status=bound("n1", phase="Delivering") | {"conditions": [lacking]})])
    assert first_breach(seen, decided(short(NOW + 60)), NOW) == 0


def test_what_is_no_breach() -> None:
    """A refusal, what was noticed in time, a contract that is over, and the decision on another one of the same name."""
    seen = world([contract("a", status=bound("n1"))])
    assert first_breach(seen, decided(short(NOW + 60, refused=True)), NOW) is None
    assert first_breach(seen, decided(short(NOW + 60), uid="uid-before"), NOW) is None
    notice = {"gpus": 8, "start": format_time(NOW), "end": format_time(NOW + 2 * HOUR), "noticedAt": format_time(NOW - HOUR)}
    noticed = world([contract("a", status=bound("n1") | {"curtailments": [notice]})])
    assert first_breach(noticed, decided(short(NOW + 60)), NOW) is None
    over = world([contract("a", status=bound("n1", phase="Delivered"))])
    assert first_breach(over, decided(short(NOW + 60)), NOW) is None
