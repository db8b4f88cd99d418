"""A Docker daemon that goes away and comes back, and a container that is killed, under a running session."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core import status
from ipytilt.core.state import State
from tests.support.project import TILTFILE, Project
from tests.support.waiting import eventually
from tools.rig.daemon import Daemon

pytestmark = [pytest.mark.docker, pytest.mark.compose, pytest.mark.timeout(240)]


def test_a_stopped_daemon_is_said_waited_for_and_nothing_is_lost(own_docker: Daemon, tmp_path: Path) -> None:
    project = Project(tmp_path, "docker")
    try:
        project.up()
        own_docker.halt()
        project.until(lambda s: bool(s.engines.get("compose")))
        project.write("app/file.txt", "saved while Docker was away\n")
        project.write("app/stop", "needs an image\n")
        state = project.until(
            lambda s: "app" in s.holds and s.holds["app"].reason in ("waiting-for-cluster", "retrying")
        )
        assert "Docker" in state.holds["app"].text
        resource = state.spec.resource("app")
        assert resource is not None
        assert status.update_status(state, resource).word == "pending"
        own_docker.resume()
        project.ready()
        assert project.content("/app/file.txt") == "saved while Docker was away"
        assert project.content("/app/stop") == "needs an image"
        project.write("app/file.txt", "and live again\n")
        project.ready()
        assert project.record().lane == "live"
        assert project.content("/app/file.txt") == "and live again"
    finally:
        project.close()


def test_starting_without_a_daemon_says_so_and_works_once_there_is_one(own_docker: Daemon, tmp_path: Path) -> None:
    own_docker.halt()
    project = Project(tmp_path, "docker")
    try:
        project.load()
        state = project.until(lambda s: (last := s.tracks["app"].last) is not None and last.result == "error")
        record = state.tracks["app"].last
        assert record is not None
        assert "Docker" in record.error
        own_docker.resume()
        project.until(lambda s: (last := s.tracks["app"].last) is not None and last.result == "ok")
        assert project.content("/app/file.txt") == "first"
    finally:
        project.close()


def is_said(state: State) -> bool:
    """The update of `app` waits for Docker, and says so."""
    hold = state.holds.get("app")
    return hold is not None and hold.reason == "waiting-for-cluster" and "silent" in hold.text


@pytest.fixture
def frozen(own_docker: Daemon) -> Iterator[Frozen]:
    """A daemon that can be made to hang: it takes connections, and says nothing."""
    made = Frozen(own_docker)
    yield made
    made.thaw()


class Frozen:
    """A daemon under SIGSTOP."""

    def __init__(self, daemon: Daemon) -> None:
        self.pid = int((daemon.folder / "pid").read_text())

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


HANGS = 45.0  # less than what any single answer may take


def test_a_hanging_daemon_is_said_soon_and_all_goes_on_when_it_does(frozen: Frozen, tmp_path: Path) -> None:
    project = Project(tmp_path, "docker")
    try:
        project.up()
        before = project.container().id
        frozen.freeze()
        project.session.store.wait_for(lambda s: "silent" in s.engines.get("compose", ""), HANGS)
        project.write("app/file.txt", "saved while Docker hung\n")
        project.session.store.wait_for(is_said, HANGS)
        frozen.thaw()
        project.ready()
        assert project.content("/app/file.txt") == "saved while Docker hung"
        assert project.container().id == before
    finally:
        frozen.thaw()
        project.close()


def test_an_update_that_hangs_with_the_daemon_is_given_up_and_tried_again(frozen: Frozen, tmp_path: Path) -> None:
    project = Project(tmp_path, "docker")
    try:
        project.up()
        frozen.freeze()
        project.write("app/file.txt", "sent to a daemon that hangs\n")
        project.session.store.wait_for(is_said, HANGS)
        assert project.record().result == "error"
        assert "silent" in project.record().error
        frozen.thaw()
        project.ready()
        assert project.content("/app/file.txt") == "sent to a daemon that hangs"
    finally:
        frozen.thaw()
        project.close()


@pytest.mark.parametrize("busy", [False, True], ids=["at rest", "in an update"])
def test_a_session_ends_in_time_whatever_docker_does(frozen: Frozen, tmp_path: Path, busy: bool) -> None:  # noqa: FBT001
    project = Project(tmp_path, "docker")
    project.up()
    frozen.freeze()
    if busy:
        project.write("app/file.txt", "never arrives\n")
        project.until(lambda s: bool(s.runs))
    ended = threading.Thread(target=project.session.stop, name="stopping", daemon=True)
    ended.start()
    ended.join(HANGS / 4)  # two seconds, and what a busy machine adds
    assert not ended.is_alive()
    frozen.thaw()


def test_a_session_that_begins_with_a_hanging_daemon_says_so(frozen: Frozen, tmp_path: Path) -> None:
    frozen.freeze()
    project = Project(tmp_path, "docker")
    try:
        project.load()
        project.session.store.wait_for(
            lambda s: (last := s.tracks["app"].last) is not None and "silent" in last.error, HANGS
        )
        frozen.thaw()
        project.until(lambda s: (last := s.tracks["app"].last) is not None and last.result == "ok")
    finally:
        frozen.thaw()
        project.close()


def test_what_is_local_does_not_wait_for_a_daemon_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/silent.sock")
        project = Project(tmp_path, "docker")
        project.load(f"{TILTFILE}\nlocal_resource('gen', 'echo made', serve_cmd='sleep 60', allow_parallel=True)")
        state = project.ready("gen")
        assert not state.tracks["app"].deployed
        assert project.session.engine_line == ""  # nothing has connected
        ended = threading.Thread(target=project.session.stop, name="stopping", daemon=True)
        ended.start()
        ended.join(HANGS / 4)
        assert not ended.is_alive()


@pytest.mark.timeout(110)  # the daemon ends the connection by itself, after two minutes
def test_a_container_killed_while_much_is_sent_to_it_is_replaced(tmp_path: Path) -> None:
    project = Project(tmp_path, "docker")
    try:
        project.up()
        code, loop = project.in_container("sh", "-c", "echo $PPID")
        assert code == 0
        killed = project.container().id
        docker("exec", killed, "kill", "-STOP", loop)  # so that the sending is not over in a moment
        project.write("app/big", "x" * 20_000_000)
        eventually(lambda: "'app/big' --> '/app/big'" in project.log(), timeout=60)
        docker("kill", killed)
        project.until(lambda s: all(id_ != killed for id_ in s.tracks["app"].containers) and not s.runs)
        project.ready()
        assert project.in_container("sh", "-c", "wc -c </app/big") == (0, "20000000")
    finally:
        project.close()


def docker(*words: str) -> None:
    """Run the Docker client on the tests' daemon."""
    subprocess.run(["docker", *words], check=True, capture_output=True)
