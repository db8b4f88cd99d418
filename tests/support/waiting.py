"""Waiting for conditions, for tests whose subjects have threads and processes of their own.

Runs on the test's thread. Tests never sleep for a guessed time: they wait here, with a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.01


def eventually(condition: Callable[[], T], timeout: float = 10) -> T:
    """Return the first true value of ``condition()``, asked again and again for ``timeout`` seconds.

    An AssertionError raised by the condition counts as "not yet". When the time is over, that error or an
    AssertionError showing the last value is raised.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = condition()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"still {value!r} after {timeout:g} s")
        time.sleep(_POLL_SECONDS)
