"""Linux: one inotify instance for all watches of a session, one kernel watch per directory.

`Inotify` is the system call and nothing else. `InotifyTree` keeps the manifest of `runtime.tree` up to date from its
records, which only say where to look: directories are walked when they appear (files made before the kernel watch was
there are found), forgotten with all they held when they go, and everything is compared again when the queue overflowed.
It runs on the thread of its emitter in `runtime.watcher`.

Opening and closing without writing are not asked for: walking a tree would produce them, overflow the queue, and be
answered by another walk, for ever. Moves are not paired: an entry goes in one place and comes in another, at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import time
from collections.abc import Callable
from typing import TypeAlias

from ipytilt.core.steps import Watch
from ipytilt.runtime.manifest import Manifest
from ipytilt.runtime.scope import Scope, split_roots, survey
from ipytilt.runtime.tree import Changes, PolledTree, Request, Trouble

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, MOVE_SELF = 0x100, 0x200, 0x800
OVERFLOW, IGNORED, IS_DIRECTORY = 0x4000, 0x8000, 0x4000_0000
_ONLY_DIRECTORY, _DONT_FOLLOW, _EXCLUDE_UNLINKED = 0x100_0000, 0x200_0000, 0x400_0000
_MASK = (
    MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | MOVE_SELF
    | _ONLY_DIRECTORY | _DONT_FOLLOW | _EXCLUDE_UNLINKED
)  # fmt: skip

RECORD = struct.Struct("iIII")
"""A record's fixed part: watch, mask, cookie, length of the name that follows."""

_READ_BYTES = 1 << 18
_READS_AT_ONCE = 16
_RESCAN_SHARE = 4
_LIMIT_FILE = "/proc/sys/fs/inotify/max_user_watches"

Event: TypeAlias = tuple[int, int, str]
"""Kernel watch (-1: the queue itself), mask, name of the entry ("" for the directory)."""


class OutOfWatches(Exception):
    """The kernel grants no more watches; raised for the directory that got none."""


class Inotify:
    """One instance of inotify(7).

    Raises:
        OSError: the kernel grants no instance (EMFILE), or has no inotify.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")

    def fileno(self) -> int:
        """The descriptor, readable while there are records."""
        return self._fd

    def add(self, directory: str) -> int:
        """Watch a directory; returns the number of its kernel watch, an old one if it has one.

        Raises:
            OSError: it is no readable directory, or there are too many watches (ENOSPC).
        """
        return self._checked(self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _MASK), directory)

    def remove(self, watch: int) -> None:
        """Remove a kernel watch; one that went with its directory is no error."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def read(self) -> list[Event]:
        """What is queued now, in order; nothing if nothing is."""
        events: list[Event] = []
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            position = 0
            while position < len(data):
                watch, mask, _cookie, length = RECORD.unpack_from(data, position)
                position += RECORD.size + length
                events.append((watch, mask, os.fsdecode(data[position - length : position].rstrip(b"\0"))))
        return events

    def close(self) -> None:
        """Give the instance and all its watches back."""
        os.close(self._fd)

    @staticmethod
    def _checked(result: int, subject: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), subject)
        return result


class InotifyTree(PolledTree):
    """Files whose changes the kernel reports.

    `poll` is called with what the kernel cannot report (network file systems, more directories than it grants watches
    for); it takes over with what was known.
    """

    def __init__(self, trouble: Trouble, poll: Callable[[Request], None]) -> None:
        super().__init__(trouble)
        self._kernel = Inotify()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = select.poll()
        self._poller.register(self._kernel, select.POLLIN)
        self._poller.register(self._wakeup, select.POLLIN)
        self._poll = poll
        self._polled: list[Watch] = []
        self._refused: dict[str, str] = {}
        self._directories: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._moved = False
        self._rescan_at: float | None = None
        self._rescanned_enough_until = 0.0

    @property
    def kernel_watches(self) -> int:
        """How many directories the kernel watches."""
        return len(self._numbers)

    def changes(self) -> Changes:
        """Wait for the kernel, a request or the time of a rescan; return what changed."""
        timeout = None if self._rescan_at is None else max(0.0, self._rescan_at - time.monotonic()) * 1000
        for fd, _ in self._poller.poll(timeout):
            if fd == self._wakeup:
                os.eventfd_read(self._wakeup)
        changed: Changes = {}
        self.routes = ()
        self._apply(self._kernel.read(), changed)
        self._serve_requests(changed)
        if self._moved:
            self._moved = False
            self._lay_out(changed, None)
        if self._rescan_at is not None and time.monotonic() >= self._rescan_at:
            self._rescan(changed)
        self._tell()
        return changed

    def close(self) -> None:
        """Close both descriptors; nobody may wake the tree any more."""
        with self._lock:
            self._stopping = True
            os.close(self._wakeup)
            self._wakeup = -1
        self._kernel.close()

    def wake(self) -> None:
        """End the wait of `changes`; from any thread."""
        with self._lock:
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    # ------------------------------------------------------------------------------------------ records

    def _apply(self, events: list[Event], changed: Changes) -> None:
        written: set[str] = set()
        attributes: set[str] = set()
        hinges: set[str] = set()
        for number, mask, name in events:
            if mask & OVERFLOW:
                self._rescan_at = max(time.monotonic(), self._rescanned_enough_until)
                continue
            directory = self._directories.get(number)
            if directory is None:
                continue  # of a directory that was moved or lost meanwhile
            if not name:
                self._about_itself(directory, mask, changed)
                continue
            path = os.path.join(directory, name)
            if path in self.scope.hinges:
                hinges.add(path)
            if mask & IS_DIRECTORY:
                self._about_directory(path, mask, changed)
            elif mask & ATTRIB:
                attributes.add(path)
            elif mask & CREATE and self._manifest.stamp(path) is not None:
                continue  # found by the walk of a new directory already; what is written to it comes by itself
            else:
                written.add(path)
                changed[path] = not mask & (CREATE | MODIFY)
        for path in attributes - written:
            known = self._manifest.stamp(path)
            found = self._manifest.look(path)
            # A mode or a time set on purpose; links, owners and times of access are no concern.
            if found is not None and (known is None or known[:2] != found[:2]):
                changed[path] = True
        for path in written:
            self._manifest.look(path)
        self._moved = self._moved or any(map(self.scope.has_moved, hinges))

    def _about_itself(self, directory: str, mask: int, changed: Changes) -> None:
        """A directory is gone, or one from which all looking starts was moved; the others' parents tell of moves."""
        is_start = directory in self.scope.starts
        if mask & IGNORED or (mask & MOVE_SELF and is_start):
            self._moved = self._moved or is_start
            self._forget(directory, changed)

    def _about_directory(self, path: str, mask: int, changed: Changes) -> None:
        if mask & (DELETE | MOVED_FROM):
            self._forget(path, changed)
        elif mask & (CREATE | MOVED_TO):
            changed[path] = False
            self._manifest.note_directory(path)
            # What was made in one go was found with its parent; what was moved here may replace what was known.
            if self.scope.descends(path) and (mask & MOVED_TO or path not in self._manifest):
                self._look_below(path, changed)
        elif path in self._unreadable:
            self._look_below(path, changed)

    def _look_below(self, path: str, changed: Changes) -> None:
        try:
            self._scan(path, changed, seen=set(), since_ns=None, again=True)
        except OutOfWatches:
            self._rescan_at = time.monotonic()

    def _rescan(self, changed: Changes) -> None:
        """Compare everything with the manifest; when records are lost faster than that, not all the time."""
        started = time.monotonic()
        self._rescan_at = None
        self._look_again(changed)
        finished = time.monotonic()
        self._rescanned_enough_until = finished + _RESCAN_SHARE * (finished - started)

    # ------------------------------------------------------------------------------------------ kernel watches

    def _attach(self, directory: str) -> None:
        try:
            number = self._kernel.add(directory)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise OutOfWatches(directory) from error
            raise
        # The kernel knows directories, not paths: this one may have been moved here, or have replaced another.
        moved_from = self._directories.get(number, directory)
        if moved_from != directory:
            self._numbers.pop(moved_from, None)
        replaced = self._numbers.get(directory, number)
        if replaced != number:
            self._directories.pop(replaced, None)
            self._kernel.remove(replaced)
        self._directories[number] = directory
        self._numbers[directory] = number

    def _detach(self, directory: str) -> None:
        number = self._numbers.pop(directory, None)
        if number is not None:
            del self._directories[number]
            self._kernel.remove(number)

    # ------------------------------------------------------------------------------------------ what is polled

    def _accept(self, request: Request) -> None:
        super()._accept(request)
        asked = {root for watch in request.watches for root in watch.roots}
        self._refused = {root: text for root, text in self._refused.items() if root in asked}

    def _survey(self, since_ns: int | None) -> Scope:
        told, polled = split_roots(self._asked.watches, frozenset(self._refused))
        if polled != self._polled:
            self._polled = polled
            roots = frozenset(os.path.realpath(root) for watch in polled for root in watch.roots)
            self._poll(Request(polled, since_ns, self._taken(roots), dict(self._refused)))
        return survey(told)

    def _taken(self, roots: frozenset[str]) -> Manifest:
        taken = self._manifest.take(roots)
        for directory in taken:
            self._detach(directory)
        return taken

    def _cover(self, changed: Changes, *, since_ns: int | None = None, again: bool = False) -> None:
        try:
            super()._cover(changed, since_ns=since_ns, again=again)
        except OutOfWatches as limit:
            self._refuse(str(limit))
            # What was found so far belongs to roots that are about to leave this tree.
            self.routes = (*self.routes, self.scope)
            self._lay_out(changed, since_ns)

    def _refuse(self, directory: str) -> None:
        """Leave the roots for whose sake `directory` was to be watched to polling."""
        try:
            with open(_LIMIT_FILE, encoding="ascii") as file:
                limit = file.read().strip()
        except OSError:
            limit = "?"
        for interest in self.scope.interests_at(directory):
            self._refused[interest.given] = (
                f"cannot watch all directories of {interest.given}: the kernel's limit fs.inotify.max_user_watches "
                f"({limit}) is reached, so it is polled, which takes longer to notice a change. "
                f"Try: sudo sysctl fs.inotify.max_user_watches=524288"
            )
