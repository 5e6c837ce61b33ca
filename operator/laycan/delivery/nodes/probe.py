"""Is the fence live? Asked of the API server itself, with a bind that is never made.

Between a write of NodeFence and its effect lie milliseconds, after a restart of the API server half a minute, and without the
policy for ever. So a dry-run bind of a pod that need not exist is sent from a namespace that holds nothing. The fence is live when
that is refused by the fence's own policy, for this node and this owner, while in the same round a node that cannot exist gets past
it (404: no such pod). An operator without the right to bind is refused both, by RBAC, and learns nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from laycan.kube.client import ApiError, Client

POLICY = "laycan-node-fence"
NEVER_FENCED = "laycan-never-fenced.invalid"  # no node can have this name: the operator writes no entry for it
_POD = "x"
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """`live`, or why not."""

    live: bool
    why: str = ""


class Probe:
    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def ask(self, node: str, owner: str) -> Answer:
        """One round. Two requests, sent together."""
        fenced, free = await asyncio.gather(self._bind(node), self._bind(NEVER_FENCED))
        if free.status != 404:
            return Answer(False, f"a node that is never fenced answered {free.status}, not 404: {free.message}")
        if fenced.status == 403 and POLICY in fenced.message and fenced.message.endswith(f"node {node} is held by {owner}"):
            return Answer(True)
        return Answer(False, f"a bind to {node}, which is {owner}'s, answered {fenced.status}: {fenced.message}")

    async def wait(self, node: str, owner: str, seconds: float) -> Answer:
        """Rounds until the fence is live or the time is up."""
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + seconds, _FIRST_PAUSE_SECONDS
        while True:
            answer = await self.ask(node, owner)
            if answer.live or loop.time() + pause > end:
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _bind(self, node: str) -> ApiError:
        """What the server says; a bind that it would make (which cannot be) reads as status 201."""
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": _POD, "namespace": self._namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(f"/api/v1/namespaces/{self._namespace}/pods/{_POD}/binding", body, {"dryRun": "All"})
        except ApiError as error:
            return error
        return ApiError(201, "Created", "the bind would have been made")
