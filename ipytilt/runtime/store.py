"""The newest snapshot and who waits for it.

The controller publishes; anybody reads `current` (one reference to a frozen value, so no lock is needed) or follows
through a `Subscription` that skips to the newest. Nobody who reads can slow the publisher down.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ipytilt.errors import TiltError

S = TypeVar("S")

STEP_SECONDS = 0.2  # an interrupt is noticed between steps on platforms where a lock cannot be interrupted


class Store(Generic[S]):
    """Holds the newest snapshot of type `S`. Thread-safe."""

    def __init__(self, initial: S) -> None:
        self._newest: tuple[int, S] = (0, initial)
        self._lock = threading.Lock()
        self._wakes: tuple[threading.Event, ...] = ()
        self._closed = False

    @property
    def current(self) -> S:
        """The newest snapshot."""
        return self._newest[1]

    @property
    def closed(self) -> bool:
        """Nothing will be published any more."""
        return self._closed

    def publish(self, snapshot: S) -> None:
        """Make `snapshot` the newest and wake whoever waits; never blocks on a reader."""
        with self._lock:
            self._newest = (self._newest[0] + 1, snapshot)
            wakes = self._wakes
        for wake in wakes:
            wake.set()

    def subscribe(self, wake: threading.Event | None = None) -> Subscription[S]:
        """Follow the snapshots from the current one on.

        `wake` lets a reader wait for this store and for something else with one event.
        """
        subscription = Subscription(self, wake or threading.Event())
        with self._lock:
            self._wakes = (*self._wakes, subscription.wake)
        return subscription

    def wait_for(self, predicate: Callable[[S], bool], timeout: float | None = None, *, timed: bool = False) -> S:
        """Return the first snapshot seen that satisfies `predicate`; it may not be the first there was.

        A `timed` predicate looks at a clock: it is asked a few times a second even if nothing is published.

        Raises TimeoutError after `timeout` seconds, TiltError when the store is closed first, and whatever `predicate`
        raises. On the main thread an interrupt ends the wait with KeyboardInterrupt.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.subscribe() as subscription:
            while True:
                closed = self._closed  # read first: what was published before closing still counts
                left = math.inf if deadline is None else deadline - time.monotonic()
                snapshot = subscription.next(max(min(left, STEP_SECONDS), 0))
                if (snapshot is not None or timed) and predicate(snapshot or self.current):
                    return snapshot or self.current
                if snapshot is None and closed:
                    raise TiltError("The session was stopped while something waited for it", hint="start it again")
                if left <= 0:
                    raise TimeoutError

    def close(self) -> None:
        """Wake everybody for the last time."""
        with self._lock:
            self._closed = True
            wakes = self._wakes
        for wake in wakes:
            wake.set()

    def _newer_than(self, version: int) -> tuple[int, S] | None:
        newest = self._newest
        return newest if newest[0] > version else None

    def _drop(self, wake: threading.Event) -> None:
        with self._lock:
            self._wakes = tuple(each for each in self._wakes if each is not wake)

    def __repr__(self) -> str:
        return f"<Store version {self._newest[0]}, {len(self._wakes)} followers{', closed' if self._closed else ''}>"


class Subscription(Generic[S]):
    """One reader's place in the snapshots; used by one thread. A context manager that unsubscribes."""

    def __init__(self, store: Store[S], wake: threading.Event) -> None:
        self.wake = wake
        self._store = store
        self._seen = -1

    def next(self, timeout: float) -> S | None:
        """The newest snapshot not yet returned, waiting up to `timeout` seconds for one; None when there is none."""
        deadline = time.monotonic() + timeout
        while True:
            self.wake.clear()
            newest = self._store._newer_than(self._seen)  # noqa: SLF001 - store and subscription are one thing
            if newest is not None:
                self._seen = newest[0]
                return newest[1]
            left = deadline - time.monotonic()
            if left <= 0 or self._store.closed:
                return None
            self.wake.wait(left)

    def close(self) -> None:
        """Stop following."""
        self._store._drop(self.wake)  # noqa: SLF001 - store and subscription are one thing

    def __enter__(self) -> Subscription[S]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
