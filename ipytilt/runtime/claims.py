"""Claims: lock files by which the sessions of one user know what belongs to whom.

A scope (`core.claims`) has a file in a folder of the user's. Whoever has `flock` on the file *that stands at its path*
has the claim, so a killed kernel frees it. A session that wants what another holds writes who it is beside it; the
holder lets its runs end and gives it up. One that does not answer (a stopped process) is passed over by putting another
file in the place: it sees that when it wakes, and before each update it begins.

The session owns one of these. `take` and `is_ours` may be called from any thread; each `Claim` order has a thread
`ipytilt-claim`, which looks twice a second. What was taken over is not taken back without being told.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

from ipytilt.core.claims import Claim
from ipytilt.core.steps import Order
from ipytilt.engines.base import ClaimSeen, Log, Post, Stop
from ipytilt.orphans import private_directory

LOOK_SECONDS = 0.5
HAND_OVER_SECONDS = 2.0
"""A holder's runs may take so long to end before it gives a scope up."""
PATIENCE_SECONDS = 4.0
"""A holder that has not answered for so long does not answer at all."""

_INSIST_SECONDS = 0.1
_STOP_SECONDS = 1.0
_TRIES = 5
_SOMEBODY = "another session"
_open: set[int] = set()  # descriptors that may have a lock; a forked child must not keep them
_opening = threading.Lock()


def _after_fork() -> None:
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()
    _opening.release()


os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_after_fork)


class Claims:
    """The claims of one session.

    `who` describes it to others; `place` is where names mean the same thing (part of the file's name); `quiet` tells
    whether nothing of a scope that was lost is still running.
    """

    def __init__(self, who: str, *, place: Callable[[str], str], quiet: Callable[[str], bool]) -> None:
        self._who = who
        self._place = place
        self._quiet = quiet
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()

    def take(self, scope: str) -> str:
        """Claim a scope if nobody has it; returns who has it, "" if this session."""
        file = self._file(scope)
        return "" if file.take() else file.holder()

    def is_ours(self, scope: str) -> bool:
        """Nobody has taken it from us, as of now."""
        with self._lock:
            file = self._files.get(scope)
        return file is None or file.is_held()

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `base.Observer`."""
        if not isinstance(order, Claim):
            raise TypeError(f"{order} is no claim")
        keeper = _Keeper(order, self._file(order.scope), quiet=self._quiet, post=post, log=log)
        thread = threading.Thread(target=keeper.run, name="ipytilt-claim", daemon=True)
        thread.start()

        def stop() -> None:
            keeper.stopped.set()
            thread.join(_STOP_SECONDS)

        return stop

    def close(self) -> None:
        """Give everything up."""
        with self._lock:
            files = list(self._files.values())
            self._files.clear()
        for file in files:
            file.release()

    def _file(self, scope: str) -> _File:
        with self._lock:
            if scope not in self._files:
                name = sha256(f"{scope}\n{self._place(scope)}".encode()).hexdigest()[:24]
                self._files[scope] = _File(os.path.join(private_directory("-claims"), name), self._who)
            return self._files[scope]


class _Keeper:
    """One order on its thread: has the claim, waits for it, or asks for it."""

    def __init__(self, order: Claim, file: _File, *, quiet: Callable[[str], bool], post: Post, log: Log) -> None:
        self.stopped = threading.Event()
        self._scope = order.scope
        self._file = file
        self._quiet = quiet
        self._post = post
        self._log = log
        self._told: str | None = None
        self._insists = order.insist > 0
        self._waits = True  # it was not ours before, so it may be taken as soon as it is free

    def run(self) -> None:
        """Until stopped; then the claim is given up."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not self.stopped.is_set():
                by = self._look(is_late=time.monotonic() > deadline)
                if by != self._told:
                    self._tell(by)
                if not by:
                    self._insists, self._waits = False, False
                    self._file.ask_no_more()
                self.stopped.wait(_INSIST_SECONDS if self._insists else LOOK_SECONDS)
        finally:
            self._file.ask_no_more()
            self._file.release()

    def _look(self, *, is_late: bool) -> str:
        """Who has it now; "" if we do."""
        file = self._file
        if file.is_held():
            file.ask_no_more()  # somebody ran the cell again and got it
            asker = file.asker()
            if asker:
                self._hand_over(asker)
            return asker
        if self._insists:
            file.ask()
        if (self._insists or self._waits) and file.take():
            return ""
        if self._insists and is_late:
            file.seize()
            return ""
        return file.holder() if self._insists or self._waits or not self._told else self._told

    def _hand_over(self, asker: str) -> None:
        """Nothing new begins once it is told; what runs is cancelled, and has a moment to end."""
        self._tell(asker)
        deadline = time.monotonic() + HAND_OVER_SECONDS
        while not self._quiet(self._scope) and time.monotonic() < deadline:
            if self.stopped.wait(_INSIST_SECONDS):
                break
        self._file.release()

    def _tell(self, by: str) -> None:
        if by:
            self._log(f"{self._scope} is held by {by}", "warning")
        elif self._told:
            self._log(f"{self._scope} is this session's now; it was held by {self._told}", "info")
        self._told = by
        self._post(ClaimSeen(self._scope, by))


class _File:
    """The lock file of one scope, and the one beside it in which somebody asks for it. Thread-safe."""

    def __init__(self, path: str, who: str) -> None:
        self._path = path
        self._who = who
        self._held: int | None = None
        self._asking: int | None = None
        self._lock = threading.RLock()

    def take(self) -> bool:
        """Have it, if nobody else does. Without a place for lock files everybody has everything."""
        with self._lock:
            if not self.is_held():
                try:
                    self._held = self._locked(self._path)
                except OSError:
                    self._path = ""
            return self.is_held()

    def seize(self) -> None:
        """Have it, whoever has it now."""
        with self._lock, suppress(OSError):
            new = f"{self._path}.{os.getpid()}-{id(self)}"
            self._held = self._locked(new)
            os.replace(new, self._path)

    def is_held(self) -> bool:
        """It is ours, and nobody has put another file in the place; one that was tidied away is made again."""
        with self._lock:
            if self._held is not None and not _stands_at(self._held, self._path):
                _close(self._held)
                self._held = None if os.path.exists(self._path) else self._locked(self._path)
            return self._held is not None or not os.path.isabs(self._path)

    def holder(self) -> str:
        """Who has it, in words."""
        return _text_of(self._path) or _SOMEBODY

    def release(self) -> None:
        """Give it up."""
        with self._lock:
            if self.is_held() and self._held is not None:
                with suppress(OSError):
                    os.unlink(self._path)
                _close(self._held)
                self._held = None

    def ask(self) -> None:
        """Tell whoever has it that we want it; for as long as we live."""
        with self._lock, suppress(OSError):
            if self._asking is None:
                self._asking = self._locked(f"{self._path}.asks")

    def ask_no_more(self) -> None:
        """We have it, or do not want it any longer."""
        with self._lock:
            if self._asking is not None:
                with suppress(OSError):
                    os.unlink(f"{self._path}.asks")
                _close(self._asking)
                self._asking = None

    def asker(self) -> str:
        """Who else wants it, in words; "" if nobody, or nobody any longer."""
        path = f"{self._path}.asks"
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _text_of(path) or _SOMEBODY
        finally:
            os.close(descriptor)
        return ""

    def _locked(self, path: str) -> int | None:
        """Lock the file that stands at `path` and write down who we are; None if somebody else has locked it."""
        for _ in range(_TRIES):
            with _opening:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                _open.add(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as problem:
                _close(descriptor)
                if isinstance(problem, BlockingIOError):
                    return None
                raise
            if _stands_at(descriptor, path):
                with suppress(OSError):  # without room for words it still counts
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps({"who": self._who, "since": time.time()}).encode())
                return descriptor
            _close(descriptor)  # it was given up between the two calls
        return None


def _stands_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _close(descriptor: int) -> None:
    _open.discard(descriptor)
    os.close(descriptor)


def _text_of(path: str) -> str:
    """Who wrote the file and since when, for people; "" if that cannot be read (yet)."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
        return f"{found['who']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
