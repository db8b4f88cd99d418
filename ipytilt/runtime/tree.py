"""A tree of files kept in sight: the disk compared with the manifest, again and again.

A tree belongs to one thread, which calls `changes` in a loop (see `runtime.watcher`); `want` and `stop` may be called
from any other. `PolledTree` looks at everything now and then; `runtime.inotify` adds a kernel that says when and where.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ipytilt.core.steps import Watch
from ipytilt.runtime.manifest import Manifest
from ipytilt.runtime.scope import Scope, survey

_POLL_SECONDS = 1.0
_POLL_SHARE = 10
"""Polling takes at most one part in so many of a core."""

Changes: TypeAlias = dict[str, bool]
"""Real paths that changed; False if more is likely to come (a file still being written)."""

Trouble: TypeAlias = Callable[[str, str], None]
"""Takes the name of a watch and what is wrong with it; "" when nothing is any more."""


class Request(NamedTuple):
    """What to look at from now on.

    Attributes:
        since_ns: files not seen before count as changed if they changed since then (`clock_ns`; None: all do).
        known: what another tree saw of these files last.
        why: per root, what the user should know about how it is watched.
    """

    watches: Sequence[Watch]
    since_ns: int | None
    known: Manifest | None = None
    why: Mapping[str, str] = {}


class PolledTree:
    """Files looked at once a second, less often where looking takes long.

    Attributes:
        scope: where the tree looks, and who wants to know.
        routes: scopes it left while it looked, whose watches want to know of the last changes too.
        ready: set while everything that was asked for is in sight.
    """

    def __init__(self, trouble: Trouble) -> None:
        self.scope = Scope()
        self.routes: tuple[Scope, ...] = ()
        self.ready = threading.Event()
        self.ready.set()
        self._manifest = Manifest()
        self._asked: Request = Request((), None)
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = False
        self._pause = _POLL_SECONDS
        self._trouble = trouble
        self._unreadable: dict[str, str] = {}
        self._untold = False
        self._told: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------ any thread

    def want(self, request: Request) -> None:
        """Replace what is looked at; `ready` is set once it is."""
        with self._lock:
            self._requests.append(request)
            self.ready.clear()
        self.wake()

    def stop(self) -> None:
        """Let `changes` return soon, for the last time."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """End the wait of `changes`; from any thread."""
        self._woken.set()

    # ------------------------------------------------------------------------------------------ the tree's thread

    def changes(self) -> Changes:
        """Wait until there is a reason to look, look, and return what changed."""
        self._woken.wait(self._pause)
        self._woken.clear()
        changed: Changes = {}
        started = time.monotonic()
        self._serve_requests(changed)
        self._look_again(changed)
        self._pause = max(_POLL_SECONDS, _POLL_SHARE * (time.monotonic() - started))
        self._tell()
        return changed

    def surrendered(self) -> Manifest:
        """What was known, for the tree that takes over; for a tree whose thread is at its end."""
        return self._manifest

    def close(self) -> None:
        """Give back what the tree holds; called by its thread, last."""

    def _serve_requests(self, changed: Changes) -> None:
        while self._requests and not self._stopping:
            request = self._requests[0]
            self._accept(request)
            self._lay_out(changed, request.since_ns)
            with self._lock:
                self._requests.pop(0)
                if not self._requests:
                    self.ready.set()

    def _accept(self, request: Request) -> None:
        self._asked = request
        self._untold = True
        if request.known is not None:
            self._manifest.merge(request.known)

    def _lay_out(self, changed: Changes, since_ns: int | None) -> None:
        """Find the roots on the disk as it is now, and see that all of them are in sight."""
        before, self.scope = self.scope, self._survey(since_ns)
        self._report_moved_roots(before, changed)
        self._cover(changed, since_ns=since_ns)

    def _survey(self, since_ns: int | None) -> Scope:
        del since_ns
        return survey(self._asked.watches)

    def _look_again(self, changed: Changes) -> None:
        """Compare everything with the manifest."""
        if any(map(self.scope.has_moved, self.scope.hinges)):
            self._lay_out(changed, None)
        self._cover(changed, again=True)

    def _cover(self, changed: Changes, *, since_ns: int | None = None, again: bool = False) -> None:
        """Look into every directory of the scope that is not in sight yet (or all of them `again`); lose the others."""
        seen: set[str] = set()
        for start in sorted(self.scope.starts):
            self._scan(start, changed, seen=seen, since_ns=since_ns, again=again)
        if self._stopping:
            return
        for directory in [known for known in self._manifest if known not in seen]:
            if os.path.isdir(directory):
                self._detach(directory)
                self._manifest.drop(directory)
            else:
                self._forget(directory, changed)

    def _scan(self, top: str, changed: Changes, *, seen: set[str], since_ns: int | None, again: bool) -> None:
        pending = [top]
        while pending and not self._stopping:
            directory = pending.pop()
            if directory in seen:
                continue
            seen.add(directory)
            if again or directory not in self._manifest:
                self._visit(directory, changed, since_ns)
            pending.extend(path for path in self._manifest.subdirectories(directory) if self.scope.descends(path))

    def _visit(self, directory: str, changed: Changes, since_ns: int | None) -> None:
        if directory in self._manifest:
            since_ns = None
        try:
            self._attach(directory)
            different, gone = self._manifest.list(directory, since_ns=since_ns)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(directory, changed)
        except OSError as error:
            self._unreadable[directory] = f"cannot look into {directory}: {error.strerror}"
            self._untold = True
        else:
            self._can_read(directory)
            self._lose(gone, changed)
            changed.update(dict.fromkeys(different, False))

    def _forget(self, path: str, changed: Changes) -> None:
        """All that was known at and below `path` is gone."""
        self._lose(list(self._manifest.forget(path)), changed)

    def _lose(self, gone: list[tuple[str, bool]], changed: Changes) -> None:
        for path, was_in_sight in gone:
            changed[path] = True
            self._can_read(path)
            if was_in_sight:
                self._detach(path)

    def _can_read(self, directory: str) -> None:
        self._untold = self._unreadable.pop(directory, None) is not None or self._untold

    def _report_moved_roots(self, before: Scope, changed: Changes) -> None:
        """Where a root leads elsewhere now, everything it led to has changed for those who know it by the root."""
        now = {(interest.watch, interest.given): interest.root for interest in self.scope.directories()}
        for interest in before.directories():
            root = now.get((interest.watch, interest.given), interest.root)
            if root != interest.root:
                for path in self._manifest.below(interest.root):
                    changed[root + path[len(interest.root) :]] = False

    def _attach(self, directory: str) -> None:
        """Called before a directory is listed; raises OSError if it cannot be."""

    def _detach(self, directory: str) -> None:
        """Called when a directory is out of sight."""

    def _tell(self) -> None:
        """Say what is wrong with each watch, where that changed."""
        if not self._untold:
            return
        self._untold = False
        why = self._asked.why
        texts: dict[str, list[str]] = {}
        for watch in self._asked.watches:
            texts.setdefault(watch.name, []).extend(why[root] for root in watch.roots if root in why)
        for directory, text in self._unreadable.items():
            for name in {interest.watch for interest in self.scope.interests_at(directory)}:
                texts.setdefault(name, []).append(text)
        told = {name: "; ".join(dict.fromkeys(found)) for name, found in texts.items() if found}
        for name in sorted(told.keys() | self._told.keys()):
            if told.get(name) != self._told.get(name):
                self._trouble(name, told.get(name, ""))
        self._told = told
