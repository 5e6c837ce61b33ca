"""The answer to an instruction: written once it is known, again after a conflict, and whatever else is wrong with others."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from laycan.control.outcomes import Outcomes
from laycan.kube.instruction_views import instruction_view
from laycan.kube.world import World
from laycan.resources.times import format_time
from tests.laycan.control.apiserver import merged
from tests.laycan.control.town import NOW, contract, world
from tests.laycan.kube.scripted import serving

Raw = dict[str, Any]


def raw(name: str, *, on: str = "c", created: int = NOW - 10, **act: Any) -> Raw:
    meta = {"namespace": "desk", "name": name, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
    known = {"contractId": on, "action": "Suspend", "effectiveTime": format_time(NOW)}
    return {"metadata": meta | {"creationTimestamp": format_time(created)}, "spec": {"contractRef": {"name": on}, "act": known | act}}


class Api:
    """Keeps instructions; `refuse` names those whose next write fails with a status."""

    def __init__(self, *objects: Raw) -> None:
        self.objects = {each["metadata"]["name"]: each for each in objects}
        self.refuse: dict[str, int] = {}
        self.writes: list[tuple[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removesuffix("/status").rpartition("/")[2]
        if name in self.refuse:
            return web.json_response({"reason": "No", "message": "on purpose"}, status=self.refuse.pop(name))
        assert request.path.endswith(f"/namespaces/desk/contractinstructions/{name}/status")
        patch = await request.json()
        version = int(self.objects[name]["metadata"]["resourceVersion"])
        if patch["metadata"]["resourceVersion"] != str(version):
            return web.json_response({"reason": "Conflict", "message": "the object has been modified"}, status=409)
        self.objects[name] = merged(self.objects[name], patch | {"metadata": {"resourceVersion": str(version + 1)}})
        self.writes.append((name, self.objects[name]["status"]["phase"]))
        return web.json_response(self.objects[name])

    def show(self, made: World) -> None:
        for each in self.objects.values():
            view = instruction_view(each)
            made.put("instructions", view.key, view)


def answering(api: Api, made: World, *, now: int = NOW, looks: int = 1, leads: bool = True) -> None:
    async def go() -> None:
        async with serving(api.handle) as client:
            outcomes = Outcomes(client, made, lambda: now, lambda: leads)
            outcomes._touched |= made.instructions_on.keys()
            for _ in range(looks):
                await outcomes.step()

    api.show(made)
    asyncio.run(go())


def held(digest: str) -> Any:
    """A contract whose status says that the act of this digest was applied."""
    return contract("c", status={"phase": "Delivering", "instructions": {"headDigest": digest}})


def test_each_is_answered_once() -> None:
    """Applied with its digest; rejected with code and message; looked at again nothing is written."""
    one, other = raw("one"), raw("other", action="Dispute")
    made = world([held(instruction_view(one).digest)])
    api = Api(one, other)
    answering(api, made, looks=3)
    assert sorted(api.writes) == [("one", "Applied"), ("other", "Rejected")]
    status = api.objects["other"]["status"]
    assert (status["reason"]["code"], status["observedGeneration"]) == ("OutOfChain", 1)
    assert api.objects["one"]["status"]["digest"] == instruction_view(one).digest


def test_an_answer_does_not_hang_on_others() -> None:
    """One whose write fails, and one that cannot be read, stop nobody; a conflict is tried again."""
    bad, good, rival = raw("a-bad", action="Explode"), raw("good"), raw("rival", effectiveTime=format_time(NOW + 99))
    api = Api(bad, good, rival)
    api.refuse = {"a-bad": 500, "rival": 409}
    made = world([held(instruction_view(good).digest)])
    answering(api, made)
    assert api.writes == [("good", "Applied")]
    answering(api, made, looks=2)
    assert sorted(api.writes[1:]) == [("a-bad", "Rejected"), ("rival", "Rejected")]


def test_what_is_carried_out_soon_is_not_told_before() -> None:
    """An instruction that has just come is Pending in nobody's words; one that waits longer says for what."""
    made = world([contract("c", status={"phase": "Delivering"})])
    api = Api(raw("new", created=NOW - 1), raw("late", effectiveTime=format_time(NOW + 60)))
    answering(api, made)
    assert api.writes == [("late", "Pending")]
    assert api.objects["late"]["status"]["reason"]["code"] == "NotYetEffective"
    assert "digest" in api.objects["late"]["status"]


def test_of_no_contract() -> None:
    """An instruction whose contract is not there waits and says so; what was answered before stays."""
    done = raw("done") | {"status": {"phase": "Applied"}}
    api = Api(raw("lost", on="gone"), done)
    answering(api, world())
    assert api.writes == [("lost", "Pending")]
    assert api.objects["lost"]["status"]["reason"]["code"] == "UnknownContract"


def test_a_leader_that_was_deposed_writes_nothing() -> None:
    """The next one answers."""
    api = Api(raw("one"))
    answering(api, world([held(instruction_view(raw("one")).digest)]), leads=False)
    assert api.writes == []


def test_a_contract_that_nobody_can_read() -> None:
    """Its instructions get no answer, those of others do."""
    broken = contract("c", status={"phase": "Delivering"})
    broken = type(broken)(**{**{f: getattr(broken, f) for f in broken.__slots__}, "spec": {"terms": {"contractId": "c"}}})
    caused = {"lots": "0", "start": format_time(NOW), "end": format_time(NOW + 9)}
    api = Api(raw("x", action="AcceptBuyerCaused", buyerCaused=caused), raw("y", on="d"))
    good = contract("d", status={"phase": "Settled"})
    answering(api, world([broken, good]))
    assert api.writes == [("y", "Rejected")]
