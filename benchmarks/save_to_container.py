"""Saved on this machine, to visible in a running Docker container; each beside the same bytes sent by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.bench_app import App, Saver, running_app
from benchmarks.figures import Figure, Report

COUNT = 100
BULK_COUNT = 7


def measure(report: Report) -> None:
    """Add the figures of this file."""
    with running_app() as app, Saver() as saver:
        _one_file(app, saver, report)
        _run_step(app, saver, report)
        _many_files(app, saver, report)


def _one_file(app: App, saver: Saver, report: Report) -> None:
    file = {"local": str(app.sources / "file.txt"), "seen": str(app.root / "app/file.txt")}
    hand = {"container": app.container, "path": "/app/hand.txt", "seen": str(app.root / "app/hand.txt")}
    saver.ask(mode="save", count=5, **file)
    name = "floor: the same bytes by hand, exec open"
    floor = report.add(Figure(name, saver.ask(mode="exec", count=COUNT, **hand)))
    report.add(Figure("put_archive", saver.ask(mode="put_archive", count=30, **hand), floor.name))
    saved = saver.ask(mode="save", count=COUNT, **file)
    report.add(Figure("save to visible in the container", saved, floor.name, goal=0.015, goal_p95=0.030))
    with _busy_interpreter():
        saved = saver.ask(mode="save", count=COUNT, **file)
    report.add(Figure("the same while a cell runs pure Python", saved, floor.name, goal_p95=0.060))


def _run_step(app: App, saver: Saver, report: Report) -> None:
    """From the file being visible to what the command made of it being visible."""
    hand = {"container": app.container, "path": "/app/file.txt", "seen": str(app.root / "app/stepped.txt")}
    command = saver.ask(mode="command", count=COUNT, command="cp /app/file.txt /app/stepped.txt", **hand)
    floor = report.add(Figure("floor: the command by hand, exec open", command))
    file = {"local": str(app.sources / "step.txt"), "seen": str(app.root / "app/step.txt")}
    saved = saver.ask(mode="save", count=COUNT, then=str(app.root / "app/stepped.txt"), **file)
    report.add(Figure("a run step after the file", saved, floor.name, goal=floor.p50 + 0.010))


def _many_files(app: App, saver: Saver, report: Report) -> None:
    """1,000 files of 10 kB, from the last one written to all visible; and the end of their directory.

    Turn by turn with its floor, so that whatever else the machine does bears on both.
    """
    many = {"count": 1, "pause": 1.0, "container": app.container, "path": "/app/many"}
    many |= {"local": str(app.sources / "many"), "seen": str(app.root / "app/many")}
    by_hand, saved = _in_turns(saver, "tar", "rewrite", many)
    floor = report.add(Figure("floor: 1,000 files as one tar by hand", by_hand))
    report.add(Figure("1,000 files (10 MB) rewritten", saved, floor.name, ratio_goal=1.5))
    by_hand, gone = _in_turns(saver, "rm", "delete", many)
    floor = report.add(Figure("floor: rm -r of 1,000 files by hand", by_hand))
    report.add(Figure("a directory of 1,000 files deleted", gone, floor.name, goal=0.050))


def _in_turns(saver: Saver, floor: str, mode: str, request: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Seconds of each repetition of the floor, and of the other mode."""
    turns = [(*saver.ask(mode=floor, **request), *saver.ask(mode=mode, **request)) for _ in range(BULK_COUNT)]
    return [by_hand for by_hand, _ in turns], [ours for _, ours in turns]


@contextmanager
def _busy_interpreter() -> Iterator[None]:
    """A thread that holds the interpreter lock as a cell does that runs a loop."""
    over = threading.Event()

    def loop() -> None:
        total = 0
        while not over.is_set():
            for number in range(100_000):
                total += number * number

    thread = threading.Thread(target=loop, name="bench-busy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
