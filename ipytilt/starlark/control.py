"""How a running program is kept within bounds: steps, cancellation, and limits on the size of one value.

Every loop turn and function entry counts one step. Counting is a module-level countdown, because a function or
context variable per step would double the price of a small loop; when it runs out, `_poll` charges the steps to the
thread that is current here and looks at its cancel flag. With several OS threads evaluating at once the charge is
approximate.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from ipytilt.starlark.errors import EvalError

MAX_ITEMS = 1 << 24  # elements of one list, tuple, dict or set
MAX_TEXT = 1 << 26  # bytes of one string
MAX_INT = 1 << 14_000  # magnitude; its decimal form stays below Python's own limit on int-to-text conversion
_INTERVAL = 1_000  # steps between two looks at the cancel flag


class Steps(Protocol):
    """The part of `evaluate.Thread` that is charged here."""

    def spend(self, steps: int) -> int:
        """Charge steps; return how many may pass before the next charge. Raises EvalError or Cancelled."""


CURRENT: ContextVar[Steps | None] = ContextVar("starlark_thread", default=None)


class _Countdown:
    """Steps until the next look at the thread, and how many were granted at the last one."""

    __slots__ = ("granted", "left")

    def __init__(self) -> None:
        self.granted = self.left = 0


_countdown = _Countdown()


def tick() -> None:
    """Count one step."""
    _countdown.left -= 1
    if _countdown.left < 0:
        _poll()


def charge(steps: int) -> None:
    """Count several steps at once."""
    _countdown.left -= steps
    if _countdown.left < 0:
        _poll()


def restart() -> None:
    """Forget steps counted for another thread: the next step asks the current one."""
    _countdown.left = _countdown.granted = 0


def _poll() -> None:
    thread, spent = CURRENT.get(), _countdown.granted - _countdown.left
    _countdown.left = _countdown.granted = 0
    _countdown.left = _countdown.granted = _INTERVAL if thread is None else min(_INTERVAL, thread.spend(spent))


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
    if -MAX_INT < value < MAX_INT:
        return value
    raise EvalError(f"integer too large ({value.bit_length()} bits)")
