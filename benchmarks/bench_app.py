"""What the figures on Docker share: one service that is live-updated, and a process that saves and watches."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ipytilt.core.events import Source
from ipytilt.runtime.session import Config, Session

_COMPOSE = "services:\n  app:\n    image: bench-app\n    stop_grace_period: 0s\n"
_TILTFILE = """
docker_compose('docker-compose.yml')
docker_build('bench-app', 'app', live_update=[
    sync('app', '/app'),
    run('cp /app/step.txt /app/stepped.txt', trigger='app/step.txt'),
])
"""
_DOCKERFILE = 'FROM busybox\nWORKDIR /app\nCOPY . .\nCMD ["sh", "-c", "while :; do sleep 1000; done"]\n'


@dataclass(frozen=True, slots=True)
class App:
    """A running service: the session that runs it, its sources, and its container's tree as root sees it."""

    session: Session
    sources: Path
    container: str
    root: Path


@contextmanager
def running_app() -> Iterator[App]:
    """A session with one service on Docker."""
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
            yield App(session, folder / "app", container, _root_of(container))
            session.down()
            session.wait_taken_down()
        finally:
            session.stop()


class Saver:
    """The child process that saves and watches (`benchmarks.saver`)."""

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


def _root_of(container: str) -> Path:
    command = ["docker", "inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", container]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
