"""The API server and the chart: versions, kinds, CRDs, policies."""

from __future__ import annotations

from collections.abc import Iterator

from laycan.delivery.policies import COLLECTIONS, REMEDY, drifts
from laycan.preflight.cluster import Cluster
from laycan.preflight.finding import Check, Finding, Level
from laycan.resources.constants import GROUP, PLURALS

OLDEST = (1, 36)


def readable(cluster: Cluster) -> Iterator[Finding]:
    """What the caller may not read is not judged."""
    for key, why in sorted(cluster.hidden.items()):
        yield Finding(Level.WARNING, "readable", f"{key} were not checked", why, "run preflight with rights to read them")


def kubernetes_version(cluster: Cluster) -> Iterator[Finding]:
    """MutatingAdmissionPolicy is v1 since 1.36; the chart refuses anything older."""
    if cluster.version < OLDEST:
        have, need = (".".join(map(str, version)) for version in (cluster.version, OLDEST))
        why = "the policies that keep strangers off delivered nodes need MutatingAdmissionPolicy v1"
        yield Finding(
            Level.ERROR, "kubernetes-version", f"Kubernetes {have}", why, f"upgrade to {need} or newer; the chart does not install here"
        )


def policies_served(cluster: Cluster) -> Iterator[Finding]:
    """A cloud provider may have switched an API off."""
    for plural in COLLECTIONS:
        if f"admissionregistration.k8s.io/v1/{plural}" not in cluster.served:
            why = "the API server does not serve it (--runtime-config, or a feature gate)"
            yield Finding(
                Level.ERROR,
                "policies-served",
                f"{COLLECTIONS[plural]} v1 is not there",
                why,
                "ask whoever runs the API server to enable it",
            )


def chart_installed(cluster: Cluster) -> Iterator[Finding]:
    """Before an install most of the rest is about what the chart would meet."""
    if "settings" in cluster.hidden:
        return
    if not cluster.installed:
        yield Finding(
            Level.INFO, "chart-installed", "the chart is not installed", f"no ConfigMap laycan-settings in namespace {cluster.release}",
            "helm install, or name the release's --namespace; the checks below use the chart's default values",
        )  # fmt: skip
    elif cluster.settings.mode != "Enforce":
        yield Finding(
            Level.INFO, "chart-installed", f"mode {cluster.settings.mode}", "nothing is frozen, drained or refused",
            "mode: Enforce in your values, and helm upgrade with them, once the rest of this list is settled",
        )  # fmt: skip


def crds_there(cluster: Cluster) -> Iterator[Finding]:
    """All kinds of the chart, established."""
    if not cluster.installed or "customresourcedefinitions" in cluster.hidden:
        return
    known = {crd["metadata"]["name"]: crd for crd in cluster.items["customresourcedefinitions"]}
    for plural in PLURALS.values():
        crd = known.get(f"{plural}.{GROUP}")
        conditions = ((crd or {}).get("status") or {}).get("conditions") or ()
        if not any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
            what = f"CRD {plural}.{GROUP} is {'not established' if crd else 'missing'}"
            yield Finding(
                Level.ERROR, "crds-there", what, "the operator cannot read or write its records", "helm upgrade with the same values"
            )


def policies_unedited(cluster: Cluster) -> Iterator[Finding]:
    """What the operator alarms about while it runs (delivery/drift.py)."""
    if not cluster.installed or cluster.hidden.keys() & COLLECTIONS.keys():
        return
    found = {plural: cluster.items[plural] for plural in COLLECTIONS}
    for drift in drifts(found, cluster.settings.mode, cluster.settings.policy_managers):
        yield Finding(
            Level.ERROR, "policies-unedited", str(drift), "delivered nodes are held by these policies as the chart has them",
            f"{REMEDY}; a GitOps controller's field manager belongs into settings.policyManagers",
        )  # fmt: skip


CHECKS: tuple[Check, ...] = (readable, kubernetes_version, policies_served, chart_installed, crds_there, policies_unedited)
