"""A stand-in for an API server, in front of nothing: lists and watches that misbehave as a test asks for.

Serves plain HTTP on a port of its own, one thread per request. What a real server does only after minutes or under
load (forget old versions, end watches, refuse credentials) happens here at once.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from ipytilt.core.spec import KubeContext

PODS = "/api/v1/namespaces/shop/pods"


class FakeApi:
    """The server's state; tests change it from their own thread.

    Attributes:
        asked: the paths of all requests, `watch <version>` for a watch.
        events: what open and coming watches send, in order; None ends one, and a number is the status of the next.
        refuses: status with which everything is answered (0: nothing is refused).
        token: the only one that is accepted ("": none is needed).
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.events: deque[dict[str, Any] | int | None] = deque()
        self.refuses = 0
        self.token = ""
        self.items: list[dict[str, Any]] = []
        self.version = 1
        self.ending = threading.Event()

    def lists(self) -> int:
        """How often the pods were listed."""
        return self.asked.count(PODS)

    def watched_from(self) -> list[str]:
        """The versions that watches began from."""
        return [each.removeprefix("watch ") for each in self.asked if each.startswith("watch ")]


def item(name: str, version: int = 1) -> dict[str, Any]:
    """A pod of that name, which is its uid, too."""
    return {"metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": str(version)}}


def change(kind: str, name: str, version: int) -> dict[str, Any]:
    """An event of a watch."""
    return {"type": kind, "object": item(name, version)}


EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


@contextmanager
def serving(api: FakeApi, port: int = 0) -> Iterator[int]:
    """Serve on a port, which is given."""
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = False  # so that closing it waits for what it still answers
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        api.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()
        api.ending.clear()


def kube_config(folder: Path, port: int, *, token: str = "") -> KubeContext:
    """A kube config with one context, `fake`."""
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "fake",
                "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": token} if token else {}}],
            }
        )
    )
    return KubeContext("fake", "shop", str(path))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a request."""
        found = urlparse(self.path)
        api, query = self.api, parse_qs(found.query)
        is_watch = "watch" in query
        api.asked.append(f"watch {query['resourceVersion'][0]}" if is_watch else found.path)
        if api.token and self.headers["Authorization"] != f"Bearer {api.token}":
            self._answer(401, {"message": "Unauthorized"})
        elif api.refuses:
            self._answer(api.refuses, {"message": "you may not", "reason": "Forbidden"})
        elif is_watch:
            self._watch()
        elif found.path == PODS:
            self._answer(200, {"metadata": {"resourceVersion": str(api.version)}, "items": api.items})
        else:
            self._answer(200, {"gitVersion": "v1.0.0", "items": [], "metadata": {"resourceVersion": "1"}})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _watch(self) -> None:
        if self.api.events and isinstance(status := self.api.events[0], int):
            self.api.events.popleft()
            self._answer(status, {"message": "no"})
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        event = self._next()
        while isinstance(event, dict):
            line = json.dumps(event).encode() + b"\n"
            half = len(line) // 2  # lines do not come in one piece
            for part in (line[:half], line[half:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
            event = None if event["type"] == "ERROR" else self._next()
        self.wfile.write(b"0\r\n\r\n")

    def _next(self) -> dict[str, Any] | int | None:
        while not self.api.ending.is_set():
            if self.api.events:
                return self.api.events.popleft()
            time.sleep(0.02)
        return None
