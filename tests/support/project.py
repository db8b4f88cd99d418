"""A small project on disk with a session on it: what a user has, without the notebook.

Runs on the test's thread; the session's own threads do the rest. Works on every engine: its image needs a shell and
nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ipytilt.core.events import Source
from ipytilt.core.state import Record, State
from ipytilt.core.steps import Container
from ipytilt.engines.base import Work
from ipytilt.runtime.manifest import clock_ns
from ipytilt.runtime.session import Config, Session
from tests.support.waiting import eventually

COMPOSE = """
services:
  app:
    image: app-image
    stop_grace_period: 0s
"""
DOCKERFILE = """
FROM busybox
WORKDIR /app
COPY . .
CMD ["sh", "-c", "echo started; while :; do sleep 0.2; done"]
"""
TILTFILE = """
docker_compose('docker-compose.yml')
docker_build('app-image', 'app', live_update=[
    fall_back_on('app/stop'),
    sync('app', '/app'),
    run('sh /app/hook.sh', trigger='app/hook.sh'),
])
"""
PATIENCE = 60.0


class Project:
    """A folder with a Compose service `app`, and a session that runs it on `engine` as `ipytilt SUBCOMMAND` does."""

    def __init__(self, folder: Path, engine: str, subcommand: str = "up") -> None:
        self.folder = folder
        self.session = Session(Config(engine, str(folder), subcommand=subcommand))
        self.write("docker-compose.yml", COMPOSE)
        self.write("app/Dockerfile", DOCKERFILE)
        self.write("app/file.txt", "first\n")

    def write(self, path: str, text: str) -> None:
        """Save a file as an editor does: a temporary one, renamed over it."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}~")
        temporary.write_text(text)
        temporary.replace(target)

    def load(self, text: str = TILTFILE, *, key: str = "cell:1") -> State:
        """Run a cell and wait for its verdict."""
        now = time.time_ns()
        eventually(lambda: clock_ns() > now)  # nobody runs a cell in the very tick of the clock in which they saved
        source = Source(key, f"Cell {key.partition(':')[2]}", str(self.folder), text)
        return self.session.wait_loaded(self.session.put(source), PATIENCE)

    def up(self, text: str = TILTFILE) -> None:
        """Run a cell and wait until everything is ready."""
        self.load(text)
        self.ready()

    def ready(self, *names: str) -> State:
        """Wait until resources are ready and up to date."""
        return self.session.wait(names, timeout=PATIENCE, up_to_date=True)

    def container(self, name: str = "app") -> Container:
        """The one running container of a service."""

        def running() -> Container | None:
            found = [t.container for t in self.session.state.tracks[name].containers.values()]
            return next((c for c in found if c.running), None)

        found = eventually(running, timeout=PATIENCE)
        assert found is not None
        return found

    def in_container(self, *argv: str, name: str = "app") -> tuple[int, str]:
        """Run a command in the container; its exit code and output."""
        lines: list[str] = []
        code = self.session.engines().containers.exec(
            self.container(name), argv, Work(lambda text, _level: lines.append(text))
        )
        return code, "\n".join(lines)

    def content(self, path: str) -> str:
        """A file in the container, "" if there is none."""
        code, text = self.in_container("cat", path)
        return text if code == 0 else ""

    def record(self, name: str = "app") -> Record:
        """The newest finished update."""
        record = self.session.state.tracks[name].last
        assert record is not None
        return record

    def until(self, condition: Callable[[State], bool]) -> State:
        """Wait for a state."""
        return self.session.store.wait_for(condition, PATIENCE)

    def log(self, name: str = "app") -> str:
        """All log lines of a resource."""
        return "\n".join(line.text for line in self.session.logs.since(name, 0)[1])

    def close(self) -> None:
        """Take everything down and end the session."""
        if self.session.state.tracks and not self.session.state.crash:
            self.session.down()
            self.session.wait_taken_down(PATIENCE)
        assert self.session.stop() == ()
