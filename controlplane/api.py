"""A small client of the Kubernetes API, for set-up and tests: JSON in, JSON out, and no cache.

It stands on plain HTTP so that a test sees exactly what the server said: status code, reason and message, and so that the independent
readers of the tests share no code with the operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class ApiError(Exception):
    """The server refused: `status` is the HTTP code, `reason` and `message` are those of the Status object."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.reason, self.message = status, "", body.decode(errors="replace")
        try:
            parsed = json.loads(body)
            self.reason, self.message = parsed.get("reason", ""), parsed.get("message", self.message)
        except (ValueError, AttributeError):
            pass  # a proxy or a dying server answers in plain text
        super().__init__(f"{status} {self.reason}: {self.message}")


class Api:
    """The API server as one user sees it. Safe to use from several threads."""

    def __init__(self, kubeconfig: Path, *, as_user: str = "", as_groups: Sequence[str] = ()) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.kubeconfig, self.url = kubeconfig, cluster["server"]
        self._http = urllib3.PoolManager(
            num_pools=2,
            maxsize=8,
            ca_certs=cluster.get("certificate-authority"),
            cert_file=user.get("client-certificate"),
            key_file=user.get("client-key"),
            retries=False,
            timeout=urllib3.Timeout(connect=5, read=60),
        )
        self._headers = urllib3.HTTPHeaderDict({"Accept": "application/json"})
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        if as_user := as_user or user.get("as", ""):
            self._headers["Impersonate-User"] = as_user
        for group in as_groups or user.get("as-groups", ()):
            self._headers.add("Impersonate-Group", group)
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}  # (apiVersion, kind) -> plural name, namespaced

    def impersonating(self, user: str, *groups: str) -> Api:
        """The same server as another user sees it; needs the right to impersonate."""
        return Api(self.kubeconfig, as_user=user, as_groups=groups)

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "application/json", **query: str) -> Any:
        """Sends one request and returns the parsed answer. Raises ApiError, or urllib3's errors when there is no answer."""
        headers = self._headers.copy()
        headers["Content-Type"] = content_type
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        answer = self._http.request(method, url, body=data, headers=headers)
        if answer.status >= 400:
            raise ApiError(answer.status, answer.data)
        return json.loads(answer.data) if answer.data[:1] in (b"{", b"[") else answer.data.decode()

    def get(self, path: str, **query: str) -> Any:
        """Reads an object or a list, e.g. `/api/v1/nodes`."""
        return self.request("GET", path, **query)

    def find(self, path: str) -> Object | None:
        """Reads an object that may not exist."""
        try:
            found: Object = self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def items(self, path: str, **query: str) -> list[Object]:
        """The items of a list."""
        found: list[Object] = self.get(path, **query)["items"]
        return found

    def create(self, manifest: Mapping[str, Any], **query: str) -> Object:
        """Creates an object; its place follows from apiVersion, kind and namespace."""
        created: Object = self.request("POST", self.collection(manifest), manifest, **query)
        return created

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Creates or changes an object by server-side apply, taking the fields from other managers."""
        applied: Object = self.request(
            "PATCH", self.path(manifest), manifest, content_type=APPLY, fieldManager="controlplane", force="true"
        )
        return applied

    def patch(self, path: str, patch: object, *, content_type: str = MERGE, **query: str) -> Object:
        """Patches an object or its subresource; a merge patch unless said otherwise."""
        patched: Object = self.request("PATCH", path, patch, content_type=content_type, **query)
        return patched

    def delete(self, path: str, **options: Any) -> Any:
        """Deletes an object; options are DeleteOptions, such as `gracePeriodSeconds=0`. One that is gone already is no error."""
        try:
            return self.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def watch(self, path: str, *, seconds: int, **query: str) -> Iterator[Object]:
        """Yields watch events for so many seconds, starting with what exists now."""
        query = {"watch": "1", "timeoutSeconds": str(seconds), **query}
        answer = self._http.request("GET", f"{self.url}{path}?{urlencode(query)}", headers=self._headers, preload_content=False)
        try:
            for line in _lines(answer.stream(65_536)):
                yield json.loads(line)
        finally:
            answer.close()

    def path(self, manifest: Mapping[str, Any]) -> str:
        """Where an object of this kind, namespace and name lives."""
        return f"{self.collection(manifest)}/{manifest['metadata']['name']}"

    def collection(self, manifest: Mapping[str, Any]) -> str:
        """Where objects of this kind (and namespace) are created and listed."""
        version = manifest["apiVersion"]
        plural, namespaced = self._resource(version, manifest["kind"])
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        scope = f"/namespaces/{manifest['metadata'].get('namespace', 'default')}" if namespaced else ""
        return f"{root}{scope}/{plural}"

    def _resource(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self._plurals:
            root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
            for resource in self.get(root)["resources"]:
                if "/" not in resource["name"]:
                    self._plurals[version, resource["kind"]] = resource["name"], resource["namespaced"]
        if (version, kind) not in self._plurals:
            raise LookupError(f"the server has no kind {kind} in {version}")
        return self._plurals[version, kind]


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
