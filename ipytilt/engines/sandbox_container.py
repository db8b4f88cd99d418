"""One container of the sandbox: its files, its main process, its ports, and what it has said.

`sandbox` makes and ends it on worker threads. A thread `ipytilt-container-<id>` waits for each main process and
restarts it if the service asks for that; output arrives on the thread of the process. One lock guards the state, one
serialises starting and stopping; the second is never taken under the first.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ipytilt import processes
from ipytilt.core.steps import Container
from ipytilt.engines.base import Log, Stop
from ipytilt.engines.sandbox_files import Root, remove_tree
from ipytilt.engines.sandbox_ports import Forwarder
from ipytilt.engines.sandbox_run import Isolation, View, launch
from ipytilt.processes import Process

_KEPT_LINES = 5000
_FOLLOWER_STOP_SECONDS = 1.0
_STEP_SECONDS = 0.5  # what a step that is about to end gets when its container ended first
_FIRST_DELAY, _LAST_DELAY, _LONG_ENOUGH = 0.1, 60.0, 10.0  # seconds between restarts, as Docker's


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: a service with the image it is made of, all decided.

    `ports` are pairs (published, in the container); `restart` is Compose's word; `wanted` identifies the whole, so
    that an equal one leaves a container alone.
    """

    resource: str
    service: str
    name: str
    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    ports: tuple[tuple[int, int], ...] = ()
    restart: str = "no"
    grace: float = 10.0
    wanted: str = ""


class Output:
    """The last lines a container wrote, each with the stamp of the start it belongs to."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[tuple[str, str]] = deque(maxlen=_KEPT_LINES)
        self._count = 0
        self._closed = False

    def add(self, stamp: str, line: str) -> None:
        """One more line."""
        with self._changed:
            self._lines.append((stamp, line))
            self._count += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def follow(self, stamp: str, log: Log) -> Stop:
        """Hand on what was and will be written after the start of this stamp, on a thread of its own."""
        stopped = threading.Event()

        def loop() -> None:
            seen = 0
            while lines := self._after(seen, stopped):
                seen, texts = lines[0], [line for own, line in lines[1] if own == stamp]
                if texts:
                    log("\n".join(texts), "info")

        def stop() -> None:
            with self._changed:
                stopped.set()
                self._changed.notify_all()
            thread.join(_FOLLOWER_STOP_SECONDS)

        thread = threading.Thread(target=loop, name=f"ipytilt-follow-{stamp}", daemon=True)
        thread.start()
        return stop

    def _after(self, seen: int, stopped: threading.Event) -> tuple[int, list[tuple[str, str]]] | None:
        """The number of lines so far and those after the first `seen`; waits for some; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > seen or stopped.is_set() or self._closed)
            if stopped.is_set() or self._count == seen:
                return None
            new = min(self._count - seen, len(self._lines))
            return self._count, list(self._lines)[len(self._lines) - new :]


class SandboxContainer:
    """A container. Methods may be called from any thread."""

    def __init__(self, plan: Plan, view: View, isolation: Isolation, *, changed: Callable[[], None]) -> None:
        self.plan = plan
        self.view = view
        self.id = secrets.token_hex(32)
        self.output = Output()
        self._isolation = isolation
        self._changed = changed
        self._operating = threading.RLock()
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._pid = 0
        self._root: Root | None = None
        self._steps: list[Process] = []
        self._state = "created"
        self._started_at = ""
        self._exit_code: int | None = None
        self._ended = threading.Event()  # for good: restarts are over
        self._delay = _FIRST_DELAY
        self._restarts = 0
        forwarded = [pair for pair in plan.ports if pair[0] != pair[1]]
        self._forwarder = Forwarder(forwarded) if forwarded else None

    @property
    def value(self) -> Container:
        """What others may know."""
        with self._lock:
            return Container(
                id=self.id,
                name=self.plan.name,
                service=self.plan.service,
                state=self._state,
                image=self.plan.image,
                started_at=self._started_at,
                exit_code=self._exit_code,
                ports=tuple(published for published, _ in self.plan.ports),
            )

    @property
    def root(self) -> str:
        """Where its files are seen from outside while it runs."""
        with self._lock:
            return self._isolation.root(self.view, self._pid)

    def start(self) -> None:
        """Run the main process. Raises StartFailed of `sandbox_run`, OSError."""
        with self._operating:
            stamp = f"{time.time():.6f}"
            process, pid = launch(
                self._isolation,
                self.view,
                self.plan.command,
                cwd=self.plan.cwd,
                env=dict(self.plan.env),
                on_line=lambda line: self.output.add(stamp, line),
            )
            try:
                root = Root(self._isolation.root(self.view, pid))
            except OSError:  # it is over already
                root = None
            with self._lock:
                self._process, self._pid, self._root = process, pid, root
                self._state, self._started_at, self._exit_code = "running", stamp, None
            name = f"ipytilt-container-{self.id[:10]}"
            threading.Thread(target=self._attend, args=(process,), name=name, daemon=True).start()
        self._changed()

    def restart(self) -> None:
        """End the main process without grace and run it again on the same files. Raises as `start`."""
        with self._operating:
            self._ended.clear()
            self._set_aside("restarting", grace=0)
            self.start()

    def stop(self, grace: float) -> None:
        """SIGTERM, `grace` seconds, SIGKILL; it will not be restarted."""
        self._ended.set()
        with self._operating:
            self._set_aside("exited", grace=grace)
        self._changed()

    def kill(self) -> None:
        """Begin its end; returns at once."""
        self._ended.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.kill()

    def remove(self, grace: float) -> None:
        """Stop it and delete its files."""
        self.stop(grace)
        if self._forwarder is not None:
            self._forwarder.stop()
        self.output.close()
        remove_tree(self.view.folder)

    def use_files(self, use: Callable[[Root], None]) -> bool:
        """Call `use` with the container's files, as its processes see them; False unless it runs before and after."""
        with self._operating:
            with self._lock:
                root = self._root
            if root is None or not self.running:
                return False
            use(root)
            return self.running

    def spawn(self, argv: tuple[str, ...], on_line: Callable[[str], None]) -> Process | None:
        """Run a command beside the main process; both end together. None if the container does not run."""
        with self._lock:
            if self._process is None or self._process.exit_code is not None:
                return None
            process = processes.spawn(
                self._isolation.join(self.view, self._pid, cwd=self.plan.cwd, command=argv),
                cwd="/",
                env={"HOME": self._isolation.home, **dict(self.plan.env)},
                on_line=lambda _, line: on_line(line),
                whole_tree=True,
            )
            self._steps = [*(each for each in self._steps if each.exit_code is None), process]
            return process

    @property
    def running(self) -> bool:
        """Whether its main process lives."""
        with self._lock:
            return self._process is not None and self._process.exit_code is None

    def _set_aside(self, state: str, *, grace: float) -> None:
        """End the process; whoever attends to it sees that it is no longer the main one."""
        with self._lock:
            process, root = self._process, self._root
            self._process = self._root = None
            steps, self._steps = self._steps, []
            if process is not None:
                self._state = state
        if process is not None:
            if grace:
                process.stop(grace)
            process.kill()
            code = process.wait()
            with self._lock:
                self._exit_code = code
        for step in steps:
            step.kill()
        if root is not None:
            root.close()

    def _attend(self, process: Process) -> None:
        """Wait for the end of one main process, say so, and start the next if that is wanted."""
        code = process.wait()
        with self._lock:
            if self._process is not process:
                return
            steps = list(self._steps)
            lived = time.time() - process.started_at
            self._state, self._exit_code = "exited", code
            again = self._wants_restart(code or 0)
            self._delay = _FIRST_DELAY if lived > _LONG_ENOUGH else min(2 * self._delay, _LAST_DELAY)
        self._changed()
        deadline = time.monotonic() + _STEP_SECONDS
        for step in steps:
            step.settle(deadline)
            step.kill()
        if not again or self._ended.wait(self._delay):
            return
        with self._operating:
            with self._lock:
                superseded = self._process is not process or self._ended.is_set()
            if not superseded:
                self._restarts += 1
                self._again()

    def _again(self) -> None:
        try:
            self._set_aside("restarting", grace=0)
            self.start()
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread: the log is where it is seen
            self.output.add(self._started_at, f"cannot restart: {error}")
            with self._lock:
                self._state = "exited"
            self._changed()

    def _wants_restart(self, code: int) -> bool:
        policy, _, limit = self.plan.restart.partition(":")
        if policy == "on-failure":
            return code != 0 and (not limit or self._restarts < int(limit))
        return policy in {"always", "unless-stopped"}
