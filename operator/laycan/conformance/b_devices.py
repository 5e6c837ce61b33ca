"""B1 to B7: single GPUs by dynamic resource allocation. Not run where the cluster gives no level Device."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from laycan.conformance import devices
from laycan.conformance.attack import Ability, NotRun, Seen, attack
from laycan.conformance.devices import API, claims_of
from laycan.conformance.objects import EVERY_TAINT, RUN_LABELS
from laycan.conformance.scene import HOLDER, STRANGER, Scene, pods
from laycan.conformance.waiting import NeverError, until
from laycan.kube.client import ApiError
from laycan.kube.device_views import ResourceClaimView, claim_view
from laycan.resources.constants import CONTRACT_LABEL, GPU_DRIVER

_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def _told(errors: dict[str, ApiError | None]) -> str:
    return "; ".join(f"{what}: {error.status if error else 'not refused'}" for what, error in errors.items())


async def _refusals(scene: Scene, attempts: dict[str, Awaitable[Any]]) -> dict[str, ApiError | None]:
    return {what: await scene.refusal(attempt) for what, attempt in attempts.items()}


@attack("B1", "own-allocation", "403: it needs resourceclaims/binding, which no stock role has")
async def own_allocation(scene: Scene) -> Seen:
    """Somebody with every right on claims and their statuses, but not on resourceclaims/binding, cannot allocate a GPU to his own claim."""
    _, (theirs,) = await devices.deliver(scene, HOLDER)
    await _grant_status(scene, STRANGER)
    await scene.stranger.create(claims_of(STRANGER), devices.claim("own", ["GPU-none"]))
    ((pool, device),) = theirs.devices
    result = {"request": "gpus", "driver": GPU_DRIVER, "pool": pool, "device": device}
    patch = {"status": {"allocation": {"devices": {"results": [result]}}}}

    async def decided() -> ApiError | None:
        error = await scene.refusal(scene.stranger.patch_merge(f"{claims_of(STRANGER)}/own/status", patch))
        return error if error is None or '"resourceclaims/status"' not in error.message else None  # his new rights are not known yet

    error = await until("a verdict on the allocation", decided)
    return Seen(error is not None and error.status in (403, 422) and "binding" in error.message, _told({"allocation": error}))


async def _grant_status(scene: Scene, namespace: str) -> None:
    rule = {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims", "resourceclaims/status"], "verbs": ["*"]}
    meta = {"name": "claims", "labels": RUN_LABELS}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": [rule]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "claims"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": namespace}
    bound = {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
    bound.pop("rules")
    for plural, made in (("roles", role), ("rolebindings", bound)):
        error = await scene.refusal(scene.admin.create(f"{_RBAC}/namespaces/{namespace}/{plural}", made))
        if error is not None and error.status != 409:
            raise error


@attack("B2", "no-pods", "the same claim with the same GPU, before and after")
async def no_pods(scene: Scene) -> Seen:
    """A delivered claim stays allocated with no pod at all, and after a pod that used it and could be scheduled nowhere went again."""
    delivery, (before,) = await devices.deliver(scene, HOLDER)
    await scene.pod(scene.holder, HOLDER, "nowhere", **devices.using(before.name), affinity=_NOWHERE)
    place = await scene.place(HOLDER, "nowhere")
    await scene.admin.delete(f"{pods(HOLDER)}/nowhere", {"gracePeriodSeconds": 0})
    await asyncio.sleep(2)  # the claim controller would let go within one
    return _same(before, await devices.kept(scene, delivery, 1), f"a pod for it: {place}; ")


_NOWHERE = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
    {"key": "laycan-conformance.invalid", "operator": "Exists"}]}]}}}  # fmt: skip


def _same(before: ResourceClaimView, after: list[ResourceClaimView], told: str = "") -> Seen:
    same = bool(after) and (after[0].uid, after[0].devices) == (before.uid, before.devices)
    return Seen(same, f"{told}{'the same claim, kept' if same else 'not the same'}")


@attack("B2", "controllers-restart", "the same claim with the same GPU", needs=[Ability.RESTART_CONTROLLERS])
async def controllers_restart(scene: Scene) -> Seen:
    """The same through a restart of the controller manager, which clears what it takes for left over."""
    delivery, (before,) = await devices.deliver(scene, HOLDER)
    await scene.act(scene.harness.restart_controllers)
    await asyncio.sleep(5)  # its first full look
    return _same(before, await devices.kept(scene, delivery, 1))


@attack("B3", "collisions", "no device in two claims, ever; the contract has its GPU each time")
async def collisions(scene: Scene) -> Seen:
    """Strangers claim the very GPU that a contract is due, at instants spread over the whole of its hand-over."""
    _, (example,) = await devices.deliver(scene, HOLDER)
    await scene.tidy()
    ((pool, device),) = example.devices
    uuid = (await devices.cards(scene))[pool, device]
    await until("it is free", lambda: scene.gone(f"{claims_of(HOLDER)}/{example.name}"), scene.patience)
    doubled: set[tuple[str, str]] = set()
    first = lost = 0
    for number in range(scene.options.collisions):
        won, twice, delivered = await _collide(scene, uuid, number)
        first, lost, doubled = first + won, lost + (not delivered), doubled | set(twice)
    numbers = {"timed collisions": scene.options.collisions, "the stranger was first": first, "devices in two claims": len(doubled)}
    return Seen(not doubled and not lost, f"{len(doubled)} devices in two claims, {lost} contracts without their GPU", numbers)


async def _collide(scene: Scene, uuid: str, number: int) -> tuple[bool, list[tuple[str, str]], bool]:
    """Whether the stranger got the GPU for a time, devices seen in two claims, and whether the contract was delivered."""
    delay = number / scene.options.collisions  # seconds; a hand-over takes about one
    seen: list[tuple[str, str]] = []
    won = False

    async def intrude() -> None:
        await asyncio.sleep(delay)
        await scene.stranger.create(claims_of(STRANGER), devices.claim("rival", [uuid]))
        await scene.pod(scene.stranger, STRANGER, "rival", **devices.using("rival"), tolerations=EVERY_TAINT)

    rival = asyncio.create_task(intrude())
    delivery = await devices.sell(scene, HOLDER, 1)
    end, claims = time.monotonic() + scene.patience, list[ResourceClaimView]()
    while (not claims or not rival.done()) and time.monotonic() < end:
        seen += await devices.twice(scene)
        raw = await scene.find(f"{claims_of(STRANGER)}/rival")
        won = won or bool(raw and claim_view(raw).allocated)
        claims = await devices.kept(scene, delivery, 1)
    await rival
    seen += await devices.twice(scene)
    await scene.tidy()
    await until("the rival's claim is gone", lambda: scene.gone(f"{claims_of(STRANGER)}/rival"), scene.patience)
    name = claims[0].name if claims else ""
    await until("the claim is gone", lambda: scene.gone(f"{claims_of(HOLDER)}/{name}"), scene.patience)
    return won, seen, bool(claims)


@attack("B4", "claim-edits", "403 by laycan-claim-guard, or 422 for want of resourceclaims/binding; the claim is kept")
async def claim_edits(scene: Scene) -> Seen:
    """The holder, given every right on claims in his namespace, can neither delete, strip, release nor forge a contract's claim."""
    delivery, (mine,) = await devices.deliver(scene, HOLDER)
    await _grant_status(scene, HOLDER)
    path, who = f"{claims_of(HOLDER)}/{mine.name}", scene.holder
    forged = devices.claim("laycan-forged-0", ["GPU-none"])
    labelled = devices.claim("labelled", ["GPU-none"])
    labelled["metadata"]["labels"] = {CONTRACT_LABEL: delivery.uid}

    async def ready() -> bool:
        error = await scene.refusal(who.patch_merge(f"{path}/status", {"status": {"reservedFor": None}}))
        return error is None or '"resourceclaims/status"' not in error.message

    await until("he has his rights", ready)
    errors = await _refusals(
        scene,
        {
            "delete": who.delete(path),
            "label": who.patch_merge(path, {"metadata": {"labels": {CONTRACT_LABEL: None}}}),
            "finalizers": who.patch_merge(path, {"metadata": {"finalizers": None}}),
            "reservedFor": who.patch_merge(f"{path}/status", {"status": {"reservedFor": None}}),
            "allocation": who.patch_merge(f"{path}/status", {"status": {"allocation": None}}),
            "forged name": who.create(claims_of(HOLDER), forged),
            "forged label": who.create(claims_of(HOLDER), labelled),
        },
    )
    refused = all(error is not None and error.status in (403, 422) for error in errors.values())
    seen = _same(mine, await devices.kept(scene, delivery, 1))
    return Seen(refused and seen.held, f"{_told(errors)}; {seen.observed}")


@attack("B5", "other-ways", "403 for classes and administrator's access; Pending for claims and extended resources")
async def other_ways(scene: Scene) -> Seen:
    """A stranger gets a delivered GPU neither by a claim of his own, nor as nvidia.com/gpu, nor by a class or an access of his own."""
    if scene.devices is None:
        raise NotRun(f"no level Device: {scene.no_devices}")
    delivery, claims = await devices.deliver(scene, HOLDER, 2)
    node = delivery.nodes[0]
    known = await devices.cards(scene)
    uuid = known[next(iter(claims[0].devices))]
    own = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "laycan-conformance"}, "spec": {}}
    errors = await _refusals(
        scene,
        {
            "class": scene.stranger.create(f"{API}/deviceclasses", own),
            "access": scene.stranger.create(claims_of(STRANGER), devices.claim("admin", [uuid], adminAccess=True)),
        },
    )
    await scene.stranger.create(claims_of(STRANGER), devices.claim("own", [uuid]))
    await scene.pod(scene.stranger, STRANGER, "claims", **devices.using("own"), tolerations=EVERY_TAINT)
    await scene.pod(scene.stranger, STRANGER, "asks", gpus=scene.devices.gpus, node=node, tolerations=EVERY_TAINT)
    places = {name: await scene.place(STRANGER, name) for name in ("claims", "asks")}
    refused = all(error is not None and error.status in (403, 422) for error in errors.values())
    held = refused and set(places.values()) == {"nowhere"} and len(await devices.kept(scene, delivery, len(claims))) == len(claims)
    return Seen(held, f"{_told(errors)}; " + "; ".join(f"{name}: {place}" for name, place in places.items()))


@attack("B6", "re-bind", "the new claim is kept for the contract only, on another node, after the old pod went", needs=[Ability.SILENCE])
async def re_bind(scene: Scene) -> Seen:
    """A lot that leaves a silent node is claimed elsewhere only when its old pod is gone, and that pod stands in no reservation."""
    delivery, (before,) = await devices.deliver(scene, HOLDER)
    (victim,) = delivery.nodes
    made = await scene.pod(scene.holder, HOLDER, "old", **devices.using(before.name))
    await until("the old pod runs", lambda: scene.runs(HOLDER, "old"))
    await scene.act(scene.harness.silence, victim)
    try:
        await until("re-bound", lambda: _elsewhere(scene, delivery.name, victim), 120)
        both = await _new_beside_old(scene, delivery.holder, before, made["metadata"]["uid"], 5)
    finally:
        await scene.act(scene.harness.revive, victim)
    (after,) = await until("claimed elsewhere", lambda: devices.kept(scene, delivery, 1), 120)
    moved = {pool for pool, _ in after.devices} != {victim}
    gone = await scene.gone(f"{pods(HOLDER)}/old")
    where, old = "another" if moved else "the same", "gone" if gone else "there"
    observed = f"new claim while the old pod was there: {'yes' if both else 'no'}; now on {where} node, old pod {old}"
    return Seen(moved and gone and not both and not after.pods, observed)


async def _elsewhere(scene: Scene, name: str, victim: str) -> bool:
    return bool(set(await scene.bound(name)) - {victim})


async def _new_beside_old(scene: Scene, holder: str, before: ResourceClaimView, uid: str, seconds: float) -> bool:
    """Whether another claim of that name is allocated while the old pod is there."""

    async def both() -> bool:
        raw = await scene.find(f"{claims_of(holder)}/{before.name}")
        old = await scene.find(f"{pods(holder)}/old")
        new = raw is not None and raw["metadata"]["uid"] != before.uid and claim_view(raw).allocated
        return new and old is not None and old["metadata"]["uid"] == uid

    try:
        return await until("both", both, seconds)
    except NeverError:
        return False


@attack("B7", "swapped-card", "the lot gets another GPU, one that was chosen for it", needs=[Ability.SWAP_GPU])
async def swapped_card(scene: Scene) -> Seen:
    """Another card under the same device name is no delivery: the claim is let go, and the lot gets a card that is there."""
    delivery, (before,) = await devices.deliver(scene, HOLDER)
    ((pool, device),) = before.devices
    promised = (await devices.cards(scene))[pool, device]
    await scene.act(scene.harness.swap_gpu, pool, device)

    async def replaced() -> list[ResourceClaimView]:
        found = await devices.kept(scene, delivery, 1)
        return found if found and found[0].uid != before.uid else []

    (after,) = await until("another claim", replaced, scene.patience)
    cards = await devices.cards(scene)
    card = cards[next(iter(after.devices))]
    bindings = (await scene.contract(delivery.name))["status"]["bindings"]
    told = set(max(bindings, key=lambda binding: str(binding["end"])).get("devices") or ())  # those before it are history
    held = card != promised and card in told and promised not in told
    return Seen(held, "another card, as the status says" if held else f"was {promised}, is {card}, the status says {sorted(told)}")
