"""From chunks of bytes to lines of text: the output of processes, containers and builds, as it comes off a pipe.

Runs on whichever thread reads the stream; imports nothing of the project.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_LINE_BYTES = 65536
_PROGRESS_SECONDS = 2.0


class Lines:
    r"""Cuts one byte stream into lines of text and hands each on without its end.

    Bytes that are not UTF-8 become U+FFFD. A line longer than `limit` bytes comes in pieces. Of text rewritten with
    `\r`, what a terminal would show in the end is delivered, and every two seconds what it shows meanwhile. Used by
    one thread at a time.
    """

    def __init__(self, deliver: Callable[[str], None], limit: int = MAX_LINE_BYTES) -> None:
        self._deliver = deliver
        self._limit = limit
        self._open = b""
        self._delivered_at = time.monotonic()

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        *whole, self._open = (self._open + data).split(b"\n")
        for line in whole:
            self._emit(line.rstrip(b"\r").rpartition(b"\r")[2])
        if b"\r" in self._open.rstrip(b"\r"):
            self._rewritten()
        while len(self._open) > self._limit:
            self._open = self._cut(self._open)

    def close(self) -> None:
        """The stream ended: deliver a last line that has no end."""
        if self._open:
            self.feed(b"\n")

    def _rewritten(self) -> None:
        shown, _, rest = self._open.rstrip(b"\r").rpartition(b"\r")
        self._open = rest + b"\r" * self._open.endswith(b"\r")
        if time.monotonic() - self._delivered_at >= _PROGRESS_SECONDS:
            self._emit(shown.rpartition(b"\r")[2])

    def _emit(self, line: bytes) -> None:
        while len(line) > self._limit:
            line = self._cut(line)
        self._delivered_at = time.monotonic()
        self._deliver(line.decode(errors="replace"))

    def _cut(self, line: bytes) -> bytes:
        """Deliver a first piece, not ending inside a character; return the rest."""
        at = next((at for at in range(self._limit, self._limit - 4, -1) if line[at] & 0xC0 != 0x80), self._limit)
        self._deliver(line[:at].decode(errors="replace"))
        return line[at:]
