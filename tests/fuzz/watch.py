"""Watching the process that evaluates: whatever ends it or keeps it from answering is a fault of the text it had."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fuzz.evaluate import SECONDS, Fault

_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-W", "error", "-m", "tests.fuzz.evaluate")
_PATIENCE = 30 * SECONDS  # seconds of wall time, for what waits without using the processor


class Evaluator:
    """Evaluates texts in a child process, a new one after each that did not survive."""

    def __init__(self, command: tuple[str, ...] = _COMMAND) -> None:
        self._command = command
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the evaluator
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kill=True)
        self._stderr.close()

    def fault(self, text: str) -> Fault | None:
        """What is wrong with how a text is evaluated."""
        child = self._child = self._child or self._start()
        assert child.stdin
        assert child.stdout
        child.stdin.write(json.dumps(text) + "\n")
        child.stdin.flush()
        answered, _, _ = select.select([child.stdout], [], [], _PATIENCE)
        answer = child.stdout.readline() if answered else ""
        if answer:
            found = json.loads(answer)
            return Fault(*found) if found else None
        code = self._end(kill=not answered)
        self._stderr.seek(0)
        return Fault(_ended(code, waited=not answered), self._stderr.read().decode(errors="replace"))

    def _start(self) -> subprocess.Popen[str]:
        self._stderr.seek(0)
        self._stderr.truncate()
        return subprocess.Popen(
            self._command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def _end(self, *, kill: bool) -> int:
        """The exit code of the child, which has ended unless it is killed now."""
        child, self._child = self._child, None
        if child is None:
            return 0
        if kill:
            child.kill()
        with child:
            return child.wait()


def _ended(code: int, *, waited: bool) -> str:
    if waited or code == -signal.SIGXCPU:
        return "hang"
    return f"crash: {signal.Signals(-code).name if code < 0 else f'exit status {code}'}"
