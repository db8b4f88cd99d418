"""Where the sandbox keeps its trees: what builds left, shared by the sessions of one user, and each session's own.

    <folder>/images/<key>/tree      after some instruction of a Dockerfile; never written to once it is there
    <folder>/images/<key>.lock      held, shared, by every session that uses it
    <folder>/sessions/<id>/         containers and builds under way; held by its session, gone with it

Any thread may call; one lock guards the table of held trees. Neighbours: `sandbox_image` fills it, `sandbox` owns it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from contextlib import suppress

from ipytilt.engines.cache import cache_folder
from ipytilt.engines.sandbox_files import remove_tree

KEPT_TREES = 30
"""How many trees nobody uses are kept for the next build, the latest used first."""


_FORMAT = 1  # of the cached trees: raise it when the same Dockerfile yields another tree


def default_folder() -> str:
    """`ipytilt/sandbox-FORMAT` in the user's cache directory; trees of another format are not looked at."""
    return cache_folder(f"sandbox-{_FORMAT}")


class Store:
    """The trees of one session, and its folder. Made on first use of the sandbox; `close` it."""

    def __init__(self, folder: str) -> None:
        """Raises OSError if there is no writing in `folder`."""
        self._images = os.path.join(folder, "images")
        sessions = os.path.join(folder, "sessions")
        for path in (self._images, sessions):
            os.makedirs(path, mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}
        self.session = os.path.join(sessions, secrets.token_hex(6))
        self._session_lock = _open_lock(f"{self.session}.lock")
        fcntl.flock(self._session_lock, fcntl.LOCK_EX)
        os.mkdir(self.session, 0o700)
        for name in os.listdir(sessions):
            if name.endswith(".lock") and name != os.path.basename(f"{self.session}.lock"):
                _remove_if_free(os.path.join(sessions, name.removesuffix(".lock")))

    def folder(self, prefix: str) -> str:
        """A new empty folder that ends with the session."""
        path = os.path.join(self.session, f"{prefix}-{secrets.token_hex(6)}")
        os.mkdir(path, 0o700)
        return path

    def find(self, key: str) -> str | None:
        """The tree kept under a key; from here on nobody removes it while this session lives."""
        path = os.path.join(self._images, key)
        tree = os.path.join(path, "tree")
        with self._lock:
            if key not in self._held:
                if not os.path.isdir(tree):
                    return None
                self._held[key] = _shared_lock(f"{path}.lock")
                os.utime(f"{path}.lock")
            return tree if os.path.isdir(tree) else None

    def keep(self, key: str, folder: str) -> str:
        """Keep `folder`/tree under a key; the folder is gone afterwards. If somebody was faster, theirs is taken."""
        with suppress(OSError):
            os.makedirs(os.path.join(self._images, key))
            os.rename(os.path.join(folder, "tree"), os.path.join(self._images, key, "tree"))
        remove_tree(folder)
        tree = self.find(key)
        if tree is None:
            raise OSError(f"the folder {self._images} was cleared meanwhile")
        return tree

    def prune(self) -> None:
        """Remove the trees nobody used for longest, down to `KEPT_TREES`."""
        with self._lock:
            held = set(self._held)
        locks = [entry for entry in os.scandir(self._images) if entry.name.endswith(".lock")]
        unused = [entry for entry in locks if entry.name.removesuffix(".lock") not in held]
        with suppress(FileNotFoundError):
            unused.sort(key=lambda entry: os.stat(entry.path).st_mtime, reverse=True)
        for entry in unused[KEPT_TREES:]:
            _remove_if_free(entry.path.removesuffix(".lock"))

    def close(self) -> None:
        """Remove what is the session's own and let go of the rest."""
        remove_tree(self.session)
        with self._lock:
            for descriptor in self._held.values():
                os.close(descriptor)
            self._held.clear()
        with suppress(FileNotFoundError):
            os.unlink(f"{self.session}.lock")
        os.close(self._session_lock)


def _open_lock(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _shared_lock(path: str) -> int:
    """A lock whose file is still the one of that name: another session may just have removed it."""
    while True:
        descriptor = _open_lock(path)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


def _remove_if_free(path: str) -> None:
    """Remove a folder and its lock file unless somebody holds the lock."""
    with suppress(FileNotFoundError):
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(path)
            os.unlink(f"{path}.lock")
        except BlockingIOError:
            return
        finally:
            os.close(descriptor)
