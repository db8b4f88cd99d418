"""The loop: events in, plan out. The only writer of `State`.

One thread (`ipytilt-controller`). It takes what has arrived, reduces it, plans once, hands the work out and publishes
the new snapshot; it never blocks except on its inbox, reads no file and calls no engine. A bug in the core freezes the
session visibly: the state shows the crash, nothing new starts, and the next magic raises it.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ipytilt.core.events import Event, LoadStarted
from ipytilt.core.orders import orders
from ipytilt.core.plan import LoadTiltfile, Plan, Update, plan
from ipytilt.core.prune import Prune
from ipytilt.core.reduce import reduce
from ipytilt.core.reduce_run import planned
from ipytilt.core.state import State
from ipytilt.core.steps import Order
from ipytilt.runtime.store import Store

JOURNAL = 2000
"""Events kept for `Session.story` and bug reports."""


class Runner(Protocol):
    """Starts and cancels runs without waiting for them."""

    def start_update(self, update: Update, post: Callable[[Event], None]) -> None:
        """Carry an update out."""

    def start_load(self, load: LoadTiltfile, post: Callable[[Event], None]) -> None:
        """Evaluate the Tiltfile."""

    def start_prune(self, prune: Prune, post: Callable[[Event], None]) -> None:
        """Remove old images."""

    def cancel(self, run: int) -> None:
        """Ask a run to end."""


class Keeper(Protocol):
    """Keeps standing orders."""

    def keep(self, wanted: frozenset[Order]) -> None:
        """From now on these, and no others."""


class Controller:
    """Owns the state. `post` may be called from any thread and never blocks."""

    def __init__(self, store: Store[State], runner: Runner, keeper: Keeper, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._runner = runner
        self._keeper = keeper
        self._clock = clock
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._state = store.current
        self._journal: deque[tuple[int, Event]] = deque(maxlen=JOURNAL)
        self._count = 0
        self._thread = threading.Thread(target=self._loop, name="ipytilt-controller", daemon=True)

    @property
    def journal(self) -> tuple[Event, ...]:
        """The newest events, oldest first."""
        return tuple(event for _, event in tuple(self._journal))

    def journal_since(self, number: int) -> tuple[int, tuple[Event, ...]]:
        """The number the next event will have, and the events from `number` on that are still kept."""
        found = [(place, event) for place, event in tuple(self._journal) if place >= number]
        return (found[-1][0] + 1 if found else number), tuple(event for _, event in found)

    @property
    def journal_end(self) -> int:
        """The number the next event will have."""
        return self._count

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, event: Event) -> None:
        """Something happened."""
        self._inbox.put(event)

    def stop(self, deadline: float) -> tuple[str, ...]:
        """End the loop; waits until `deadline` (monotonic seconds). Returns the name of the thread if it is left."""
        self._inbox.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return (self._thread.name,) if self._thread.is_alive() else ()

    def _loop(self) -> None:
        wake_at: float | None = None
        while True:
            events = self._take(wake_at)
            if events is None:
                return
            try:
                wake_at = self._turn(events)
            except Exception:  # noqa: BLE001 - a bug of ours must be seen, not lost with a thread
                wake_at = None
                self._publish(replace(self._state, crash=traceback.format_exc()))

    def _take(self, wake_at: float | None) -> list[Event] | None:
        """Wait for something (or for `wake_at`), then take all there is; None ends the loop."""
        timeout = None if wake_at is None else max(0.0, wake_at - self._clock())
        events: list[Event] = []
        try:
            first = self._inbox.get(timeout=timeout)
            while first is not None:
                events.append(first)
                first = self._inbox.get_nowait()
        except queue.Empty:
            return events
        return None

    def _turn(self, events: list[Event]) -> float | None:
        state = self._state
        for event in events:
            self._journal.append((self._count, event))
            self._count += 1
            state = reduce(state, event)
        now = self._clock()
        decided = plan(state, now)
        state = planned(state, decided, now)
        if decided.load is not None:
            state = reduce(state, LoadStarted(decided.load.run, now))
        if state.revision != self._state.revision:  # before work starts: what a build reads is watched by then
            self._keeper.keep(orders(state))
        self._hand_out(decided)
        self._publish(state)
        return decided.wake_at

    def _hand_out(self, decided: Plan) -> None:
        for update in decided.updates:
            self._runner.start_update(update, self.post)
        for run in decided.cancel:
            self._runner.cancel(run)
        if decided.load is not None:
            self._runner.start_load(decided.load, self.post)
        if decided.prune is not None:
            self._runner.start_prune(decided.prune, self.post)

    def _publish(self, state: State) -> None:
        self._state = state
        self._store.publish(state)
