"""Local resources: runs update commands, keeps servers running.

`apply` runs on the worker thread of the update. Each server has a thread `ipytilt-serve-<resource>`, which starts it,
waits for its end and posts facts, and another for its readiness probe, if it has one. Neighbours: `processes` below,
`runtime.execute` and `runtime.standing` above.
"""

from __future__ import annotations

import os
import threading
import traceback

from ipytilt.core.spec import Command, Local
from ipytilt.core.steps import Applied, Apply, Delete, Order, Serve
from ipytilt.engines.base import Log, Post, ProbeSeen, ServerSeen, Stop, Work
from ipytilt.engines.probes import Prober
from ipytilt.errors import Rejected
from ipytilt.processes import GRACE_SECONDS, Process, StartFailed, command_env, describe, run, spawn

_STOP_SECONDS = 1.5
_STOPPED = 137


class LocalEngine:
    """The host itself as an engine (a `Deployer` and an `Observer`).

    Args:
        grace: seconds between SIGTERM and SIGKILL when a command or server is stopped.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._last: dict[str, threading.Event] = {}  # per resource: its latest server is gone

    def apply(self, step: Apply, work: Work) -> Applied:
        """Run the update command, if there is one. Raises `Rejected` if it fails or cannot start, `Cancelled`."""
        target = step.resource.target
        if isinstance(target, Local) and target.cmd is not None:
            _run(target.cmd, work, self._grace)
        return Applied(step.resource.name)

    def delete(self, step: Delete, work: Work) -> None:
        """Nothing: a command leaves nothing that is ours, and a server ends with its standing order."""

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """Serve. The process starts once the one that served this resource before is gone, so its port is free."""
        if not isinstance(order, Serve):
            raise TypeError(f"the local engine keeps no {type(order).__name__}")
        gone = threading.Event()
        with self._lock:
            before = self._last.get(order.resource.name)
            self._last[order.resource.name] = gone
        server = _Server(order, post, log, grace=self._grace)
        threading.Thread(
            target=server.run, args=(before, gone), name=f"ipytilt-serve-{order.resource.name}", daemon=True
        ).start()

        def stop() -> None:
            server.stop()
            gone.wait(_STOP_SECONDS)  # its thread goes on until the grace period is over

        return stop


def environment(command: Command) -> dict[str, str]:
    """The whole environment a command of the Tiltfile runs in."""
    return command_env(os.environ, dict(item.split("=", 1) for item in command.env))


def _run(command: Command, work: Work, grace: float) -> None:
    text = describe(command.argv)
    work.log(f"Running cmd: {text}")
    try:
        done = run(
            command.argv,
            cwd=command.dir,
            env=environment(command),
            on_line=lambda _, line: work.log(line),
            cancel=work,
            grace=grace,
        )
    except StartFailed as error:
        raise Rejected(error.message, engine="local", hint=error.hint, where=str(command.origin)) from error
    if done.exit_code != 0:
        raise Rejected(f'Command "{text}" failed: exit status {done.exit_code}', engine="local")


class _Server:
    """One process of a `serve_cmd`, from its start to its end."""

    def __init__(self, order: Serve, post: Post, log: Log, *, grace: float) -> None:
        self._order = order
        self._post = post
        self._log = log
        self._grace = grace
        self._unwanted = threading.Event()
        self._process: Process | None = None

    def stop(self) -> None:
        """Ask for the end; returns at once."""
        self._unwanted.set()
        if self._process is not None:
            self._process.terminate()

    def run(self, before: threading.Event | None, gone: threading.Event) -> None:
        """Wait for the one before, serve until the end."""
        try:
            if before is not None:
                before.wait()
            if not self._unwanted.is_set():
                self._serve()
        except Exception as error:  # noqa: BLE001 - a thread's last word must reach somebody
            self._log("".join(traceback.format_exception(error)), "error")
            self._seen(exit_code=1, error=f"This is a bug in ipytilt: {error!r}")
        finally:
            if self._process is not None:
                self._process.kill()
            gone.set()

    def _serve(self) -> None:
        command = self._order.command
        self._log(f"Running cmd: {describe(command.argv)}", "info")
        try:
            prober = self._prober()
            self._process = process = spawn(
                command.argv,
                cwd=command.dir,
                env=environment(command),
                on_line=lambda _, line: self._log(line, "info"),
                whole_tree=True,
            )
        except (StartFailed, Rejected) as error:
            self._log(error.render(), "error")
            self._seen(exit_code=1, error=error.message)
            return
        self._seen(pid=process.pid)
        if self._unwanted.is_set():  # between the last look and the start
            process.terminate()
        if prober is not None:
            prober.start()
        try:
            if process.wait_or_stopping():
                process.stop(self._grace, notice=lambda text: self._log(text, "info"))
        finally:
            if prober is not None:
                prober.stop()
        self._ended(process)

    def _ended(self, process: Process) -> None:
        code = process.wait(0)
        if self._unwanted.is_set():
            self._seen(pid=process.pid, exit_code=_STOPPED, error="killed")
            return
        self._log(f"Server exited with exit code {code}", "error")
        error = f"Process {process.pid} exited with non-zero status" if code else "Server exited with exit code 0"
        self._seen(pid=process.pid, exit_code=code, error=error)

    def _seen(self, *, pid: int = 0, exit_code: int | None = None, error: str = "") -> None:
        order = self._order
        self._post(ServerSeen(order.resource.name, order.after_run, pid=pid, exit_code=exit_code, error=error))

    def _prober(self) -> Prober | None:
        order = self._order
        target = order.resource.target
        if not isinstance(target, Local) or target.probe is None:
            return None

        def seen(ready: bool) -> None:  # noqa: FBT001 - the one thing a verdict is
            self._post(ProbeSeen(order.resource.name, order.after_run, ready))

        return Prober(target.probe, seen, self._log, cwd=order.command.dir, env=environment(order.command))
