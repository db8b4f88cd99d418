"""Live update on real containers: users, images without tools, GNU tools, sessions that are lost."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.steps import Attach, Container
from ipytilt.engines.docker import DockerEngine
from ipytilt.errors import Broke, Rejected
from tests.engines.contract import CHECKS, Workspace, fails
from tests.engines.docks import GNU, make_gnu_image, workspace
from tests.support.waiting import eventually
from tools.rig import images

pytestmark = [pytest.mark.docker, pytest.mark.compose]
USERS = "FROM BASE\nWORKDIR /app\nRUN echo root > /app/owned && chmod 777 /app\n"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Workspace]:
    with workspace(tmp_path, os.environ) as found:
        yield found


@pytest.fixture
def gnu(tmp_path: Path) -> Iterator[Workspace]:
    make_gnu_image()
    with workspace(tmp_path, os.environ, base=GNU) as found:
        yield found


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def bare(at: Workspace) -> Container:
    at.base = images.BARE
    return at.running("FROM BASE\n", command=None)


def file_of(where: Container, path: str) -> bytes:
    """What is in a container, without any program of it."""
    return subprocess.run(["docker", "cp", f"{where.id}:{path}", "-"], check=True, capture_output=True).stdout


# ---------------------------------------------------------------------------------------------- users


@pytest.mark.parametrize("base", [images.BASE, GNU])
def test_files_belong_to_the_container_user(at: Workspace, base: str) -> None:
    make_gnu_image()
    at.base = base
    where = at.running(f"{USERS}USER app\n")
    at.sync(where, (at.file("src/x", "new"), "/app/x"), (at.file("src/owned", "mine"), "/app/owned"))
    assert at.shown(
        where, "cat /app/x /app/owned; stat -c '%U:%G' /app/x /app/owned"
    ) == "newmine" + "app:app\napp:app".replace("app:app", "app:app" if base == images.BASE else "app:UNKNOWN")


@pytest.mark.parametrize("base", [images.BASE, GNU])
def test_what_the_user_may_not_write_is_named_with_the_user(at: Workspace, base: str) -> None:
    make_gnu_image()
    at.base = base
    where = at.running("FROM BASE\nWORKDIR /app\nRUN touch /app/old\nUSER app\n")
    error = fails(Rejected, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert "app/x" in error.message
    assert "user 1000" in error.message
    assert "Permission denied" in error.message
    assert "--chown" in error.hint
    error = fails(Rejected, lambda: at.sync(where, (at.directory / "gone", "/app/old")))
    assert "/app/old" in error.message
    assert "Permission denied" in error.message
    at.sync(where, (at.file("src/y", "still works"), "/tmp/y"))
    assert at.shown(where, "cat /tmp/y") == "still works"


def test_a_read_only_container_says_so(at: Workspace) -> None:
    where = at.running(read_only=True)
    error = fails(Rejected, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert "Read-only file system" in error.message
    assert "read_only" in error.hint


# ---------------------------------------------------------------------------------------------- GNU tools


@pytest.mark.parametrize(
    "check", [c for c in CHECKS if re.search("place_of|links_modes|differs|compared|lacking", c.__name__)]
)
def test_gnu_tools_do_as_well(gnu: Workspace, check: object) -> None:
    assert callable(check)
    check(gnu)


def test_metadata_of_somebody_elses_directory_does_not_fail_a_sync(gnu: Workspace) -> None:
    where = gnu.running("FROM BASE\nWORKDIR /app\nRUN mkdir -m 777 /app/theirs\nUSER app\n")
    empty = gnu.directory / "src/theirs"
    empty.mkdir(parents=True)
    gnu.sync(where, (empty, "/app/theirs"))


# ---------------------------------------------------------------------------------------------- no tools


def test_without_a_shell_files_go_through_the_archive_interface(at: Workspace) -> None:
    where = bare(at)
    at.start(Attach(where.id, where.started_at))
    at.sync(where, (at.file("src/x", "first"), "/app/deep/x"))
    at.sync(where, (at.file("src/x", "second"), "/app/deep/x"))
    assert b"second" in file_of(where, "/app/deep/x")


def test_without_a_shell_the_archive_interface_keeps_to_the_user(at: Workspace) -> None:
    at.base = images.BARE
    where = at.running("FROM BASE\nUSER 1234:1234\n", command=None)
    at.sync(where, (at.file("src/x", "mine"), "/app/x"))
    assert b"0002322\x000002322" in file_of(where, "/app/x")


def test_without_rm_a_removal_says_why_it_cannot_be(at: Workspace) -> None:
    where = bare(at)
    error = fails(Rejected, lambda: at.sync(where, (at.directory / "gone", "/app/x")))
    assert "no rm" in error.message
    assert "/app/x" in error.message
    assert error.hint


def test_without_a_shell_steps_still_run(at: Workspace) -> None:
    where = bare(at)
    assert at.engine.exec(where, ("/sleep", "0"), at.work()) == 0
    assert at.engine.exec(where, ("/sleep", "nonsense"), at.work()) == 1
    assert any("nonsense" in line for line in at.lines())
    assert at.engine.exec(where, ("sh", "-c", "true"), at.work()) in {126, 127}


@pytest.mark.parametrize("tool", ["stat", "sha256sum"])
def test_without_a_tool_nothing_can_be_compared_and_it_says_so(gnu: Workspace, tool: str) -> None:
    where = gnu.running(f"FROM BASE\nWORKDIR /app\nRUN echo x > /app/x && rm /bin/{tool}\n")
    gnu.file("src/x", "y\n")
    error = fails(Rejected, lambda: gnu.lacking(where, gnu.directory / "src", "x"))
    assert f"container {where.name} has no {tool}" in error.message


def test_without_a_shell_nothing_can_be_compared_and_it_says_so(at: Workspace) -> None:
    where = bare(at)
    assert "has no shell" in fails(Rejected, lambda: at.lacking(where, at.directory, "x")).message


def test_with_a_shell_but_no_tar_both_ways_are_used(at: Workspace) -> None:
    where = at.running("FROM BASE\nWORKDIR /app\nRUN rm /bin/tar && touch /app/old\nUSER app\n", user="0")
    at.sync(where, (at.file("src/x", "x"), "/app/x"), (at.directory / "gone", "/app/old"))
    assert at.shown(where, "cat /app/x; ls /app") == "xx"


# ---------------------------------------------------------------------------------------------- lost sessions


def test_a_session_that_ended_is_opened_again(at: Workspace) -> None:
    where = at.running()
    at.start(Attach(where.id, where.started_at))
    docker("exec", where.id, "kill", "-9", at.shown(where, "echo $PPID"))
    at.sync(where, (at.file("src/x", "again"), "/app/x"))
    assert at.shown(where, "cat /app/x") == "again"


def test_a_step_that_ends_its_own_session_is_not_repeated(at: Workspace) -> None:
    where = at.running()
    fails(Broke, lambda: at.sh(where, "echo once >> /app/count; kill -9 $PPID; sleep 5"))
    assert at.shown(where, "cat /app/count") == "once"


def test_output_of_a_background_child_comes_later(at: Workspace) -> None:
    where = at.running()
    at.start(Attach(where.id, where.started_at))
    assert at.shown(where, "(sleep 0.5; echo from behind) &") == ""
    eventually(lambda: "from behind" in at.lines())


def test_a_container_killed_during_a_sync_is_broken(gnu: Workspace) -> None:
    where = gnu.running()
    gnu.start(Attach(where.id, where.started_at))
    # A tar that does not come to an end before the container does.
    tar = gnu.file("src/tar", "#!/bin/sh\n: > /app/began\nsleep 100\n", mode=0o755)
    gnu.sync(where, (tar, "/bin/tar"))
    until_killed = f"until docker exec {where.id} ls /app/began; do sleep 0.1; done; docker kill {where.id}"
    with subprocess.Popen(["sh", "-c", until_killed], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        error = fails(Broke, lambda: gnu.sync(where, (gnu.file("src/x"), "/app/x")))
    assert where.name in error.message


@pytest.mark.timeout(90)  # the daemon ends such a connection by itself, after two minutes
def test_sending_ends_with_the_program_that_should_read(at: Workspace) -> None:
    where = at.running()
    assert isinstance(at.engine, DockerEngine)
    running = at.engine.connect(where.id, ("true",), stdin=True)
    try:
        assert running.receive(60) == b""
        with pytest.raises(ConnectionError):
            running.send(bytes(20_000_000))
    finally:
        running.close()


def test_a_paused_container_is_broken_not_waited_for(at: Workspace) -> None:
    where = at.running()
    docker("pause", where.id)
    try:
        assert "paused" in fails(Broke, lambda: at.sync(where, (at.file("src/x"), "/app/x"))).message
    finally:
        docker("unpause", where.id)
    at.sync(where, (at.file("src/x", "x"), "/app/x"))


def test_nothing_is_left_in_the_container(at: Workspace) -> None:
    where = at.running()
    assert isinstance(at.engine, DockerEngine)
    stop = at.start(Attach(where.id, where.started_at))
    at.shown(where, "true")
    stop()
    eventually(lambda: "read -r token" not in docker("top", where.id, "-eo", "pid,args"))
    assert "trap" in docker("top", where.id, "-eo", "pid,args")
