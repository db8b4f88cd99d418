"""Readiness probes of local servers: exec, HTTP GET, TCP.

Each prober has a thread `ipytilt-probe`, from the start of the server's process to its end. Commands run in the
server's own directory and environment.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, assert_never

from ipytilt.core.spec import ExecAction, HTTPGetAction, Probe, TCPSocketAction
from ipytilt.engines.base import Log, Work
from ipytilt.errors import Cancelled, Rejected
from ipytilt.processes import StartFailed, run

Result: TypeAlias = Literal["success", "failure"]

_PERIOD_SECONDS = 10.0
_EAGER_SECONDS = 1.0
_TIMEOUT_SECONDS = 1.0
_FAILURES = 3
_STOP_SECONDS = 2.0


class Prober:
    """Asks a server again and again whether it is ready, and tells when the answer changes.

    Args:
        probe: what to do, and how often.
        seen: called with the verdict, first when there is one, then when it changes.
        cwd, env: where commands run.

    Raises:
        Rejected: the probe makes no sense.
    """

    def __init__(
        self, probe: Probe, seen: Callable[[bool], None], log: Log, *, cwd: str, env: Mapping[str, str]
    ) -> None:
        _validate(probe)
        self._probe = probe
        self._seen = seen
        self._log = log
        self._cwd = cwd
        self._env = env
        self._timeout = probe.timeout_secs or _TIMEOUT_SECONDS
        self._work = Work(log)
        self._stopped = threading.Event()
        self._verdict: bool | None = None
        self._was_ready = False
        self._streak: tuple[Result, int] = ("success", 0)
        self._thread = threading.Thread(target=self._main, name="ipytilt-probe", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No more verdicts. A probe that hangs is left to its own time limit."""
        self._stopped.set()
        self._work.cancel()
        self._thread.join(_STOP_SECONDS)

    def _main(self) -> None:
        wait: float = self._probe.initial_delay_secs
        while not self._stopped.wait(wait):
            try:
                result, output = self._ask()
            except Cancelled:
                return
            if not self._stopped.is_set():
                self._take(result, output)
            wait = self._period()

    def _period(self) -> float:
        """Without a period of its own, a starting server is asked every second: nobody wants to wait ten for it."""
        eager = not self._probe.period_secs and not self._was_ready
        return _EAGER_SECONDS if eager else self._probe.period_secs or _PERIOD_SECONDS

    def _take(self, result: Result, output: str) -> None:
        before, count = self._streak
        self._streak = (result, count + 1 if result == before else 1)
        good = result == "success"
        threshold = self._probe.success_threshold or 1 if good else self._probe.failure_threshold or _FAILURES
        changed = self._streak[1] >= threshold and self._verdict is not good
        level = "debug"
        if changed:
            self._verdict = good
            self._was_ready = self._was_ready or good
            self._seen(good)
            level = "info" if good else "warning"
        if changed or not good:
            for line in output.splitlines():
                self._log(f"[readiness probe: {result}] {line}", level)

    def _ask(self) -> tuple[Result, str]:
        """One probe: its result and what there is to say about it."""
        try:
            match self._probe.action:
                case ExecAction() as action:
                    return self._run(action)
                case HTTPGetAction() as action:
                    return self._get(action)
                case TCPSocketAction() as action:
                    address = (action.host or "localhost", action.port)
                    socket.create_connection(address, self._timeout).close()
                    return "success", f"{address[0]}:{address[1]} accepts connections"
                case _:
                    assert_never(self._probe.action)
        except (StartFailed, OSError, http.client.HTTPException) as error:
            return "failure", str(error) or type(error).__name__

    def _run(self, action: ExecAction) -> tuple[Result, str]:
        done = run(
            action.command,
            cwd=self._cwd,
            env=self._env,
            capture=True,
            cancel=self._work,
            grace=0,
            timeout=self._timeout,
        )
        return "success" if done.exit_code == 0 else "failure", done.stdout.decode(errors="replace")

    def _get(self, action: HTTPGetAction) -> tuple[Result, str]:
        """One request; a redirect is an answer. Certificates are not checked: a development server signs its own."""
        host = action.host or "localhost"
        if action.scheme.lower() == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, action.port, timeout=self._timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, action.port, timeout=self._timeout)
        try:
            connection.request("GET", "/" + action.path.lstrip("/"), headers={"Connection": "close"})
            status = connection.getresponse().status
        finally:
            connection.close()
        return "success" if 200 <= status < 400 else "failure", f"HTTP status {status}"


def _validate(probe: Probe) -> None:
    action = probe.action
    why = ""
    if isinstance(action, ExecAction):
        why = "" if action.command else "exec needs a command"
    elif not 0 < action.port < 65536:
        why = f"port must be 1 to 65535, not {action.port}"
    elif isinstance(action, HTTPGetAction) and action.scheme.lower() not in ("", "http", "https"):
        why = f"scheme must be http or https, not {action.scheme!r}"
    if why:
        raise Rejected(f"Invalid readiness probe: {why}", engine="local", hint="correct the probe in the Tiltfile")
