"""What files held when they were last reported: so that a save that changes nothing is no change.

Owned by the watcher's dispatcher (thread `ipytilt-watcher`), which asks when a batch has rested; `keep` may be called
from any thread. What a file held before its first report is learned while there is nothing else to do, from files that
have not changed since before their watch stood: of any other, a change might be on its way that would then be missed.
What is left of a batch after a few milliseconds is learned anew in the same way. Big files are not read; they count as
changed whenever somebody touched them.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Literal, TypeAlias

from ipytilt.core.paths import Matcher
from ipytilt.core.steps import Watch
from ipytilt.engines.context import walk
from ipytilt.runtime.manifest import clock_ns

Content: TypeAlias = tuple[int, bytes]
"""Mode, and a digest of the bytes (of a link: of its target; of a directory: nothing)."""

_Lesson: TypeAlias = tuple[str, Literal["first", "again"]]

_LARGEST = 1_000_000
_LEARNED_FILES = 5_000
_LEARNED_AT_ONCE = 20
_SECONDS_WHILE_SAME, _SECONDS = 0.1, 0.005
"""How long to look through a batch: longer while nothing in it has changed, as then all of it may be passed over."""

_ON_ITS_WAY_NS = 15_000_000_000  # longer than a batch may take to be reported


class Contents:
    """Contents by watch and path."""

    def __init__(self) -> None:
        self._watches: Mapping[str, Watch] = {}
        self._known: dict[str, dict[str, Content]] = {}
        self._lessons: dict[_Lesson, Iterator[None]] = {}

    @property
    def is_learning(self) -> bool:
        """Whether `learn` has something to do."""
        return bool(self._lessons)

    def keep(self, watches: Mapping[str, Watch], since_ns: int) -> None:
        """Know of these watches and no others; files changed after `since_ns` will be reported (`clock_ns`)."""
        known: dict[str, dict[str, Content]] = {}
        lessons: dict[_Lesson, Iterator[None]] = {}
        for name, watch in watches.items():
            before = self._watches.get(name)
            if before is not None and (before.roots, before.ignores) == (watch.roots, watch.ignores):
                known[name] = self._known[name]
                lessons |= {each: lesson for each, lesson in self._lessons.items() if each[0] == name}
                continue
            known[name] = {}
            before_ns = since_ns - (_ON_ITS_WAY_NS if name in self._watches else 0)
            lessons[name, "first"] = _lesson(watch, known[name], before_ns)
        self._watches, self._known, self._lessons = dict(watches), known, lessons

    def learn(self) -> None:
        """Read a few files that were never reported."""
        lessons = self._lessons
        for name, lesson in list(lessons.items())[:1]:
            for _ in range(_LEARNED_AT_ONCE):
                if next(lesson, ...) is ...:
                    lessons.pop(name, None)
                    break

    def unchanged(self, watch: str, paths: Iterable[str]) -> frozenset[str]:
        """Those of `paths` that are as they were when this was last asked of them, or learned; remembers all."""
        known = self._known.get(watch, {})
        same = set()
        began, reported_ns = time.monotonic(), clock_ns()
        left = deque(paths)
        all_same = True
        while left and time.monotonic() - began < (_SECONDS_WHILE_SAME if all_same else _SECONDS):
            path = left.popleft()
            content, before = content_of(path), known.pop(path, None)
            if content is not None:
                known[path] = content
            if content is not None and content == before:
                same.add(path)
            else:
                all_same = False
        if left:
            self._forget(watch, left, reported_ns)
        return frozenset(same)

    def _forget(self, watch: str, paths: Sequence[str], before_ns: int) -> None:
        """Learn anew what these hold, when there is time for it."""
        known = self._known.get(watch, {})
        for path in paths:
            known.pop(path, None)
        if watch in self._known:
            self._lessons[watch, "again"] = _relearned(paths, known, before_ns)


def content_of(path: str) -> Content | None:
    """What is at `path` now; None for nothing, for what is too big or cannot be read, and for special files."""
    try:
        return _read(path, os.lstat(path))
    except OSError:
        return None


def _read(path: str, status: os.stat_result) -> Content | None:
    data = b""
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFLNK:
            data = os.fsencode(os.readlink(path))
        case stat.S_IFREG:
            if status.st_size > _LARGEST:
                return None
            with open(path, "rb", buffering=0) as file:
                data = file.read(_LARGEST + 1) or b""
        case stat.S_IFDIR:
            return stat.S_IFDIR, b""
        case _:
            return None
    return status.st_mode, blake2b(data, digest_size=16).digest()


def _lesson(watch: Watch, known: dict[str, Content], before_ns: int) -> Iterator[None]:
    """Read the files of a watch one after the other, each as long as it is unchanged since `before_ns`."""
    matcher = Matcher(watch.ignores)
    left = _LEARNED_FILES
    for root in watch.roots:
        with suppress(OSError):
            for path, status in _files(root, matcher):
                if left == 0:
                    return
                left -= 1
                _learn(path, status, known, before_ns=before_ns)
                yield


def _relearned(paths: Iterable[str], known: dict[str, Content], before_ns: int) -> Iterator[None]:
    for path in paths:
        with suppress(OSError):
            _learn(path, os.lstat(path), known, before_ns=before_ns)
        yield


def _files(root: str, matcher: Matcher) -> Iterator[tuple[str, os.stat_result]]:
    if not os.path.isdir(root):
        yield root, os.lstat(root)
        return
    for found in walk(root, matcher):
        yield found.path, found.status


def _learn(path: str, status: os.stat_result, known: dict[str, Content], *, before_ns: int) -> None:
    if status.st_ctime_ns >= before_ns:
        return
    with suppress(OSError):
        content = _read(path, status)
        now = os.lstat(path)
        if content is not None and (now.st_ctime_ns, now.st_ino) == (status.st_ctime_ns, status.st_ino):
            known.setdefault(path, content)
