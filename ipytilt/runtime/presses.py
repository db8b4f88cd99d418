"""Runs the commands of buttons, one run of each button at a time.

`press` may be called from any thread. Each run has a thread `ipytilt-button-<name>`, which first waits for the end of
the run before it. The session owns one of these, is told what starts and ends, and stops it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ipytilt.core.buttons import Button, Press
from ipytilt.core.state import TILTFILE
from ipytilt.engines.base import Work
from ipytilt.engines.local import environment
from ipytilt.errors import Cancelled
from ipytilt.processes import StartFailed, describe, run
from ipytilt.runtime.logs import Logs


@dataclass(frozen=True, slots=True)
class _Run:
    work: Work
    over: threading.Event = field(default_factory=threading.Event)


class Presses:
    """The runs of all buttons; their output goes to `logs`.

    `changed` is told the name of a button and its newest run when that starts and ends, in this order; it only posts.
    """

    def __init__(self, logs: Logs, changed: Callable[[str, Press], None]) -> None:
        self._logs = logs
        self._changed = changed
        self._lock = threading.Lock()
        self._last: dict[str, _Run] = {}

    def press(self, button: Button, extra: dict[str, str]) -> None:
        """Run the command with `extra` in its environment; a run of this button that goes on is stopped first."""
        stream = button.resource or TILTFILE
        this = _Run(Work(lambda text, level: self._logs.append(stream, text, level=level)))
        with self._lock:
            before = self._last.get(button.name)
            self._last[button.name] = this
            self._changed(button.name, Press(running=True))
        if before is not None:
            before.work.cancel()
        threading.Thread(
            target=self._run, args=(button, extra, before, this), name=f"ipytilt-button-{button.name}", daemon=True
        ).start()

    def running(self, name: str) -> bool:
        """The command of that button runs, or is about to."""
        with self._lock:
            last = self._last.get(name)
        return last is not None and not last.over.is_set()

    def stop(self, deadline: float) -> list[str]:
        """Stop all runs; returns the names of those that go on beyond `deadline` (in `time.monotonic` seconds)."""
        with self._lock:
            runs = dict(self._last)
        for one in runs.values():
            one.work.cancel()
        left = [name for name, one in runs.items() if not one.over.wait(max(0.0, deadline - time.monotonic()))]
        return [f"button {name}" for name in left]

    def _run(self, button: Button, extra: dict[str, str], before: _Run | None, this: _Run) -> None:
        problem = ""
        try:
            if before is not None:
                before.over.wait()
            problem = _problem(button, extra, this.work)
        finally:
            with self._lock:
                this.over.set()
                if self._last[button.name] is this:
                    self._changed(button.name, Press(problem=self._logs.scrub(problem)))


def _problem(button: Button, extra: dict[str, str], work: Work) -> str:
    """Run the command; what was wrong with it, "" also when it was stopped."""
    shown = describe(button.command.argv)
    try:
        work.check()
        work.log(f"Running cmd: {shown}")
        done = run(
            button.command.argv,
            cwd=button.command.dir,
            env={**environment(button.command), **extra},
            on_line=lambda _stream, line: work.log(line),
            cancel=work,
        )
    except Cancelled:
        work.log(f"Stopped: {shown}")
        return ""
    except StartFailed as error:
        problem = error.render()
    else:
        problem = f'Command "{shown}" failed: exit status {done.exit_code}' if done.exit_code else ""
    if problem:
        work.log(problem, "error")
    return problem
