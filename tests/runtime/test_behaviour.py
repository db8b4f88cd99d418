"""Rows of the behaviour table that need a disk and a container; the others are in `tests/core`."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.events import Source
from ipytilt.core.steps import Copy
from ipytilt.engines.context import sync_archive
from ipytilt.engines.sandbox import SandboxEngine
from ipytilt.engines.sandbox_files import remove_tree
from ipytilt.runtime.session import Config, Session
from tests.support import eventually
from tests.support.project import DOCKERFILE, PATIENCE, TILTFILE, Project

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project that runs in the sandbox."""
    made = Project(tmp_path / "behaviour", "sandbox")
    yield made
    made.close()


def test_31_a_run_without_a_user_watches_nothing(tmp_path: Path) -> None:
    session = Session(Config("sandbox", str(tmp_path), subcommand="ci"))
    text = "local_resource('gen', 'true', deps=['dep'])"
    session.wait_loaded(session.put(Source("cell:1", "Cell 1", str(tmp_path), text)), PATIENCE)
    session.ci(PATIENCE)
    (tmp_path / "dep").write_text("saved")
    session.handled()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ipytilt-watcher")]
    assert len(session.state.tracks["gen"].history) == 1
    assert session.stop() == ()


def test_42_a_socket_is_left_out_and_the_rest_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        copies = [Copy(str(tmp_path / name), f"/app/{name}") for name in ("a.txt", "socket")]
        archive, placed = sync_archive(copies, engine="sandbox")
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
            assert tar.getnames() == ["app/a.txt"]
    assert placed.removals == ()


def test_72_a_failed_command_keeps_the_container_from_being_restarted(project: Project) -> None:
    project.up(TILTFILE.replace("'app/hook.sh'),", "'app/hook.sh'), restart_container(),"))
    before = project.container()
    project.write("app/hook.sh", "exit 3\n")
    project.until(lambda s: any(r.lane == "live" and r.result == "error" for r in s.tracks["app"].history))
    assert project.container().started_at == before.started_at
    project.write("app/hook.sh", "true\n")
    assert eventually(lambda: project.container().started_at != before.started_at, timeout=PATIENCE)
    project.ready()
    assert project.container().id == before.id


def delete(project: Project, ref: str) -> None:
    """Remove what was built from the sandbox's store, behind the back of the session."""
    built, sandbox = project.session.state.images[ref].built, project.session.engines().containers
    assert built is not None
    assert isinstance(sandbox, SandboxEngine)
    remove_tree(str(Path(sandbox._images[built.local_ref].tree).parent))


TWO_IMAGES = """
docker_compose('docker-compose.yml')
docker_build('base-image', 'base')
docker_build('app-image', 'app')
"""


def test_156_an_image_that_was_deleted_is_built_again(project: Project) -> None:
    project.write("base/Dockerfile", "FROM busybox\nCOPY . /base\n")
    project.write("base/file.txt", f"of {project.folder} alone\n")
    project.write("app/Dockerfile", DOCKERFILE.replace("FROM busybox", "FROM base-image"))
    project.up(TWO_IMAGES)
    project.write("app/file.txt", "second\n")
    project.until(lambda s: len(s.tracks["app"].history) == 2)
    assert "Loading cached image: [base-image]" in project.log()
    assert "Rebuilding" not in project.log()
    delete(project, "base-image")
    project.write("app/file.txt", "third\n")
    project.until(lambda s: len(s.tracks["app"].history) == 3)
    assert "Rebuilding base-image because image not found in image store" in project.log()
    project.ready()
    assert project.content("/app/file.txt") == "third"
