"""Deploying through Docker Compose: builds of its own, options, networks, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipytilt.core.spec import Compose, Resource
from ipytilt.core.steps import Apply, Delete
from ipytilt.errors import Cancelled, Rejected
from tests.engines.contract import FOREVER, Workspace, fails
from tests.engines.docks import workspace
from tests.support.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.compose]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Workspace]:
    with workspace(tmp_path, os.environ) as found:
        yield found


def docker(*words: str) -> list[str]:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.split()


def with_project(resource: Resource, **changes: object) -> Resource:
    assert isinstance(resource.target, Compose)
    project = replace(resource.target.project, **changes)  # type: ignore[arg-type]
    return replace(resource, target=replace(resource.target, project=project))


def test_compose_builds_what_is_its_own(at: Workspace) -> None:
    at.file("context/Dockerfile", f"FROM {at.base}\nRUN echo from compose > /made\n")
    resource = at.service(build={"context": str(at.directory / "context")})
    container = at.apply(resource)
    assert at.shown(container, "cat /made") == "from compose"
    assert not any(line.startswith("STEP") for line in at.lines())


def test_a_build_of_compose_that_fails_shows_its_output(at: Workspace) -> None:
    at.file("context/Dockerfile", f"FROM {at.base}\nRUN echo the reason; exit 3\n")
    resource = at.service(build={"context": str(at.directory / "context")})
    error = fails(Rejected, lambda: at.apply(resource))
    assert error.doing == "building web"
    assert "exit code: 3" in error.message
    assert any("the reason" in line for line in at.lines())


def test_ports_and_health_are_reported(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    health = {"test": ["CMD", "true"], "interval": "1s"}
    resource = at.service(network_mode="bridge", ports=["127.0.0.1:0:80"], healthcheck=health)
    container = at.apply(with_project(resource, wait=True), built)
    assert len(container.ports) == 1
    assert container.health == "healthy"


def test_the_network_goes_with_the_last_container(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    own = {"networks": ["own"], "network_mode": None}
    web, db = at.service("web", **own), at.service("db", **own)  # type: ignore[arg-type]
    assert isinstance(web.target, Compose)
    [path] = web.target.project.config_paths
    services = json.loads(Path(path).read_text())["services"]
    for definition in services.values():
        del definition["network_mode"]
    Path(path).write_text(json.dumps({"services": services, "networks": {"own": {}}}))
    for resource in (web, db):
        at.apply(resource, built)
    label = f"label=com.docker.compose.project={web.target.project.name}"
    at.engine.delete(Delete(db), at.work())
    assert docker("network", "ls", "-q", "--filter", label)
    at.engine.delete(Delete(web), at.work())
    assert not docker("network", "ls", "-q", "--filter", label)


def test_volumes_go_when_that_is_asked_for(at: Workspace) -> None:
    resource = at.service(image="web")
    built = at.build(at.image("FROM BASE\n"))
    assert isinstance(resource.target, Compose)
    label = f"com.docker.compose.project={resource.target.project.name}"
    name = docker("volume", "create", "--label", label)[0]
    at.apply(resource, built)
    at.engine.delete(Delete(resource), at.work())
    assert docker("volume", "ls", "-q", "--filter", f"label={label}") == [name]
    at.engine.delete(Delete(resource, volumes=True), at.work())
    assert not docker("volume", "ls", "-q", "--filter", f"label={label}")
    assert f"Removing volume {name}" in at.lines()


def test_profiles_and_the_environment_file_count(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    resource = at.service(profiles=["debug"], environment={"X": "${FROM_FILE}"})
    env_file = at.file("settings.env", "FROM_FILE=42\n")
    resource = with_project(resource, profiles=("debug",), env_file=str(env_file))
    assert at.shown(at.apply(resource, built), "echo $X") == "42"


def test_deleting_needs_no_files(at: Workspace) -> None:
    container = at.running()
    resource = at.service()
    (at.directory / "compose.yaml").unlink()
    at.engine.delete(Delete(resource), at.work())
    assert container.id not in docker("ps", "-aq", "--no-trunc")


@pytest.mark.parametrize(
    "text, message",
    [
        ("services: {web: {image: [}}", "yaml: "),
        ("services: {web: {imagee: x}}", "imagee"),
        ("services: {other: {image: x}}", "no such service: web"),
        (None, "compose.yaml"),
    ],
)
def test_bad_files_are_reported_in_the_words_of_compose(at: Workspace, text: str | None, message: str) -> None:
    built = at.build(at.image("FROM BASE\n"))
    resource = at.service()
    path = at.directory / "compose.yaml"
    path.write_text(text) if text else path.unlink()
    error = fails(Rejected, lambda: at.apply(resource, built))
    assert message in error.message
    assert error.doing == "starting web"


def test_a_container_that_cannot_start_is_reported(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    error = fails(Rejected, lambda: at.apply(at.service(command=["/no/such/program"]), built))
    assert "/no/such/program" in error.message


def test_without_the_plug_in_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "empty").mkdir()
    environ = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "empty"), "PATH": str(tmp_path / "bin")}
    with workspace(tmp_path, environ) as at:
        error = fails(Rejected, lambda: at.engine.apply(Apply(at.service()), at.work()))
    assert "docker compose is not installed" in error.message
    assert "https://docs.docker.com/compose/install" in error.hint


def test_one_project_has_one_up_at_a_time_and_waiting_can_be_cancelled(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    slow = {"test": ["CMD", "test", "-e", "/healthy"], "interval": "1s", "retries": 1000}
    first = with_project(at.service("slow", healthcheck=slow), wait=True)
    second = at.service("web", command=FOREVER)
    works = [at.work(), at.work()]
    raised: dict[str, BaseException] = {}

    def up(resource: Resource, index: int) -> None:
        try:
            at.engine.apply(Apply(resource, (built,)), works[index])
        except Cancelled as error:
            raised[resource.name] = error

    threads = [threading.Thread(target=up, args=(resource, index)) for index, resource in enumerate((first, second))]
    threads[0].start()
    eventually(lambda: any("Started" in line or "Waiting" in line for line in at.lines()), timeout=30)
    threads[1].start()
    works[1].cancel()
    threads[1].join(10)
    assert list(raised) == ["web"]
    works[0].cancel()
    threads[0].join(10)
    assert list(raised) == ["web", "slow"]
