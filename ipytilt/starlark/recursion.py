"""Room for deep recursion: Python's recursion limit, raised while a program is checked or runs.

Calls between Starlark functions take no C stack in Python, so thousands of levels are safe; those that pass through a
builtin (`sorted` with a key) take some, which is why the room is bounded. The limit belongs to the whole process: it
is the highest that any running evaluation asks for, and returns to what it was when the last one ends.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_asked: list[int] = []  # list operations are atomic; a lost race costs depth, never safety
_before = [0]


@contextmanager
def deep_recursion(frames: int) -> Iterator[None]:
    """Allow this many Python frames on top of those that are active."""
    depth, frame = 0, sys._getframe()  # noqa: SLF001 - the depth is nowhere else
    while frame.f_back:
        depth, frame = depth + 1, frame.f_back
    if not _asked:
        _before[0] = sys.getrecursionlimit()
    _asked.append(depth + frames)
    sys.setrecursionlimit(max([*_before, *_asked]))
    try:
        yield
    finally:
        _asked.remove(depth + frames)
        with suppress(RecursionError):  # no room at all here: the next evaluation puts it back
            sys.setrecursionlimit(max([*_before, *_asked]))
