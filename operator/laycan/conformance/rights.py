"""Least privilege, proven: what the operator was allowed to do, beside what it did.

The API server's audit log has a line for each of its requests with the verdict of RBAC. A rule that no request used is a right too
many; a request that RBAC refused is one too few. Two rights are asked of the authorizer while another request is judged, never by
one of their own: `assign` by the guard policy, `resourceclaims/binding` by the API server where a claim's reservedFor changes. An
allowed write of what they guard has used them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from laycan.kube.client import Client

Raw = Mapping[str, Any]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ASKED_WITHIN: Mapping[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {  # right -> requests that ask for it
    ("nodefences", "assign"): (("nodefences", "leaderepochs"), ("create", "patch")),
    ("resourceclaims/binding", "patch"): (("resourceclaims/status",), ("patch",)),
}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource (`pods/eviction`), in one namespace or ("") everywhere."""

    group: str
    resource: str
    verb: str
    namespace: str = ""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}{where}"


@dataclass(frozen=True, slots=True)
class Audit:
    """`used`: right -> requests. `idle`: granted and never used. `refused`: request -> how often RBAC said no."""

    used: Mapping[Right, int]
    idle: tuple[Right, ...]
    refused: Mapping[Right, int]


def requests(lines: Iterable[str], user: str) -> tuple[Counter[Right], Counter[Right]]:
    """What RBAC allowed the user and what it refused, from the lines of an audit log. Others' lines are passed over."""
    allowed: Counter[Right] = Counter()
    refused: Counter[Right] = Counter()
    for text in lines:
        event = json.loads(text)
        told = event.get("objectRef") or {}
        if event["user"]["username"] != user or not told.get("resource") or _again(event):
            continue
        resource = f"{told['resource']}/{told['subresource']}" if told.get("subresource") else told["resource"]
        right = Right(told.get("apiGroup", ""), resource, event["verb"], told.get("namespace", ""))
        decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
        (allowed if decision == "allow" else refused)[right] += 1
    return allowed, refused


def _again(event: Raw) -> bool:
    """The end of a watch, whose beginning was counted."""
    return bool(event["verb"] == "watch" and event["stage"] != "ResponseStarted")


def compare(granted: Iterable[Right], allowed: Mapping[Right, int], refused: Mapping[Right, int]) -> Audit:
    """Each granted right with the requests that it allowed, whatever their namespace where it holds everywhere."""
    used: Counter[Right] = Counter()
    rights = set(granted)
    for right in rights:
        for asked, number in allowed.items():
            same = (asked.group, asked.resource, asked.verb) == (right.group, right.resource, right.verb)
            if same and right.namespace in ("", asked.namespace):
                used[right] += number
        within, verbs = _ASKED_WITHIN.get((right.resource, right.verb), ((), ()))
        used[right] += sum(number for asked, number in allowed.items() if asked.resource in within and asked.verb in verbs)
    return Audit(
        {right: used[right] for right in sorted(used) if used[right]},
        tuple(sorted(right for right in rights if not used[right])),
        dict(refused),
    )


async def granted(client: Client, account: str, namespace: str) -> set[Right]:
    """What the roles that are bound to a ServiceAccount grant, rule by rule. Raises ApiError."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    found: set[Right] = set()
    for kind in ("clusterrolebindings", "rolebindings"):
        for each in (await client.get(f"{_RBAC}/{kind}"))["items"]:
            if subject not in (each.get("subjects") or ()):
                continue
            where = each["metadata"].get("namespace", "")
            name, kind_of_role = each["roleRef"]["name"], each["roleRef"]["kind"]
            scope = "clusterroles" if kind_of_role == "ClusterRole" else f"namespaces/{where}/roles"
            role = await client.get(f"{_RBAC}/{scope}/{name}")
            found |= {right for rule in role["rules"] for right in expand(rule, where)}
    return found


def expand(rule: Raw, namespace: str) -> set[Right]:
    """Each right of one rule."""
    groups, resources, verbs = rule["apiGroups"], rule["resources"], rule["verbs"]
    return {Right(group, resource, verb, namespace) for group in groups for resource in resources for verb in verbs}


def markdown(audit: Audit) -> str:
    """A table of rights, and what is wrong with them."""
    rows = [
        f"| {right.verb} | {right.resource} | {right.group or 'core'} | {right.namespace or 'everywhere'} | {number} |"
        for right, number in audit.used.items()
    ]
    idle = [
        f"| {right.verb} | {right.resource} | {right.group or 'core'} | {right.namespace or 'everywhere'} | not used |"
        for right in audit.idle
    ]
    refused = [f"* refused {number} times: {right}" for right, number in sorted(audit.refused.items())] or [
        "No request was refused by RBAC."
    ]
    return "\n".join(["| verb | resource | group | where | requests |", "|---|---|---|---|---|", *rows, *idle, "", *refused]) + "\n"
