"""File events of a session: from the disk to batches of changed paths, one stream per watch.

The dispatcher is watchdog's, with one difference: it wakes by itself when a batch has rested (`core.batch`). It runs on
the thread `ipytilt-watcher`, applies the ignores and posts. Emitters feed it: on Linux one of our own
(`runtime.inotify`, thread `ipytilt-watcher-kernel`) and, where the kernel tells nothing, one that polls
(`ipytilt-watcher-poll`); elsewhere watchdog's own, without the events that looking at files produces. The thread that
sees changes never waits for whoever is told.

This is the only module that knows the watching library.
"""

from __future__ import annotations

import math
import os
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import EventDispatcher, EventEmitter, EventQueue, ObservedWatch
from watchdog.utils import BaseThread

from ipytilt.core.batch import Batch, Pace
from ipytilt.core.steps import Watch
from ipytilt.runtime.contents import Contents
from ipytilt.runtime.git import git_folders, is_at_work
from ipytilt.runtime.inotify import InotifyTree
from ipytilt.runtime.scope import Scope, survey
from ipytilt.runtime.tree import Changes, PolledTree, Request, Trouble

Post: TypeAlias = Callable[[str, tuple[str, ...], float], None]
MayDrop: TypeAlias = Callable[[str], bool]

_LINUX = sys.platform == "linux"
_STOP_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 0.02
_LEARNING_SECONDS = 0.005
_LONG_SECONDS = 1.0

# Not among them: opening and closing without writing (whoever looks at a file causes them), and directories' own times.
_CHANGES: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileDeletedEvent, FileClosedEvent,
    DirCreatedEvent, DirMovedEvent, DirDeletedEvent,
]  # fmt: skip
_COMPLETE = (FileMovedEvent, FileDeletedEvent, FileClosedEvent, DirDeletedEvent)
_EVERYTHING = ObservedWatch("/", recursive=True)


class Watcher:
    """All watches of one session.

    Args:
        post: called with the name of a watch, the sorted paths that changed since the last call, and the time (seconds
            since the epoch); never two calls at once. Paths are where to look, what they are now is on the disk: one
            that is gone took everything below along, and a directory may be another one than before.
        problem: called with the name of a watch and what keeps it from noticing (all) changes at once; with "" when
            that is over. From any of the watcher's threads.
        pace: how long changes rest before they are posted, where the watch says nothing of it.
        may_drop: asked with the name of a watch when files were saved and hold what they held when they were last
            posted; true leaves them out. From the watcher's thread.
    """

    def __init__(
        self, post: Post, problem: Trouble, *, pace: Pace | None = None, may_drop: MayDrop = lambda _: False
    ) -> None:
        self._problem = problem
        self._dispatcher = _Dispatcher(
            post, pace or Pace(), may_drop, lambda watch, text: self._tell("git", watch, text)
        )
        self._lock = threading.RLock()
        self._watches: dict[str, Watch] = {}
        self._main: PolledTree | _Foreign | None = None
        self._polled: PolledTree | None = None
        self._kernel_emitter: _Emitter | None = None
        self._deaf = ""
        self._troubles: dict[tuple[str, str], str] = {}
        self._stopped = False

    def set_watches(self, watches: Mapping[str, Watch], since_ns: int) -> None:
        """Watch exactly these from now on; returns at once (see `ready`).

        What stays the same is not looked at again. Files that changed since `since_ns` (see `manifest.clock_ns`) are
        reported, even those that changed before the kernel watches them.
        """
        with self._lock:
            if self._stopped or self._watches == dict(watches):
                return
            only_paces = _in_any_pace(self._watches) == _in_any_pace(watches)
            self._watches = dict(watches)
            self._dispatcher.keep(self._watches, since_ns)
            if only_paces and self._main is not None:
                return
            if self._main is None:
                self._dispatcher.start()
                self._main = self._main_tree()
            self._main.want(self._request(since_ns))

    def ready(self, timeout: float) -> bool:
        """Wait until everything asked for is in sight, at most `timeout` seconds; False if it is not."""
        deadline = time.monotonic() + timeout
        if self._main is not None and not self._main.ready.wait(timeout):
            return False
        # The main tree has handed over to the polled one before it said that it is ready.
        return self._polled is None or self._polled.ready.wait(max(0.0, deadline - time.monotonic()))

    def flush(self, timeout: float = 1.0, *, insist: bool = True) -> bool:
        """Post what has changed until now, rested or not, before this returns; False if it took too long.

        Not for what is polled: a poll looks when it looks. Unless somebody insists, a pace that was set is kept.
        """
        flush = _Flush(insist=insist)
        with self._lock:
            emitter = self._kernel_emitter
        if emitter is None or self._stopped:
            return True
        emitter.flush(flush)
        return flush.done.wait(timeout)

    def stop(self) -> None:
        """Stop all threads, in about a second at most; nothing is posted afterwards."""
        with self._lock:
            self._stopped = True
        self._dispatcher.stop()
        if self._dispatcher.is_alive():
            self._dispatcher.join(_STOP_SECONDS)

    def _request(self, since_ns: int | None) -> Request:
        watches = tuple(self._watches.values())
        return Request(
            watches, since_ns, None, {root: self._deaf for watch in watches for root in watch.roots if self._deaf}
        )

    def _main_tree(self) -> PolledTree | _Foreign:
        if not _LINUX:
            foreign = _Foreign(self._dispatcher.event_queue)
            self._dispatcher.feed(foreign.observer, "ipytilt-watcher-kernel")
            return foreign
        try:
            tree = InotifyTree(lambda watch, text: self._tell("kernel", watch, text), self._poll)
        except OSError as error:
            self._deaf = (
                f"the kernel does not report changes of files ({error.strerror}): they are polled, which takes longer. "
                "Try: sudo sysctl fs.inotify.max_user_instances=1024"
            )
            return self._polled_tree()
        self._kernel_emitter = _Emitter(self._dispatcher.event_queue, tree, self._take_over)
        self._dispatcher.feed(self._kernel_emitter, "ipytilt-watcher-kernel")
        return tree

    def _polled_tree(self) -> PolledTree:
        if self._polled is None:
            self._polled = PolledTree(lambda watch, text: self._tell("poll", watch, text))
            self._dispatcher.feed(
                _Emitter(self._dispatcher.event_queue, self._polled, self._take_over), "ipytilt-watcher-poll"
            )
        return self._polled

    def _poll(self, request: Request) -> None:
        with self._lock:
            if not self._stopped:
                self._polled_tree().want(request)

    def _take_over(self, broken: PolledTree, trace: str) -> None:
        """A bug of ours ended a tree: whatever is left to be seen is polled, by a new one."""
        with self._lock:
            if self._stopped:
                return
            self._deaf = (
                f"watching files failed inside ipytilt, they are polled from now on; please report this:\n{trace}"
            )
            if broken is self._polled:
                self._polled = None
            self._main = self._polled_tree()
            self._main.want(self._request(None)._replace(known=broken.surrendered()))

    def _tell(self, source: str, watch: str, text: str) -> None:
        with self._lock:
            self._troubles[source, watch] = text
            texts = [self._troubles.get((source, watch), "") for source in ("kernel", "poll", "git")]
        self._problem(watch, "; ".join(filter(None, texts)))


def _in_any_pace(watches: Mapping[str, Watch]) -> dict[str, Watch]:
    return {name: replace(watch, pace=None) for name, watch in watches.items()}


class _Changed(FileSystemEvent):
    """Many changed paths in one event; no two of them are the same."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, paths: Changes, *scopes: Scope) -> None:
        super().__init__(_EVERYTHING.path)
        self.paths = paths
        self.scopes = scopes
        self.at = time.monotonic()  # rest counts from here, however late the dispatcher gets to it


class _Flush(FileSystemEvent):
    """What came before this is to be posted now; `done` is set when it is."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, *, insist: bool) -> None:
        super().__init__(_EVERYTHING.path)
        self.insist = insist
        self.done = threading.Event()


class _Dispatcher(EventDispatcher):
    """watchdog's dispatcher, collecting changes per watch until they have rested."""

    def __init__(self, post: Post, pace: Pace, may_drop: MayDrop, held: Trouble) -> None:
        super().__init__()
        self.name = "ipytilt-watcher"
        self._post = post
        self._pace = pace
        self._may_drop = may_drop
        self._held = held
        self._held_since: dict[str, float] = {}
        self._batches: dict[str, Batch] = {}
        self._changed_at: dict[str, float] = {}
        self._git: dict[str, tuple[str, ...]] = {}
        self._contents = Contents()
        self._feeders: list[BaseThread] = []

    def keep(self, watches: Mapping[str, Watch], since_ns: int) -> None:
        """Collect for these watches; what was collected for the others is dropped."""
        if _LINUX:  # elsewhere a directory may stand for what is in it
            self._contents.keep(watches, since_ns)
        self._git = {name: git_folders(watch.roots) for name, watch in watches.items()}
        self._batches = {name: self._batches.get(name) or Batch() for name in watches}
        for name, watch in watches.items():
            self._batches[name].pace = watch.pace or self._pace
        self.event_queue.put((_Changed({}), _EVERYTHING))  # what rests may be due earlier now

    def feed(self, feeder: BaseThread, name: str) -> None:
        """Start a thread that puts events into `event_queue`; it is stopped with the dispatcher."""
        feeder.name = name
        feeder.daemon = True
        self._feeders.append(feeder)
        feeder.start()

    def on_thread_stop(self) -> None:
        """Stop what feeds the dispatcher; one that hangs in a file system is left behind."""
        for feeder in self._feeders:
            feeder.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for feeder in self._feeders:
            feeder.join(max(0.0, deadline - time.monotonic()))

    def run(self) -> None:
        """Take events and post batches, whichever is due, until stopped."""
        wake_at: float | None = None
        while self.should_keep_running():
            timeout = None if wake_at is None else max(0.0, wake_at - time.monotonic())
            learning = self._contents.is_learning and wake_at is None
            try:
                entry = self.event_queue.get(timeout=_LEARNING_SECONDS if learning else timeout)
            except queue.Empty:
                if learning:
                    self._contents.learn()
            else:
                self._take(entry)
                for _ in range(self.event_queue.qsize()):  # nothing has rested while there is news of it
                    self._take(self.event_queue.get_nowait())
            wake_at = self._post_due()

    def _take(self, entry: Any) -> None:
        self.event_queue.task_done()
        if entry is EventDispatcher.stop_event:
            return
        if isinstance(entry[0], _Flush):
            self._post_all(entry[0])
        else:
            self._collect(entry[0])

    def _collect(self, event: _Changed) -> None:
        batches = self._batches
        changes: dict[str, Changes] = {}
        for path, complete in event.paths.items():
            for scope in event.scopes:
                for watch, known_as in scope.routed(path):
                    changes.setdefault(watch, {})[known_as] = complete
        for watch, paths in changes.items():
            if watch in batches:
                batches[watch].add(paths, event.at)
                self._changed_at[watch] = event.at

    def _post_all(self, flush: _Flush) -> None:
        for watch, batch in self._batches.items():
            if batch.wake_at is not None and (flush.insist or batch.pace is self._pace):
                self._report(watch, batch.due(batch.wake_at))
        flush.done.set()

    def _post_due(self) -> float | None:
        """Post the batches that have rested; returns when the next one will have."""
        next_at: float | None = None
        now = time.monotonic()
        for watch, batch in self._batches.items():
            wake_at = batch.wake_at
            if wake_at is None:
                continue
            if wake_at > now:
                next_at = wake_at if next_at is None else min(next_at, wake_at)
            elif is_at_work(self._git.get(watch, ()), now - self._changed_at.get(watch, 0.0)):
                next_at = min(now + _LOOK_AGAIN_SECONDS, next_at or math.inf)
                self._hold(watch, now)
            elif self.should_keep_running():
                self._report(watch, batch.due(now))
        return next_at

    def _hold(self, watch: str, now: float) -> None:
        """Wait for git; say so once it takes long."""
        since = self._held_since.setdefault(watch, now)
        if since < now - _LONG_SECONDS:
            self._held_since[watch] = math.inf
            self._held(watch, "git is changing files; what it changes is applied when it is done")

    def _report(self, watch: str, paths: tuple[str, ...]) -> None:
        """Post what changed, without what is as it was, if that may be left out."""
        if self._held_since.pop(watch, 0.0) == math.inf:
            self._held(watch, "")
        same = self._contents.unchanged(watch, paths)
        if same and self._may_drop(watch):
            paths = tuple(path for path in paths if path not in same)
        if paths:
            self._post(watch, paths, time.time())


class _Emitter(EventEmitter):
    """The thread of a tree."""

    def __init__(self, event_queue: EventQueue, tree: PolledTree, failed: Callable[[PolledTree, str], None]) -> None:
        super().__init__(event_queue, _EVERYTHING)
        self._tree = tree
        self._failed = failed
        self._flushes: deque[_Flush] = deque()

    def flush(self, flush: _Flush) -> None:
        """Pass on what has changed until now, and let the dispatcher post it; from any thread."""
        self._flushes.append(flush)
        self._tree.wake()

    def queue_events(self, timeout: float) -> None:  # noqa: ARG002 - the tree knows how long to wait
        """Wait for changes and pass them on."""
        asked = len(self._flushes)
        if asked:
            self._tree.wake()  # so that this turn looks and does not wait
        changed = self._tree.changes()
        if changed:
            self.queue_event(_Changed(changed, self._tree.scope, *self._tree.routes))
        for _ in range(asked):
            self.queue_event(self._flushes.popleft())

    def run(self) -> None:
        """Serve the tree until stopped."""
        try:
            super().run()
        except Exception:  # noqa: BLE001 - reported as a problem of every watch
            self._failed(self._tree, traceback.format_exc())
        finally:
            self._tree.close()

    def on_thread_stop(self) -> None:
        """Wake the tree, so that it ends."""
        self._tree.stop()


class _Foreign(FileSystemEventHandler):
    """Where the kernel is not Linux: watchdog's own observer, which watches whole trees."""

    def __init__(self, event_queue: EventQueue) -> None:
        self.ready = threading.Event()
        self.observer = Observer()
        self._event_queue = event_queue
        self._request = Request((), None)
        self._scope = Scope()

    def want(self, request: Request) -> None:
        """Replace what is watched."""
        self._request = request
        self._scope = scope = survey(request.watches)
        self.observer.unschedule_all()
        for start in sorted(scope.starts):
            self.observer.schedule(self, start, recursive=start in scope.interests, event_filter=_CHANGES)
        self.ready.set()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Pass one event on, and follow roots that appear, go or lead elsewhere."""
        paths = {os.fsdecode(path): isinstance(event, _COMPLETE) for path in (event.src_path, event.dest_path) if path}
        self._event_queue.put((_Changed(paths, self._scope), _EVERYTHING))
        if any(path in self._scope.hinges and self._scope.has_moved(path) for path in paths):
            self.want(self._request)
