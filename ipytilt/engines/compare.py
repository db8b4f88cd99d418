"""What of a live update a container lacks: the files here compared with what it has, before anything is sent.

Called on worker threads; keeps nothing. An engine says what is in its container through `Look`; what counts as a
difference is decided here, the same for all of them: the kind, permission bits and content of a file, the target of a
link, that a directory is one. Times do not count, they say nothing for sure.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from ipytilt.core.steps import Copy
from ipytilt.engines.context import clean, readable

_PERMISSIONS = 0o777
_SENT = (stat.S_IFREG, stat.S_IFLNK)


class Seen(NamedTuple):
    """What is at a path of a container, links not followed: `st_mode` and the size in bytes."""

    mode: int
    size: int


class Look(Protocol):
    """How an engine looks into a container. What cannot be told is left out of the answer."""

    def statuses(self, paths: Sequence[str]) -> Mapping[str, Seen]:
        """What is at these absolute paths; where there is nothing, nothing is said."""
        ...

    def digests(self, paths: Sequence[str]) -> Mapping[str, str]:
        """SHA-256 of these regular files, in hex."""
        ...

    def links(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Where these links lead."""
        ...


def differing(copies: Iterable[Copy], look: Look, *, engine: str) -> tuple[Copy, ...]:
    """Those of the copies that would change the container, in the order of their container paths.

    What is gone here differs if the container has something there. Of several copies to one path the last counts.
    Raises Rejected or Unavailable, as `context.readable`, for a local file that cannot be read.
    """
    wanted = {clean(copy.container): copy for copy in copies}
    seen = look.statuses(tuple(wanted))
    different: set[str] = set()
    made: set[str] = set()
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    for target, copy in wanted.items():
        status, found = _status(copy.local, engine), seen.get(target)
        if status is None:
            different |= {target} if found else set()
        elif stat.S_ISDIR(status.st_mode):
            if found is None or not (stat.S_ISDIR(found.mode) or copy.local == copy.root):  # a root may lead to a link
                made.add(target)
        elif found is None or not _is_alike(status, found):
            different |= {target} if stat.S_IFMT(status.st_mode) in _SENT else set()
        elif stat.S_ISREG(status.st_mode):
            files[target] = copy.local
        elif stat.S_ISLNK(status.st_mode):
            links[target] = copy.local
    different |= _unlike(files, look.digests(tuple(files)) if files else {}, read=_digest, engine=engine)
    different |= _unlike(links, look.links(tuple(links)) if links else {}, read=os.readlink, engine=engine)
    # What was found below a link that has to become a directory is not there once it is one.
    different |= made | {target for target in wanted if _is_below_any(target, made)}
    return tuple(copy for target, copy in sorted(wanted.items()) if target in different)


def _status(local: str, engine: str) -> os.stat_result | None:
    with suppress(FileNotFoundError), readable(engine):
        return os.lstat(local)
    return None


def _is_alike(status: os.stat_result, found: Seen) -> bool:
    """Whether it takes a look inside to tell them apart."""
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(found.mode):
        return False
    if not stat.S_ISREG(found.mode):
        return True
    return (status.st_mode ^ found.mode) & _PERMISSIONS == 0 and status.st_size == found.size


def _unlike(paths: Mapping[str, str], there: Mapping[str, str], *, read: Callable[[str], str], engine: str) -> set[str]:
    """Those container paths whose local path does not read as what is `there`."""
    different = set()
    for target, local in paths.items():
        here = None
        with suppress(FileNotFoundError), readable(engine):
            here = read(local)
        if here is None or here != there.get(target):
            different.add(target)
    return different


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_below_any(path: str, directories: set[str]) -> bool:
    while directories and path != "/":
        path = posixpath.dirname(path)
        if path in directories:
            return True
    return False
