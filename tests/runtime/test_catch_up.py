"""Containers of which it is not known what they hold: compared with the files, and only what differs is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipytilt.core.state import CATCH_UP
from ipytilt.core.steps import Apply
from ipytilt.engines.base import Work
from tests.support.project import Project

pytestmark = pytest.mark.timeout(180)
ON_DOCKER = [pytest.mark.docker, pytest.mark.compose]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, and a cache of its own for what sessions leave to each other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture(params=[pytest.param("docker", marks=ON_DOCKER), "sandbox"])
def project(request: pytest.FixtureRequest, folder: Path) -> Iterator[Project]:
    """A project on either engine."""
    made = Project(folder, request.param)
    yield made
    made.close()


def lanes(project: Project) -> list[str]:
    """How the updates went, the first one first."""
    return [f"{record.lane} {record.result}" for record in reversed(project.session.state.tracks["app"].history)]


@pytest.fixture
def left(folder: Path) -> Project:
    """A project whose session ended after live updates; its container is still there, the files are as at first."""
    first = Project(folder, "docker")
    try:
        first.write("app/hook.sh", "echo 1 >>/app/hooked\n")
        first.write("app/same.txt", "same\n")
        first.up()
        first.write("app/file.txt", "live\n")
        first.write("app/hook.sh", "echo 2 >>/app/hooked\n")
        first.write("app/made/deep.txt", "made\n")
        first.write("app/new.txt", "new\n")
        first.ready()
        assert first.in_container("sh", "-c", "mkdir -p /app/lib; echo mine | tee /app/program.log >/app/lib/x")[0] == 0
    except BaseException:
        first.close()
        raise
    assert first.session.stop() == ()
    return first


@pytest.mark.docker
@pytest.mark.compose
def test_the_container_of_an_earlier_session_stays_and_gets_only_what_differs(left: Project, folder: Path) -> None:
    before = left.container().id
    second = Project(folder, "docker")
    try:
        second.write("app/hook.sh", "echo 1 >>/app/hooked\n")
        (folder / "app/new.txt").unlink()
        (folder / "app/made/deep.txt").unlink()
        (folder / "app/made").rmdir()
        second.up()
        assert second.container().id == before
        assert lanes(second) == ["full ok", "live ok"]
        assert second.record().cause.flags == (CATCH_UP,)
        assert second.content("/app/file.txt") == "first"
        assert second.content("/app/hooked") == "2\n1"
        assert second.content("/app/program.log") == "mine"
        assert second.content("/app/lib/x") == "mine"
        assert second.in_container("ls", "/app/new.txt", "/app/made/deep.txt")[1].count("No such file") == 2
        log = second.log()
        assert "Will copy 2 file(s)" in log
        assert "'app/file.txt' --> '/app/file.txt'" in log
        assert "same.txt" not in log
        second.write("app/file.txt", "live again\n")
        second.ready()
        assert second.content("/app/file.txt") == "live again"
    finally:
        second.close()


@pytest.mark.docker
@pytest.mark.compose
def test_what_was_updated_live_needs_no_new_image_in_the_next_session(left: Project, folder: Path) -> None:
    before, built = left.container().id, left.session.state.images["app-image"].built
    second = Project(folder, "docker")
    try:
        second.write("app/file.txt", "changed while nobody looked\n")
        (folder / "app/same.txt").unlink()
        second.up()
        assert built is not None
        assert second.session.state.images["app-image"].built == replace(built, stale=True)
        assert second.container().id == before
        assert "The container of an earlier session stays" in second.log()
        assert second.content("/app/file.txt") == "changed while nobody looked"
        assert second.content("/app/new.txt") == "new"
        assert second.content("/app/program.log") == "mine"
        assert second.in_container("ls", "/app/same.txt")[0] != 0
        resource = second.session.resource("app")
        step = Apply(resource, (replace(built, stale=True),), recreate=True)
        second.session.engines().containers.apply(step, Work(lambda *_: None))
        second.until(lambda s: before not in s.tracks["app"].containers and not s.runs)
        second.ready()
        assert second.content("/app/file.txt") == "changed while nobody looked"
        assert second.content("/app/new.txt") == "new"
        assert second.in_container("ls", "/app/same.txt", "/app/program.log")[1].count("No such file") == 2
        second.write("app/stop", "needs an image\n")
        second.ready()
        found = second.session.state.images["app-image"].built
        assert found is not None
        assert not found.stale
        assert second.content("/app/stop") == "needs an image"
    finally:
        second.close()


@pytest.mark.docker
@pytest.mark.compose
def test_a_session_that_is_to_judge_builds_everything(left: Project, folder: Path) -> None:
    before, built = left.container().id, left.session.state.images["app-image"].built
    judge = Project(folder, "docker", "ci")
    try:
        judge.write("app/file.txt", "changed while nobody looked\n")
        judge.load()
        judge.session.ci(60.0)
        found = judge.session.state.images["app-image"].built
        assert found is not None
        assert built is not None
        assert found.digest != built.digest
        assert judge.container().id != before
    finally:
        judge.close()


@pytest.mark.docker
@pytest.mark.compose
def test_what_needs_an_image_is_built_by_the_next_session(left: Project, folder: Path) -> None:
    before = left.container().id
    second = Project(folder, "docker")
    try:
        second.write("app/file.txt", "first\n")
        second.write("app/stop", "needs an image\n")
        second.up()
        assert second.container().id != before
        assert lanes(second) == ["full ok"]
        assert second.content("/app/stop") == "needs an image"
        assert second.content("/app/new.txt") == "new"
    finally:
        second.close()


@pytest.mark.docker
@pytest.mark.compose
def test_a_container_that_lacks_nothing_is_left_alone(folder: Path) -> None:
    first = Project(folder, "docker")
    try:
        first.write("app/hook.sh", "touch /app/hooked\n")
        first.up()
        before = first.container()
    finally:
        assert first.session.stop() == ()
    second = Project(folder, "docker")
    try:
        second.up()
        assert second.container() == before
        assert lanes(second) == ["full ok", "live ok"]
        assert "No file of container" in second.log()
        assert second.in_container("ls", "/app/hooked")[0] != 0
    finally:
        second.close()


def test_a_broken_live_update_is_mended_without_a_build(project: Project) -> None:
    project.up()
    before = project.container()
    once = "test -e /tmp/once && touch /app/hooked && exit; touch /tmp/once; kill -9 $$; sleep 60"
    project.write("app/file.txt", "sent\n")
    project.write("app/hook.sh", once)
    project.until(lambda s: lanes(project)[-2:] == ["live error", "live ok"] and not s.runs)
    project.ready()
    assert project.container().id == before.id
    assert [lane for lane in lanes(project) if lane.startswith("full")] == ["full ok"]
    assert CATCH_UP in project.record().cause.flags
    assert project.content("/app/hook.sh") == once
    assert project.content("/app/file.txt") == "sent"
    assert project.in_container("ls", "/app/hooked")[0] == 0


def test_what_a_comparison_cannot_mend_is_replaced(project: Project) -> None:
    project.up()
    before = project.container()
    project.write("app/hook.sh", "kill -9 $$; sleep 60")
    project.until(lambda s: lanes(project)[-3:] == ["live error", "live error", "full ok"] and not s.runs)
    project.ready()
    assert project.container().id != before.id
    assert project.content("/app/hook.sh") == "kill -9 $$; sleep 60"


def test_a_container_kept_with_an_image_that_came_out_the_same_is_compared(project: Project) -> None:
    """A file that needs an image was touched only, others were made and taken back: none of that may stay."""
    project.write("app/stop", "as ever\n")
    project.up()
    before = project.container()
    project.write("app/made.txt", "made\n")
    project.write("app/file.txt", "live\n")
    project.ready()
    assert project.content("/app/made.txt") == "made"
    project.write("app/file.txt", "first\n")
    (project.folder / "app/made.txt").unlink()
    (project.folder / "app/stop").unlink()
    project.write("app/stop", "as ever\n")
    project.ready()
    project.until(lambda s: not s.runs)
    assert project.content("/app/file.txt") == "first"
    assert project.in_container("ls", "/app/made.txt")[0] != 0
    assert project.content("/app/stop") == "as ever"
    assert project.container().id == before.id
