"""The watcher on a big tree: 100,000 files in 20,000 directories."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, Report
from ipytilt.core.batch import Pace
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from ipytilt.runtime.manifest import clock_ns
from ipytilt.runtime.watcher import Watcher

DIRECTORIES = 20_000
FILES = 5
COUNT = 3
EDITS = 50
IDLE_SECONDS = 5.0
READY_SECONDS = 120.0


def measure(report: Report) -> None:
    """Add the figures of this file."""
    with tempfile.TemporaryDirectory(prefix="ipytilt-bench-") as name:
        root = Path(name).resolve()
        _grow(root / "seen")
        floor = report.add(Figure("floor: one walk over 100,000 files", [_walk(root) for _ in range(COUNT)]))
        ready = [_ready(Watch("w", (str(root),))) for _ in range(COUNT)]
        report.add(Figure("watch of 100,000 files ready", ready, floor.name, goal=2.5))
        ignored = Ignore(str(root), ("seen",))
        ready = [_ready(Watch("w", (str(root),), (ignored,))) for _ in range(COUNT)]
        report.add(Figure("the same tree ignored", ready, floor.name, ratio_goal=0.1))
        with _watching(Watch("w", (str(root),))) as seen:
            report.add(Figure("one edit seen among them", [_edit(root, seen) for _ in range(EDITS)], goal=0.010))
            report.add(Figure("idle watch, share of a core", [_idle()], goal=0.01, unit="%"))


def _grow(root: Path) -> None:
    for number in range(DIRECTORIES):
        directory = root / f"{number // 100}" / f"{number % 100}"
        directory.mkdir(parents=True)
        for file in range(FILES):
            (directory / f"{file}").touch()


def _walk(root: Path) -> float:
    began = time.perf_counter()
    for directory, _, files in os.walk(root):
        for file in files:
            Path(directory, file).lstat()
    return time.perf_counter() - began


class _Seen:
    """What was posted: every call sets `told`."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def post(self, *_: object) -> None:
        self.told.set()


@contextmanager
def _watching(watch: Watch) -> Iterator[_Seen]:
    seen = _Seen()
    watcher = Watcher(seen.post, lambda *_: None, pace=Pace())
    try:
        watcher.set_watches({watch.name: watch}, clock_ns())
        assert watcher.ready(READY_SECONDS)
        yield seen
    finally:
        watcher.stop()


def _ready(watch: Watch) -> float:
    began = time.perf_counter()
    with _watching(watch):
        return time.perf_counter() - began


def _edit(root: Path, seen: _Seen) -> float:
    time.sleep(0.05)
    seen.told.clear()
    began = time.perf_counter()
    (root / "seen/7/7/0").write_text(f"{began}")
    assert seen.told.wait(10)
    return time.perf_counter() - began


def _idle() -> float:
    began = time.process_time()
    time.sleep(IDLE_SECONDS)
    return (time.process_time() - began) / IDLE_SECONDS
