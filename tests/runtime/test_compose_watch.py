"""A Compose file with `develop.watch` for real: what is saved arrives by its rules, in images built and not built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import DOCKERFILE, Project

pytestmark = pytest.mark.timeout(180)

COMPOSE = """
services:
  app:
    build: ./app
    stop_grace_period: 0s
    develop:
      watch:
        - {action: sync, path: app/src, target: /app/src, ignore: ["*.log"]}
        - {action: sync+restart, path: app/conf, target: /app/conf}
        - action: sync+exec
          path: app/web
          target: /web
          exec: {command: [sh, -c, "echo ran >>/web/ran"]}
        - {action: rebuild, path: app/Dockerfile.args}
  plain:
    image: busybox
    command: [sh, -c, "while :; do sleep 0.2; done"]
    stop_grace_period: 0s
    develop:
      watch:
        - {action: sync, path: notes, target: /notes}
"""


@pytest.fixture(
    params=[pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.compose]), pytest.param("sandbox")]
)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """Two services, one of them built by Compose itself."""
    folder = tmp_path / f"w{abs(hash(request.node.name)) % 10**8}"
    folder.mkdir()
    made = Project(folder, request.param)
    made.write("docker-compose.yml", COMPOSE)
    made.write("app/Dockerfile", DOCKERFILE)
    for path in ("src/a.py", "conf/c.ini", "web/i.html", "Dockerfile.args"):
        made.write(f"app/{path}", "first\n")
    made.write("notes/n.txt", "first\n")
    made.up("docker_compose('docker-compose.yml')")
    yield made
    made.close()


def test_each_action_does_what_it_says(project: Project) -> None:
    before = project.container()
    project.write("app/src/noise.log", "passed over\n")
    project.write("app/src/a.py", "second\n")
    project.ready()
    assert (project.content("/app/src/a.py"), project.record().lane) == ("second", "live")
    assert project.record().cause.files == (str(project.folder / "app/src/a.py"),)
    project.write("app/web/i.html", "second\n")
    project.ready()
    assert (project.content("/web/i.html"), project.content("/web/ran")) == ("second", "ran")
    assert project.container() == before
    project.write("app/conf/c.ini", "second\n")
    project.until(lambda s: any(t.restarts for t in s.tracks["app"].containers.values()))
    project.ready()
    assert (project.container().id, project.content("/app/conf/c.ini")) == (before.id, "second")
    project.write("app/Dockerfile.args", "second\n")
    project.until(lambda s: bool(s.tracks["app"].last and s.tracks["app"].last.lane == "full"))
    project.ready()
    assert project.container().id != before.id
    assert project.content("/app/src/a.py") == "second"


def test_an_image_that_nobody_builds_is_synced_into(project: Project) -> None:
    project.write("notes/n.txt", "second\n")
    project.ready()
    assert project.in_container("cat", "/notes/n.txt", name="plain") == (0, "second")
    assert project.record("plain").lane == "live"
