"""Archives: what a build sends to a builder, and what a live update sends into a container.

Reads the disk on the caller's thread, keeps nothing. Every engine that copies files goes through here, so that one
walk and one set of rules decide what is in a context and what is in an update.

Entries belong to an owner by number (root, if nothing else is said) and keep permission bits, modification time and
symlinks; sockets, pipes and devices are left out. GNU format, because busybox cuts the long names of pax archives.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from ipytilt.core.paths import Matcher
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Copy
from ipytilt.errors import Rejected, Unavailable

_CHUNK = 256 * 1024
_WHOLE_FILE_LIMIT = 5_000_000  # up to here a file is read at once, so that its size and content agree
_IN_MEMORY_LIMIT = 64_000_000  # what one archive may hold of them
_TO_MEND = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EINVAL}
_NOT_BELOW = {errno.ENOTDIR, errno.ELOOP}  # a file, or a link that leads nowhere, in the place of a directory
_ANOTHER_KIND = {errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EINVAL}  # EINVAL: readlink() of no link


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
        """Add a local file, link or directory as `/name`; skip anything else.

        Raises OSError if it cannot be read; FileNotFoundError also if it is something else by now.
        """
        try:
            self._add(name, path, status)
        except OSError as problem:
            if problem.errno in _ANOTHER_KIND:
                raise FileNotFoundError(problem.errno, problem.strerror, path) from problem
            raise

    def _add(self, name: str, path: str, status: os.stat_result) -> None:
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
        self.size += _header_size(info) + info.size + -info.size % tarfile.BLOCKSIZE
        self.names.append(f"/{info.name}/" if info.isdir() else f"/{info.name}")

    def _content(self, path: str, size: int) -> bytes | None:
        """The file's content, or None if it is to be read later."""
        with open(path, "rb", buffering=0) as file:
            if size > min(_WHOLE_FILE_LIMIT, self._free):
                return None
            try:
                content = file.read(size + 1)  # as much as there is to be, as room for more costs more than reading
                if len(content) > size:
                    content += file.read(_WHOLE_FILE_LIMIT - len(content))
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
            except (FileNotFoundError, NotADirectoryError):
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


class Placed(NamedTuple):
    """The copies of a live update by what the disk says of each now, without duplicates.

    Attributes:
        removals: container paths of which nothing is left; none of them below another.
        directories: what has to be a directory itself, parents first.
        files: files and links.
    """

    removals: tuple[str, ...]
    directories: tuple[Copy, ...]
    files: tuple[Copy, ...]


def placed(copies: Iterable[Copy], *, engine: str) -> Placed:
    """Look at each local path; of several copies to one container path the last one counts.

    What is below a link, or below what was a directory once, goes with that: it is the link that is brought instead,
    and whatever was there before is removed. It may be a directory again in a moment, but then all in it is new.

    Raises Rejected if something cannot be looked at, or if the container's root would have to be removed.
    """
    removals: dict[str, None] = {}
    directories: list[Copy] = []
    files: list[Copy] = []
    wanted = {clean(copy.container): copy for copy in copies}
    passable: dict[str, bool] = {}
    blockers: dict[tuple[str, str], str] = {}
    for target, copy in list(wanted.items()):
        where = posixpath.dirname(copy.local), copy.root
        if where not in blockers:
            blockers[where] = _in_the_way(*where, passable=passable)
        if blocker := blockers[where]:
            place = target[: len(target) - len(copy.local) + len(blocker)]
            del wanted[target]
            wanted.setdefault(place, Copy(blocker, place, copy.root))
            removals[place] = None
    gone: set[str] = set()
    for target, copy in sorted(wanted.items()):
        is_below_one = any(above in removals for above in _above(target))
        if is_below_one and posixpath.dirname(copy.local) in gone:  # if it is there by now, that is another change
            gone.add(copy.local)
            continue
        try:
            with readable(engine):
                mode = os.lstat(copy.local).st_mode
        except FileNotFoundError:
            if target == "/":
                problem = (
                    f"{copy.local} is gone, and as it is synced to {target}, all of the container would be removed"
                )
                raise Rejected(problem, engine=engine, hint="sync to a directory of its own") from None
            gone.add(copy.local)
            if not is_below_one:
                removals[target] = None
            continue
        (directories if stat.S_ISDIR(mode) else files).append(replace(copy, container=target))
    return Placed(tuple(removals), tuple(directories), tuple(files))


def sync_archive(copies: Sequence[Copy], *, engine: str) -> tuple[Archive, Placed]:
    """What a live update sends: the archive of what exists locally, and what goes before.

    A directory has an entry of its own only if it is empty: an entry would change mode and time of a directory that
    the container's user may not own, and would put a directory in place of a link to one.

    Raises Rejected as `placed`, and naming a file that cannot be read.
    """
    sorted_out = placed(copies, engine=engine)
    archive = Archive(in_memory=_IN_MEMORY_LIMIT)
    for copy in (*sorted_out.directories, *sorted_out.files):
        with suppress(FileNotFoundError), readable(engine):
            status = os.lstat(copy.local)
            if copy.container != "/" and not (stat.S_ISDIR(status.st_mode) and _listed(copy.local)):
                archive.add(copy.container[1:], copy.local, status=status)
    return archive, sorted_out


def may_pass(problem: OSError) -> bool:
    """Whether a local file that cannot be read may be readable a moment later, with nobody mending it."""
    return problem.errno not in _TO_MEND


def clean(container_path: str) -> str:
    """The absolute container path without double slashes and dots."""
    return "/" + posixpath.normpath(container_path).lstrip("/")


@contextmanager
def readable(engine: str) -> Iterator[None]:
    """Turn an OSError about a local file into `Rejected` if somebody has to mend it, else into `Unavailable`.

    That a file is not there is for the caller.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as problem:
        if problem.errno in _NOT_BELOW:
            raise FileNotFoundError(problem.errno, problem.strerror, problem.filename) from problem
        message = f"cannot read {problem.filename}: {problem.strerror}"
        if may_pass(problem):
            raise Unavailable(message, engine=engine) from problem
        hint = "make it readable, or leave it out with an ignore rule"
        raise Rejected(message, engine=engine, hint=hint) from problem


def _in_the_way(directory: str, root: str, *, passable: dict[str, bool]) -> str:
    """What is no directory from `directory` up to `root`, the topmost of it; "" for nothing."""
    found = ""
    while root and len(directory) > len(root):
        if directory not in passable:
            try:
                passable[directory] = stat.S_ISDIR(os.lstat(directory).st_mode)
            except OSError:
                passable[directory] = True
        if not passable[directory]:
            found = directory
        directory = posixpath.dirname(directory)
    return found


def _above(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _header_size(info: tarfile.TarInfo) -> int:
    longest = max(len(os.fsencode(info.name)), len(os.fsencode(info.linkname)))
    return tarfile.BLOCKSIZE if longest < tarfile.LENGTH_NAME else len(_header(info))  # a directory's gets a slash


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):  # gone, or something else, since it was seen
        return []
