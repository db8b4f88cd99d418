"""A program that a supervisor runs: logged, awaited, ended with it, started again when asked.

Runs on the supervisor's only thread. The supervisors of the Docker daemon and of the cluster are made of these.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOG_CHARACTERS = 2000


class Service:
    """One program; ``answers`` tells whether it is up. Its output is added to ``log``.

    It has ``ready`` seconds to come up and, told to stop, ``patience`` seconds to end by itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        answers: Callable[[], object],
        ready: float = 60,
        patience: float = 20,
    ) -> None:
        self._command = list(command)
        self._log = log
        self._answers = answers
        self._ready = ready
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program and return when it answers. Raises RuntimeError with the end of its log."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the program, unless it runs, without waiting for it."""
        if self._process is not None and self._process.poll() is None:
            return
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads here, and nothing else ends it with us
            )

    def wait(self) -> None:
        """Return when the program answers. Raises RuntimeError with the end of its log."""
        process = self._process
        if process is None:
            return
        in_time = until(lambda: process.poll() is not None or self._answers(), self._ready)
        if not in_time or process.poll() is not None:
            end = self._log.read_text(errors="replace")[-_LOG_CHARACTERS:]
            raise RuntimeError(f"{Path(self._command[0]).name} did not come up; its log ends:\n{end}")

    def stop(self) -> None:
        """End the program; what it has written stays."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Ask again and again until the condition is true; False when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _die_with_parent() -> None:
    # SIGTERM lets dockerd end its containers itself.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
