"""The only door from a Tiltfile to the world: files, environment, commands. Records what was read.

Runs on the thread that evaluates. `DiskHost` is the real machine; tests bring a world made of dictionaries. Paths
are absolute and clean. One host serves one evaluation at a time; `reads` grows until the host is thrown away.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ipytilt import processes
from ipytilt.errors import Cancelled

Line = Callable[[str], None]
"""Called with each line a command prints, without its line end."""

Log = Callable[[str, str], None]

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: exit code (negative: killed by that signal) and what it printed."""

    code: int
    stdout: str = ""
    stderr: str = ""


class Host(Protocol):
    """What an evaluation may ask of the world. Raises OSError as Python's own functions do."""

    environ: MutableMapping[str, str]
    argv: tuple[str, ...]
    executable: str
    subcommand: str
    """What the user asked for ("up", "ci", ...): `config.tilt_subcommand`."""

    def log(self, text: str, level: str) -> None:
        """A line of the Tiltfile log as it is written; level is "info" or "warning"."""
        ...

    def read(self, path: str, *, record: bool = True) -> bytes:
        """Content of a file; the path is recorded before it is read, unless it is a directory."""
        ...

    def record(self, path: str) -> None:
        """A change of this path (or below it) reloads the Tiltfile."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Every recorded path, sorted."""
        ...

    def exists(self, path: str) -> bool:
        """Something is there."""
        ...

    def is_dir(self, path: str) -> bool:
        """A directory is there (or a link to one)."""
        ...

    def files(self, path: str, *, recursive: bool) -> Iterator[str]:
        """Paths of what is in a directory and is no directory itself, in walking order; nothing if it is missing."""
        ...

    def real(self, path: str) -> str:
        """The path with links resolved; FileNotFoundError if there is nothing."""
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        on_line: Line | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Ran:
        """Run a command with `env` on top of the environment (and of defaults, see `command_env`) and wait for it.

        Raises `StartFailed`. When `cancelled` becomes true the command is killed and `Cancelled` raised.
        """
        ...

    def compose_cli(self) -> tuple[str, ...] | None:
        """The words that start a usable Docker Compose v2, or None."""
        ...

    def keep_text(self, text: str, suffix: str) -> str:
        """Store a text in a file that outlives the evaluation; the same text gives the same path."""
        ...


class Recorder:
    """The part every host shares: which paths were recorded, and which are kept texts, which nobody edits."""

    def __init__(self) -> None:
        self._reads: set[str] = set()
        self.kept: set[str] = set()

    def record(self, path: str) -> None:
        """A change of this path (or below it) reloads the Tiltfile."""
        if path not in self.kept:
            self._reads.add(path)

    @property
    def reads(self) -> tuple[str, ...]:
        """Every recorded path, sorted."""
        return tuple(sorted(self._reads))


class DiskHost(Recorder):
    """The machine this runs on, with the environment of this process; `log(text, level)` gets the log line by line."""

    def __init__(self, log: Log = lambda _text, _level: None, *, subcommand: str = "up") -> None:
        super().__init__()
        self.log = log
        self.environ: MutableMapping[str, str] = os.environ
        self.argv = tuple(sys.argv)
        self.executable = sys.executable
        self.subcommand = subcommand
        self._compose: tuple[str, ...] | None = None
        self._compose_asked = False

    def read(self, path: str, *, record: bool = True) -> bytes:
        """Content of a file."""
        if record and not os.path.isdir(path):
            self.record(path)
        with open(_possible(path), "rb") as file:
            return file.read()

    def exists(self, path: str) -> bool:
        """Something is there."""
        return os.path.exists(path)

    def is_dir(self, path: str) -> bool:
        """A directory is there."""
        return os.path.isdir(path)

    def files(self, path: str, *, recursive: bool) -> Iterator[str]:
        """What is in a directory and is no directory; links to directories are not followed."""
        try:
            entries = sorted(os.scandir(_possible(path)), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield entry.path
            elif recursive:
                yield from self.files(entry.path, recursive=True)

    def real(self, path: str) -> str:
        """The path with links resolved."""
        return os.path.realpath(_possible(path), strict=True)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        on_line: Line | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Ran:
        """Run a command in a process of its own and wait for it."""
        output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        process = processes.spawn(
            argv,
            cwd=cwd,
            env=processes.command_env(self.environ, env or {}),
            stdin=stdin.encode("utf-8", "surrogateescape"),
            on_line=_each(on_line) if on_line else None,
            on_data=lambda stream, data: output[stream].extend(data),
            merge=False,
        )
        try:
            while (code := process.wait(_POLL_SECONDS)) is None:
                if cancelled():
                    raise Cancelled("cancelled")
        finally:
            process.kill()
        return Ran(code, output["stdout"].decode(errors="replace"), output["stderr"].decode(errors="replace"))

    def compose_cli(self) -> tuple[str, ...] | None:
        """`docker compose` or `docker-compose`, whichever answers with version 2."""
        if not self._compose_asked:
            self._compose_asked = True
            self._compose = next(filter(self._is_compose_v2, (("docker", "compose"), ("docker-compose",))), None)
        return self._compose

    def _is_compose_v2(self, words: tuple[str, ...]) -> bool:
        try:
            ran = self.run([*words, "version", "--short"], cwd="/")
        except processes.StartFailed:
            return False
        return ran.code == 0 and ran.stdout.lstrip("v")[:2] not in ("", "0.", "1.")

    def keep_text(self, text: str, suffix: str) -> str:
        """A file in the user's own cache folder (nobody else can put one there), named after its content."""
        cache = self.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = os.path.join(cache, "ipytilt", "inline")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        data = text.encode("utf-8", "surrogateescape")
        path = os.path.join(folder, hashlib.sha256(data).hexdigest()[:20] + suffix)
        with open(path, "wb") as file:
            file.write(data)
        self.kept.add(path)
        return path


def _possible(path: str) -> str:
    """The path, or the OSError Python should raise for one no system can hold."""
    if "\0" in path:
        raise OSError(errno.EINVAL, "invalid argument", path)
    return path


def _each(on_line: Line) -> processes.OnLine:
    return lambda _stream, line: on_line(line)
