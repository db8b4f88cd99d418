"""`Eval`: what a builtin gets as its first argument, the one evaluation it is part of.

Lives on the evaluating thread from `load` to the finished spec. It knows where execution stands (file, working
directory, source), owns the log, and holds the draft and the host that builtins work on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ipytilt.core.spec import NOWHERE, Origin, Warned
from ipytilt.processes import StartFailed, describe
from ipytilt.starlark import Thread
from ipytilt.tiltfile.draft import Draft, Wrong
from ipytilt.tiltfile.host import Host, Ran
from ipytilt.tiltfile.pathnames import absolute

GlobalsOf = Callable[[str], Mapping[str, Any]]


class Exit(Exception):
    """`exit()` was called: the rest of all files is skipped, what was registered counts."""


@dataclass(frozen=True, slots=True)
class Running:
    """A file or cell that is being executed: the source it belongs to, its own path ("" for a cell), its directory."""

    source: str
    path: str
    dir: str


def _no_files(path: str) -> Mapping[str, Any]:
    raise Wrong(f"cannot run {path} here")


@dataclass(slots=True)
class Eval:
    """One evaluation.

    `main` is the root Tiltfile (for a cell, the path it would have in its folder); `thread` runs the code; `globals_of`
    runs another file and yields its globals; `place` is where a Python function calls the builtin that is running.
    """

    host: Host
    args: tuple[str, ...]
    main: str
    cancelled: Callable[[], bool]
    draft: Draft = field(default_factory=Draft)
    lines: list[str] = field(default_factory=list)
    thread: Thread | None = None
    globals_of: GlobalsOf = _no_files
    place: Origin = NOWHERE
    _running: list[Running] = field(default_factory=list)

    @contextmanager
    def running(self, what: Running) -> Iterator[None]:
        """Within the block, `what` is the file being executed."""
        self._running.append(what)
        try:
            yield
        finally:
            self._running.pop()

    @property
    def current(self) -> Running:
        """The file or cell being executed right now."""
        return self._running[-1]

    @property
    def dir(self) -> str:
        """The working directory: where relative paths start."""
        return self._running[-1].dir

    def path(self, path: str) -> str:
        """The path made absolute and clean."""
        return absolute(self.dir, path)

    def origin(self) -> Origin:
        """Where the user's own text calls the builtin that is running."""
        position = self.thread.position() if self.thread else None
        return Origin(*position) if position else self.place

    def is_running(self, path: str) -> bool:
        """The file is being executed, or waits for one it loads."""
        return any(running.path == path for running in self._running)

    def log(self, text: str, level: str = "info") -> None:
        """Append to the Tiltfile log, line by line."""
        for line in text.splitlines() or [""]:
            self.lines.append(line)
            self.host.log(line, level)

    def warn(self, text: str) -> None:
        """A warning: logged, and kept for the spec."""
        self.draft.warnings.append(Warned(text, self.origin()))

    def read(self, path: str, doing: str) -> str:
        """Text of a file that is recorded for reloading; `Wrong` says what was being done if it cannot be read."""
        try:
            return self.host.read(path).decode("utf-8", "surrogateescape")
        except OSError as error:
            raise Wrong(f"{doing}: {unreadable(path, error)}") from None

    def run(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        quiet: bool = True,
    ) -> Ran:
        """Run a command, its output going to the log unless `quiet`; `Wrong` if it cannot be started or fails."""
        shown = json.dumps(describe(argv), ensure_ascii=False)
        on_line = None if quiet else lambda line: self.log(f" → {line}")
        try:
            ran = self.host.run(argv, cwd=cwd, env=env, stdin=stdin, on_line=on_line, cancelled=self.cancelled)
        except StartFailed as error:
            raise Wrong(f"command {shown} failed.\nerror: {error.message}") from None
        if ran.code:
            output = f"\nstdout:\n{ran.stdout}\nstderr:\n{ran.stderr}" if quiet else ""
            raise Wrong(f"command {shown} failed.\nerror: exit status {ran.code}{output}")
        return ran


def unreadable(path: str, error: OSError) -> str:
    """Why a file cannot be opened, in the words people know from Tilt."""
    reason = (error.strerror or str(error)).lower()
    return f"read {path}: {reason}" if isinstance(error, IsADirectoryError) else f"open {path}: {reason}"
