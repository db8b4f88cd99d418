"""Threads that keep something going against a cluster: turn after turn, with a pause after each failure.

A `Keeper` is one thread. Whoever starts it stops it, from any other thread, and its stop cuts off the answer it may be
reading. Answers that go on (watches, logs) are read here as chunks and lines of bytes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from ipytilt.engines.base import Stop
from ipytilt.engines.kubernetes.client import ENGINE, innermost
from ipytilt.errors import EngineError, Unavailable

_STOP_SECONDS = 1.5


class Silence(Unavailable):
    """Nothing came for longer than was waited for: the connection may be dead without knowing."""


class Keeper:
    """A thread that takes turns until everything is done or it is stopped.

    Attributes:
        stopped: set once it is to end.
        woken: set by whoever has news, and when it is to end.
        delay: seconds to wait after a failed turn; doubles up to the longest, and is to be reset by a good one.
    """

    def __init__(self, *, first: float, longest: float) -> None:
        self.stopped = threading.Event()
        self.woken = threading.Event()
        self.delay = self._first = first
        self._longest = longest
        self._lock = threading.Lock()
        self._reading: socket.socket | None = None

    def turn(self) -> bool:
        """Do what there is to do; whether that was all. Raises EngineError."""
        raise NotImplementedError

    def failed(self, problem: EngineError) -> bool:
        """A turn failed; whether to give up."""
        raise NotImplementedError

    def recovered(self) -> None:
        """The next failure is a first one again."""
        self.delay = self._first

    def start(self, name: str) -> Stop:
        """Start the thread; what comes back ends it."""
        thread = threading.Thread(target=self._main, name=name, daemon=True)
        thread.start()

        def stop() -> None:
            self.stopped.set()
            self.woken.set()
            self.cut()
            thread.join(_STOP_SECONDS)

        return stop

    def cut(self) -> None:
        """End the answer that is being read. Does not block."""
        with self._lock:
            if self._reading is not None:
                with suppress(OSError):  # not connected any more
                    # Not the method of TLS sockets: that one takes the encryption away from under who reads.
                    socket.socket.shutdown(self._reading, socket.SHUT_RDWR)

    def chunks(self, answer: Any) -> Iterator[bytes]:
        """What is still to come of an answer, which `stop` and `cut` end. Raises Unavailable, and Silence."""
        try:
            with self._lock:
                self._reading = _socket(answer)
            if not self.stopped.is_set():
                yield from _translated(answer)
        finally:
            with self._lock:
                self._reading = None
            answer.close()

    def _main(self) -> None:
        while not self.stopped.is_set():
            try:
                if self.turn():
                    return
                continue
            except EngineError as error:
                problem = error
            except Exception as bug:  # noqa: BLE001 - what keeps going must not end without a word
                problem = EngineError(f"{type(bug).__name__}: {bug}", engine=ENGINE, hint="this is a bug of ipytilt")
            if self.stopped.is_set() or self.failed(problem):
                return
            self.stopped.wait(self.delay)
            self.delay = min(2 * self.delay, self._longest)


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines without their ends, and what is left when the stream ends."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _translated(answer: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    try:
        yield from answer.stream(65536)
    except ReadTimeoutError as silence:
        raise Silence("the cluster has been silent for too long", engine=ENGINE) from silence
    except (HTTPError, OSError, ValueError) as problem:  # ValueError: of a socket that was shut down
        raise Unavailable(f"the connection to the cluster was lost: {innermost(problem)}", engine=ENGINE) from problem


def _socket(answer: Any) -> socket.socket | None:
    """What the answer comes through; its connection knows it no more if the server is going to close that."""
    reader = answer._fp.fp  # noqa: SLF001 - nothing else tells
    found: socket.socket | None = reader.raw._sock if reader is not None else None  # noqa: SLF001
    return found
