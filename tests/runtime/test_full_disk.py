"""The disk of a container is full: an error that names container and path, and heals by itself once there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core import status
from ipytilt.core.state import State
from ipytilt.views.rows import session_view
from tests.support.disks import fill, small_disk
from tests.support.project import COMPOSE, Project
from tests.support.waiting import eventually

# Whoever may run a Docker daemon may mount.
pytestmark = [pytest.mark.docker, pytest.mark.compose, pytest.mark.timeout(240)]

MOUNT = "    volumes: ['./disk:/small']\n"
RULES = (
    "docker_compose('docker-compose.yml')\ndocker_build('app-image', 'app', live_update=[FIRST sync('app', '/small')])"
)
ROOM_KB = 512


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    with small_disk(tmp_path / "p" / "disk", ROOM_KB) as place:
        yield place


@pytest.fixture(params=["docker", "sandbox"])
def project(request: pytest.FixtureRequest, disk: Path) -> Iterator[Project]:
    """A project whose container has the small file system at /small."""
    made = Project(disk.parent, request.param)
    made.write("docker-compose.yml", COMPOSE + MOUNT)
    yield made
    made.close()


def error_shown(project: Project, state: State) -> str:
    """What the row of `app` shows as its error."""
    (row,) = session_view(state, "", scrub=str).rows
    return row.error if row.update.status == "error" else ""


@pytest.mark.parametrize("first", ["", "initial_sync(),"], ids=["changes", "initial_sync"])
def test_a_full_disk_is_an_error_that_heals_by_itself(project: Project, disk: Path, first: str) -> None:
    if first:
        taken = fill(disk)
        project.write("app/big", "b" * 40_000)
        project.load(RULES.replace("FIRST", first))
    else:
        project.up(RULES.replace("FIRST", first))
        taken = fill(disk)
        project.write("app/big", "b" * 40_000)
    state = project.until(lambda s: bool(error_shown(project, s)))
    shown = error_shown(project, state)
    assert project.container().name in shown
    assert "/small/" in shown
    assert "No space left on device" in shown or "Wrote only" in shown
    assert "tried again by itself" in shown
    project.write("app/second", "saved meanwhile\n")
    project.until(lambda s: s.tracks["app"].attempts > 1)
    taken.unlink()
    project.ready()
    assert (disk / "big").read_text() == "b" * 40_000
    assert (disk / "second").read_text() == "saved meanwhile\n"
    resource = project.session.resource("app")
    assert status.update_status(project.session.state, resource).word == "ok"
    assert project.session.state.tracks["app"].attempts == 0


def test_what_is_deleted_goes_on_a_full_disk(project: Project, disk: Path) -> None:
    project.write("app/old", "o" * 10_000)
    project.up(RULES.replace("FIRST", "initial_sync(),"))
    taken = fill(disk)
    (project.folder / "app/old").unlink()
    eventually(lambda: not (disk / "old").exists(), timeout=60)
    taken.unlink()
