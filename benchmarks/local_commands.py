"""Local resources: from a saved file to its command, and a server that writes very many lines."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench_app import Saver
from benchmarks.figures import Figure, Report
from ipytilt.core.events import Source
from ipytilt.runtime.session import Config, Session

COUNT = 60
LINES_PER_SECOND = 10_000
SECONDS = 10
_COPIES = "local_resource('copies', 'cp file.txt copy.txt', deps=['file.txt'])"
_FLOOD = """
import sys, time
began = time.monotonic()
for hundredth in range({count} // 100):
    sys.stdout.write("".join(f"line {{hundredth * 100 + n}} of what a busy server says\\n" for n in range(100)))
    sys.stdout.flush()
    time.sleep(max(0, began + hundredth * 100 / {rate} - time.monotonic()))
"""


def measure(report: Report) -> None:
    """Add the figures of this file."""
    _save_to_command(report)
    _flood(report)


@contextmanager
def _session(text: str) -> Iterator[tuple[Session, Path]]:
    with tempfile.TemporaryDirectory(prefix="ipytilt-bench-") as name:
        folder = Path(name).resolve()
        (folder / "file.txt").write_text("first\n")
        (folder / "flood.py").write_text(_FLOOD.format(count=LINES_PER_SECOND * SECONDS, rate=LINES_PER_SECOND))
        session = Session(Config("sandbox", str(folder)))
        try:
            session.wait_loaded(session.put(Source("cell:1", "Cell In[1]", str(folder), text)), 60)
            yield session, folder
        finally:
            session.stop()


def _save_to_command(report: Report) -> None:
    with _session(_COPIES) as (session, folder), Saver() as saver:
        session.wait(("copies",), timeout=60)
        floor = report.add(Figure("floor: sh -c of the same command", [_by_hand(folder) for _ in range(COUNT)]))
        file = {"local": str(folder / "file.txt"), "seen": str(folder / "copy.txt")}
        saved = saver.ask(mode="save", count=COUNT, pause=0.2, **file)
        report.add(Figure("save to a local command's effect", saved, floor.name, goal=floor.p50 + 0.015))


def _by_hand(folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["sh", "-c", "cp file.txt copy.txt"], cwd=folder, check=True)
    return time.perf_counter() - began


def _flood(report: Report) -> None:
    """One server writes 10,000 lines a second; another resource's lines must all be kept."""
    command = f"{sys.executable} flood.py"
    manual = "auto_init=False, trigger_mode=TRIGGER_MODE_MANUAL"
    text = f"local_resource('floods', {command!r}, {manual})\nlocal_resource('quiet', 'echo one; echo two')"
    with _session(text) as (session, _):
        session.wait(("quiet",), timeout=60)
        began, spent = time.monotonic(), time.process_time()
        session.trigger("floods")
        session.store.wait_for(lambda state: bool(state.tracks["floods"].history), 60)
        share = (time.process_time() - spent) / (time.monotonic() - began)
        kept = [line.text for line in session.logs.since("floods", 0)[1] if line.text.startswith("line ")]
        numbers = [int(text.split()[1]) for text in kept]
        assert numbers == list(range(numbers[0], LINES_PER_SECOND * SECONDS)), "the newest lines, none lost"
        assert {"one", "two"} <= {line.text for line in session.logs.since("quiet", 0)[1]}
    report.add(Figure("10,000 log lines/s, share of a core", [share], goal=0.35, unit="%"))
