"""Child processes: the one place where ipytilt starts any.

A child gets a session of its own (an interrupt of the kernel does not reach it) and one daemon thread,
`ipytilt-process-<pid>`, that starts it, reads its output, notices its end and reaps it. It is over as soon as its main
process is over: the rest of its process group is killed at once, and whoever else holds its pipes is not waited for.
With `whole_tree` (servers, sandbox containers) that goes for children that moved to another session as well; without
it they live on, as after a command in a terminal, because build daemons and virtual machines are started like that.
If the kernel is killed, `guardian` ends what is running, detached children included.

Neighbours: engines and the Tiltfile's host call `run` and `spawn`; the session calls `stop_all`. POSIX only.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from signal import SIGKILL, SIGTERM
from typing import IO, Literal, Protocol, TypeAlias

from ipytilt import guardian
from ipytilt.errors import TiltError
from ipytilt.lines import Lines
from ipytilt.orphans import watchlist

Stream: TypeAlias = Literal["stdout", "stderr"]
OnLine: TypeAlias = Callable[[Stream, str], None]
OnData: TypeAlias = Callable[[Stream, bytes], None]
Notice: TypeAlias = Callable[[str], None]
Launch: TypeAlias = Callable[[Mapping[str, str]], "subprocess.Popen[bytes]"]

GRACE_SECONDS = 30.0
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
_CHUNK = 65536
_DRAIN_LIMIT = 1 << 20  # the largest pipe an ordinary user gets; more than that was written after the end
_POLL_MILLISECONDS = 50  # only where the system has no pidfd
_KILL_SECONDS = 5.0


class StartFailed(TiltError):
    """A child could not be started; the message is `<cmd> failed to start: <error>`."""


class Cancel(Protocol):
    """What a caller may be stopped by; `engines.base.Work` is one."""

    def check(self) -> None:
        """Raise if the work is no longer wanted."""
        ...

    def on_cancel(self, kill: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `kill` if that happens within the block."""
        ...


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. The outputs are empty unless they were captured; merged output is all in `stdout`."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


def describe(argv: Sequence[str]) -> str:
    """A command as people write it: the script of `sh -c`, quoted words otherwise."""
    return argv[2] if len(argv) == 3 and tuple(argv[:2]) == ("sh", "-c") else shlex.join(argv)


def command_env(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a user's command: defaults, then `base`, then `extra`.

    The defaults are for a program without a terminal, and what scripts written for Tilt expect: the address its server
    would have, and which kube config is meant.
    """
    defaults = {"LINES": "24", "COLUMNS": "80", "PYTHONUNBUFFERED": "1", "TILT_HOST": "localhost", "TILT_PORT": "10350"}
    kube_config = os.path.join(base.get("HOME", ""), ".kube", "config")
    if os.path.isabs(kube_config) and os.path.exists(kube_config):
        defaults["KUBECONFIG"] = kube_config
    return {**defaults, **base, **extra}


class Process:
    """A child. Made by `spawn`; all methods may be called from any thread.

    Attributes:
        argv: what was started.
        pid: of the main process, which is also the id of its session and process group.
        started_at: seconds since the epoch.
        exit_code: None while it runs; 128 + n when signal n ended it.
        stdin: the writing end with `stdin="pipe"`, unbuffered; else None. Whoever writes closes it.
    """

    def __init__(self, argv: Sequence[str], *, whole_tree: bool) -> None:
        self.argv = tuple(argv)
        self.pid = 0
        self.started_at = 0.0
        self.exit_code: int | None = None
        self.stdin: IO[bytes] | None = None
        self._whole_tree = whole_tree
        self._mark = os.urandom(8).hex()
        self._changed = threading.Condition()
        self._asked = False  # somebody wants the end
        self._over = False
        self._error: BaseException | None = None
        self._signalling = threading.Lock()  # no signal after the child is reaped: its id may be somebody else's
        self._reachable = False
        self._early_signals: list[int] = []

    def __repr__(self) -> str:
        state = "running" if self.exit_code is None else f"exit {self.exit_code}"
        return f"<Process {self.pid} {describe(self.argv)!r}: {state}>"

    def start(self, launch: Launch, tees: Sequence[_Tee]) -> None:
        """Used by `spawn`. The child's own thread starts it, because an interrupt only ever hits the main thread."""
        try:
            threading.Thread(target=self._main, args=(launch, tees), name="ipytilt-process", daemon=True).start()
            with self._changed:
                self._changed.wait_for(lambda: self._over or self.started_at > 0)
        except BaseException:  # an interrupt: nobody would know the child
            self.kill()
            raise
        if self._error is not None and not self.started_at:
            raise self._error

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code, or None if the time is over. An error of a callback is raised here."""
        return self._wait(lambda: self._over, timeout)

    def wait_or_stopping(self, timeout: float | None = None) -> bool:
        """Wait for the end, or for somebody to ask for it; whether it was asked for before it came."""
        self._wait(lambda: self._asked, timeout)
        return self._asked and not self._over

    def settle(self, deadline: float) -> None:
        """Wait for the end until a moment of the monotonic clock, whatever the end is like."""
        with self._changed:
            self._changed.wait_for(lambda: self._over, max(0.0, deadline - time.monotonic()))

    def terminate(self) -> None:
        """SIGTERM to the whole group; returns at once."""
        with self._changed:
            self._asked = True
            self._changed.notify_all()
        self._signal(SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group; returns at once."""
        self._signal(SIGKILL)

    def stop(self, grace: float = GRACE_SECONDS, *, notice: Notice | None = None) -> int | None:
        """SIGTERM, up to `grace` seconds of waiting with a `notice` now and then, SIGKILL; the exit code.

        None only if the system cannot end it. When interrupted, the child has got its SIGTERM and nothing more.
        """
        self.terminate()
        begin = time.monotonic()
        early = (
            (1.5, f"Waiting {grace:g}s for process to exit... (pid: {self.pid})"),
            (10.0, f"Still waiting on exit... (pid: {self.pid})"),
        )
        last = (grace, f"Time is up! Sending {self.pid} a kill signal")
        for seconds, text in (*(item for item in early if item[0] < grace), last):
            if self.wait(max(0.0, begin + seconds - time.monotonic())) is not None:
                return self.exit_code
            if notice:
                notice(text)
        self.kill()
        return self.wait(_KILL_SECONDS)

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or condition(), timeout)
            if self._error is not None:
                raise self._error
            return self.exit_code

    def _signal(self, number: int) -> None:
        """Signal the group, and what else belongs to the tree."""
        with self._signalling:
            if not self._reachable:
                self._early_signals.append(number)  # not started yet, or over
                return
            with suppress(ProcessLookupError, PermissionError):  # another user's by now: as far as we may
                os.killpg(self.pid, number)
            if self._whole_tree and number == SIGKILL:
                guardian.kill_marked({self._mark})
            elif self._whole_tree:
                guardian.strike(guardian.marked({self._mark}), number)

    # ------------------------------------------------------------------------------------ on the child's own thread

    def _main(self, launch: Launch, tees: Sequence[_Tee]) -> None:
        exit_code, error = None, None
        try:
            exit_code = self._live(launch, tees)
        except BaseException as problem:  # noqa: BLE001 - it belongs to whoever waits
            error = problem
        with self._changed:
            self.exit_code, self._error, self._over = exit_code, error, True
            self._changed.notify_all()

    def _live(self, launch: Launch, tees: Sequence[_Tee]) -> int:
        _living[self._mark] = self
        try:
            try:
                watchlist.announce(self._mark)
                popen = launch({guardian.VARIABLE: self._mark})
            except (OSError, ValueError, subprocess.SubprocessError) as problem:
                raise _start_failed(self.argv, problem) from problem
            try:
                self._started(popen)
                self._read(popen, {pipe.fileno(): tee for pipe, tee in zip(_pipes(popen), tees, strict=False)})
            finally:
                exit_code = self._reap(popen)
            return exit_code
        finally:
            watchlist.remove(self._mark)
            del _living[self._mark]

    def _started(self, popen: subprocess.Popen[bytes]) -> None:
        threading.current_thread().name = f"ipytilt-process-{popen.pid}"
        with self._signalling:
            self.pid = popen.pid
            self._reachable = True
        for number in self._early_signals:
            self._signal(number)
        watchlist.register(self._mark, popen.pid)
        with self._changed:
            self.stdin, self.started_at = popen.stdin, time.time()
            self._changed.notify_all()

    def _read(self, popen: subprocess.Popen[bytes], outputs: Mapping[int, _Tee]) -> None:
        """Hand on the output until the main process is over, end the others, hand on what is left in the pipes."""
        poller = select.poll()
        for fd in outputs:
            os.set_blocking(fd, False)
            poller.register(fd, select.POLLIN)
        with _exit_descriptor(popen.pid) as exit_fd:
            if exit_fd is not None:
                poller.register(exit_fd, select.POLLIN)
            over = False
            while not over:
                ready = [fd for fd, _ in poller.poll(_POLL_MILLISECONDS if exit_fd is None else None)]
                for fd in outputs.keys() & ready:
                    data = _read_some(fd)
                    if data:
                        outputs[fd].feed(data)
                    elif data is not None:
                        poller.unregister(fd)
                over = popen.poll() is not None if exit_fd is None else exit_fd in ready
        self._signal(SIGKILL)
        for fd, tee in outputs.items():
            left = _DRAIN_LIMIT
            while left > 0 and (data := _read_some(fd)):
                tee.feed(data)
                left -= len(data)
            tee.close()

    def _reap(self, popen: subprocess.Popen[bytes]) -> int:
        self._signal(SIGKILL)  # again, for the case that reading failed half-way
        with self._signalling:
            code = popen.wait()
            self._reachable = False
        for pipe in _pipes(popen):
            pipe.close()
        return code if code >= 0 else 128 - code


_living: dict[str, Process] = {}
"""By mark; each entry is written by its child's own thread."""
os.register_at_fork(after_in_child=_living.clear)


class _Tee:
    """Hands the bytes of one stream to the callbacks of `spawn`."""

    def __init__(self, stream: Stream, on_line: OnLine | None, on_data: OnData | None) -> None:
        self._lines = Lines(lambda line: on_line(stream, line)) if on_line else None
        self._data = (lambda data: on_data(stream, data)) if on_data else None

    def feed(self, data: bytes) -> None:
        if self._data:
            self._data(data)
        if self._lines:
            self._lines.feed(data)

    def close(self) -> None:
        if self._lines:
            self._lines.close()


def spawn(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | Literal["pipe"] | None = None,
    on_line: OnLine | None = None,
    on_data: OnData | None = None,
    merge: bool = True,
    whole_tree: bool = False,
) -> Process:
    """Start a child and return once it runs.

    Args:
        argv: program (looked up in the PATH of `env`) and arguments.
        cwd: working directory; None means this process's.
        env: the whole environment; None means this process's. The child's mark is added to it.
        stdin: what the child reads: nothing, these bytes, or what is written to `Process.stdin`.
        on_line: called on the child's thread with "stdout" or "stderr" and each line of text (see `Lines`).
        on_data: the same for bytes as they come. Without either, output is discarded. A slow callback slows the child.
        merge: stderr is written into stdout's pipe: true order, everything is "stdout".
        whole_tree: children that left the session are ended with the process.

    Raises:
        StartFailed: no such program or directory, not executable, out of processes.
    """
    wants_output = bool(on_line or on_data)
    output = subprocess.PIPE if wants_output else subprocess.DEVNULL
    tees = [_Tee(stream, on_line, on_data) for stream in _STREAMS] if wants_output else []

    def launch(mark: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with _standard_input(stdin) as source:
            return subprocess.Popen(
                argv,
                bufsize=0,
                cwd=cwd,
                env={**(os.environ if env is None else env), **mark},
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT if merge else output,
                start_new_session=True,
            )

    if not argv or not argv[0]:
        raise StartFailed(f'"{describe(argv)}" invalid cmd: it has no program')
    process = Process(argv, whole_tree=whole_tree)
    process.start(launch, tees)
    return process


def run(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    on_line: OnLine | None = None,
    capture: bool = False,
    merge: bool = True,
    cancel: Cancel | None = None,
    grace: float = GRACE_SECONDS,
    timeout: float | None = None,
) -> Completed:
    """Run a command to its end; arguments as for `spawn`.

    Args:
        capture: return what it wrote, exactly.
        cancel: when it fires, the command is stopped within `grace` seconds and the cancel's own error is raised;
            notices about a slow end go to `on_line`.
        timeout: seconds, after which it is killed.

    Raises:
        StartFailed: as `spawn`.
        TimeoutError: the command was killed because it took too long.
    """
    captured: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def keep(stream: Stream, data: bytes) -> None:
        captured[stream] += data

    if cancel:
        cancel.check()
    process = spawn(
        argv, cwd=cwd, env=env, stdin=stdin, on_line=on_line, on_data=keep if capture else None, merge=merge
    )
    try:
        with cancel.on_cancel(process.terminate) if cancel else nullcontext():
            if process.wait_or_stopping(timeout):
                process.stop(grace, notice=(lambda text: on_line("stdout", text)) if on_line else None)
            exit_code = process.wait(0)
    finally:
        process.kill()
        process.settle(time.monotonic() + _KILL_SECONDS)
    if cancel:
        cancel.check()
    if exit_code is None:
        raise TimeoutError(f"{describe(argv)}: killed, it took longer than {timeout or grace:g} s")
    return Completed(exit_code, bytes(captured["stdout"]), bytes(captured["stderr"]))


def living() -> tuple[Process, ...]:
    """The children that run now."""
    return tuple(_living.values())


def stop_all(timeout: float = 1.5) -> tuple[str, ...]:
    """End every child and dismiss the guardian within about `timeout` seconds: SIGTERM, two thirds of it, SIGKILL.

    Returns what is still there, in words; the guardian goes on trying. Children may be started again afterwards.
    """
    deadline = time.monotonic() + timeout
    left = living()
    for process in left:
        process.terminate()
    for process in left:
        process.settle(deadline - timeout / 3)
    for process in left:
        process.kill()
    for process in left:
        process.settle(deadline)
    watchlist.dismiss(deadline)
    return tuple(map(repr, living()))


def _start_failed(argv: Sequence[str], problem: Exception) -> StartFailed:
    reason, hint = str(problem), ""
    if isinstance(problem, OSError) and problem.filename:
        reason = f"{problem.strerror}: {problem.filename}"
        if isinstance(problem, FileNotFoundError):
            program = problem.filename == argv[0]
            hint = "check that it is installed and on PATH" if program else "check the working directory"
    return StartFailed(f"{describe(argv)} failed to start: {reason}", hint=hint)


@contextmanager
def _standard_input(stdin: bytes | Literal["pipe"] | None) -> Iterator[int | IO[bytes]]:
    """What `Popen` takes as stdin. Bytes come from an unnamed file: nobody has to feed a pipe."""
    if isinstance(stdin, bytes):
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            yield file
    else:
        yield subprocess.PIPE if stdin == "pipe" else subprocess.DEVNULL


@contextmanager
def _exit_descriptor(pid: int) -> Iterator[int | None]:
    """A descriptor that becomes readable when the process is over, before it is reaped; None if there is no such."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old kernel, or a sandbox that forbids it
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_some(descriptor: int) -> bytes | None:
    """What is there to read; b"" at the end of the stream, None if there is nothing now."""
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return None


def _pipes(popen: subprocess.Popen[bytes]) -> list[IO[bytes]]:
    return [pipe for pipe in (popen.stdout, popen.stderr) if pipe is not None]
