"""Directory trees that stand for images and containers: copy them, write into them, never step out of them.

Called on the threads of `sandbox` and `sandbox_image`; keeps nothing. A tree may contain any symbolic link, also one
that a running container changes while we look: `Root` therefore goes one component at a time, from an open directory
to the next, and reads every link as the container would. Files appear whole, by renaming.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import posixpath
import secrets
import shutil
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import IO, Any

from ipytilt.core.paths import Matcher
from ipytilt.engines.compare import Seen
from ipytilt.engines.context import walk

_CHUNK = 1 << 18
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
_MAX_LINKS = 40


_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
_MAX_LINKS = 40


NOTHING = Matcher(())
"""Leaves nothing out."""

# ---------------------------------------------------------------------------------------------- whole trees


def clone_tree(source: str, target: str, *, share: bool) -> None:
    """Copy the content of one directory into another, which need not exist.

    With `share`, files are hard links: only for trees whose files are replaced, never written to. Else each is a copy
    of its own, made by reference where the file system can. Whiteouts (what an overlay hides) are kept.
    """
    os.makedirs(target, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            path = os.path.join(target, entry.name)
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                clone_tree(entry.path, path, share=share)
            elif stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(entry.path), path)
            elif stat.S_ISREG(status.st_mode):
                if share:
                    os.link(entry.path, path)
                else:
                    _copy_file(entry.path, path)
            elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                os.mknod(path, stat.S_IFCHR)
            if os.geteuid() == 0 and os.path.lexists(path):
                os.lchown(path, status.st_uid, status.st_gid)
    shutil.copystat(source, target)


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb") as reading, open(target, "xb") as writing:
        try:
            fcntl.ioctl(writing, _FICLONE, reading.fileno())
        except OSError:
            shutil.copyfileobj(reading, writing)
    shutil.copystat(source, target)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, also where its owner is locked out; nothing there is fine."""

    def unlock(_: Any, name: str, __: Any) -> None:
        with suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)

    shutil.rmtree(path, onerror=unlock)


def fingerprint(path: str, ignores: Matcher | None = None) -> str:
    """A digest of a file or of all that is below a directory: names, modes, links and content, no times."""
    digest = hashlib.sha256()
    status = os.lstat(path)
    inside = walk(path, ignores) if stat.S_ISDIR(status.st_mode) else ()
    for name, local, found in (("", path, status), *inside):
        digest.update(f"{name}\0{found.st_mode:o}\0".encode(errors="surrogateescape"))
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(found.st_mode):
                digest.update(os.fsencode(os.readlink(local)) + b"\0")
            elif stat.S_ISREG(found.st_mode):
                with open(local, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def resolve(path: str, roots: tuple[str, ...]) -> str:
    """An absolute path with its symbolic links followed inside `roots`, where an earlier root hides a later one.

    Only for trees nobody changes meanwhile. What does not exist stays as it is written.
    """
    done: list[str] = []
    todo = deque(path.split("/"))
    links = 0
    while todo:
        name = todo.popleft()
        if name in {"", "."}:
            continue
        if name == "..":
            del done[-1:]
            continue
        here = "/" + "/".join([*done, name])
        found = next((root + here for root in roots if os.path.lexists(root + here)), "")
        if not os.path.islink(found):
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(found)
        if target.startswith("/"):
            done.clear()
        todo.extendleft(reversed(target.split("/")))
    return "/" + "/".join(done)


# ---------------------------------------------------------------------------------------------- writing into a tree


class Root:
    """A directory taken as `/`. All paths are absolute ones inside it; used by one thread at a time; close it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)

    def make_directory(self, path: str) -> None:
        """`mkdir -p`."""
        with self._directory(path, create=True):
            pass

    def put(self, local: str, path: str, *, ignores: Matcher | None = None, mode: int | None = None) -> None:
        """Mirror a local file, link or directory at `path`; directories merge, anything else is replaced.

        Modes (unless given; never those of directories already there) and modification times are the local ones.
        Sockets and devices are passed over, and so is what vanishes meanwhile.

        Raises:
            OSError: `filename` is the local path when that cannot be read, else the path in the tree.
        """
        try:
            status = os.lstat(local)
        except (FileNotFoundError, NotADirectoryError):
            return
        if not stat.S_ISDIR(status.st_mode):
            self._put_one(local, path, status, mode=mode)
            return
        self._put_directory(path, stat.S_IMODE(status.st_mode) if mode is None else mode)
        for found in walk(local, ignores):
            target = posixpath.join(path, found.name)
            if found.is_directory:
                self._put_directory(target, stat.S_IMODE(found.status.st_mode) if mode is None else mode)
            else:
                self._put_one(found.path, target, found.status, mode=mode)

    def put_directory(self, local: str, path: str, *, instead_of_link: bool) -> None:
        """See that `path` is a directory, made with the mode of `local`; a link there may be left to be followed.

        Raises OSError as `put`.
        """
        with suppress(FileNotFoundError, NotADirectoryError):
            self._put_directory(path, stat.S_IMODE(os.lstat(local).st_mode), instead_of_link=instead_of_link)

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Make a file with this content."""
        parent, name = posixpath.split(path)
        with self._directory(parent, create=True) as directory, _named(path):

            def make(temporary: str) -> None:
                with os.fdopen(_create(temporary, directory), "wb") as file:
                    file.write(content)
                    os.fchmod(file.fileno(), mode)

            _replace(directory, name, make=make)

    def remove(self, path: str) -> None:
        """`rm -rf`; nothing there is fine."""
        parent, name = posixpath.split(path.rstrip("/"))
        if not name:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "/")
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            self._directory(parent, create=False) as directory,
            _named(path),
        ):
            if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
                shutil.rmtree(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)

    def status(self, path: str) -> os.stat_result | None:
        """What is there, links not followed; None for nothing."""
        parent, name = posixpath.split(path)
        with suppress(FileNotFoundError, NotADirectoryError), self._directory(parent, create=False) as directory:
            return os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
        return None

    def digest(self, path: str) -> str:
        """SHA-256 of a regular file, in hex. Raises OSError."""
        parent, name = posixpath.split(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with (
            self._directory(parent, create=False) as directory,
            open(os.open(name, flags, dir_fd=directory), "rb") as file,
        ):
            return hashlib.file_digest(file, "sha256").hexdigest()

    def link(self, path: str) -> str:
        """Where a link leads. Raises OSError."""
        parent, name = posixpath.split(path)
        with self._directory(parent, create=False) as directory:
            return os.readlink(name, dir_fd=directory)

    def _put_one(self, local: str, path: str, status: os.stat_result, *, mode: int | None) -> None:
        parent, name = posixpath.split(path)
        with self._directory(parent, create=True) as directory, _named(path):
            if stat.S_ISLNK(status.st_mode):
                with suppress(FileNotFoundError):
                    text = os.readlink(local)
                    _replace(directory, name, make=lambda temporary: os.symlink(text, temporary, dir_fd=directory))
            elif stat.S_ISREG(status.st_mode):
                _put_file(local, directory, name, mode=mode)

    def _put_directory(self, path: str, mode: int, *, instead_of_link: bool = False) -> None:
        parent, name = posixpath.split(path.rstrip("/"))
        if not name:
            return
        with self._directory(parent, create=True) as directory, _named(path):
            try:
                os.mkdir(name, 0o700, dir_fd=directory)
            except FileExistsError:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                if stat.S_ISDIR(found) or (stat.S_ISLNK(found) and not instead_of_link):
                    return  # a link will be followed when something is put into it
                os.unlink(name, dir_fd=directory)
                os.mkdir(name, 0o700, dir_fd=directory)
            made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.fchmod(made, mode)
            os.close(made)

    @contextmanager
    def _directory(self, path: str, *, create: bool) -> Iterator[int]:
        """An open directory of the tree, links followed inside it."""
        opened = [os.dup(self._fd)]
        try:
            with _named(path):
                self._descend(opened, path, create=create)
            yield opened[-1]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    @staticmethod
    def _descend(opened: list[int], path: str, *, create: bool) -> None:
        todo = deque(path.split("/"))
        links = 0
        while todo:
            name = todo.popleft()
            if name in {"", "."}:
                continue
            if name == "..":
                _close_after(opened, max(1, len(opened) - 1))
                continue
            try:
                opened.append(os.open(name, _DIRECTORY, dir_fd=opened[-1]))
            except FileNotFoundError:
                if not create:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=opened[-1])
                todo.appendleft(name)
            except NotADirectoryError:
                links += 1
                found = os.stat(name, dir_fd=opened[-1], follow_symlinks=False).st_mode
                if create and stat.S_ISREG(found):
                    os.unlink(name, dir_fd=opened[-1])
                    todo.appendleft(name)
                    continue
                if not stat.S_ISLNK(found):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
                target = os.readlink(name, dir_fd=opened[-1])
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                if target.startswith("/"):
                    _close_after(opened, 1)
                todo.extendleft(reversed(target.split("/")))


class RootLook:
    """What is in a directory taken as `/` (`compare.Look`); `check` is called now and then, and may raise."""

    def __init__(self, root: Root, check: Callable[[], None]) -> None:
        self._root = root
        self._check = check

    def statuses(self, paths: Sequence[str]) -> Mapping[str, Seen]:
        """See `Look`."""
        self._check()
        found = ((path, self._root.status(path)) for path in paths)
        return {path: Seen(status.st_mode, status.st_size) for path, status in found if status}

    def digests(self, paths: Sequence[str]) -> Mapping[str, str]:
        """See `Look`."""
        return self._read(paths, self._root.digest)

    def links(self, paths: Sequence[str]) -> Mapping[str, str]:
        """See `Look`."""
        return self._read(paths, self._root.link)

    def _read(self, paths: Sequence[str], read: Callable[[str], str]) -> Mapping[str, str]:
        found = {}
        for path in paths:
            self._check()
            with suppress(OSError):
                found[path] = read(path)
        return found


def _close_after(opened: list[int], count: int) -> None:
    while len(opened) > count:
        os.close(opened.pop())


def _put_file(local: str, directory: int, name: str, *, mode: int | None) -> None:
    try:
        reading = open(local, "rb")  # noqa: SIM115 - closed below; a file that is gone is no error, one shut to us is
    except FileNotFoundError:
        return
    with closing(reading):
        status = os.fstat(reading.fileno())

        def make(temporary: str) -> None:
            with os.fdopen(_create(temporary, directory), "wb") as writing:
                writing.writelines(_chunks(reading, local))
                writing.flush()
                os.fchmod(writing.fileno(), stat.S_IMODE(status.st_mode) if mode is None else mode)
                os.utime(writing.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))

        _replace(directory, name, make=make)


def _chunks(reading: IO[bytes], local: str) -> Iterator[bytes]:
    """The content of an open file. Raises OSError naming it by `local`."""
    try:
        yield from iter(lambda: reading.read(_CHUNK), b"")
    except OSError as error:
        error.filename = local
        raise


def _create(name: str, directory: int) -> int:
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)


def _replace(directory: int, name: str, *, make: Callable[[str], None]) -> None:
    """Make something under another name and rename it: whoever looks sees the old or the new, never half of it."""
    temporary = f".ipytilt-{secrets.token_hex(8)}"
    try:
        make(temporary)
        try:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            if error.errno not in {errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}:
                raise
            shutil.rmtree(name, dir_fd=directory)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let errors name the path in the tree, where the call only knew a piece of it."""
    try:
        yield
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith("/"):
            error.filename, error.filename2 = path, None
        raise
