"""Waiting inside an event loop: what `Store.wait_for` does for threads, for coroutines.

Runs in whatever loop awaits it and blocks nothing; cancelling the task ends the wait at once. The controller's thread
only pokes the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ipytilt.core.state import State
from ipytilt.errors import TiltError
from ipytilt.runtime.store import STEP_SECONDS, Store
from ipytilt.runtime.waiting import Awaited

S = TypeVar("S")


class LoopWake(threading.Event):
    """An event that also wakes a loop; made in the loop, set from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def set(self) -> None:
        """Wake whoever waits, unless the loop has ended."""
        super().set()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits in it any more
            self._loop.call_soon_threadsafe(self._woken.set)

    async def pause(self, seconds: float | None) -> None:
        """Sleep until it is set, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()


async def wait_for(
    store: Store[S],
    predicate: Callable[[S], bool],
    timeout: float | None = None,  # noqa: ASYNC109 - the error says what was late, which asyncio.timeout cannot
    *,
    timed: bool = False,
) -> S:
    """`Store.wait_for` for coroutines, with the same errors."""
    deadline = None if timeout is None else time.monotonic() + timeout
    wake = LoopWake()
    with store.subscribe(wake):
        while True:
            closed = store.closed  # read first: what was published before closing still counts
            snapshot = store.current
            if predicate(snapshot):
                return snapshot
            if closed:
                raise TiltError("The session was stopped while something waited for it", hint="start it again")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            steps = [seconds for seconds in (left, STEP_SECONDS if timed else None) if seconds is not None]
            await wake.pause(min(steps, default=None))


async def wait(store: Store[State], awaited: Awaited, timeout: float | None = None) -> State:  # noqa: ASYNC109 - as above
    """Wait for something, as `Session.wait_for` does, with the same errors."""
    try:
        state = await wait_for(store, awaited.over, timeout, timed=awaited.timed)
    except TimeoutError:
        raise awaited.late(store.current, timeout or 0.0) from None
    return awaited.ended(state)
