"""Several requests at a time, for one worker thread that waits for them.

The threads (`ipytilt-apply-N`) live as long as there is something left to do. When the work is cancelled nobody waits
for them any longer: each ends with the request it is in, and begins no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ipytilt.engines.base import Work

LIMIT = 10

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(do: Callable[[Item], Result], items: Sequence[Item], work: Work, *, go_on: bool = False) -> list[Result]:
    """What `do` makes of each item, in their order; the first error is raised.

    After an error nothing new begins, unless it is to `go_on`. Raises Cancelled at once when the work is.
    """
    batch = _Batch(do, items, work, go_on=go_on)
    batch.run()
    return batch.results()


class _Batch(Generic[Item, Result]):
    def __init__(self, do: Callable[[Item], Result], items: Sequence[Item], work: Work, *, go_on: bool) -> None:
        self._do = do
        self._items = items
        self._work = work
        self._go_on = go_on
        self._changed = threading.Condition()
        self._begun = 0
        self._active = 0
        self._done: dict[int, Result] = {}
        self._errors: dict[int, BaseException] = {}

    def run(self) -> None:
        """Start the threads and wait for them, or for the end of the work."""
        count = min(LIMIT, len(self._items))
        self._active = count
        for number in range(count):
            threading.Thread(target=self._take_turns, name=f"ipytilt-apply-{number}", daemon=True).start()
        with self._work.on_cancel(self._wake), self._changed:
            self._changed.wait_for(lambda: not self._active or self._work.cancelled)
        self._work.check()

    def results(self) -> list[Result]:
        """See `each`."""
        for index in sorted(self._errors):
            raise self._errors[index]
        return [self._done[index] for index in range(len(self._items))]

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _take_turns(self) -> None:
        while (index := self._next()) is not None:
            try:
                result = self._do(self._items[index])
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                with self._changed:
                    self._errors[index] = error
            else:
                with self._changed:
                    self._done[index] = result
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            over = self._begun == len(self._items) or self._work.cancelled
            if over or (self._errors and not self._go_on):
                return None
            self._begun += 1
            return self._begun - 1
