"""Live update over kept-open sessions: `Containers.sync` and `exec` for every engine with real containers.

Owns the table of open sessions. Called on worker threads; each `Attach` order has a thread of its own that keeps its
session open. A lock per container keeps them apart. The engine provides a `Transport` and translates its own errors.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Protocol

from ipytilt.core.paths import is_below
from ipytilt.core.steps import Container, Copy
from ipytilt.engines.base import Log, Stop, Work
from ipytilt.engines.compare import Seen, differing
from ipytilt.engines.context import Archive, Placed, sync_archive
from ipytilt.engines.exec_session import (
    COMMAND,
    RM_FAILED,
    Duplex,
    ExecSession,
    Output,
    SessionLost,
    kill_tree_command,
)
from ipytilt.errors import Broke, EngineError, Rejected, refusal
from ipytilt.lines import Lines

_SILENCE_SECONDS = 60.0  # a file operation that shows no progress for so long is stuck
_LOOK_SECONDS = 1.0  # how soon an attached session is found to be lost, and unasked output is shown
_STOP_SECONDS = 1.5
_KILLED = 137
_NO_PROGRAM = (126, 127)
_TOOLS = frozenset({"head", "tar", "cat"})
_PATHS_PER_REQUEST = 500
_SHOWN_LINES = 10
_SHOWN_NAMES = 3

_STATUS = re.compile(rb"^([0-9a-f]+) ([0-9]+) (/.*)$", re.MULTILINE)
_DIGEST = re.compile(rb"^([0-9a-f]{64}) [ *](/.*)$", re.MULTILINE)
_UNCLEAR = re.compile(r"[\n\r\\]")
_READ_LINKS = 'for path; do echo "$(readlink -- "$path" 2>/dev/null)"; done'

# GNU tar exits with 2 if it wrote a file and could not set its mode or time because it belongs to somebody else.
_ONLY_METADATA = re.compile(r"tar: .*(Cannot (utime|change mode|change ownership)|Exiting with failure status)")
_IN_THE_WAY = re.compile(r"File exists|Is a directory|Not a directory|Directory not empty")
_HINTS = (
    (
        re.compile(r"Permission denied|Operation not permitted"),
        "make the files writable for the container's user, as with COPY --chown or a securityContext of the pod",
    ),
    (
        re.compile(r"Read-only file system"),
        "sync to a writable place, or start the container without read_only (in a pod: readOnlyRootFilesystem)",
    ),
)


class Exec(Duplex, Protocol):
    """A program running in a container: its input, and its output and errors as one stream."""

    def exit_code(self) -> int | None:
        """After the end of the stream: the exit code; None if it cannot be known."""
        ...


class Transport(Protocol):
    """How an engine reaches into its containers; errors are `Broke`, `Unavailable` or `Rejected`.

    Attributes:
        engine: the engine's name.
    """

    engine: str

    def connect(self, container_id: str, argv: Sequence[str], *, stdin: bool) -> Exec:
        """Run argv in a container. That there is no such program may show as an exit code of 126 or 127 only."""
        ...

    def gone(self, container_id: str) -> str:
        """What became of a container, "" while it runs."""
        ...

    def label(self, container_id: str) -> str:
        """A short name for the container."""
        ...

    def unpack(self, container_id: str, archive: Archive) -> None:
        """Unpack an archive at `/` without the image's help, for the container's user; Rejected if there is no way."""
        ...


class Sessions:
    """The sessions of one engine. All methods may be called from any thread."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._slots: dict[str, _Slot] = {}
        self._lock = threading.Lock()

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """As `Containers.sync`."""
        archive, sorted_out = sync_archive(copies, engine=self._transport.engine)
        with self._slot(where.id) as slot, slot.lock:
            _Use(self._transport, slot, where, work).sync(archive, sorted_out)
        if archive.torn:
            work.log(f"changed while being copied, copying again: {', '.join(archive.torn)}", "debug")
            self.sync(where, tuple(copy for copy in copies if _is_torn(copy, archive)), work)

    def differing(self, where: Container, copies: tuple[Copy, ...], work: Work) -> tuple[Copy, ...]:
        """As `Containers.differing`."""
        with self._slot(where.id) as slot, slot.lock:
            look = _Look(_Use(self._transport, slot, where, work))
            return differing(copies, look, engine=self._transport.engine)

    def exec(self, where: Container, argv: Sequence[str], work: Work) -> int:
        """As `Containers.exec`."""
        lines = Lines(work.log)
        with self._slot(where.id) as slot, slot.lock:
            code = _Use(self._transport, slot, where, work).run(argv, output=lines.feed)
        lines.close()
        return code

    def attach(self, container_id: str, log: Log) -> Stop:
        """Keep a session open until stopped; what a step's background children write goes to the log."""
        stopped = threading.Event()
        name = f"ipytilt-attach-{self._transport.label(container_id)}"
        thread = threading.Thread(target=self._attend, args=(container_id, stopped, log), name=name, daemon=True)
        thread.start()

        def stop() -> None:
            stopped.set()
            thread.join(_STOP_SECONDS)

        return stop

    def _attend(self, container_id: str, stopped: threading.Event, log: Log) -> None:
        where = Container(container_id, self._transport.label(container_id), service="", state="running")
        lines = Lines(lambda line: log(line, "info"))
        with self._slot(container_id) as slot:
            use = _Use(self._transport, slot, where, Work(log))
            while not stopped.is_set():
                if slot.lock.acquire(blocking=False):  # whoever uses it keeps it open as well
                    with ExitStack() as held:
                        held.callback(slot.lock.release)
                        use.look(lines.feed)
                stopped.wait(_LOOK_SECONDS)
        lines.close()

    @contextmanager
    def _slot(self, container_id: str) -> Iterator[_Slot]:
        with self._lock:
            slot = self._slots.setdefault(container_id, _Slot())
            slot.users += 1
        try:
            yield slot
        finally:
            with self._lock:
                slot.users -= 1
                if not slot.users:
                    del self._slots[container_id]
                    slot.drop()


class _Slot:
    """The session of one container, kept while anybody has a use for it. Everything is guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.session: ExecSession | None = None
        self.has_shell = True

    def drop(self) -> None:
        """Close the session; the next use opens another."""
        session, self.session = self.session, None
        if session:
            session.close()


class _Use:
    """Somebody at work in one container, holding its slot."""

    def __init__(self, transport: Transport, slot: _Slot, where: Container, work: Work) -> None:
        self._transport = transport
        self._slot = slot
        self._where = where
        self._work = work

    def sync(self, archive: Archive, sorted_out: Placed) -> None:
        session, removals = self._session(), sorted_out.removals
        if session is None or session.lacks & _TOOLS:
            if removals:
                self._remove(removals)
            if archive.names:
                self._transport.unpack(self._where.id, archive)
            return
        # The source of a sync may lead to a link in the image; below it links are ours.
        made = [copy.container for copy in sorted_out.directories if copy.local != copy.root]
        for batch in _batches(() if "mkdir" in session.lacks else made):  # tar would follow a link that stands there
            self._call("make_way", batch)
        for batch in _batches(removals[_PATHS_PER_REQUEST:]):
            self._remove(batch)
        code, said = self._put(archive, removals[:_PATHS_PER_REQUEST])
        if code not in (0, RM_FAILED) and _IN_THE_WAY.search(said):
            for batch in _batches(archive.names):
                self._call("clear_way", batch)
            code, said = self._put(archive, ())
        if code and not (said and all(map(_ONLY_METADATA.match, said.splitlines()))):
            doing = "removing files" if code == RM_FAILED else f"copying {_listed(archive.names)}"
            raise self._failure(code, said, doing=doing)

    def run(self, argv: Sequence[str], *, output: Output) -> int:
        """Run a step."""
        if self._session() is None:
            code = self._run_alone(argv, output=output)
        else:
            code = self._request(lambda session: session.call("run", argv, output=output, timeout=None))
        if code == _KILLED:
            raise self._broke(f"{argv[0]} was killed in it")
        return code

    def answers(self, argv: Sequence[str], paths: Sequence[str]) -> bytes:
        """What a program of the image writes about these paths, its errors among it. Rejected if it is missing."""
        return b"".join(self._answer((*argv, *batch)) for batch in _batches(paths))

    def look(self, output: Output) -> None:
        """Open the session, or see whether it is still there, and take what arrived unasked."""
        try:
            session = self._session()
            if session:
                session.drain(output)
        except (SessionLost, EngineError):
            self._slot.drop()  # whoever needs the container will be told; the next look may find it well

    # ------------------------------------------------------------------------------------ requests

    def _session(self) -> ExecSession | None:
        """The open session, opened now if need be; None if the image has no shell."""
        slot = self._slot
        if slot.session is None and slot.has_shell:
            connection = self._connect(COMMAND, stdin=True)
            try:
                slot.session = ExecSession(connection)
            except SessionLost:
                if connection.exit_code() not in _NO_PROGRAM:
                    raise self._broke("it stopped") from None
                slot.has_shell = False
            except TimeoutError:
                raise self._broke("its shell does not answer") from None
        return slot.session

    def _request(self, request: Callable[[ExecSession], int]) -> int:
        """Let `request` use the session; a second time with a new one if that was lost before anything had begun."""
        gone = ""
        for last in (False, True):
            session = self._session()
            if session is None:
                break
            try:
                with self._work.on_cancel(session.abort):
                    return request(session)
            except SessionLost as lost:
                self._slot.drop()
                if self._work.cancelled and lost.began:
                    self._kill(session.pid)
                self._work.check()
                gone = self._transport.gone(self._where.id)
                if last or lost.began or gone:
                    break
            except EngineError:
                self._slot.drop()
                raise
            except TimeoutError:
                self._slot.drop()
                raise self._broke(f"nothing moved for {_SILENCE_SECONDS:g} s") from None
        raise self._broke(": ".join(filter(None, ("the session into it ended", gone))))

    def _asked(self, request: Callable[[ExecSession, Output], int]) -> tuple[int, str]:
        """Exit code and everything written."""
        code, said = self._heard(request)
        return code, said.decode(errors="replace").strip()

    def _heard(self, request: Callable[[ExecSession, Output], int]) -> tuple[int, bytes]:
        said = bytearray()

        def anew(session: ExecSession) -> int:
            said.clear()
            return request(session, said.extend)

        code = self._request(anew)
        return code, bytes(said)

    def _answer(self, argv: Sequence[str]) -> bytes:
        if self._session() is None:
            raise self._cannot_look("shell")
        code, said = self._heard(
            lambda session, output: session.call("run", argv, output=output, timeout=_SILENCE_SECONDS)
        )
        if code in _NO_PROGRAM:
            raise self._cannot_look(argv[0])
        return said

    def _put(self, archive: Archive, removals: Sequence[str]) -> tuple[int, str]:
        return self._asked(
            lambda session, output: session.put(
                archive.size, archive, removals=removals, output=output, timeout=_SILENCE_SECONDS
            )
        )

    def _call(self, function: str, paths: Sequence[str]) -> None:
        code, said = self._asked(
            lambda session, output: session.call(function, paths, output=output, timeout=_SILENCE_SECONDS)
        )
        if code:
            raise self._failure(code, said, doing="removing files")

    def _remove(self, paths: Sequence[str]) -> None:
        if self._slot.session:
            self._call("drop", paths)
            return
        said = bytearray()
        code = self._run_alone(("rm", "-rf", "--", *paths), output=said.extend)
        if code in _NO_PROGRAM:
            problem = f"the image of container {self._where.name} has no rm, so {paths[0]} cannot be removed from it"
            raise Rejected(problem, engine=self._transport.engine, hint="rebuild the image to be rid of it")
        if code:
            raise self._failure(code, said.decode(errors="replace"), doing="removing files")

    def _run_alone(self, argv: Sequence[str], *, output: Output) -> int:
        """Run argv without a session."""
        running = self._connect(argv, stdin=False)
        try:
            with self._work.on_cancel(running.abort):
                while data := running.receive():
                    output(data)
            self._work.check()
            code = running.exit_code()
        except OSError:
            code = None
        finally:
            running.close()
        if code is None:
            raise self._broke(f"the connection was lost while {argv[0]} ran")
        return code

    def _connect(self, argv: Sequence[str], *, stdin: bool) -> Exec:
        try:
            return self._transport.connect(self._where.id, argv, stdin=stdin)
        except Broke as error:  # the engine knows it by its id, people by its name
            raise self._broke(error.message.replace(f"Container {self._where.id} ", "")) from None

    def _kill(self, pid: str) -> None:
        """End what a cancelled step left running."""
        killer = _Use(self._transport, self._slot, self._where, Work(lambda *_: None))
        with suppress(EngineError):
            killer._run_alone(kill_tree_command(pid), output=lambda _: None)

    # ------------------------------------------------------------------------------------ errors

    def _broke(self, problem: str) -> Broke:
        return Broke(f"container {self._where.name}: {problem}", engine=self._transport.engine)

    def _cannot_look(self, program: str) -> Rejected:
        problem = f"the image of container {self._where.name} has no {program}, so what it holds cannot be compared"
        return Rejected(problem, engine=self._transport.engine, doing="comparing files")

    def _failure(self, code: int, said: str, *, doing: str) -> EngineError:
        if code == _KILLED:
            return self._broke("tar was killed in it")
        user = f" as user {self._slot.session.user}" if self._slot.session else ""
        lines = said.splitlines() or [f"exit code {code}"]
        if len(lines) > _SHOWN_LINES:
            lines = [*lines[:_SHOWN_LINES], f"... and {len(lines) - _SHOWN_LINES} lines more"]
        hint = next((hint for pattern, hint in _HINTS if pattern.search(said)), "")
        message = "\n".join((f"container {self._where.name}{user}:", *lines))
        return refusal(message, engine=self._transport.engine, doing=doing, hint=hint)


def _listed(names: Sequence[str]) -> str:
    """Some of the files of an archive, for what does not name them itself (busybox, on a full disk)."""
    files = [name for name in names if not name.endswith("/")] or list(names)
    more = f" and {len(files) - _SHOWN_NAMES} more" if len(files) > _SHOWN_NAMES else ""
    return ", ".join(files[:_SHOWN_NAMES]) + more


class _Look:
    """What is in a container (`compare.Look`), by its own stat, sha256sum and readlink, busybox's or GNU's.

    A name with a line break or a backslash in it is not asked for: it would not be understood in the answer.
    """

    def __init__(self, use: _Use) -> None:
        self._use = use

    def statuses(self, paths: Sequence[str]) -> Mapping[str, Seen]:
        """See `Look`."""
        said = self._use.answers(("stat", "-c", "%f %s %n", "--"), _plain(paths))
        return {os.fsdecode(name): Seen(int(mode, 16), int(size)) for mode, size, name in _STATUS.findall(said)}

    def digests(self, paths: Sequence[str]) -> Mapping[str, str]:
        """See `Look`."""
        said = self._use.answers(("sha256sum", "--"), _plain(paths))
        return {os.fsdecode(name): digest.decode() for digest, name in _DIGEST.findall(said)}

    def links(self, paths: Sequence[str]) -> Mapping[str, str]:
        """See `Look`."""
        asked = _plain(paths)
        said = self._use.answers(("sh", "-c", _READ_LINKS, "sh"), asked).splitlines()
        return dict(zip(asked, map(os.fsdecode, said), strict=True)) if len(said) == len(asked) else {}


def _plain(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if not _UNCLEAR.search(path))


def _is_torn(copy: Copy, archive: Archive) -> bool:
    """Whether something of `copy` changed while it was being archived."""
    return any(is_below(path, copy.local) for path in archive.torn)


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[first : first + _PATHS_PER_REQUEST] for first in range(0, len(paths), _PATHS_PER_REQUEST))
