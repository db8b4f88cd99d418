"""Images by BuildKit: the command line for `docker buildx build`, its context, and its progress as readable lines.

Runs on the worker thread of the build; the child process is `processes`' business. `builder` decides when this is used
and what becomes of the image.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from ipytilt.core.paths import Matcher, is_below
from ipytilt.core.spec import DockerBuild, Ignore
from ipytilt.engines.base import Work
from ipytilt.engines.context import readable, walk
from ipytilt.engines.docker.client import ENGINE
from ipytilt.errors import Unavailable
from ipytilt.lines import Lines

_LAST_LINES = 20
_WORTH_TELLING_SECONDS = 1.0
_STUCK_SECONDS = 20.0
_LOOK_SECONDS = 1.0
_CONTEXT = re.compile(r"\[.*internal\] load build context")
_STEP = re.compile(r"\[(?!internal\b|auth\b)[^\]]*\] ")
_NOT_LITERAL = frozenset("*?[]\\!#\n")
# Without these the words that matter are left.
_BOILERPLATE = re.compile(
    r"^(ERROR: |failed to solve( with frontend [\w.]+)?: |rpc error: code = \w+ desc = |"
    r"failed to create LLB definition: |failed to build LLB: )+"
)
_LINE_NUMBERS = (re.compile(r"^\S*Dockerfile:(\d+)", re.MULTILINE), re.compile(r"parse error (?:on )?line (\d+)"))

Say = Callable[[str, str], None]


@contextmanager
def build_command(
    build: DockerBuild, text: str, *, ignores: Sequence[Ignore], tag: str, labels: Mapping[str, str], local_bases: bool
) -> Iterator[list[str]]:
    """The command line that builds and loads `tag`; what it refers to is there within the block.

    `text` is the Dockerfile with its bases replaced; with `local_bases` it names images that only the daemon's own
    builder can see. Raises Rejected if the context cannot be read.
    """
    with TemporaryDirectory(prefix="ipytilt-build-") as folder, readable("docker"):
        dockerfile = os.path.join(folder, "Dockerfile")
        _write(dockerfile, text)
        context = os.path.join(folder, "context")
        patterns = dockerignore(build.context, ignores) if build.context else None
        if patterns is not None:
            context = build.context
            _write(f"{dockerfile}.dockerignore", patterns)
        else:
            _stage(build.context, ignores, target=context)
        flags = [("--tag", tag), ("--file", dockerfile)]
        flags += [("--label", f"{name}={value}") for name, value in labels.items()]
        flags += [("--build-arg", arg) for arg in build.args]
        flags += [("--secret", secret) for secret in build.secrets]
        flags += [("--ssh", ssh) for ssh in build.ssh]
        flags += [("--cache-from", cache) for cache in build.cache_from]
        flags += [("--add-host", host) for host in build.extra_hosts]
        named = (("--target", build.target), ("--network", build.network), ("--platform", build.platform))
        flags += [(flag, value) for flag, value in named if value]
        flags += [("--builder", "default")] if local_bases else []
        words = [word for flag in flags for word in flag]
        pull = ["--pull"] if build.pull else []
        yield ["docker", "buildx", "build", "--progress=rawjson", "--load", *words, *pull, context]


def dockerignore(context: str, ignores: Sequence[Ignore]) -> str | None:
    """The ignore sets as one `.dockerignore`, or None if only our own `Matcher` can say what they mean.

    A file knows one order of patterns, and its `!` undoes everything above it; so there may be one set that
    re-includes anything, and it comes first.
    """
    sets = []
    for ignore in ignores:
        patterns = _patterns(context, ignore)
        if patterns is None:
            return None
        sets.append(patterns)
    sets.sort(key=lambda patterns: not _reincludes(patterns))
    if any(_reincludes(patterns) for patterns in sets[1:]):
        return None
    return "".join(f"{pattern}\n" for patterns in sets for pattern in patterns)


def _reincludes(patterns: Sequence[str]) -> bool:
    return any(pattern.startswith("!") for pattern in patterns)


def _patterns(context: str, ignore: Ignore) -> list[str] | None:
    """The patterns of one set relative to the context, or None if they cannot be said like that."""
    if not ignore.patterns:
        below = is_below(ignore.base, context) and ignore.base != context
        if not below and not is_below(context, ignore.base):
            return []
        relative = posixpath.relpath(ignore.base, context)
        return [relative] if below and not _NOT_LITERAL & set(relative) else None
    found = []
    for pattern in filter(None, map(str.strip, ignore.patterns)):
        sign, rest = ("!", pattern[1:].strip()) if pattern.startswith("!") else ("", pattern)
        cleaned = posixpath.normpath(rest)
        # Brackets and backslashes may be malformed, which drops the whole set; the rest is about other directories.
        if ignore.base != context or cleaned[0] in "/.!#" or set("[]\\\n") & set(cleaned):
            return None
        found.append(sign + cleaned)
    return found


def _stage(context: str, ignores: Sequence[Ignore], *, target: str) -> None:
    """A copy of the context without what is ignored; of hard links, if the file system allows it."""
    os.mkdir(target)
    for found in walk(context, Matcher(ignores)) if context else ():
        place = os.path.join(target, found.name)
        with suppress(FileNotFoundError, NotADirectoryError, FileExistsError):  # gone, or something else, since then
            os.makedirs(place if found.is_directory else os.path.dirname(place), exist_ok=True)
            if not found.is_directory:
                try:
                    os.link(found.path, place, follow_symlinks=False)
                except OSError:
                    shutil.copy2(found.path, place, follow_symlinks=False)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


# ---------------------------------------------------------------------------------------------- progress


@dataclass(slots=True)
class _Vertex:
    """A step of the build, as far as it has been heard of."""

    name: str
    lines: Lines
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    told: bool = False


class Progress:
    """Turns what `buildx --progress=rawjson` writes into log lines; `line` is called for each line of it.

    Attributes:
        failed_step: the instruction that failed, as BuildKit words it, or "".
    """

    def __init__(self, say: Say) -> None:
        self.failed_step = ""
        self._loading: set[str] = set()
        self._heard_at = time.monotonic()
        self._say = say
        self._vertices: dict[str, _Vertex] = {}
        self._failed: _Vertex | None = None
        self._document: list[str] = []
        self._plain: list[str] = []

    def line(self, line: str) -> None:
        """Take a line: part of a JSON document, which may be spread over many, or plain text."""
        self._heard_at = time.monotonic()
        if not self._document and not line.startswith("{"):
            self._plain.append(line)
            return
        self._document.append(line)
        if line.rstrip().endswith("}"):
            try:
                document = json.loads("".join(self._document))
            except ValueError:
                return
            self._document.clear()
            self._take(document)

    def is_stuck(self, seconds: float) -> bool:
        """Whether a context is being sent and nothing was heard for so long: files that change may stop it for ever."""
        return bool(self._loading) and time.monotonic() - self._heard_at > seconds

    def error(self) -> tuple[str, int]:
        """Why the build failed, in few words and with the last output of the step; and its line, or 0."""
        plain = "\n".join(self._plain)
        errors = [line for line in self._plain if line.startswith("ERROR")] or self._plain[-1:]
        text = _BOILERPLATE.sub("", errors[-1]) if errors else "the build failed without a word"
        said = self._failed.said if self._failed else ()
        return "\n".join((text, *said)), line_number(plain)

    def _take(self, document: Mapping[str, Any]) -> None:
        for vertex in document.get("vertexes") or ():
            self._vertex(vertex)
        for log in document.get("logs") or ():
            if log["vertex"] in self._vertices:
                self._vertices[log["vertex"]].lines.feed(base64.b64decode(log.get("data") or ""))

    def _vertex(self, said: Mapping[str, Any]) -> None:
        vertex = self._vertices.get(said["digest"])
        if vertex is None:
            vertex = _Vertex(said["name"], Lines(partial(self._output, said["digest"])))
            self._vertices[said["digest"]] = vertex
        if _CONTEXT.search(vertex.name):
            (self._loading.discard if said.get("completed") else self._loading.add)(said["digest"])
        shown = _STEP.match(vertex.name) is not None
        if shown and not vertex.told and said.get("started"):
            vertex.told = True
            self._say(vertex.name + (" [cached]" if said.get("cached") else ""), "info")
        if said.get("completed"):
            vertex.lines.close()
            seconds = _seconds(said)
            if shown and seconds >= _WORTH_TELLING_SECONDS and not said.get("error"):
                self._say(f"{vertex.name} [done: {seconds:.1f}s]", "info")
        if said.get("error") and "canceled" not in said["error"]:
            self._failed, self.failed_step = vertex, _STEP.sub("", vertex.name)
            self._say(f"ERROR IN: {vertex.name}", "error")

    def _output(self, digest: str, line: str) -> None:
        self._vertices[digest].said.append(line)
        self._say(f"  {line}", "info")


class Patience:
    """A run's wish to end (`processes.Cancel`), which also comes true when the build is stuck."""

    def __init__(self, work: Work, progress: Progress) -> None:
        self._work = work
        self._progress = progress
        self._stuck = False

    def check(self) -> None:
        """Raise Cancelled, or Unavailable if the build was stuck: it is worth another try."""
        self._work.check()
        if self._stuck:
            problem = f"sending the build context stopped for {_STUCK_SECONDS:g} s, perhaps because files in it changed"
            raise Unavailable(problem, engine=ENGINE)

    @contextmanager
    def on_cancel(self, kill: Callable[[], None]) -> Iterator[None]:
        """As that of `Work`; a thread of its own looks at the progress meanwhile."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_SECONDS):
                if self._progress.is_stuck(_STUCK_SECONDS):
                    self._stuck = True
                    kill()
                    return

        thread = threading.Thread(target=watch, name="ipytilt-build-patience", daemon=True)
        with self._work.on_cancel(kill):
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()


def line_number(said: str) -> int:
    """The line of the Dockerfile that an error text speaks of, or 0."""
    return next((int(found[1]) for pattern in _LINE_NUMBERS if (found := pattern.search(said))), 0)


def _seconds(vertex: Mapping[str, Any]) -> float:
    try:
        begin, end = (datetime.fromisoformat(vertex[name]) for name in ("started", "completed"))
    except (KeyError, ValueError):
        return 0.0
    return (end - begin).total_seconds()
