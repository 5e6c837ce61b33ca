"""A small API server on loopback, for commands that read and patch a few objects: no watches, no admission."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.laycan.control.apiserver import merged


class Objects:
    """`by_path` holds what GET answers; a POST adds to it, a merge patch with the right resourceVersion changes it."""

    def __init__(self, by_path: dict[str, Any]) -> None:
        self.by_path = by_path
        self.forbidden: set[str] = set()
        self.kubeconfig = self.url = ""

    def answer(self, verb: str, path: str, body: Any) -> tuple[int, Any]:
        if path in self.forbidden:
            return 403, {"reason": "Forbidden", "message": f"no right to {verb} {path}"}
        if verb == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.by_path:
                return 409, {"reason": "AlreadyExists", "message": f"{path} already exists"}
            self.by_path[path] = merged(body, {"metadata": {"resourceVersion": "1"}})
        elif path not in self.by_path:
            return 404, {"reason": "NotFound", "message": f"{path} not found"}
        elif verb == "PATCH":
            version = self.by_path[path]["metadata"]["resourceVersion"]
            if body["metadata"].get("resourceVersion", version) != version:
                return 409, {"reason": "Conflict", "message": "the object has been modified"}
            self.by_path[path] = merged(merged(self.by_path[path], body), {"metadata": {"resourceVersion": str(int(version) + 1)}})
        return 200, self.by_path[path]


@contextmanager
def serving(objects: Objects, folder: Path) -> Iterator[Objects]:
    """With a kubeconfig that leads there."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, answer = objects.answer(self.command, self.path.partition("?")[0], json.loads(raw) if raw else None)
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _handle  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    objects.url = f"http://127.0.0.1:{server.server_port}"
    cluster = {"name": "c", "cluster": {"server": objects.url}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster], "contexts": [context]}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump({**config, "users": [{"name": "u", "user": {}}]}))
    objects.kubeconfig = str(file)
    try:
        yield objects
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
