"""What a test must not leave behind: our threads, child processes, open files.

Runs on the test's thread, before and after each test of the layers that start such things.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipytilt import processes
from tests.support.waiting import eventually
from tools.processes import command_line, parents

_GRACE_SECONDS = 5


@contextmanager
def no_leaks() -> Iterator[None]:
    """Raise AssertionError naming what the block started and did not end within a few seconds."""
    before = _everything()
    yield

    def all_gone() -> bool:
        gc.collect()
        if not processes.living():
            processes.stop_all()  # the guardian waits for the next child
        left = _everything() - before
        assert not left, "left behind: " + "; ".join(sorted(left))
        return True

    eventually(all_gone, timeout=_GRACE_SECONDS)


def _everything() -> set[str]:
    return {*_threads(), *_children(), *_open_files()}


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if thread.name.startswith("ipytilt-"):
            yield f"thread {thread.name} ({thread.ident})"


def _children() -> Iterator[str]:
    for pid, parent in parents().items():
        if parent == os.getpid():
            yield f"child {pid} ({' '.join(command_line(pid)) or 'ended, not waited for'})"


def _open_files() -> Iterator[str]:
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            yield f"descriptor {number.name} ({number.readlink()})"
