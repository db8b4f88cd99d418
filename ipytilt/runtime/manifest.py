"""What was last seen on disk: the memory that turns "look there" into "this changed".

A manifest belongs to one thread, that of the tree (see `runtime.tree`) that keeps it. It holds the content of whole
directories, so that a lost event, an overflowing queue or a vanished directory can be answered by comparing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from typing import TypeAlias

from ipytilt.core.paths import is_below

Stamp: TypeAlias = tuple[int, int, int, int]
"""Mode, mtime_ns, size, inode: what tells two states of a file apart without reading it; links are not followed."""

Entries: TypeAlias = dict[str, Stamp | None]
"""Name -> stamp of a file, or None for a directory (whose own times mean nothing)."""

_TICK_NS = 10_000_000


def clock_ns() -> int:
    """Now, as the kernel stamps files: its clock ticks every few milliseconds, the usual one is ahead of it."""
    try:
        return time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE of Linux
    except (AttributeError, OSError):
        return time.time_ns() - _TICK_NS


class Manifest:
    """The directories that are kept in sight, each with all its entries."""

    def __init__(self) -> None:
        self._directories: dict[str, Entries] = {}

    def __contains__(self, directory: str) -> bool:
        return directory in self._directories

    def __iter__(self) -> Iterator[str]:
        return iter(self._directories)

    def __len__(self) -> int:
        return len(self._directories)

    def stamp(self, path: str) -> Stamp | None:
        """The file's last known stamp; None for what is unknown or a directory."""
        directory, name = os.path.split(path)
        return self._directories.get(directory, {}).get(name)

    def subdirectories(self, directory: str) -> Iterator[str]:
        """The known directories directly in `directory`, kept in sight or not."""
        entries = self._directories.get(directory, {})
        return (os.path.join(directory, name) for name, stamp in entries.items() if stamp is None)

    def list(self, directory: str, *, since_ns: int | None) -> tuple[list[str], list[tuple[str, bool]]]:
        """Read `directory`, remember its entries and return what is new or different, and what is gone (as `forget`).

        With `since_ns` (a first look, see `clock_ns`) only files changed since count as different.

        Raises:
            OSError: the directory cannot be read; what is remembered of it stays.
        """
        known = self._directories.get(directory, {})
        found: Entries = {}
        different = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found[entry.name] = None
                    if since_ns is None and known.get(entry.name, ...) is not None:
                        different.append(entry.path)
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found[entry.name] = stamp = _stamp(status)
                if known.get(entry.name) != stamp and (since_ns is None or status.st_ctime_ns >= since_ns):
                    different.append(entry.path)
        lost = [name for name in known if name not in found or (known[name] is None) != (found[name] is None)]
        gone = [path for name in lost for path in self.forget(os.path.join(directory, name))]
        self._directories[directory] = found
        return different, gone

    def look(self, path: str) -> Stamp | None:
        """Stat one file, remember and return its stamp; None if it is gone, a directory now, or out of sight."""
        directory, name = os.path.split(path)
        entries = self._directories.get(directory)
        if entries is None:
            return None
        try:
            status = os.lstat(path)
        except OSError:
            if entries.get(name) is not None:
                del entries[name]
            return None
        if stat.S_ISDIR(status.st_mode):
            return None
        entries[name] = stamp = _stamp(status)
        return stamp

    def note_directory(self, path: str) -> None:
        """Remember that `path` is a directory."""
        directory, name = os.path.split(path)
        if directory in self._directories:
            self._directories[directory][name] = None

    def forget(self, path: str) -> Iterator[tuple[str, bool]]:
        """Drop `path` and all that is known below it; yields each path, and whether it was a directory in sight."""
        directory, name = os.path.split(path)
        self._directories.get(directory, {}).pop(name, None)
        pending = [path]
        while pending:
            path = pending.pop()
            entries = self._directories.pop(path, None)
            yield path, entries is not None
            pending.extend(os.path.join(path, name) for name in entries or ())

    def below(self, directory: str) -> Iterator[str]:
        """All known paths below `directory`."""
        for name, stamp in self._directories.get(directory, {}).items():
            path = os.path.join(directory, name)
            yield path
            if stamp is None:
                yield from self.below(path)

    def drop(self, directory: str) -> None:
        """Lose sight of one directory that is no longer asked for."""
        self._directories.pop(directory, None)

    def take(self, roots: frozenset[str]) -> Manifest:
        """Move what is known at and below `roots` into a manifest of its own."""
        taken = Manifest()
        for directory in [known for known in self._directories if any(is_below(known, root) for root in roots)]:
            taken._directories[directory] = self._directories.pop(directory)
        return taken

    def merge(self, other: Manifest) -> None:
        """Take over what `other` knows."""
        self._directories.update(other._directories)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mode, status.st_mtime_ns, status.st_size, status.st_ino
