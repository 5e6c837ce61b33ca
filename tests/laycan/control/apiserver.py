"""An API server for contracts that keeps its word in an adverse way: answers get lost, rivals write, one object is always refused.

It keeps what matters of the real one: resourceVersions, compare-and-swap, merge patches. What it can do that the real one cannot is
to fail at a chosen request.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from aiohttp import web

from laycan.kube.views import contract_view
from laycan.kube.world import World
from tests.laycan.kube.scripted import hangs_up

Fault = Callable[[int, str], str]  # (number of the write, contract) -> "", "lose" (apply, no answer), "drop" (neither), "refuse", "rival"


class Contracts:
    def __init__(self, raw: dict[str, Any], fault: Fault = lambda number, name: "") -> None:
        self.objects = raw  # name -> object
        self.writes: list[tuple[str, dict[str, Any]]] = []  # (contract, its state after), as applied
        self._fault, self._count, self._version = fault, 0, 100

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removesuffix("/status").rpartition("/")[2]
        if request.method == "GET":
            return web.json_response(self.objects[name])
        self._count += 1
        fault, patch = self._fault(self._count, name), await request.json()
        if fault == "drop":
            return await hangs_up(request)
        if fault == "refuse":
            return web.json_response({"reason": "Invalid", "message": "on purpose"}, status=422)
        if fault == "rival":
            self._apply(name, {"metadata": {"annotations": {"rival": str(self._count)}}})
        if patch["metadata"]["resourceVersion"] != self.objects[name]["metadata"]["resourceVersion"]:
            return web.json_response({"reason": "Conflict", "message": "the object has been modified"}, status=409)
        self._apply(name, patch)
        self.writes.append((name, copy.deepcopy(self.objects[name])))
        return await hangs_up(request) if fault == "lose" else web.json_response(self.objects[name])

    def _apply(self, name: str, patch: dict[str, Any]) -> None:
        self._version += 1
        self.objects[name] = merged(self.objects[name], patch)
        self.objects[name]["metadata"]["resourceVersion"] = str(self._version)

    def show(self, world: World) -> None:
        """What a watch would tell, all at once."""
        for raw in self.objects.values():
            view = contract_view(raw)
            world.put("contracts", view.key, view)


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
