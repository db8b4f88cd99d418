"""A Docker daemon that goes away and comes back, under a running session."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipytilt.core import status
from tests.support.project import Project
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
