"""The session's protocol with real shells of this machine; the container is this machine's own file system."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt.core.steps import Copy
from ipytilt.engines.context import sync_archive
from ipytilt.engines.exec_session import COMMAND, RM_FAILED, ExecSession, SessionLost, kill_tree_command
from tests.support.waiting import eventually

SHELLS = [shell for shell in (("dash",), ("bash", "--posix"), ("busybox", "sh")) if shutil.which(shell[0])]


class Pipes:
    """A duplex over the pipes of a child process."""

    def __init__(self, *shell: str, path: str | None = None, chunk: int = 65536) -> None:
        environ = None if path is None else {"PATH": path}
        program = shutil.which(shell[0])
        assert program
        self.process = subprocess.Popen(
            [program, *shell[1:], *COMMAND[1:]], stdin=-1, stdout=-1, stderr=subprocess.STDOUT, bufsize=0, env=environ
        )
        self._chunk = chunk

    def send(self, data: bytes) -> None:
        assert self.process.stdin
        left = memoryview(data)
        while left:
            left = left[self.process.stdin.write(left) or 0 :]

    def receive(self, timeout: float | None = None) -> bytes:
        assert self.process.stdout
        if timeout == 0:
            raise TimeoutError
        return self.process.stdout.read(self._chunk)

    def abort(self) -> None:
        self.process.kill()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(params=SHELLS, ids=" ".join)
def session(request: pytest.FixtureRequest) -> Iterator[ExecSession]:
    found = ExecSession(Pipes(*request.param))
    yield found
    found.close()


@pytest.fixture
def said() -> bytearray:
    return bytearray()


def run(session: ExecSession, *argv: str, output: Callable[[bytes], None] = lambda _: None) -> int:
    return session.call("run", argv, output=output, timeout=10)


def put(session: ExecSession, *pairs: tuple[Path, Path], output: Callable[[bytes], None] = lambda _: None) -> int:
    archive, placed = sync_archive([Copy(str(local), str(target)) for local, target in pairs], engine="test")
    return session.put(archive.size, archive, removals=placed.removals, output=output, timeout=10)


def test_the_greeting_tells_what_is_there(session: ExecSession) -> None:
    assert session.pid.isdecimal()
    assert session.user == str(os.getuid())
    assert session.lacks == frozenset()


def test_a_step_has_its_own_output_and_exit_code(session: ExecSession, said: bytearray) -> None:
    assert run(session, "sh", "-c", "printf out; printf err >&2; exit 9", output=said.extend) == 9
    assert said == b"outerr"
    assert run(session, "true") == 0


@pytest.mark.parametrize("word", ["exit", "no-such-program", "put", "return"])
def test_words_of_the_shell_are_only_names_of_programs(session: ExecSession, word: str) -> None:
    assert run(session, word, "1") == 127
    assert run(session, "true") == 0


def test_a_step_that_is_no_program_is_126(session: ExecSession, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    assert run(session, str(tmp_path / "plain")) == 126


def test_arguments_arrive_as_they_are(session: ExecSession, said: bytearray) -> None:
    words = ["a b", "it's", '"', "$HOME `id`", "\\", "*", "", "new\nline", "tab\t", "ünï", "-n"]
    assert run(session, "printf", "[%s]", *words, output=said.extend) == 0
    assert said.decode() == "".join(f"[{word}]" for word in words)


def test_a_step_cannot_read_the_protocol(session: ExecSession, said: bytearray) -> None:
    assert run(session, "cat", output=said.extend) == 0
    assert run(session, "sh", "-c", "read line || echo nothing", output=said.extend) == 0
    assert said == b"nothing\n"


def test_a_background_child_is_not_waited_for(session: ExecSession) -> None:
    assert run(session, "sh", "-c", "sleep 300 & echo $!") == 0
    assert run(session, "pkill", "-f", "^sleep 300$") == 0


def test_files_go_out_and_come_back(session: ExecSession, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "a").write_bytes(b"\0\x1e" * 100_000)
    assert put(session, (source / "a", target / "deep" / "it's a\nname")) == 0
    assert (target / "deep" / "it's a\nname").read_bytes() == b"\0\x1e" * 100_000
    assert put(session, (source / "gone", target / "deep" / "it's a\nname"), (source / "a", target / "b")) == 0
    assert [path.name for path in sorted(target.rglob("*"))] == ["b", "deep"]


def test_much_goes_in_blocks_where_dd_can_fill_them(session: ExecSession, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in range(300):
        (source / f"{number}").write_bytes(f"{number}\n".encode() * 2_000)
    pairs = [(path, target / path.name) for path in source.iterdir()]
    for lacks in (frozenset[str](), frozenset({"dd"})):
        session.lacks = lacks
        shutil.rmtree(target, ignore_errors=True)
        assert put(session, *pairs) == 0
        assert {path.name: path.read_bytes() for path in target.iterdir()} == {
            path.name: path.read_bytes() for path in source.iterdir()
        }
        assert run(session, "true") == 0


def test_an_archive_that_cannot_be_made_ends_the_session(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(100_000)
        raise OSError("a disk is broken")

    pipes = Pipes("sh")
    session = ExecSession(pipes)
    with pytest.raises(OSError, match="a disk is broken"):
        session.put(200_000, chunks(), removals=(), output=lambda _: None, timeout=10)
    assert pipes.process.wait(60) == -9
    session.close()


def test_a_failed_removal_copies_nothing_and_keeps_in_step(
    session: ExecSession, tmp_path: Path, said: bytearray
) -> None:
    (tmp_path / "a").write_text("a")
    assert (
        put(session, (tmp_path / "gone", Path("/proc/1")), (tmp_path / "a", tmp_path / "b"), output=said.extend)
        == RM_FAILED
    )
    assert b"/proc/1" in said
    assert not (tmp_path / "b").exists()
    assert run(session, "true") == 0


def test_a_failed_copy_keeps_in_step(session: ExecSession, tmp_path: Path, said: bytearray) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    assert put(session, (tmp_path / "big", Path("/proc/no/place")), output=said.extend) not in {0, RM_FAILED}
    assert b"proc/no" in said
    assert run(session, "true") == 0


def test_the_way_can_be_cleared(session: ExecSession, tmp_path: Path) -> None:
    (tmp_path / "directory" / "inside").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "good").mkdir()
    (tmp_path / "alias").symlink_to("good")
    wanted = ("directory", "file/new", "link/new", "good/", "alias/new")
    paths = [f"{tmp_path}/{name}" for name in wanted]
    assert session.call("clear_way", paths, output=lambda _: None, timeout=10) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alias", "good"]


def test_what_is_not_ours_ends_the_loop(session: ExecSession, tmp_path: Path) -> None:
    session._duplex.send(f"touch {tmp_path}/x\n".encode())
    with pytest.raises(SessionLost):
        run(session, "true")
    assert not (tmp_path / "x").exists()


def test_losing_the_session_tells_whether_the_step_had_begun(session: ExecSession) -> None:
    with pytest.raises(SessionLost) as lost:
        run(session, "sh", "-c", "kill -9 $PPID; sleep 0.1")
    assert lost.value.began
    with pytest.raises(SessionLost) as lost:
        run(session, "true")
    assert not lost.value.began


def test_the_token_is_found_however_the_bytes_come() -> None:
    session = ExecSession(Pipes("sh", chunk=1))
    said = bytearray()
    assert run(session, "printf", "\x1e\x1eabc\x1e", output=said.extend) == 0
    assert said == b"\x1e\x1eabc\x1e"
    session.close()


def test_no_shell_is_a_lost_session() -> None:
    with pytest.raises(SessionLost):
        ExecSession(Pipes("false"))


def test_missing_tools_are_named(tmp_path: Path) -> None:
    for tool in ("cat", "rm", "mkdir"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    session = ExecSession(Pipes("sh", path=str(tmp_path)))
    assert session.lacks == {"head", "tar", "dd"}
    session.close()


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_tree_of_processes_can_be_ended(shell: tuple[str, ...]) -> None:
    root = subprocess.Popen(["sh", "-c", "sh -c 'sleep 300; true' & sleep 301; true"])
    eventually(
        lambda: (
            b"sleep"
            in subprocess.run(["ps", "-o", "comm=", "--ppid", str(root.pid)], capture_output=True, check=False).stdout
        )
    )
    subprocess.run([*shell, *kill_tree_command(str(root.pid))[1:]], check=True)
    assert root.wait(10) == -9
