"""What the cluster has of one kind in one namespace, kept up to date: a list, then a watch, again and again.

One thread per watch, shared by all orders that need it and ended with the last of them. Readers are woken and look at
the objects as they are then; so a lost change costs time and nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipytilt.core.spec import KubeContext
from ipytilt.engines.base import Stop
from ipytilt.engines.kubernetes.client import ENGINE, Client, Clients, Document, Refused
from ipytilt.engines.kubernetes.keeping import Keeper, lines
from ipytilt.errors import EngineError, Rejected, Unavailable

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0
_WATCH_SECONDS = 60  # then the server ends the watch, and it goes on from where it was
_SILENCE_SECONDS = 75.0  # without that end: the connection is dead
_GONE = 410


class Watch(Keeper):
    """The objects at one path of the API. Read from any thread; `readers` are called on the watch's own."""

    def __init__(self, client: Client, path: str, doubt: Callable[[], None]) -> None:
        super().__init__(first=_FIRST_DELAY, longest=_LONGEST_DELAY)
        self.readers: list[Callable[[], None]] = []
        self.problem = ""
        self.listed = False
        self._client = client
        self._path = path
        self._doubt = doubt
        self._objects: dict[str, Document] = {}
        self._guard = threading.Lock()

    def objects(self) -> tuple[Document, ...]:
        """Everything that was there when the cluster last said anything."""
        with self._guard:
            return tuple(self._objects.values())

    def turn(self) -> bool:
        """List, then follow what changes until the version we have is too old to go on from."""
        answer = self._client.call("GET", self._path)
        with self._guard:
            self._objects = {item["metadata"]["uid"]: _slim(item) for item in answer.get("items") or ()}
            self.listed, self.problem = True, ""
        self._tell()
        version = answer["metadata"]["resourceVersion"]
        while version and not self.stopped.is_set():
            version = self._follow(version)
        return False

    def failed(self, problem: EngineError) -> bool:
        """Whoever looks after the cluster's health looks at once; only what it refuses is said here."""
        self.problem = problem.message if isinstance(problem, Rejected) else ""
        self._doubt()
        self._tell()
        return False

    def _follow(self, version: str) -> str:
        """Take in what changes after `version`; returns where to go on, or "" if only a new list helps."""
        query = [
            ("watch", "1"),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        try:
            answer = self._client.open("GET", self._path, query=query, timeout=_SILENCE_SECONDS)
        except Refused as refused:
            if refused.status == _GONE:
                return ""
            raise
        self.recovered()
        for line in lines(self.chunks(answer)):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return self._ended(event["object"])
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._take(event["type"], event["object"])
        return version

    def _ended(self, status: Document) -> str:
        if status.get("code") == _GONE:
            return ""
        raise Unavailable(str(status.get("message") or "the cluster ended a watch"), engine=ENGINE)

    def _take(self, kind: str, item: Any) -> None:
        with self._guard:
            if kind == "DELETED":
                self._objects.pop(item["metadata"]["uid"], None)
            else:
                self._objects[item["metadata"]["uid"]] = _slim(item)
        self._tell()

    def _tell(self) -> None:
        for reader in tuple(self.readers):
            reader()


@dataclass
class _Entry:
    watch: Watch
    stop: Stop


class Watches:
    """The watches that are needed now. All methods may be called from any thread."""

    def __init__(self, clients: Clients, doubt: Callable[[KubeContext], None]) -> None:
        self._clients = clients
        self._doubt = doubt
        self._lock = threading.Lock()
        self._entries: dict[tuple[KubeContext, str], _Entry] = {}

    def hold(self, context: KubeContext, path: str, reader: Callable[[], None]) -> tuple[Watch, Stop]:
        """The watch of a path, which calls `reader` after each change until the second thing returned is called."""
        key = (context, path)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                watch = Watch(self._clients.of(context), path, lambda: self._doubt(context))
                entry = self._entries[key] = _Entry(watch, watch.start(f"ipytilt-watch-{path.rpartition('/')[2]}"))
            entry.watch.readers.append(reader)
        reader()

        def release() -> None:
            with self._lock:
                entry.watch.readers.remove(reader)
                is_last = not entry.watch.readers
                if is_last:
                    del self._entries[key]
            if is_last:
                entry.stop()

        return entry.watch, release

    def renew(self, context: KubeContext) -> None:
        """Connect all watches of a context anew: it was away, and what they read from may be dead."""
        with self._lock:
            watches = [entry.watch for (of, _), entry in self._entries.items() if of == context]
        for watch in watches:
            watch.cut()


def _slim(item: Any) -> Document:
    item["metadata"].pop("managedFields", None)
    return dict(item)
