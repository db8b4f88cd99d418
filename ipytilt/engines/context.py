"""Archives: what a build sends to a builder, and what a live update sends into a container.

Reads the disk on the caller's thread, keeps nothing. Every engine that copies files goes through here, so that one
walk and one set of rules decide what is in a context and what is in an update.

Entries belong to an owner by number (root, if nothing else is said) and keep permission bits, modification time and
symlinks; sockets, pipes and devices are left out. GNU format, because busybox cuts the long names of pax archives.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ipytilt.core.paths import Matcher
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Copy
from ipytilt.errors import Rejected

_CHUNK = 256 * 1024
_WHOLE_FILE_LIMIT = 5_000_000  # up to here a file is read at once, so that its size and content agree
_IN_MEMORY_LIMIT = 64_000_000  # what one archive may hold of them


class Found(NamedTuple):
    """Something a walk came across: `name` is relative to the root, without leading or trailing slash."""

    name: str
    path: str
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        """A directory itself, not a link to one."""
        return stat.S_ISDIR(self.status.st_mode)


class Archive:
    """A tar archive of known size whose big files are read while it is sent.

    Attributes:
        size: bytes that iterating yields, whatever happens to the files meanwhile.
        names: absolute names of the entries, directories with a trailing slash.
        owner: user and group id of all entries; may be set until the archive is iterated.
        torn: after iterating, local paths that shrank or vanished: the rest of their content is zeros.
    """

    def __init__(self, *, in_memory: int = 0) -> None:
        """`in_memory`: bytes of file content to read when a file is added; beyond it files are read when sent."""
        self.size = 2 * tarfile.BLOCKSIZE
        self.names: list[str] = []
        self.owner = (0, 0)
        self.torn: list[str] = []
        self._entries: list[tuple[tarfile.TarInfo, bytes | None, str]] = []
        self._free = in_memory

    def add(self, name: str, path: str, *, status: os.stat_result) -> None:
        """Add a local file, link or directory as `/name`; skip anything else. Raises OSError if it cannot be read."""
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
        content: bytes | None = b""
        match stat.S_IFMT(status.st_mode):
            case stat.S_IFDIR:
                info.type = tarfile.DIRTYPE
            case stat.S_IFLNK:
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
            case stat.S_IFREG:
                content = self._content(path, status.st_size)
                info.size = status.st_size if content is None else len(content)
            case _:
                return
        self._append(info, content, path)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a file that is not on the disk."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._append(info, data, "")

    def __iter__(self) -> Iterator[bytes]:
        for info, content, path in self._entries:
            info.uid, info.gid = self.owner
            yield _header(info)
            if content is None:
                yield from self._streamed(path, info.size)
            elif content:
                yield content
            yield bytes(-info.size % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _append(self, info: tarfile.TarInfo, content: bytes | None, path: str) -> None:
        self._entries.append((info, content, path))
        self.size += len(_header(info)) + info.size + -info.size % tarfile.BLOCKSIZE
        self.names.append(f"/{info.name}/" if info.isdir() else f"/{info.name}")

    def _content(self, path: str, size: int) -> bytes | None:
        """The file's content, or None if it is to be read later."""
        with open(path, "rb", buffering=0) as file:
            if size > min(_WHOLE_FILE_LIMIT, self._free):
                return None
            try:
                content = file.read(_WHOLE_FILE_LIMIT)
            except OSError as problem:
                problem.filename = path
                raise
        self._free -= len(content)
        return content

    def _streamed(self, path: str, size: int) -> Iterator[bytes]:
        """Exactly `size` bytes: a file that grew is cut, one that shrank or vanished is filled up."""
        left = size
        with suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:
            while left and (chunk := file.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk
        if left:
            self.torn.append(path)
        while left:
            filler = bytes(min(left, _CHUNK))
            left -= len(filler)
            yield filler


def walk(root: str, matcher: Matcher | None = None) -> Iterator[Found]:
    """Everything below `root` that `matcher` does not ignore, parents first; links are not followed.

    What vanishes meanwhile is passed over. An ignored directory that may hold something re-included is looked into.
    Raises OSError for a directory that cannot be read.
    """
    pending = [("", root)]
    while pending:
        prefix, directory = pending.pop()
        below = []
        for name in _listed(directory):
            path = posixpath.join(directory, name)
            try:
                found = Found(prefix + name, path, os.lstat(path))
            except FileNotFoundError:
                continue
            if matcher is None or not matcher.ignores(path):
                yield found
            if found.is_directory and not (matcher and matcher.can_prune(path)):
                below.append((f"{found.name}/", path))
        pending.extend(reversed(below))


def context_archive(root: str, ignores: Iterable[Ignore], *, engine: str, extra: Mapping[str, bytes]) -> Archive:
    """A build context: what is below `root` ("" for nothing) and not ignored, and the `extra` files, which win.

    Raises Rejected naming what cannot be read.
    """
    archive = Archive()
    with readable(engine):
        for name, path, status in walk(root, Matcher(ignores)) if root else ():
            if name not in extra:
                with suppress(FileNotFoundError):
                    archive.add(name, path, status=status)
    for name, data in extra.items():
        archive.add_bytes(name, data)
    return archive


def sync_archive(copies: Sequence[Copy], *, engine: str) -> tuple[Archive, tuple[str, ...]]:
    """What a live update sends: the archive of what exists locally, and the container paths to remove before.

    Of several copies to one container path the last one counts. A directory stands for what is in it and has an entry
    of its own only if it is empty: an entry would change mode and time of a directory that the container's user may
    not own, and would put a directory in place of a link to one.

    Raises Rejected naming a file that cannot be read, or if the container's root would have to be removed.
    """
    archive = Archive(in_memory=_IN_MEMORY_LIMIT)
    removals = []
    for target, local in {_clean(copy.container): copy.local for copy in copies}.items():
        try:
            with readable(engine):
                _add_tree(archive, target[1:], local)
        except FileNotFoundError:
            if target == "/":
                problem = f"{local} is gone, and as it is synced to {target}, all of the container would be removed"
                raise Rejected(problem, engine=engine, hint="sync to a directory of its own") from None
            removals.append(target)
    return archive, tuple(removals)


@contextmanager
def readable(engine: str) -> Iterator[None]:
    """Turn an OSError about a local file into `Rejected`, except that it is not there: that is for the caller."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as problem:
        message = f"cannot read {problem.filename}: {problem.strerror}"
        hint = "make it readable, or leave it out with an ignore rule"
        raise Rejected(message, engine=engine, hint=hint) from problem


def _add_tree(archive: Archive, name: str, local: str) -> None:
    status = os.lstat(local)
    if not stat.S_ISDIR(status.st_mode):
        archive.add(name, local, status=status)
        return
    if name and not _listed(local):
        archive.add(name, local, status=status)
    for found in walk(local):
        if not found.is_directory or not _listed(found.path):
            with suppress(FileNotFoundError):
                archive.add(posixpath.join(name, found.name), found.path, status=found.status)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _clean(container_path: str) -> str:
    return "/" + posixpath.normpath(container_path).lstrip("/")


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):  # gone, or something else, since it was seen
        return []
