"""What runs on the fleet, or decides about it: DaemonSets, pods from before the install, autoscalers, priorities, handover namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from laycan.kube.views import pod_view
from laycan.preflight.cluster import Cluster, Raw, labels, name
from laycan.preflight.finding import Check, Finding, Level, some
from laycan.resources.constants import DESK_LABEL, HOLDER_LABEL

HOLD_PRIORITY = "laycan-hold"
AGENT_WORDS = ("nvidia", "gpu", "dcgm", "dra-driver", "network-operator", "node-problem-detector")  # in the name of a DaemonSet
AUTOSCALERS: Mapping[str, str] = {"cluster-autoscaler": "cluster-autoscaler", "karpenter": "Karpenter"}  # word in a name -> product
TOUCH = "kubectl -n {} annotate daemonset {} laycan.dev/touched=true --overwrite"


def _on_fleet(cluster: Cluster) -> dict[str, list[Raw]]:
    """DaemonSet namespace/name -> its pods on managed nodes."""
    fleet = {node["metadata"]["name"] for node in cluster.managed()}
    found: dict[str, list[Raw]] = {}
    for pod in cluster.items["pods"]:
        if (pod["spec"].get("nodeName") or "") in fleet:
            for owner in pod["metadata"].get("ownerReferences") or ():
                if owner.get("controller") and owner.get("kind") == "DaemonSet":
                    found.setdefault(f"{pod['metadata']['namespace']}/{owner['name']}", []).append(pod)
    return found


def _restricted(spec: Mapping[str, Any]) -> bool:
    """Whether a pod's spec is steered to a holder's nodes or kept off them, in each of its terms."""
    if HOLDER_LABEL in (spec.get("nodeSelector") or {}):
        return True
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = affinity.get("nodeSelectorTerms") or ()
    return bool(terms) and all(not _may_match(term) or _keeps_off(term) for term in terms)


def _may_match(term: Mapping[str, Any]) -> bool:
    return bool(term.get("matchExpressions") or term.get("matchFields"))


def _keeps_off(term: Mapping[str, Any]) -> bool:
    return any(each["key"] == HOLDER_LABEL and each["operator"] == "DoesNotExist" for each in term.get("matchExpressions") or ())


def daemonsets(cluster: Cluster) -> Iterator[Finding]:
    """Outside exempt and agent namespaces a DaemonSet leaves a node when it is delivered; one that looks like a GPU agent must not."""
    spared = {*cluster.settings.exempt_namespaces, *cluster.settings.agent_namespaces}
    present = _on_fleet(cluster)
    for each in cluster.items["daemonsets"]:
        namespace, own = each["metadata"]["namespace"], name(each)
        if own not in present or namespace in spared:
            continue
        if any(word in own for word in AGENT_WORDS):
            why = "it looks like an agent that the GPUs need; on delivered nodes it would be taken away, and the GPUs with it"
            yield Finding(
                Level.ERROR, "daemonsets", f"DaemonSet {own} runs on managed nodes", why, f"add {namespace} to the chart's exemptNamespaces"
            )
        else:
            do = f"nothing if that is wanted; else add {namespace} to agentNamespaces (it must ask for no GPU) or exemptNamespaces"
            yield Finding(
                Level.WARNING,
                "daemonsets",
                f"DaemonSet {own} runs on managed nodes",
                "its pods leave a node while that is delivered to somebody",
                do,
            )


def untouched_daemonsets(cluster: Cluster) -> Iterator[Finding]:
    """One from before the install has no keep-off term in its template: its pods are created for delivered nodes and hang there."""
    if not cluster.installed or cluster.settings.mode != "Enforce":
        return
    spared = {*cluster.settings.exempt_namespaces, *cluster.settings.agent_namespaces}
    for each in cluster.items["daemonsets"]:
        meta = each["metadata"]
        if meta["namespace"] not in spared and not _restricted(each["spec"]["template"]["spec"]):
            why = "it is older than the install: its template lacks the keep-off term, so pods for delivered nodes hang and rollouts stall"
            yield Finding(
                Level.ERROR,
                "untouched-daemonsets",
                f"DaemonSet {name(each)}",
                why,
                "touch it once: " + TOUCH.format(meta["namespace"], meta["name"]),
            )


def agent_namespaces(cluster: Cluster) -> Iterator[Finding]:
    """In an agent namespace a DaemonSet that takes GPUs is a stranger."""
    present = _on_fleet(cluster)
    for each in cluster.items["daemonsets"]:
        pods = [pod_view(pod) for pod in present.get(name(each), ())]
        if each["metadata"]["namespace"] in cluster.settings.agent_namespaces and any(pod.gpus for pod in pods):
            why = "agents that ask for GPUs are kept off delivered nodes"
            do = "give it no GPU, or move it to an exempt namespace if it serves the node itself"
            yield Finding(Level.WARNING, "agent-namespaces", f"DaemonSet {name(each)} asks for GPUs", why, do)


def static_pods(cluster: Cluster) -> Iterator[Finding]:
    """They cannot be evicted: whoever's they are, they stay beside the holder."""
    fleet, exempt = {node["metadata"]["name"] for node in cluster.managed()}, cluster.settings.exempt_namespaces
    for pod in map(pod_view, cluster.items["pods"]):
        if pod.mirror and pod.node in fleet and pod.namespace not in exempt:
            do = "remove its manifest from the node, or move it to an exempt namespace"
            yield Finding(
                Level.WARNING,
                "static-pods",
                f"static pod {pod.namespace}/{pod.name} on {pod.node}",
                "the kubelet runs it, no eviction ends it",
                do,
            )


def pending_pods(cluster: Cluster) -> Iterator[Finding]:
    """Pending since before the install, without the keep-off term: the scheduler may preempt a holder's pod for one of them."""
    if not cluster.installed or cluster.settings.mode != "Enforce":
        return
    exempt = cluster.settings.exempt_namespaces
    bare = [
        name(pod)
        for pod in cluster.items["pods"]
        if not pod["spec"].get("nodeName") and pod["metadata"]["namespace"] not in exempt and not _restricted(pod["spec"])
    ]
    if bare:
        why = "older than the install, without the keep-off term: a holder's pod may be preempted for one that the fence then refuses"
        yield Finding(
            Level.WARNING, "pending-pods", f"{len(bare)} pending pods: {some(bare)}", why, "delete them; their controllers make them anew"
        )


def autoscalers(cluster: Cluster) -> Iterator[Finding]:
    """A node that an autoscaler removes is a failure for whoever holds it."""
    known = {crd["spec"]["group"] for crd in cluster.items["customresourcedefinitions"]}
    found = {title for word, title in AUTOSCALERS.items() for each in cluster.items["deployments"] if word in each["metadata"]["name"]}
    found |= {"Karpenter"} if "karpenter.sh" in known else set()
    for title in sorted(found):
        why = "held nodes are annotated against removal; free managed nodes are not, and a plan counts on them"
        yield Finding(Level.WARNING, "autoscalers", f"{title} is present", why, "keep the managed nodes out of what it may remove")


def handover_namespaces(cluster: Cluster) -> Iterator[Finding]:
    """A contract is refused, and nothing is steered, where the namespace of its pods is not the desk's."""
    known = {each["metadata"]["name"]: each for each in cluster.items["namespaces"]}
    wrong: dict[tuple[str, str], str] = {}
    for contract in cluster.items["computecontracts"]:
        desk, phase = contract["metadata"]["namespace"], (contract.get("status") or {}).get("phase", "")
        delivery = ((contract.get("spec") or {}).get("terms") or {}).get("delivery") or {}
        wanted = (delivery.get("handover") or {}).get("namespace", "")
        if wanted and phase in ("", "Received", "Quoted", "Accepted", "Delivering") and (why := _not_the_desks(known.get(wanted), desk)):
            wrong.setdefault((wanted, desk), f"{why}; contract {name(contract)} needs it")
    for (namespace, desk), why in sorted(wrong.items()):
        do = f"kubectl create namespace {namespace}; kubectl label namespace {namespace} {DESK_LABEL}={desk}"
        yield Finding(Level.ERROR, "handover-namespaces", f"handover namespace {namespace}", why, do)


def _not_the_desks(namespace: Raw | None, desk: str) -> str:
    if namespace is None:
        return "it does not exist"
    told = labels(namespace).get(DESK_LABEL, "")
    return "" if told == desk else f"its label {DESK_LABEL} is {told or 'missing'}, not {desk}"


def priorities(cluster: Cluster) -> Iterator[Finding]:
    """GPUs at level Device are won by priority: whoever is above the hold pod wins instead."""
    ours = {
        each["metadata"]["name"]: int(each["value"])
        for each in cluster.items["priorityclasses"]
        if each["metadata"]["name"] == HOLD_PRIORITY
    }
    if HOLD_PRIORITY not in ours:
        return
    above = [each["metadata"]["name"] for each in cluster.items["priorityclasses"] if int(each["value"]) > ours[HOLD_PRIORITY]]
    above = [each for each in above if not each.startswith("system-")]
    if above:
        why = f"their pods take a GPU that falls free before Laycan's hold pod does ({ours[HOLD_PRIORITY]}), and delay hand-overs"
        yield Finding(
            Level.WARNING,
            "priorities",
            f"PriorityClasses above {HOLD_PRIORITY}: {some(above)}",
            why,
            "keep tenants from them by a ResourceQuota with scopeSelector PriorityClass",
        )


CHECKS: tuple[Check, ...] = (
    daemonsets, untouched_daemonsets, agent_namespaces, static_pods, pending_pods, autoscalers, handover_namespaces, priorities,
)  # fmt: skip
