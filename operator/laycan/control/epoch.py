"""Which leader's writes are accepted: the API server itself tells an old one from the new.

A lease binds only those who look at it. So every leader counts the epoch of LeaderEpoch/cluster up by one, every write of a
contract's status or of the NodeFence carries the epoch, and an admission policy refuses the older one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from laycan.kube.client import ApiError, Client
from laycan.resources.constants import API_VERSION

log = logging.getLogger(__name__)

_GROUP_PATH = f"/apis/{API_VERSION}"
EPOCH_PATH = f"{_GROUP_PATH}/leaderepochs/cluster"
FENCE_PATH = f"{_GROUP_PATH}/nodefences/cluster"


async def advance_epoch(client: Client) -> int:
    """Counts LeaderEpoch/cluster up by one and returns the new epoch; makes the object where it is missing.

    The fence's own epoch never falls: where somebody raised that by hand, or deleted LeaderEpoch/cluster, the new one lies above it.
    """
    while True:
        try:
            found = await client.get(EPOCH_PATH)
            epoch = max(_epoch(found), await _fence_epoch(client)) + 1
            body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": {"epoch": epoch}}
            await client.patch_merge(EPOCH_PATH, body)
        except ApiError as error:
            if error.status == 404:
                await _create(client)
            elif error.status not in (0, 409):
                raise
            await asyncio.sleep(0.1)
            continue
        return epoch


def _epoch(raw: Mapping[str, Any]) -> int:
    return int((raw.get("spec") or {}).get("epoch") or 0)


async def _fence_epoch(client: Client) -> int:
    try:
        return _epoch(await client.get(FENCE_PATH))
    except ApiError as error:
        if error.status == 404:  # the first start
            return 0
        raise


async def _create(client: Client) -> None:
    body = {"apiVersion": API_VERSION, "kind": "LeaderEpoch", "metadata": {"name": "cluster"}, "spec": {"epoch": 0}}
    try:
        await client.create(f"{_GROUP_PATH}/leaderepochs", body)
    except ApiError as error:
        if error.status != 409:
            raise


async def await_epoch_fence(client: Client, epoch: int, patience_seconds: float = 5.0) -> bool:
    """Waits until the API server refuses writes of the epoch before ours (asked by dry run); False when it never does.

    Until then the last leader's writes could still come between our reading the world and our first write.
    """
    if epoch <= 1:
        return True  # there was none before us
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if await _refuses(client, epoch - 1):
            return True
        await asyncio.sleep(0.05)
    log.warning("the API server does not refuse writes of epoch %d: is the policy laycan-epoch installed?", epoch - 1)
    return False


async def _refuses(client: Client, epoch: int) -> bool:
    body = {"apiVersion": API_VERSION, "kind": "NodeFence", "metadata": {"name": "cluster"}, "spec": {"epoch": epoch}}
    try:
        try:
            await client.patch_merge(FENCE_PATH, {"spec": {"epoch": epoch}}, {"dryRun": "All"})
        except ApiError as error:
            if error.status != 404:
                raise
            await client.create(f"{_GROUP_PATH}/nodefences", body, {"dryRun": "All"})
    except ApiError as error:
        return error.status in (403, 422) and "epoch" in error.message
    return False
