"""Child processes, with real ones: output, ends, stops, and what is left afterwards (nothing)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt import processes
from ipytilt.engines.base import Work
from ipytilt.errors import Cancelled
from ipytilt.orphans import watchlist
from ipytilt.processes import Process, StartFailed, Stream, command_env, describe, run, spawn
from tests.support.processes import alive
from tests.support.waiting import eventually

DETACH = "setsid sh -c 'echo $$ > pid; exec {}' & until [ -s pid ]; do sleep 0.01; done; cat pid; "
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    assert processes.stop_all() == ()


class Output:
    """Collects lines; can be asked whether one has come."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.streams: list[tuple[Stream, str]] = []

    def __call__(self, stream: Stream, line: str) -> None:
        self.streams.append((stream, line))
        self.lines.append(line)

    def has(self, line: str) -> Callable[[], bool]:
        return lambda: line in self.lines


@pytest.fixture
def output() -> Output:
    return Output()


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


# ---------------------------------------------------------------------------------------------- output


def test_merged_output_keeps_its_order(output: Output) -> None:
    script = "".join(f"echo out{n}; echo err{n} >&2; " for n in range(50))
    run(sh(script), on_line=output)
    assert output.streams == [("stdout", f"{word}{n}") for n in range(50) for word in ("out", "err")]


def test_separate_streams_are_told_apart_and_captured(output: Output) -> None:
    done = run(sh(r"printf 'a\nb'; echo c >&2; exit 3"), on_line=output, capture=True, merge=False)
    assert done == processes.Completed(3, b"a\nb", b"c\n")
    assert sorted(output.streams) == [("stderr", "c"), ("stdout", "a"), ("stdout", "b")]


def test_captured_bytes_are_exact() -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"
    assert run([sys.executable, "-c", code], capture=True).stdout == bytes(range(256)) * 1000


def test_garbage_is_shown_as_replacement_characters(output: Output) -> None:
    run(sh(r"printf '\377\376\n\303'"), on_line=output)
    assert output.lines == ["\ufffd\ufffd", "\ufffd"]


def test_no_line_of_many_is_lost(output: Output) -> None:
    run(["seq", "100000"], on_line=output)
    assert output.lines == [str(n) for n in range(1, 100001)]


def test_input_may_be_larger_than_a_pipe() -> None:
    text = b"x" * 1_000_000
    assert run(["cat"], stdin=text, capture=True).stdout == text


def test_without_input_there_is_none() -> None:
    assert run(["cat"], capture=True) == processes.Completed(0)


def test_a_pipe_can_be_written_while_output_comes(output: Output) -> None:
    child = spawn(["cat"], stdin="pipe", on_line=output)
    assert child.stdin is not None
    for word in ("one", "two"):
        child.stdin.write(word.encode() + b"\n")
        eventually(output.has(word))
    child.stdin.close()
    assert child.wait(10) == 0


def test_an_error_in_a_callback_ends_the_child_and_reaches_the_waiting() -> None:
    def fail(stream: Stream, line: str) -> None:
        raise ValueError(f"cannot take {line}")

    child = spawn(sh("echo this; sleep 1000"), on_line=fail)
    with pytest.raises(ValueError, match="cannot take this"):
        child.wait(10)
    assert not alive(child.pid)


# ---------------------------------------------------------------------------------------------- start and end


@pytest.mark.parametrize(
    "argv, cwd, message",
    [
        (["no-such-program", "-v"], None, "no-such-program -v failed to start: No such file or directory"),
        (["sh"], "/no/such/dir", "sh failed to start: No such file or directory: /no/such/dir"),
        (["/etc/passwd"], None, "/etc/passwd failed to start: Permission denied: /etc/passwd"),
        (["echo", "a\0b"], None, "failed to start: embedded null byte"),
        ([], None, '"" invalid cmd'),
        ([""], None, "invalid cmd"),
    ],
)
def test_start_failures_say_what_and_why(argv: list[str], cwd: str | None, message: str) -> None:
    with pytest.raises(StartFailed) as caught:
        spawn(argv, cwd=cwd)
    assert message in caught.value.message
    assert processes.living() == ()


@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exit_codes_are_those_of_a_shell(script: str, code: int) -> None:
    assert run(sh(script)).exit_code == code


def test_directory_and_environment(tmp_path: Path) -> None:
    done = run(sh('pwd; echo "$A $PYTHONUNBUFFERED"'), cwd=str(tmp_path), env={"A": "1", "PATH": "/bin"}, capture=True)
    assert done.stdout.decode().split("\n") == [str(tmp_path), "1 ", ""]


DEFAULTS = {"LINES": "24", "COLUMNS": "80", "PYTHONUNBUFFERED": "1", "TILT_HOST": "localhost", "TILT_PORT": "10350"}


@pytest.mark.parametrize(
    "base, extra, expected",
    [
        ({}, {}, {}),
        ({"LINES": "50", "A": "1"}, {}, {"LINES": "50", "A": "1"}),
        ({"A": "1"}, {"A": "2", "COLUMNS": "9"}, {"COLUMNS": "9", "A": "2"}),
        (
            {"TILT_PORT": "1", "HOME": "/nowhere"},
            {"TILT_HOST": "h"},
            {"TILT_PORT": "1", "HOME": "/nowhere"} | {"TILT_HOST": "h"},
        ),
    ],
)
def test_command_env(base: dict[str, str], extra: dict[str, str], expected: dict[str, str]) -> None:
    assert command_env(base, extra) == DEFAULTS | expected


def test_commands_are_told_which_kube_config_is_meant(tmp_path: Path) -> None:
    config = tmp_path / ".kube" / "config"
    config.parent.mkdir()
    config.touch()
    assert command_env({"HOME": str(tmp_path)}, {})["KUBECONFIG"] == str(config)
    assert command_env({"HOME": str(tmp_path), "KUBECONFIG": "/other"}, {})["KUBECONFIG"] == "/other"


@pytest.mark.parametrize(
    "argv, text", [(["sh", "-c", "a | b"], "a | b"), (["ls", "a b"], "ls 'a b'"), (["sh", "-c"], "sh -c")]
)
def test_describe(argv: list[str], text: str) -> None:
    assert describe(argv) == text


def test_a_child_knows_its_pid_and_shows_it() -> None:
    before = time.time()
    child = spawn(["sleep", "1000"])
    assert alive(child.pid)
    assert before <= child.started_at <= time.time()
    assert repr(child) == f"<Process {child.pid} 'sleep 1000': running>"
    assert child.wait(0) is None
    child.kill()
    assert child.wait(10) == 137
    assert repr(child) == f"<Process {child.pid} 'sleep 1000': exit 137>"


def test_the_end_of_the_main_process_is_the_end_of_its_group(output: Output) -> None:
    run(sh("sleep 1000 & echo $!"), on_line=output)
    eventually(lambda: not alive(int(output.lines[0])))


def test_what_a_command_detaches_lives_on_and_holds_nothing_up(output: Output, tmp_path: Path) -> None:
    run(sh(DETACH.format("sleep 1000")), cwd=str(tmp_path), on_line=output)
    assert alive(int(output.lines[0]))
    os.kill(int(output.lines[0]), signal.SIGKILL)


def test_detached_flooding_does_not_hold_up_the_end(output: Output, tmp_path: Path) -> None:
    assert run(sh(DETACH.format("yes")), cwd=str(tmp_path), on_line=output).exit_code == 0
    eventually(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_what_a_server_detaches_goes_with_it(output: Output, tmp_path: Path) -> None:
    script = DETACH.format("sleep 1000") + "exec sleep 1000"
    server = spawn(sh(script), cwd=str(tmp_path), on_line=output, whole_tree=True)
    detached = int(eventually(lambda: output.lines)[0])
    assert server.stop(10) == 143
    assert not alive(detached)


def test_what_a_server_detached_goes_when_it_exits(output: Output, tmp_path: Path) -> None:
    server = spawn(sh(DETACH.format("sleep 1000")), cwd=str(tmp_path), on_line=output, whole_tree=True)
    assert server.wait(10) == 0
    assert not alive(int(output.lines[0]))


# ---------------------------------------------------------------------------------------------- stopping


def test_stop_ends_the_whole_group(output: Output) -> None:
    child = spawn(sh("sleep 1000 & echo $!; wait"), on_line=output)
    background = int(eventually(lambda: output.lines)[0])
    assert child.stop(10) == 143
    eventually(lambda: not alive(background))
    assert child.stop(10) == 143


def test_a_child_may_clean_up_within_the_grace(output: Output) -> None:
    child = spawn(sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"), on_line=output)
    eventually(output.has("up"))
    assert child.stop(10) == 0
    assert output.lines[-1] == "bye"


def test_a_stubborn_child_is_killed_after_the_grace(output: Output) -> None:
    child = spawn(sh(STUBBORN), on_line=output)
    eventually(output.has("up"))
    notices: list[str] = []
    assert child.stop(1.6, notice=notices.append) == 137
    assert notices == [
        f"Waiting 1.6s for process to exit... (pid: {child.pid})",
        f"Time is up! Sending {child.pid} a kill signal",
    ]


def test_a_flooding_child_is_stopped() -> None:
    count = 0

    def slow(stream: Stream, line: str) -> None:
        nonlocal count
        count += 1

    child = spawn(["yes"], on_line=slow)
    eventually(lambda: count > 10_000)
    assert child.stop(10) == 143


def test_cancel_ends_a_command(output: Output) -> None:
    work = Work(lambda text, level: None)

    def cancel() -> None:
        eventually(output.has("up"))
        work.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled):
        run(sh(STUBBORN), on_line=output, cancel=work, grace=0.2)
    canceller.join(10)
    assert output.lines[1].startswith("Time is up!")


def test_a_cancelled_work_starts_nothing(tmp_path: Path) -> None:
    work = Work(lambda text, level: None)
    work.cancel()
    with pytest.raises(Cancelled):
        run(["touch", str(tmp_path / "made")], cancel=work)
    assert not (tmp_path / "made").exists()


def test_a_command_that_takes_too_long_is_killed() -> None:
    with pytest.raises(TimeoutError, match=r"sleep 1000: killed, it took longer than 0\.05 s"):
        run(["sleep", "1000"], timeout=0.05)
    assert processes.living() == ()


def test_an_interrupted_wait_leaves_no_command(output: Output) -> None:
    def interrupt(stream: Stream, line: str) -> None:
        output(stream, line)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(sh("echo $$; sleep 1000"), on_line=interrupt)
    eventually(lambda: not alive(int(output.lines[0])))


def test_an_interrupt_during_the_start_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted = threading.Event()
    announce = watchlist.announce

    def announce_slowly(mark: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(10)
        announce(mark)

    monkeypatch.setattr(watchlist, "announce", announce_slowly)
    with pytest.raises(KeyboardInterrupt):
        spawn(["sleep", "1000"])
    assert len(processes.living()) == 1
    interrupted.set()
    eventually(lambda: processes.living() == ())


def test_an_interrupted_stop_can_be_repeated(output: Output) -> None:
    child = spawn(sh(STUBBORN), on_line=output)
    eventually(output.has("up"))
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        child.stop(60)
    assert alive(child.pid)
    assert child.stop(0.05) == 137


def test_stop_all_ends_everything_and_the_guardian() -> None:
    children = [spawn(sh(STUBBORN if n % 2 else "sleep 1000"), whole_tree=n % 3 == 0) for n in range(12)]
    assert processes.stop_all(3) == ()
    assert [child.wait(0) in {137, 143} for child in children] == [True] * 12
    assert processes.living() == ()


def test_many_threads_may_start_and_stop_children() -> None:
    codes: list[int | None] = []

    def work() -> None:
        for _ in range(10):
            child: Process = spawn(sh("sleep 1000"))
            codes.append(child.stop(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [143] * 40


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_python_does_not_own_our_children() -> None:
    child = spawn(["sleep", "1000"])
    forked = os.fork()
    if forked == 0:
        with contextlib.suppress(BaseException):
            processes.stop_all()
        os._exit(0)
    os.waitpid(forked, 0)
    assert alive(child.pid)
