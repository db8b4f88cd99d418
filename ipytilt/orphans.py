"""What becomes of child processes when the kernel is killed: the guardian's other end, and records on disk.

`processes` reports each child before it starts, when it runs and when it is over. The guardian, a process started with
the first child and dismissed by `processes.stop_all`, ends the children of a killed kernel. Should both be killed
together, the empty files named by `guardian.record` tell the next session what to end before it starts its first child.
Called on the children's threads; starts none.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress

from ipytilt import guardian

_RESTART_SECONDS = 5.0


class _Watchlist:
    """The children that run now, as the guardian and the records on disk know them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, str] = {}
        self._guardian: subprocess.Popen[bytes] | None = None
        self._directory = ""

    def announce(self, mark: str) -> None:
        """A child with this mark is about to start: a kernel killed at any moment leaves none that is unknown."""
        with self._lock:
            self._records[mark] = guardian.record(0, 0, mark)
            self._tell(f"+{self._records[mark]}\n")

    def register(self, mark: str, pid: int) -> None:
        """It runs, as leader of the group `pid`."""
        with self._lock:
            self._records[mark] = guardian.record(pid, guardian.start_time(pid), mark)
            self._tell(f"+{self._records[mark]}\n")
            if self._directory:
                _write_record(self._directory, self._records[mark])

    def remove(self, mark: str) -> None:
        """It is over, or never started."""
        with self._lock:
            name = self._records.pop(mark)
            self._tell(f"-{name}\n")
            if self._directory:
                guardian.remove(self._directory, [name])

    def dismiss(self, deadline: float) -> None:
        """Let the guardian go: it ends at once if no child is left."""
        with self._lock:
            if self._guardian is None:
                return
            self._close(max(0.1, deadline - time.monotonic()))

    def after_fork(self) -> None:
        """In a forked child, nothing of this is ours; an open pipe would make the guardian wait for it."""
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self.__init__()  # type: ignore[misc]

    def _tell(self, line: str) -> None:
        """Start the guardian with the first line, and again if somebody killed it."""
        try:
            if self._guardian is None:
                self._start()
            self._write(line)
        except BrokenPipeError:
            self._close(_RESTART_SECONDS)
            self._start()
            self._write("".join(f"+{name}\n" for name in self._records.values()))

    def _write(self, lines: str) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.write(lines.encode())

    def _start(self) -> None:
        self._directory = private_directory()
        if self._directory:
            guardian.sweep(self._directory)
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, self._directory],
            bufsize=0,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name != guardian.VARIABLE},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _close(self, timeout: float) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._guardian.wait(timeout)
        self._guardian = None


watchlist = _Watchlist()
os.register_at_fork(after_in_child=watchlist.after_fork)


def private_directory(suffix: str = "") -> str:
    """A folder of the user's, closed to others, if possible gone after a reboot; "" if there is no such place.

    Records are kept in the one without a suffix.
    """
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        path = os.path.join(base, f"ipytilt-{os.getuid()}{suffix}")
        with suppress(OSError):
            if base:
                os.makedirs(path, mode=0o700, exist_ok=True)
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and os.access(path, os.W_OK):
                    return path
    return ""


def _write_record(directory: str, name: str) -> None:
    """Best effort: it only matters when kernel and guardian are killed together."""
    with suppress(OSError):
        os.makedirs(directory, mode=0o700, exist_ok=True)  # another session may just have tidied up
        os.close(os.open(os.path.join(directory, name), os.O_CREAT | os.O_WRONLY, 0o600))
