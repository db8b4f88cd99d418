"""Events and log lines of a session as they come: for a `for` loop on any thread, or an `async for` in any event loop.

Nothing is started and nothing is queued: the controller's journal and the rings of the logs are read on, so a reader
that is further behind than they reach misses what was dropped from them, and a slow one slows nobody.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from ipytilt.core.events import CommandHandled, Event
from ipytilt.runtime.logs import Line
from ipytilt.runtime.session import Session
from ipytilt.runtime.store import STEP_SECONDS


class Events:
    """What happens from the moment this was made, about one resource or ("") all of them.

    Ends when the session does, or when nothing has happened for `timeout` seconds.
    """

    def __init__(self, session: Session, resource: str, timeout: float | None) -> None:
        self._session = session
        self._resource = resource
        self._timeout = timeout
        self._next = session.events_since(None)[0]

    def __iter__(self) -> Iterator[Event]:
        store, until = self._session.store, self._quiet_until()
        with store.subscribe() as subscription:
            while True:
                subscription.wake.clear()
                closed = store.closed  # read first: what was posted before closing still counts
                found = self._take()
                yield from found
                until = self._quiet_until() if found else until
                left = until - time.monotonic()
                if closed or left <= 0:
                    return
                subscription.wake.wait(min(left, STEP_SECONDS))

    async def __aiter__(self) -> AsyncIterator[Event]:
        from ipytilt.runtime.awaiting import LoopWake

        store, until, wake = self._session.store, self._quiet_until(), LoopWake()
        with store.subscribe(wake):
            while True:
                closed = store.closed
                found = self._take()
                for event in found:
                    yield event
                until = self._quiet_until() if found else until
                left = until - time.monotonic()
                if closed or left <= 0:
                    return
                await wake.pause(None if math.isinf(left) else left)

    def _quiet_until(self) -> float:
        return math.inf if self._timeout is None else time.monotonic() + self._timeout

    def _take(self) -> list[Event]:
        self._next, found = self._session.events_since(self._next)
        ours = [event for event in found if not isinstance(event, CommandHandled)]
        return [e for e in ours if not self._resource or self._session.concerns(e, self._resource)]


class NewLines:
    """Log lines of a stream from line number `start` on that `fits` accepts, and those to come.

    Ends when the session does, or when no line has come for `timeout` seconds.
    """

    def __init__(
        self, session: Session, stream: str, *, start: int, fits: Callable[[Line], bool], timeout: float | None
    ) -> None:
        self._session = session
        self._stream = stream
        self._next = start
        self._fits = fits
        self._timeout = timeout

    def __iter__(self) -> Iterator[Line]:
        wake, until = threading.Event(), self._quiet_until()
        with self._woken(wake):
            while True:
                wake.clear()
                closed = self._session.store.closed  # read first: what was logged before closing still counts
                found = self._take()
                yield from found
                until = self._quiet_until() if found else until
                left = until - time.monotonic()
                if closed or left <= 0:
                    return
                wake.wait(min(left, STEP_SECONDS))

    async def __aiter__(self) -> AsyncIterator[Line]:
        from ipytilt.runtime.awaiting import LoopWake

        wake, until = LoopWake(), self._quiet_until()
        with self._woken(wake):
            while True:
                wake.clear()
                closed = self._session.store.closed
                found = self._take()
                for line in found:
                    yield line
                until = self._quiet_until() if found else until
                left = until - time.monotonic()
                if closed or left <= 0:
                    return
                await wake.pause(None if math.isinf(left) else left)

    @contextmanager
    def _woken(self, wake: threading.Event) -> Iterator[None]:
        logs = self._session.logs
        logs.wake(wake)
        try:
            with self._session.store.subscribe(wake):
                yield
        finally:
            logs.unwake(wake)

    def _quiet_until(self) -> float:
        return math.inf if self._timeout is None else time.monotonic() + self._timeout

    def _take(self) -> list[Line]:
        first, lines = self._session.logs.since(self._stream, self._next)
        self._next = first + len(lines)
        return [line for line in lines if self._fits(line)]
