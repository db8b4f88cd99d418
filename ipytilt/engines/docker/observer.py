"""Watches the daemon: containers of Compose projects as they change, and what they write.

Each order has one thread, which posts facts or logs until it is stopped. Events only say when to look; what is posted
is what the daemon says then. So a lost event costs time, and everything is looked at again after each reconnect.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator

from ipytilt.core.spec import Compose, Resource
from ipytilt.core.steps import Attach, Container, Follow, Observe, Order
from ipytilt.engines.base import ContainersSeen, EngineSeen, Log, Post, Stop
from ipytilt.engines.docker.client import PROJECT_LABEL, PULSE_SECONDS, Connection, Daemon, seconds_of, unframed
from ipytilt.engines.sessions import Sessions
from ipytilt.errors import EngineError, Rejected, Unavailable
from ipytilt.lines import Lines

_STOP_SECONDS = 1.5
_LAST_STOP_SECONDS = 0.2
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0
_SILENCE_SECONDS = 60.0  # without events: look anyway, the connection may be dead without knowing
_NO_CHANGE = re.compile(r"exec_|top$|attach|detach|resize|archive-path|extract-to-dir|copy|export|commit")
_MARGIN_SECONDS = 1.0  # logs are asked for from a moment earlier; what comes twice is left out


class DockerObserver:
    """Implements `base.Observer` for Observe, Follow and Attach orders."""

    def __init__(self, daemon: Daemon, sessions: Sessions) -> None:
        self._daemon = daemon
        self._sessions = sessions
        self._marks: dict[str, _Mark] = {}

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `base.Observer`."""
        match order:
            case Observe():
                return _Observation(self._daemon, order, post).start("ipytilt-observe")
            case Follow():
                mark = self._marks.setdefault(order.container_id, _Mark())
                return _Following(self._daemon, order, log, mark=mark).start(
                    f"ipytilt-follow-{order.container_id[:12]}"
                )
            case Attach():
                return self._sessions.attach(order.container_id, log)
            case _:
                raise TypeError(f"the Docker engine does not keep orders such as {order}")


class _Standing:
    """A thread that reads one connection at a time and comes back when it is lost."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.stopped = threading.Event()
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self.delay = _FIRST_DELAY  # before the next turn; to be reset once connected

    def start(self, name: str) -> Stop:
        """Begin; `Stop` waits for the thread."""
        thread = threading.Thread(target=self._main, name=name, daemon=True)
        thread.start()

        def stop() -> None:
            self.stopped.set()
            with self._lock:
                if self._connection:
                    self._connection.abort()
            thread.join(_STOP_SECONDS)

        return stop

    @property
    def is_connected(self) -> bool:
        """A connection is being read."""
        return self._connection is not None

    def _main(self) -> None:
        while not self.stopped.is_set():
            try:
                if self.turn():
                    return
            except EngineError as problem:
                if self.stopped.is_set() or self.failed(problem):
                    return
                self.stopped.wait(self.delay)
                self.delay = min(2 * self.delay, _LONGEST_DELAY)

    def chunks(self, connection: Connection) -> Iterator[bytes]:
        """What comes through a connection, which ends with `stop` at the latest."""
        try:
            with self._lock:
                self._connection = connection
            if not self.stopped.is_set():
                yield from connection
        finally:
            with self._lock:
                self._connection = None
            connection.close()

    def turn(self) -> bool:
        """Connect, and read until the connection ends; whether everything is said. Raises EngineError."""
        raise NotImplementedError

    def failed(self, problem: EngineError) -> bool:
        """A turn failed; whether to give up."""
        raise NotImplementedError


class _Observation(_Standing):
    """One Observe order."""

    def __init__(self, daemon: Daemon, order: Observe, post: Post) -> None:
        super().__init__(daemon)
        self._engine = order.engine
        self._post = post
        self._projects: dict[str, list[tuple[Resource, str]]] = {}
        for resource in order.resources:
            if isinstance(resource.target, Compose):
                target = resource.target
                self._projects.setdefault(target.project.name, []).append((resource, target.service))
        self._posted: dict[str, tuple[Container, ...]] = {}
        self._health: str | None = None
        self._telling = threading.Lock()

    def start(self, name: str) -> Stop:
        """As `_Standing.start`, with a thread beside it that feels the daemon's pulse: one that hangs ends nothing."""
        stop = super().start(name)
        pulse = threading.Thread(target=self._feel_pulse, name="ipytilt-pulse", daemon=True)
        pulse.start()

        def stop_both() -> None:
            stop()
            pulse.join(_LAST_STOP_SECONDS)

        return stop_both

    def _feel_pulse(self) -> None:
        silent = False
        while not self.stopped.wait(PULSE_SECONDS):
            try:
                self.daemon.check()
            except EngineError as problem:
                silent = True
                if not self.stopped.is_set():
                    self._tell_health(problem.message)
            else:
                if silent and self.is_connected:  # else it is told once everything was looked at
                    self._tell_health("")
                silent = False

    def turn(self) -> bool:
        filters = json.dumps({"type": ["container"]})  # Podman knows labels only with their values
        # Connected before looking: what happens in between is an event that was not read yet.
        connection = self.daemon.stream("/events", params={"filters": filters}, timeout=_SILENCE_SECONDS)
        chunks = self.chunks(connection)
        for project in self._projects:
            self._look(project)
        self._tell_health("")
        self.delay = _FIRST_DELAY
        for line in _lines(chunks):
            event = json.loads(line)
            project = event["Actor"]["Attributes"].get(PROJECT_LABEL)
            if project in self._projects and not _NO_CHANGE.match(event["Action"]):
                self._look(project)
        raise Unavailable("the Docker daemon ended the connection", engine=self._engine)

    def failed(self, problem: EngineError) -> bool:
        if self._health is None or not self._answers():
            self._tell_health(problem.message)
        return False

    def _answers(self) -> bool:
        try:
            self.daemon.check()
        except EngineError:
            return False
        return True

    def _look(self, project: str) -> None:
        containers = self.daemon.containers(project)
        for resource, service in self._projects[project]:
            seen = tuple(container for container in containers if container.service == service)
            if self._posted.get(resource.name) != seen:
                self._posted[resource.name] = seen
                self._post(ContainersSeen(resource.name, seen))

    def _tell_health(self, problem: str) -> None:
        with self._telling:
            if self._health != problem:
                self._health = problem
                self._post(EngineSeen(self._engine, problem))


class _Mark:
    """How far a container's output has been logged, whoever followed it: orders for one container may overlap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = ("", 0)

    @property
    def stamp(self) -> str:
        """When the last line was written, or ""."""
        return self._last[0]

    def advance(self, stamp: str, number: int) -> bool:
        """Move to the `number`th line with that stamp; False if it was logged before."""
        with self._lock:
            is_new = (stamp, number) > self._last
            if is_new:
                self._last = (stamp, number)
            return is_new


class _Following(_Standing):
    """One Follow order."""

    def __init__(self, daemon: Daemon, order: Follow, log: Log, *, mark: _Mark) -> None:
        super().__init__(daemon)
        self._container_id = order.container_id
        self._log = log
        self._mark = mark
        self._since = seconds_of(order.started_at) - _MARGIN_SECONDS

    def turn(self) -> bool:
        with self.daemon.api() as api:
            is_terminal = bool(api.inspect_container(self._container_id)["Config"]["Tty"])
        since = max(0.0, self._since, seconds_of(self._mark.stamp) - _MARGIN_SECONDS)
        params = {"stdout": "1", "stderr": "1", "follow": "1", "timestamps": "1", "since": f"{since:.6f}"}
        connection = self.daemon.stream(f"/containers/{self._container_id}/logs", params=params, timeout=None)
        self.delay = _FIRST_DELAY
        chunks = self.chunks(connection)
        output = Lines(lambda line: self._log(line, "info"))
        stamp, number = b"", 0
        for entry in _lines(chunks) if is_terminal else _entries(chunks):
            before = stamp
            stamp, _, text = entry.partition(b" ")
            number = number + 1 if stamp == before else 1
            if self._mark.advance(stamp.decode(errors="replace"), number):
                output.feed(text)
        output.close()
        # Either the container ended, or the daemon did: then there is more to come.
        return not self.stopped.is_set() and not self.daemon.inspect(self._container_id).running

    def failed(self, problem: EngineError) -> bool:
        if isinstance(problem, Rejected):  # a log driver that cannot be read
            self._log(problem.render(), "warning")
        return not isinstance(problem, Unavailable)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)


def _entries(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        entries, rest = unframed(rest + chunk)
        yield from entries
