"""What a plan depends on, read once from a cluster with the caller's own rights: lists in pages, no watch, and no Secret.

Each object is reduced as its page arrives, so that a large cluster needs little memory. Products and nodes come before contracts: a
binding that was decided meanwhile names what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from laycan.kube.client import ApiError, Client
from laycan.resources.constants import API_VERSION, GPU_DRIVER, MANAGED_LABEL, PLURALS

Raw = Mapping[str, Any]
Reduce = Callable[[Raw], Raw | None]

PAGE = 500  # objects of a page
RETRIES = 3  # of a list whose next page the server has forgotten
_OURS = f"/apis/{API_VERSION}"


class Listed(NamedTuple):
    """A kind that is listed; `optional`: a cluster may lack it."""

    kind: str
    version: str
    path: str
    selector: Mapping[str, str]
    optional: bool = False


LISTS = (
    *(
        Listed(kind, API_VERSION, f"{_OURS}/{PLURALS[kind]}", {}, kind == "GpuMeter")
        for kind in ("ComputeProduct", "ExchangeEndpoint", "Outage", "NodeFence", "GpuMeter")
    ),
    Listed("Node", "v1", "/api/v1/nodes", {"labelSelector": f"{MANAGED_LABEL}=true"}),
    Listed(
        "ResourceSlice",
        "resource.k8s.io/v1",
        "/apis/resource.k8s.io/v1/resourceslices",
        {"fieldSelector": f"spec.driver={GPU_DRIVER}"},
        optional=True,
    ),
    Listed("ComputeContract", API_VERSION, f"{_OURS}/{PLURALS['ComputeContract']}", {}),
)


class CollectError(Exception):
    """The cluster could not be read; `lines` say why, and what to do."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


async def collect(client: Client, reduce: Reduce) -> list[Raw]:
    """All objects of LISTS, each with kind and apiVersion, as `reduce` leaves them (None leaves one out). Raises CollectError."""
    found: list[Raw] = []
    lines: list[str] = []
    for listed in LISTS:
        try:
            found += await _list(client, listed, reduce)
        except ApiError as error:
            if error.status == 404 and listed.optional:
                continue
            lines.append(_trouble(listed, error))
            if error.status not in (403, 404):
                break  # the next would say the same
    if lines:
        raise CollectError(list(dict.fromkeys(lines)))
    return found


async def _list(client: Client, listed: Listed, reduce: Reduce) -> list[Raw]:
    for attempt in range(RETRIES):
        try:
            return await _pages(client, listed, reduce)
        except ApiError as error:
            if error.status != 410 or attempt == RETRIES - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _pages(client: Client, listed: Listed, reduce: Reduce) -> list[Raw]:
    found: list[Raw] = []
    token = ""
    while True:
        page = await client.get(listed.path, {**listed.selector, "limit": str(PAGE), **({"continue": token} if token else {})})
        typed = ({**raw, "apiVersion": listed.version, "kind": listed.kind} for raw in page["items"])
        found += [kept for raw in typed if (kept := reduce(raw)) is not None]
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return found


def _trouble(listed: Listed, error: ApiError) -> str:
    group = listed.version.partition("/")[0] if "/" in listed.version else ""
    resource = f"{listed.path.rpartition('/')[2]}{'.' if group else ''}{group}"
    if error.status == 403:
        return f"no right to list {resource}; have a cluster admin grant the verb list on {resource}, cluster-wide"
    if error.status == 401:
        return f"the cluster does not know these credentials ({error.message or error.reason}); log in again, or give another --context"
    if error.status == 404:
        mend = "helm install laycan charts/laycan --namespace laycan-system --create-namespace"
        return f"this cluster does not serve {listed.version}, so Laycan is not installed here; {mend}, or give another --context"
    if error.status == 0:
        return f"no cluster answers: {error.message}; see whether it runs, and give --context or --kubeconfig for another"
    return f"{resource} cannot be listed: {error}"
