"""What becomes of children when their kernel is killed, interrupted or ends without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt import guardian, processes
from ipytilt.orphans import watchlist
from tests.support.processes import alive, children_of
from tests.support.waiting import eventually

POLITE = "trap 'sleep 0.3; touch bye-$1; exit' TERM; echo $$; exec >&- 2>&-; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; echo $$; while :; do sleep 0.1; done"
# Two servers, the first with detached children, and a command whose children carry no mark. All show their pids.
KERNEL = """
    import os, signal, sys, time
    from ipytilt import processes

    def start(script, **options):
        def show(stream, line):
            os.write(1, f"{line}\\n".encode())

        processes.spawn(["sh", "-c", script], cwd=os.environ["XDG_RUNTIME_DIR"], on_line=show, **options)

    start("setsid sh polite detached & setsid sh deaf & echo $$; exec sleep 1000", whole_tree=True)
    start("exec sh deaf", whole_tree=True)
    start("env -i sh polite unmarked & env -i sh deaf & echo $$; wait")
"""
READY = "    os.write(1, b'ready\\n')\n"
SHOW_INTERRUPT = "    signal.signal(signal.SIGINT, lambda *_: os.write(1, b'interrupted\\n'))\n"
FORK = """
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(1000)
"""
SLEEP = READY + "    time.sleep(1000)\n"
END_WHEN_TOLD = READY + "    sys.stdin.readline()\n"


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep records apart from those of other tests."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "polite").write_text(POLITE)
    (tmp_path / "deaf").write_text(DEAF)
    yield tmp_path / f"ipytilt-{os.getuid()}"
    assert processes.stop_all() == ()


class Kernel:
    """A Python process that uses `processes` and can be treated badly."""

    def __init__(self, ending: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KERNEL + ending)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self.popen.stdout is not None
        words: set[str] = set()
        while len(words) < 8:
            words.update(self.popen.stdout.readline().split())
        self.children = {int(word) for word in words - {"ready"}}
        self.guardian = eventually(lambda: children_of(self.popen.pid, "guardian.py"))[0]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)  # what it forked, too
        self.popen.communicate(timeout=10)


@pytest.fixture
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    kernel = Kernel(getattr(request, "param", SLEEP))
    yield kernel
    kernel.close()
    eventually(lambda: not any(map(alive, kernel.children)))


@pytest.mark.parametrize("kernel", [SLEEP, FORK + SLEEP], ids=["alone", "forked"], indirect=True)
def test_a_killed_kernel_leaves_nothing(kernel: Kernel, records: Path) -> None:
    assert len(list(records.iterdir())) == 3
    kernel.popen.kill()
    eventually(lambda: not any(map(alive, kernel.children)))
    eventually(lambda: not alive(kernel.guardian))
    assert not records.exists()
    assert (records.parent / "bye-detached").exists()
    assert (records.parent / "bye-unmarked").exists()


@pytest.mark.parametrize("kernel", [END_WHEN_TOLD], indirect=True)
def test_a_kernel_that_ends_without_stopping_its_children_leaves_nothing(kernel: Kernel, records: Path) -> None:
    kernel.popen.communicate("end\n", timeout=10)
    eventually(lambda: not any(map(alive, [*kernel.children, kernel.guardian])))
    eventually(lambda: not records.exists())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_kernels_group_does_not_reach_the_guardian(kernel: Kernel, number: int) -> None:
    os.killpg(kernel.popen.pid, number)
    kernel.popen.wait(10)
    eventually(lambda: not any(map(alive, [*kernel.children, kernel.guardian])))


def test_an_interrupt_of_the_group_leaves_children_alive() -> None:
    kernel = Kernel(SHOW_INTERRUPT + SLEEP)
    assert kernel.popen.stdout is not None
    os.killpg(kernel.popen.pid, signal.SIGINT)
    assert kernel.popen.stdout.readline() == "interrupted\n"
    assert all(map(alive, [*kernel.children, kernel.guardian]))
    kernel.close()
    eventually(lambda: not any(map(alive, kernel.children)))


def test_the_next_session_sweeps_up_when_the_guardian_was_killed_too(kernel: Kernel, records: Path) -> None:
    os.kill(kernel.guardian, signal.SIGKILL)
    kernel.popen.kill()
    kernel.popen.wait(10)
    assert all(map(alive, kernel.children))
    (records / "something-else").touch()
    processes.run(["true"])
    assert not any(map(alive, kernel.children))
    assert [path.name for path in records.iterdir()] == ["something-else"]


def test_the_records_of_a_living_session_are_left_alone(kernel: Kernel, records: Path) -> None:
    before = set(records.iterdir())
    processes.run(["true"])
    processes.stop_all()
    assert set(records.iterdir()) == before
    assert all(map(alive, kernel.children))


def test_a_record_whose_process_id_was_given_to_another_ends_nothing(records: Path) -> None:
    bystander = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    records.mkdir()
    start = guardian.start_time(bystander.pid)
    (records / f"1-1-{bystander.pid}-{start + 1}-0123456789abcdef").touch()
    processes.run(["true"])
    assert list(records.iterdir()) == []
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_group_is_ended_whole_though_its_leader_went_first(records: Path) -> None:
    script = "env -i sh deaf & wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, cwd=records.parent, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        record = guardian.record(leader.pid, guardian.start_time(leader.pid), "none")
        reaping = threading.Thread(target=leader.wait)  # at once, which init does only now and then
        reaping.start()
        guardian.end([record], grace=0.3)
        reaping.join()
    eventually(lambda: not alive(child))


def test_a_killed_guardian_is_replaced_and_knows_everything(records: Path) -> None:
    child = processes.spawn(["sleep", "1000"])
    first = children_of(os.getpid(), "guardian.py")
    os.kill(first[0], signal.SIGKILL)
    eventually(lambda: not alive(first[0]))
    processes.run(["true"])
    second = children_of(os.getpid(), "guardian.py")
    assert len(second) == 1
    assert second != first
    watchlist.dismiss(time.monotonic() + 10)
    assert child.wait(10) == 143


def test_a_clean_stop_leaves_no_record(records: Path) -> None:
    processes.spawn(["sleep", "1000"])
    assert len(list(records.iterdir())) == 1
    processes.stop_all()
    eventually(lambda: not records.exists())


def test_children_hold_no_end_of_the_guardians_pipe(records: Path) -> None:
    done = processes.run(["ls", "/proc/self/fd"], capture=True)
    assert done.stdout.split() == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("name", ["", "x", "1-2-3-4", "a-b-c-d-e", "1-2-3-4-5-6"])
def test_foreign_files_are_no_records(records: Path, name: str) -> None:
    records.mkdir()
    (records / f"note{name}").touch()
    guardian.sweep(str(records))
    assert [path.name for path in records.iterdir()] == [f"note{name}"]
