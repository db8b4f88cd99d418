"""How a running program is kept within bounds: steps, cancellation, and limits on the size of one value.

Every loop turn and function entry counts one step. A step is one call of `tick`, which is an iterator's `__next__` and
costs a third of the smallest Python function; loops whose length is known pay with `charge`. When what was granted runs
out, `_poll` charges the steps to the thread that is current here and looks at its cancel flag. With several OS threads
evaluating at once the charge is approximate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import chain, count, repeat
from operator import length_hint
from typing import Protocol, Self

from ipytilt.starlark.errors import EvalError

MAX_ITEMS = 1 << 24  # elements of one list, tuple, dict or set
MAX_TEXT = 1 << 26  # bytes of one string
MAX_INT = 1 << 14_000  # magnitude; its decimal form stays below Python's own limit on int-to-text conversion
_MIN_INT = -MAX_INT  # negating it takes longer than all the rest of a check
_INTERVAL = 1_000  # steps between two looks at the cancel flag


class Steps(Protocol):
    """The part of `evaluate.Thread` that is charged here."""

    def spend(self, steps: int) -> int:
        """Charge steps; return how many may pass before the next charge. Raises EvalError or Cancelled."""


CURRENT: ContextVar[Steps | None] = ContextVar("starlark_thread", default=None)


class _Countdown:
    """Steps until the next look at the thread, and how many were granted at the last one.

    `ticks` yields as often as steps were granted to `tick`; `counted` of what it still has were charged before.
    """

    __slots__ = ("counted", "granted", "left", "ticks")

    def __init__(self) -> None:
        self.granted = self.left = self.counted = 0
        self.ticks = repeat(None, 0)


class _Gate:
    """Stands between two grants of ticks: an iterator without items that looks at the thread."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> None:
        _poll()
        raise StopIteration


_countdown = _Countdown()
_gate = _Gate()


def _grant(turn: int) -> Iterator[None]:
    """Every other time the gate; after it, as many items as steps are granted."""
    if turn % 2 == 0:
        return _gate
    _countdown.ticks = repeat(None, _countdown.granted)
    _countdown.counted = _countdown.granted
    return _countdown.ticks


# Count one step. An error of the gate leaves the chain as it is: the next step comes to the gate again.
tick: Callable[[], None] = chain.from_iterable(map(_grant, count())).__next__


def charge(steps: int) -> None:
    """Count several steps at once."""
    _countdown.left -= steps
    if _countdown.left < 0:
        _poll()


def restart() -> None:
    """Forget steps counted for another thread: the next step asks the current one."""
    deque(_countdown.ticks, maxlen=0)
    _countdown.left = _countdown.granted = _countdown.counted = 0


def _poll() -> None:
    ticks = length_hint(_countdown.ticks)
    thread, spent = CURRENT.get(), _countdown.granted - _countdown.left + _countdown.counted - ticks
    _countdown.left = _countdown.granted = 0
    _countdown.counted = ticks
    rest = _INTERVAL if thread is None else thread.spend(spent)
    _countdown.left = _countdown.granted = max(1, min(_INTERVAL, rest))


def check_items(count: int) -> None:
    """Refuse a collection of more than MAX_ITEMS elements."""
    if count > MAX_ITEMS:
        raise EvalError(f"excessive size: {count} elements (at most {MAX_ITEMS})")


def check_text(size: int, most: int = MAX_TEXT) -> None:
    """Refuse a string of more than that many bytes."""
    if size > most:
        raise EvalError(f"excessive size: string of {size} bytes (at most {most})")


def check_int(value: int) -> int:
    """Refuse an integer too large to be meant; returns it otherwise."""
    if _MIN_INT < value < MAX_INT:
        return value
    raise EvalError(f"integer too large ({value.bit_length()} bits)")
