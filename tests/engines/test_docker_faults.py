"""The daemon away: not there at all, stopped, and back again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipytilt.core.steps import Apply, Attach, Follow, Observe
from ipytilt.engines import docker
from ipytilt.engines.base import EngineSeen
from ipytilt.errors import Unavailable
from tests.engines.contract import FOREVER, Workspace, fails
from tests.engines.docks import workspace
from tests.support.waiting import eventually
from tools.rig.daemon import Daemon


def test_no_daemon_is_unavailable_and_says_where(tmp_path: Path) -> None:
    error = fails(Unavailable, lambda: docker.connect({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}))
    assert "No such file or directory" in error.message
    assert "DOCKER_HOST" in error.hint
    error = fails(Unavailable, lambda: docker.connect({"DOCKER_HOST": "tcp://127.0.0.1:1"}))
    assert "Connection refused" in error.message
    assert fails(Unavailable, lambda: docker.connect({"DOCKER_HOST": "nonsense://x"})).message


@pytest.mark.docker
def test_the_engine_describes_itself() -> None:
    engine = docker.connect(os.environ)
    assert engine.name == "docker"
    assert engine.describe() == f"Docker {engine.daemon.version} at {engine.daemon.host}"


@pytest.mark.docker
def test_a_socket_of_the_user_is_found_without_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "podman").mkdir()
    host = docker.connect(os.environ).daemon.host
    (tmp_path / "podman" / "podman.sock").symlink_to(host.removeprefix("unix://"))
    monkeypatch.delenv("DOCKER_HOST")
    engine = docker.connect({"XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_CONTEXT": ""})
    assert engine.daemon.environ["DOCKER_HOST"] == f"unix://{tmp_path}/podman/podman.sock"


@pytest.mark.docker
@pytest.mark.compose
def test_a_daemon_that_stops_and_comes_back(own_docker: Daemon, tmp_path: Path) -> None:
    with workspace(tmp_path, {**os.environ, **own_docker.env}) as at:
        command = ["sh", "-c", f"echo started; {FOREVER[2]}"]
        where = at.running(command=command, restart="always")
        followed: list[str] = []
        at.start(Observe("docker", (at.service(),)))
        at.start(Attach(where.id, where.started_at))
        at.start(Follow("web", where.id, where.started_at), lambda text, _: followed.append(text))
        eventually(lambda: at.seen() == (where,))
        eventually(lambda: followed == ["started"])

        own_docker.halt()
        eventually(lambda: [fact for fact in at.facts if isinstance(fact, EngineSeen) and fact.problem])
        image = at.image("FROM BASE\nRUN true\n")
        for action in (
            lambda: at.sync(where, (at.file("src/x", "x"), "/app/x")),
            lambda: at.sh(where, "true"),
            lambda: at.engine.restart(where, at.work()),
            lambda: at.build(image),
            lambda: at.engine.apply(Apply(at.service(command=command)), at.work()),
        ):
            assert "does not answer" in fails(Unavailable, action).message

        own_docker.resume()
        eventually(lambda: _restarted(at, where.started_at), timeout=30)
        health = eventually(lambda: [fact.problem for fact in at.facts if isinstance(fact, EngineSeen)])
        assert (health[0], health[1] != "", health[-1]) == ("", True, "")
        again = (at.seen() or ())[0]
        assert again.id == where.id
        at.sync(again, (at.file("src/x", "back"), "/app/x"))
        assert at.shown(again, "cat /app/x") == "back"
        eventually(lambda: followed == ["started", "started"], timeout=30)
        at.build(image)


def _restarted(at: Workspace, started_at: str) -> bool:
    return any(container.running and container.started_at != started_at for container in at.seen() or ())
