"""One small file saved, to visible in a running Docker container; beside the floor and the archive API."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from benchmarks.figures import Figure, Report
from ipytilt.core.events import Source
from ipytilt.runtime.session import Config, Session

COUNT = 100
GOAL = 0.015
_COMPOSE = "services:\n  app:\n    image: bench-app\n    stop_grace_period: 0s\n"
_TILTFILE = """
docker_compose('docker-compose.yml')
docker_build('bench-app', 'app', live_update=[sync('app', '/app')])
"""
_DOCKERFILE = 'FROM busybox\nWORKDIR /app\nCOPY . .\nCMD ["sh", "-c", "while :; do sleep 1000; done"]\n'


@contextmanager
def running_app() -> Iterator[tuple[Session, Path, str, str]]:
    """A session with one service: the session, its folder, the container's id and its root as root sees it."""
    with tempfile.TemporaryDirectory(prefix="ipytilt-bench-") as name:
        folder = Path(name).resolve()
        (folder / "app").mkdir()
        (folder / "docker-compose.yml").write_text(_COMPOSE)
        (folder / "app" / "Dockerfile").write_text(_DOCKERFILE)
        (folder / "app" / "file.txt").write_text("first\n")
        session = Session(Config("docker", str(folder)))
        try:
            session.wait_loaded(session.put(Source("cell:1", "Cell In[1]", str(folder), _TILTFILE)), 120)
            state = session.wait(("app",), timeout=180)
            (container,) = state.tracks["app"].containers
            yield session, folder, container, _root_of(container)
            session.down()
            session.wait_taken_down()
        finally:
            session.stop()


def measure(report: Report) -> None:
    """Add the figures of this file."""
    with running_app() as (_, folder, container, root), _Saver() as saver:
        seen = f"{root}/app/file.txt"
        where = {"container": container, "path": "/app/hand.txt", "seen": f"{root}/app/hand.txt"}
        saver.ask(mode="save", local=str(folder / "app/file.txt"), seen=seen, count=5)
        floor = report.add(
            Figure("floor: the same bytes by hand, exec open", saver.ask(mode="exec", count=COUNT, **where))
        )
        report.add(Figure("put_archive", saver.ask(mode="put_archive", count=30, **where), floor.name))
        saved = saver.ask(mode="save", local=str(folder / "app/file.txt"), seen=seen, count=COUNT)
        report.add(Figure("save to visible in the container", saved, floor.name, GOAL))
        with _busy_interpreter():
            saved = saver.ask(mode="save", local=str(folder / "app/file.txt"), seen=seen, count=COUNT)
        report.add(Figure("the same while a cell runs pure Python", saved, floor.name, note="p95"))


class _Saver:
    """The child process that saves and watches."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.saver"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(10)
        assert self._child.stdout
        self._child.stdout.close()

    def ask(self, **request: Any) -> list[float]:
        """Seconds per repetition."""
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        return [float(each) for each in json.loads(answer)]


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


def _root_of(container: str) -> str:
    """The container's own tree, as root sees it on this machine."""
    command = ["docker", "inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", container]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
