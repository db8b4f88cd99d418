"""A Tiltfile host made of dictionaries, so that a test says what the world holds in one line."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence

from ipytilt import processes
from ipytilt.tiltfile.host import Line, Ran, Recorder


class DictHost(Recorder):
    """A world made of dictionaries, for tests and previews.

    Args:
        files: path to text; directories follow from the paths.
        environ: the environment.
        commands: what `run` answers, by the command as people write it; anything else cannot be started.
    """

    def __init__(
        self,
        files: Mapping[str, str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        commands: Mapping[str, Ran] | None = None,
        directories: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.texts = dict(files or {})
        self.environ: MutableMapping[str, str] = dict(environ or {})
        self.argv: tuple[str, ...] = ("ipytilt", "up")
        self.executable = "/usr/bin/ipytilt"
        self.subcommand = "up"
        self.ran: list[tuple[tuple[str, ...], str, dict[str, str]]] = []
        self._commands = dict(commands or {})
        self._directories = {"/", *directories}
        for path in [*self.texts, *directories]:
            while path != "/":
                path = posixpath.dirname(path)  # noqa: PLW2901 - walks up
                self._directories.add(path)

    def log(self, text: str, level: str) -> None:
        """Forget it: the finished evaluation has the whole log."""

    def read(self, path: str, *, record: bool = True) -> bytes:
        """Content of a file."""
        if path in self._directories:
            raise IsADirectoryError(21, "Is a directory", path)
        if record:
            self.record(path)
        if path not in self.texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.texts[path].encode("utf-8", "surrogateescape")

    def exists(self, path: str) -> bool:
        """Something is there."""
        return path in self.texts or path in self._directories

    def is_dir(self, path: str) -> bool:
        """A directory is there."""
        return path in self._directories

    def files(self, path: str, *, recursive: bool) -> Iterator[str]:
        """What is in a directory."""
        for name in sorted(self.texts):
            inside = name.removeprefix(path.rstrip("/") + "/")
            if inside != name and (recursive or "/" not in inside):
                yield name

    def real(self, path: str) -> str:
        """The path itself: there are no links."""
        if not self.exists(path):
            raise FileNotFoundError(2, "No such file or directory", path)
        return path

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
        """Answer from the table."""
        self.ran.append((tuple(argv), cwd, dict(env or {})))
        command = processes.describe(argv)
        if command not in self._commands:
            raise processes.StartFailed(f"{command} failed to start: No such file or directory")
        ran = self._commands[command]
        if on_line:
            for line in (ran.stdout + ran.stderr).splitlines():
                on_line(line)
        return ran

    def compose_cli(self) -> tuple[str, ...] | None:
        """None: Compose files are read by our own reader."""
        return None

    def keep_text(self, text: str, suffix: str) -> str:
        """Keep it among the files."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        path = f"/tmp/kept-{digest[:8]}{suffix}"
        self.texts[path] = text
        self.kept.add(path)
        return path
