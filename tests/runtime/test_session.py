"""The loop for real, on every engine: what is saved arrives, what breaks says so, recovers and loses nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core import status, unchanged
from ipytilt.core.state import State
from ipytilt.errors import Reported, TiltError, UsageError
from tests.support import eventually
from tests.support.project import DOCKERFILE, TILTFILE, Project

ENGINES = [
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.compose]),
    pytest.param("sandbox"),
]
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=ENGINES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A project in a folder whose name is its own."""
    folder = tmp_path / f"p{abs(hash(request.node.name)) % 10**8}"
    folder.mkdir()
    made = Project(folder, request.param)
    yield made
    made.close()


@pytest.fixture
def locals_only(tmp_path: Path) -> Iterator[Project]:
    """A project that deploys nothing."""
    made = Project(tmp_path, "sandbox")
    yield made
    made.close()


def update_word(state: State, name: str) -> str:
    """The word for the update of a resource."""
    resource = state.spec.resource(name)
    return status.update_status(state, resource).word if resource else ""


def runtime_word(state: State, name: str) -> str:
    """The word for the runtime of a resource."""
    resource = state.spec.resource(name)
    return status.runtime_status(state, resource).word if resource else ""


# ---------------------------------------------------------------------------------------------- live update


def test_saved_made_moved_and_deleted_files_arrive_without_a_build(project: Project) -> None:
    project.up()
    before = project.container()
    project.write("app/file.txt", "second\n")
    project.write("app/new/deep/er.txt", "made\n")
    project.ready()
    assert project.content("/app/file.txt") == "second"
    assert project.content("/app/new/deep/er.txt") == "made"
    assert project.record().lane == "live"
    (project.folder / "app/new").rename(project.folder / "app/moved")
    (project.folder / "app/file.txt").unlink()
    project.ready()
    assert project.content("/app/moved/deep/er.txt") == "made"
    assert project.in_container("ls", "/app/new", "/app/file.txt")[0] != 0
    assert project.container().id == before.id
    assert "--> '/app/file.txt'" in project.log()
    assert "updated!" in project.log()


def test_a_run_step_runs_in_the_container_and_its_output_is_logged(project: Project) -> None:
    project.up()
    project.write("app/hook.sh", "echo hooked in $(pwd); echo hooked >/app/mark\n")
    project.ready()
    assert project.content("/app/mark") == "hooked"
    assert "[CMD 1/1] sh /app/hook.sh" in project.log()
    assert "hooked in /app" in project.log()


def test_a_failed_run_step_is_the_users_error_and_the_files_stay(project: Project) -> None:
    project.up()
    project.write("app/hook.sh", "echo about to fail; test -e /app/fixed || exit 3\n")
    with pytest.raises(TiltError, match="failed with exit code: 3"):
        project.ready()
    assert project.content("/app/hook.sh").startswith("echo about to fail")
    assert project.record().result == "error"
    runs = len(project.session.state.tracks["app"].history)
    project.write("app/fixed", "after\n")
    project.ready()
    assert project.content("/app/fixed") == "after"
    assert len(project.session.state.tracks["app"].history) == runs + 1
    assert [b.text for b in project.record().cause.because if "hook.sh" in b.text] == [
        "run('sh /app/hook.sh') runs: it failed before"
    ]
    assert project.log().splitlines().count("about to fail") == 2


def test_a_trigger_runs_a_failed_step_again_and_nothing_else(project: Project) -> None:
    """Better than Tilt, where it means a new image and a new container."""
    project.up()
    before = project.container()
    project.write("app/hook.sh", "test -e /tmp/service-is-up && echo hooked >/app/mark\n")
    with pytest.raises(TiltError, match="failed with exit code: 1"):
        project.ready()
    assert project.in_container("touch", "/tmp/service-is-up")[0] == 0
    project.session.trigger("app")
    project.until(lambda s: (last := s.tracks["app"].last) is not None and last.result == "ok")
    project.ready()
    assert project.content("/app/mark") == "hooked"
    assert project.container().id == before.id
    assert (project.record().lane, project.record().cause.text) == ("live", "Web Trigger")
    project.session.trigger("app")
    project.until(lambda s: s.tracks["app"].asked is None)
    project.ready()
    assert project.record().lane == "full"


def test_a_stop_file_means_a_new_image_and_why_names_its_line(project: Project) -> None:
    project.up()
    before = project.container()
    project.write("app/stop", "x\n")
    project.ready()
    assert project.record().lane == "full"
    assert project.container().id != before.id
    assert project.content("/app/stop") == "x"
    because = project.record().cause.because
    assert any("fall_back_on('app/stop')" in b.text and b.origin.line == 4 for b in because)


def test_what_was_synced_survives_a_replaced_container(project: Project) -> None:
    project.up()
    project.write("app/file.txt", "synced\n")
    project.ready()
    project.session.trigger("app")
    project.until(lambda s: s.tracks["app"].last is not None and "Web Trigger" in s.tracks["app"].last.cause.flags)
    project.ready()
    assert project.content("/app/file.txt") == "synced"


def test_many_files_at_once_arrive_all(project: Project) -> None:
    project.up()
    for number in range(300):
        project.write(f"app/many/{number % 7}/{number}.txt", f"{number}\n")
    project.ready()
    code, text = project.in_container("sh", "-c", "cat $(find /app/many -type f) | sort -n | uniq | wc -l")
    assert (code, text.strip()) == (0, "300")


def test_saves_that_change_nothing_update_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Better than Tilt: to it, every save is a change."""
    monkeypatch.setattr(unchanged, "GRACE", 0.0)
    project.up()
    for text in ("second\n", "third\n"):
        project.write("app/file.txt", text)
        project.ready()
    runs = len(project.session.state.tracks["app"].history)
    seq = project.session.state.seq
    project.write("app/file.txt", "third\n")
    (project.folder / "app/file.txt").touch()
    project.ready()
    assert project.session.state.seq == seq
    (project.folder / "app/file.txt").chmod(0o600)
    project.ready()
    assert len(project.session.state.tracks["app"].history) == runs + 1
    assert project.in_container("stat", "-c", "%a", "/app/file.txt") == (0, "600")


def test_a_checkout_is_one_update_and_nothing_of_it_goes_before_it_is_done(project: Project) -> None:
    lock = project.folder / ".git" / "index.lock"
    lock.parent.mkdir()
    project.up()
    runs = len(project.session.state.tracks["app"].history)
    lock.write_text("")
    for number in range(10):
        project.write(f"app/branch/{number}", "other")
        time.sleep(0.03)  # each rests for longer than a lone save has to
    assert len(project.session.state.tracks["app"].history) == runs
    lock.unlink()
    project.until(lambda s: len(s.tracks["app"].history) > runs)
    project.ready()
    assert len(project.session.state.tracks["app"].history) == runs + 1
    assert len(project.record().cause.files) >= 10


# ---------------------------------------------------------------------------------------------- faults


def test_a_build_that_fails_says_so_and_recovers_with_the_fix(project: Project) -> None:
    project.up()
    before = project.container()
    project.write("app/Dockerfile", DOCKERFILE + "RUN echo going wrong && exit 7\n")
    project.until(lambda s: s.load.count == 2 and not s.load.stale)
    with pytest.raises(TiltError, match="app-image"):
        project.ready()
    assert "going wrong" in project.log()
    assert project.container().id == before.id
    project.write("app/Dockerfile", DOCKERFILE + "RUN echo all right >/app/built\n")
    project.until(lambda s: s.load.count == 3 and not s.load.stale)
    project.ready()
    assert project.content("/app/built") == "all right"


def test_a_missing_dockerfile_is_named_and_its_creation_is_enough(project: Project) -> None:
    (project.folder / "app/Dockerfile").unlink()
    with pytest.raises(Reported, match="Dockerfile"):
        project.load()
    project.write("app/Dockerfile", DOCKERFILE)
    project.until(lambda s: s.load.error is None and bool(s.tracks))
    project.ready()
    assert project.content("/app/file.txt") == "first"


@pytest.mark.parametrize(
    "text, expected, line",
    [
        pytest.param("x = (", "", 1, id="syntax error"),
        pytest.param("docker_biuld('a', '.')", "docker_build", 1, id="unknown builtin"),
        pytest.param("local_resource('a', cmd='x', depps=['b'])", "did you mean deps", 1, id="unknown keyword"),
        pytest.param(TILTFILE.replace("sync('app'", "sync('elsewhere'"), "not a child of any watched", 0, id="outside"),
        pytest.param(TILTFILE.replace("'/app')", "'app')"), "not absolute", 0, id="relative container path"),
        pytest.param(TILTFILE + "sync('app', '/x')", "not used", 0, id="step never used"),
        pytest.param(
            TILTFILE.replace("    fall_back_on('app/stop'),\n", "").replace("])", "    fall_back_on('app/stop')])"),
            "start of the list",
            0,
            id="steps out of order",
        ),
    ],
)
def test_a_mistake_keeps_the_last_good_state_running(project: Project, text: str, expected: str, line: int) -> None:
    project.up()
    with pytest.raises(Reported) as caught:
        project.load(text)
    shown = caught.value.render()
    assert expected in shown
    assert "Cell 1" in shown
    assert "^" in shown or not line
    assert 'File "' not in shown
    assert project.session.state.load.error is not None
    project.write("app/file.txt", "still running\n")
    project.ready()
    assert project.content("/app/file.txt") == "still running"
    project.load()
    assert project.session.state.load.error is None


@pytest.mark.docker
@pytest.mark.compose
def test_a_container_killed_during_a_live_update_is_brought_back_with_everything(tmp_path: Path) -> None:
    project = Project(tmp_path, "docker")
    try:
        project.up()
        before = project.container()
        project.write("app/hook.sh", "echo hooking; sleep 600\n")
        eventually(lambda: "hooking" in project.log(), timeout=30)
        subprocess.run(["docker", "kill", before.id], check=True, capture_output=True)
        project.until(lambda s: (last := s.tracks["app"].last) is not None and last.lane == "full" and last.run > 2)
        project.until(lambda s: runtime_word(s, "app") == "ok")
        assert project.content("/app/hook.sh").startswith("echo hooking")
        assert project.container().id != before.id
    finally:
        project.close()


def test_a_service_that_dies_is_an_error_and_the_next_change_brings_it_back(project: Project) -> None:
    dying = DOCKERFILE.replace("while :; do sleep 0.2; done", "while [ ! -e /app/die ]; do sleep 0.1; done; exit 4")
    project.write("app/Dockerfile", dying)
    project.up()
    project.write("app/die", "")
    project.until(lambda s: runtime_word(s, "app") == "error")
    (project.folder / "app/die").unlink()
    project.ready()
    assert runtime_word(project.session.state, "app") == "ok"


def test_stop_cancels_a_build(project: Project) -> None:
    project.write("app/Dockerfile", DOCKERFILE + "RUN sleep 600\n")
    project.load()
    project.until(lambda s: any(run.title.startswith("Building") for run in s.runs.values()))
    project.session.stop_update("app")
    project.until(lambda s: not s.runs)
    assert project.record().error == "build canceled"


# ---------------------------------------------------------------------------------------------- several resources


def test_cells_add_up_and_rerunning_one_replaces_only_what_it_defined(locals_only: Project) -> None:
    project = locals_only
    project.load("def name(x):\n    return 'do-' + x\nlocal_resource(name('a'), 'echo a', deps=['a'])", key="cell:a")
    project.load("local_resource(name('b'), 'echo b', resource_deps=['do-a'])", key="cell:b")
    project.ready()
    project.load("local_resource(name('b'), 'echo other')", key="cell:b")
    project.ready()
    state = project.session.state
    assert [r.name for r in state.spec.resources] == ["do-a", "do-b"]
    assert {r.name: r.source for r in state.spec.resources} == {"do-a": "cell:a", "do-b": "cell:b"}
    assert len(state.tracks["do-a"].history) == 1
    assert "other" in project.log("do-b")


def test_141_what_a_command_writes_is_built_into_the_image_once(project: Project) -> None:
    tiltfile = """
local_resource('gen', 'cat proto/x >app/y', deps=['proto'])
docker_compose('docker-compose.yml')
docker_build('app-image', 'app')
"""
    project.write("proto/x", "1\n")
    project.up(tiltfile)
    built = len(project.session.state.tracks["app"].history)
    project.write("proto/x", "2\n")
    project.ready()
    assert project.content("/app/y") == "2"
    assert len(project.session.state.tracks["app"].history) == built + 1


def test_a_server_restarts_after_each_update_and_its_end_is_an_error(locals_only: Project) -> None:
    project = locals_only
    serve = "echo serving $(cat app/n); while [ ! -e die ]; do sleep 0.1; done; exit 0"
    project.write("app/n", "1")
    project.up(f"local_resource('srv', serve_cmd={serve!r}, deps=['app'])")
    eventually(lambda: "serving 1" in project.log("srv"))
    project.write("app/n", "2")
    eventually(lambda: "serving 2" in project.log("srv"), timeout=30)
    project.write("die", "")
    project.until(lambda s: runtime_word(s, "srv") == "error")
    assert "Server exited with exit code 0" in project.log("srv")


def test_a_command_that_fails_is_shown_and_not_repeated(locals_only: Project) -> None:
    project = locals_only
    project.load("local_resource('bad', 'echo trying; exit 2', deps=['app'])")
    with pytest.raises(TiltError, match='Command "echo trying; exit 2" failed: exit status 2'):
        project.ready()
    assert project.log("bad").splitlines().count("trying") == 1


def test_down_and_up_again(project: Project) -> None:
    project.up()
    project.session.down()
    project.session.wait_taken_down(60)
    with pytest.raises(UsageError, match="taken down"):
        project.session.trigger("app")
    project.load()
    project.ready()
    assert project.content("/app/file.txt") == "first"


def test_unknown_names_are_answered_with_the_known_ones(locals_only: Project) -> None:
    project = locals_only
    project.up("local_resource('only', 'true')")
    for ask in (project.session.trigger, project.session.why, project.session.stop_update):
        with pytest.raises(UsageError) as caught:
            ask("other")
        assert "one of: only" in caught.value.render()


def test_waiting_that_takes_too_long_says_what_is_waited_for(locals_only: Project) -> None:
    project = locals_only
    project.load("local_resource('slow', 'sleep 600')\nlocal_resource('next', 'true', resource_deps=['slow'])")
    with pytest.raises(TiltError, match="local resource slow runs alone"):
        project.session.wait(timeout=0.5)


@pytest.mark.docker
@pytest.mark.compose
def test_a_session_takes_over_containers_of_an_earlier_one(tmp_path: Path) -> None:
    """What the earlier one had synced and what changed meanwhile must not matter."""
    first = Project(tmp_path, "docker")
    first.up()
    first.write("app/file.txt", "synced by the first\n")
    first.ready()
    assert first.session.stop() == ()
    first.write("app/file.txt", "first\n")
    second = Project(tmp_path, "docker")
    try:
        second.up()
        assert second.content("/app/file.txt") == "first"
    finally:
        second.close()


def test_89_90_91_an_initial_sync_fills_a_new_container(project: Project) -> None:
    """Ignored files stay out, a missing source is only warned about, runs follow their triggers."""
    tiltfile = """
docker_compose('docker-compose.yml')
docker_build('app-image', '.', dockerfile='app/Dockerfile', ignore=['**/*.log'], only=['app', 'more'], live_update=[
    initial_sync(),
    sync('app', '/filled'),
    sync('more', '/more'),
    run('echo not this one >>/filled/ran', trigger='app/absent'),
    run('echo triggered >>/filled/ran', trigger='app/file.txt'),
    run('echo always >>/filled/ran'),
])
"""
    project.write("app/noise.log", "x")
    project.up(tiltfile)
    project.until(lambda s: any(r.lane == "live" for r in s.tracks["app"].history))
    project.ready()
    assert project.content("/filled/file.txt") == "first"
    assert project.in_container("ls", "/filled/noise.log")[0] != 0
    assert project.content("/filled/ran") == "triggered\nalways"
    assert "more does not exist" in project.log()
