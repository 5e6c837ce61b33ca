"""The nodes: which are the fleet, what their labels leave unsaid, and what each can deliver."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from laycan.kube.device_views import uuid_of
from laycan.planning.problem import unplannable
from laycan.preflight.cluster import Cluster, Raw, labels, name
from laycan.preflight.finding import Check, Finding, Level, some
from laycan.resources.constants import GPU_DRIVER, GPU_RESOURCE, GRADE_LABEL, MANAGED_LABEL, TOPOLOGY_LABELS


def _gpu_nodes(cluster: Cluster) -> list[Raw]:
    def has_gpus(node: Raw) -> bool:
        capacity = (node.get("status") or {}).get("capacity") or {}
        return GRADE_LABEL in labels(node) or GPU_RESOURCE in capacity

    return [node for node in cluster.items["nodes"] if has_gpus(node)]


def fleet_chosen(cluster: Cluster) -> Iterator[Finding]:
    """Laycan touches no node that was not given to it."""
    if "nodes" in cluster.hidden:
        return
    unmanaged = [name(node) for node in _gpu_nodes(cluster) if labels(node).get(MANAGED_LABEL) != "true"]
    if not cluster.managed():
        do = f"kubectl label node NODE {MANAGED_LABEL}=true for each node that may be sold"
        yield Finding(Level.ERROR, "fleet-chosen", "no node is managed", "the fleet is empty: every contract is refused", do)
    elif unmanaged:
        why = "Laycan neither plans nor touches them"
        yield Finding(
            Level.INFO,
            "fleet-chosen",
            f"{len(unmanaged)} GPU nodes are not managed: {some(unmanaged)}",
            why,
            f"label them {MANAGED_LABEL}=true if they are for sale",
        )


def grade_labelled(cluster: Cluster) -> Iterator[Finding]:
    """The grade is what is sold."""
    bare = [name(node) for node in cluster.managed() if not labels(node).get(GRADE_LABEL)]
    if bare:
        why = "without a grade no product matches them: they are never bound"
        yield Finding(
            Level.ERROR,
            "grade-labelled",
            f"managed nodes without the label {GRADE_LABEL}: {some(bare)}",
            why,
            "run NVIDIA's GPU feature discovery, or label them",
        )


def grade_sold(cluster: Cluster) -> Iterator[Finding]:
    """A grade that no product names cannot be delivered."""
    if not cluster.items["computeproducts"]:
        return
    sold = {grade for product in cluster.items["computeproducts"] for grade in product["spec"].get("gpuProducts") or ()}
    unsold = Counter(str(labels(node)[GRADE_LABEL]) for node in cluster.managed() if labels(node).get(GRADE_LABEL, "") not in {"", *sold})
    for grade, count in sorted(unsold.items()):
        yield Finding(
            Level.WARNING,
            "grade-sold",
            f"{count} managed nodes are of grade {grade}",
            "no ComputeProduct lists it",
            "apply a ComputeProduct with it in gpuProducts (those of one that is there cannot be changed)",
        )


def product_delivered(cluster: Cluster) -> Iterator[Finding]:
    """A product is promised of nodes that are there, and as they are; a slip in either is seen here before a sale."""
    if "nodes" in cluster.hidden or not cluster.managed():
        return
    grades = {labels(node)[GRADE_LABEL] for node in cluster.managed() if labels(node).get(GRADE_LABEL)}
    for product in cluster.items["computeproducts"]:
        spec = product["spec"]
        nodes = [node for node in cluster.managed() if labels(node).get(GRADE_LABEL) in spec["gpuProducts"]]
        sizes = {str(((node.get("status") or {}).get("capacity") or {}).get(GPU_RESOURCE, "0")) for node in nodes} - {"0"}
        if not nodes:
            what = f"no managed node is of product {name(product)}: gpuProducts are {', '.join(spec['gpuProducts'])}"
            do = f"manage nodes of it, or make a new product with values of the label {GRADE_LABEL} ({some(grades)})"
            yield Finding(Level.WARNING, "product-delivered", what, "every contract of it is refused: ExceedsFleet", do)
        elif sizes and str(spec["nodeGpus"]) not in sizes:
            what = f"product {name(product)} has nodeGpus {spec['nodeGpus']}, its nodes have {', '.join(sorted(sizes))} GPUs"
            why = "quotes, margins and outages reckon with the loss of such a node"
            yield Finding(Level.WARNING, "product-delivered", what, why, "make a new product with the nodeGpus that they have")


def topology_labelled(cluster: Cluster) -> Iterator[Finding]:
    """A level that some nodes tell and others do not makes the others domains of their own."""
    fleet = cluster.managed()
    for level, keys in TOPOLOGY_LABELS.items():
        bare = [name(node) for node in fleet if not any(labels(node).get(key) for key in keys)]
        if not bare:
            continue
        partly = len(bare) < len(fleet)
        why = f"each of them counts as a {level} of its own" + (", unlike the others" if partly else f": scope {level} fits one node only")
        finding = Finding(
            Level.WARNING if partly else Level.INFO,
            "topology-labelled",
            f"no label of level {level} on {some(bare)}",
            why,
            f"label them with one of {', '.join(keys)}",
        )
        yield finding


def whole_gpus(cluster: Cluster) -> Iterator[Finding]:
    """Shared and partitioned GPUs are counted as what they are not."""
    for node in cluster.managed():
        if why := unplannable(node):
            yield Finding(
                Level.ERROR,
                "whole-gpus",
                f"node {name(node)} is not planned",
                why,
                "turn sharing and MIG off on it, or take the managed label away",
            )


def levels(cluster: Cluster) -> Iterator[Finding]:
    """Which level each managed node can give, and why not Device."""
    lacks = no_devices(cluster)
    uuids = published(cluster)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for node in cluster.managed():
        by_reason[lacks or uuids.get(node["metadata"]["name"], f"no ResourceSlice of {GPU_DRIVER} names it")].append(name(node))
    for reason, names in sorted(by_reason.items()):
        level, do = ("Device", "nothing") if not reason else ("Node", "install NVIDIA's DRA driver if single GPUs are to be sold")
        why = reason or "each GPU is published with its uuid"
        yield Finding(Level.INFO, "levels", f"level {level} on {len(names)} managed nodes: {some(names)}", why, do)


def no_devices(cluster: Cluster) -> str:
    """Why no node of this cluster can give exact GPUs; "" if it is not the cluster's fault."""
    if "resource.k8s.io/v1/resourceclaims" not in cluster.served:
        return "resource.k8s.io/v1 is not served"
    if GPU_DRIVER not in {each["metadata"]["name"] for each in cluster.items["deviceclasses"]}:
        return f"there is no DeviceClass {GPU_DRIVER}"
    return ""


def published(cluster: Cluster) -> dict[str, str]:
    """Node -> why its GPUs cannot be told apart; "" if they can."""
    found: dict[str, str] = {}
    for each in cluster.items["resourceslices"]:
        spec = each["spec"]
        if spec.get("driver") != GPU_DRIVER or not spec.get("nodeName"):
            continue
        bare = [device["name"] for device in spec.get("devices") or () if not uuid_of(device)]
        found[spec["nodeName"]] = f"its driver publishes no uuid for {some(bare)}" if bare else found.get(spec["nodeName"], "")
    return found


def gpus_published(cluster: Cluster) -> dict[str, int]:
    """Node -> devices that its driver publishes."""
    found: Counter[str] = Counter()
    for each in cluster.items["resourceslices"]:
        if each["spec"].get("driver") == GPU_DRIVER and each["spec"].get("nodeName"):
            found[each["spec"]["nodeName"]] += len(each["spec"].get("devices") or ())
    return dict(found)


CHECKS: tuple[Check, ...] = (fleet_chosen, grade_labelled, grade_sold, product_delivered, topology_labelled, whole_gpus, levels)
