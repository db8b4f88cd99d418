"""The Python face: a session in a script, in a program with an event loop, and the one of a notebook."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

import ipytilt
from ipytilt import CIFailed, Session, TiltError
from ipytilt.core import events as ev
from ipytilt.errors import UsageError
from tests.support import eventually
from tests.support.kernels import kernel_in
from tests.support.leaks import no_leaks
from tests.support.processes import alive
from tests.support.project import COMPOSE, DOCKERFILE

PATIENCE = 60.0
ENGINES = [
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.compose]),
    pytest.param("sandbox"),
]
SLOW = "local_resource('slow', 'touch begun; while [ ! -e go ]; do sleep 0.05; done', allow_parallel=True)"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session on the sandbox, in a folder of its own; it leaves nothing behind."""
    with no_leaks():
        made = Session(tmp_path, engine="sandbox")
        yield made
        assert made.stop() == ()


# ---------------------------------------------------------------------------------------------- the whole way


@pytest.mark.parametrize("engine", ENGINES)
def test_a_service_from_python_is_built_live_updated_explained_and_taken_down(engine: str, tmp_path: Path) -> None:
    folder = tmp_path / f"api{abs(hash(str(tmp_path))) % 10**8}"
    (folder / "app").mkdir(parents=True)
    (folder / "docker-compose.yml").write_text(COMPOSE)
    (folder / "app/Dockerfile").write_text(DOCKERFILE)
    (folder / "app/file.txt").write_text("first\n")
    with Session(folder, engine=engine) as session:

        @session.tiltfile
        def dev() -> None:
            ipytilt.docker_compose("docker-compose.yml")
            ipytilt.docker_build("app-image", "app", live_update=[ipytilt.sync("app", "/app"), ipytilt.run("true")])

        assert session["app"].wait(timeout=PATIENCE).status.ready
        (folder / "app/file.txt").write_text("second\n")
        session["app"].wait(timeout=PATIENCE)
        assert [update.what for update in session["app"].updates] == ["full update", "live update"]
        told = session.story("app")[-1]
        assert (told.result, told.files) == ("ok", (str(folder / "app/file.txt"),))
        assert __file__ in " ".join(told.because)
        assert told.steps
        assert "command" not in session.explain("app/file.txt").effects[0].action
        session.ci(timeout=PATIENCE)
        assert "started" in str(session["app"].logs())
        session.down(timeout=PATIENCE)
        with pytest.raises(UsageError, match="taken down"):
            session.wait()
        session.tiltfile(dev)
        session["app"].wait(timeout=PATIENCE)
        session.down(timeout=PATIENCE)


def test_texts_files_and_functions_add_up_and_replace_what_they_were(session: Session, tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('file', 'true')")
    session.tiltfile(Path("Tiltfile"))
    session.tiltfile("local_resource('text', 'true')")
    session.tiltfile("local_resource('other', 'true')", name="other")
    session.tiltfile(lambda: ipytilt.local_resource("function", "true"))
    assert list(session) == ["file", "text", "other", "function"]
    session.tiltfile("local_resource('text2', 'true')")
    assert sorted(session) == ["file", "function", "other", "text2"]
    assert ("text2" in session, "text" in session, len(session)) == (True, False, 4)
    assert [status.resource for status in session.wait(timeout=PATIENCE).status] == list(session)
    assert "text2" in str(session)


def test_a_function_is_evaluated_again_when_what_it_read_changes(session: Session, tmp_path: Path) -> None:
    (tmp_path / "name.txt").write_text("before")

    @session.tiltfile
    def dev() -> None:
        ipytilt.local_resource(str(ipytilt.read_file("name.txt")), "true")

    assert list(session) == ["before"]
    (tmp_path / "name.txt").write_text("after")
    assert eventually(lambda: list(session) == ["after"], timeout=PATIENCE)


def test_arguments_reach_the_tiltfile_and_stay(tmp_path: Path) -> None:
    text = "config.define_string('x')\nlocal_resource(config.parse()['x'], 'true')"
    with Session(tmp_path, engine="sandbox", args=["--x=one"]) as session:
        session.tiltfile(text)
        assert list(session) == ["one"]
        session.tiltfile(text + "\n")
        assert list(session) == ["one"]
        session.tiltfile(text, args=["--x=two"])
        session.tiltfile(text + "\n\n")
        assert list(session) == ["two"]


def test_a_wrong_tiltfile_raises_with_its_line_and_what_was_good_stays(session: Session) -> None:
    session.tiltfile("local_resource('good', 'true')")

    def dev() -> None:
        ipytilt.local_resource("bad", "true", dep=["src"])

    with pytest.raises(TiltError, match="did you mean deps") as caught:
        session.tiltfile(dev)
    assert "dep=" in caught.value.render()
    assert __file__ in caught.value.where
    assert list(session) == ["good"]


# ---------------------------------------------------------------------------------------------- one resource


def test_a_resource_is_triggered_switched_and_told_about(session: Session, tmp_path: Path) -> None:
    session.tiltfile("local_resource('one', 'echo ran >>count; echo said', deps=['src'])")
    one = session["one"].wait(timeout=PATIENCE)
    assert one.trigger().wait(timeout=PATIENCE).updates[-1].cause == "CLI Trigger"
    assert (tmp_path / "count").read_text().count("ran") == 2
    assert str(one.logs(tail=1000)).count("said") >= 2
    assert len(one.logs(tail=1)) == 1
    assert {line.resource for line in one.logs()} == {"one"}
    assert one.disable().status.update == "disabled"
    with pytest.raises(UsageError, match="one is disabled"):
        one.wait()
    assert one.enable().wait(timeout=PATIENCE).status.update == "ok"
    story = one.story()
    assert [type(asdict(chapter)["cause"]) for chapter in story] == [str] * len(story)
    assert "command, ok in" in str(story)
    assert story._repr_html_().count("<tr>") == len(story) + 1
    assert repr(one).startswith("<one: Updated in")


def test_dependants_run_again_when_asked_to(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with Session(tmp_path, engine="sandbox", rerun={"test": "gen"}) as session:
        session.tiltfile(
            "local_resource('gen', 'true', deps=['in'], allow_parallel=True)\n"
            "local_resource('test', 'true', resource_deps=['gen'], allow_parallel=True)\n"
            "local_resource('other', 'true', resource_deps=['gen'], allow_parallel=True)"
        )
        session.wait(timeout=PATIENCE)
        assert (session["test"].rerun_with, session["other"].rerun_with) == (("gen",), ())
        session["gen"].trigger()
        session.wait(timeout=PATIENCE)
        assert [update.cause for update in session["test"].updates][1:] == ["Dependency Updated"]
        assert "gen was updated, and test runs again with it" in " ".join(session["test"].updates[-1].because)
        session["other"].rerun_with = True
        session["test"].rerun_with = False
        session["gen"].trigger()
        session.wait(timeout=PATIENCE)
        assert [len(session[name].updates) for name in ("gen", "test", "other")] == [3, 2, 2]
        with pytest.raises(UsageError, match="other does not depend on test"):
            session["other"].rerun_with = ["test"]
    with pytest.raises(UsageError, match="5 names no dependencies"):
        Session(tmp_path, rerun={"test": 5})  # type: ignore[dict-item]


def test_a_running_update_is_stopped_and_a_wait_has_its_reason(session: Session, tmp_path: Path) -> None:
    session.tiltfile(f"{SLOW}\nlocal_resource('next', 'true', resource_deps=['slow'], allow_parallel=True)")
    eventually((tmp_path / "begun").exists, timeout=PATIENCE)
    waits = eventually(lambda: session["next"].status.waits_on, timeout=PATIENCE)
    assert waits == ("slow",)
    (chapter,) = session.story("next")
    assert (chapter.result, chapter.on) == ("waiting", ("slow",))
    assert session.story("slow")[-1].result == "running"
    with pytest.raises(TiltError, match=r"Waited 0\.1 s for next\nnext: waits for slow"):
        session["next"].wait(timeout=0.1)
    with pytest.raises(TiltError, match="build canceled"):
        session["slow"].stop().wait(timeout=PATIENCE)


def test_a_secret_is_in_no_story(session: Session) -> None:
    session.tiltfile(
        """
k8s_yaml(blob('''
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {key: opensesame}
'''))
local_resource('one', 'exit 3 # opensesame', deps=['src'])
"""
    )
    with pytest.raises(TiltError) as caught:
        session["one"].wait(timeout=PATIENCE)
    shown = (str(session), str(session.story("one")), str(session.logs()), repr(session["one"]), str(caught.value))
    assert "opensesame" not in " ".join(shown)
    assert "redacted" in str(session.story("one"))


# ---------------------------------------------------------------------------------------------- the verdict, events


def test_ci_raises_with_every_reason(session: Session) -> None:
    session.tiltfile("local_resource('good', 'true')")
    assert session.ci(timeout=PATIENCE) is session
    session.tiltfile("local_resource('bad', 'exit 3')", name="more")
    with pytest.raises(CIFailed) as caught:
        session.ci(timeout=PATIENCE)
    assert [reason.partition(":")[0] for reason in caught.value.reasons] == ["bad"]


def test_ci_of_some_resources(session: Session) -> None:
    session.tiltfile("local_resource('good', 'true')\nlocal_resource('bad', 'exit 3')")
    session.ci(names=["good"], timeout=PATIENCE)
    with pytest.raises(CIFailed):
        session.ci(names=["good", "bad"], timeout=PATIENCE)
    asyncio.run(session.async_ci(names=["good"], timeout=PATIENCE))
    with pytest.raises(TiltError, match="could not be found"):
        session.ci(names=["nobody"])
    session.ci(timeout=PATIENCE)


def test_events_are_iterated_from_the_call_on(session: Session) -> None:
    session.tiltfile("local_resource('one', 'true')\nlocal_resource('two', 'true')")
    session.wait(timeout=PATIENCE)
    events = session.events(resource="two", timeout=PATIENCE)
    session["one"].trigger()
    session["two"].trigger()
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, ev.UpdateFinished):
            break
    assert isinstance(seen[0], ev.Triggered)
    assert {getattr(event, "resource", "two") for event in seen} == {"two"}
    assert list(session["two"].events(timeout=0.01)) == []


def test_events_end_with_the_session(tmp_path: Path) -> None:
    session = Session(tmp_path, engine="sandbox")
    session.tiltfile("local_resource('one', 'true')")
    events = session.events()
    session.wait(timeout=PATIENCE)
    session.stop()
    assert all(not isinstance(event, ev.CommandHandled) for event in events)  # our own marks are nobody's business


# ---------------------------------------------------------------------------------------------- in an event loop


def test_waiting_in_a_loop_leaves_it_free(session: Session, tmp_path: Path) -> None:
    async def main() -> None:
        await session.async_tiltfile(SLOW, timeout=PATIENCE)
        waiting = asyncio.create_task(session["slow"].async_wait(timeout=PATIENCE))
        following = asyncio.create_task(first_end())
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - a file sets no asyncio.Event
            await asyncio.sleep(0.01)
        assert not waiting.done()
        (tmp_path / "go").touch()
        assert (await waiting).status.ready
        assert isinstance((await following).outcome, ev.Ok)
        await session.async_ci(timeout=PATIENCE)
        await session.async_down(timeout=PATIENCE)

    async def first_end() -> ev.UpdateFinished:
        async for event in session.events(timeout=PATIENCE):
            if isinstance(event, ev.UpdateFinished):
                return event
        raise AssertionError("the events ended")

    asyncio.run(main())


def test_awaited_waits_are_cancelled_and_end_with_the_same_errors(session: Session, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(TiltError, match="undefined: nope"):
            await session.async_tiltfile("nope()")
        await session.async_tiltfile(SLOW)
        with pytest.raises(TiltError, match=r"Waited 0\.1 s for slow\nslow: Updating"):
            await session["slow"].async_wait(timeout=0.1)
        with pytest.raises(CIFailed, match="Timeout after 100 ms"):
            await session.async_ci(timeout=0.1)
        task = asyncio.create_task(session.async_wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(UsageError, match="There is no resource"):
            await session.async_wait("nobody")

    asyncio.run(main())
    (tmp_path / "go").touch()
    session.wait(timeout=PATIENCE)


def test_a_cancelled_evaluation_ends_with_its_command(session: Session, tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(session.async_tiltfile("local('echo $$ >pid; exec sleep 1242')"))
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - a file sets no asyncio.Event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await session.async_tiltfile("local_resource('one', 'true')", timeout=PATIENCE)

    asyncio.run(main())
    assert list(session) == ["one"]


# ---------------------------------------------------------------------------------------------- misuse

MISUSE: dict[str, tuple[Callable[[Session], object], str, str]] = {
    "unknown resource": (lambda s: s["nobody"], "There is no resource 'nobody'", "%%tiltfile"),
    "unknown in wait": (lambda s: s.wait("nobody"), "There is no resource 'nobody'", "%%tiltfile"),
    "unknown in events": (lambda s: s.events(resource="x"), "There is no resource 'x'", "%%tiltfile"),
    "nothing to judge": (lambda s: s.ci(), "no Tiltfile to judge", "tiltfile"),
    "a file as text": (lambda s: s.tiltfile("Tiltfile"), "'Tiltfile' is a file", "session.tiltfile(Path('Tiltfile'))"),
    "no such file": (lambda s: s.tiltfile(Path("nowhere")), "There is no file nowhere", "name a Tiltfile"),
    "something else": (lambda s: s.tiltfile(3), "A int is no Tiltfile", "a function"),  # type: ignore[call-overload]
    "a function with parameters": (
        lambda s: s.tiltfile(lambda name: name),  # type: ignore[type-var]
        "wants arguments (name)",
        "without parameters",
    ),
    "an unknown engine": (lambda _: Session(engine="moon"), "There is no engine 'moon'", "sandbox"),
    "no such directory": (lambda _: Session("/nowhere/at/all"), "There is no directory", "exists"),
    "no notebook": (lambda _: ipytilt.session(), "no notebook session", "Session()"),
    "a word outside": (lambda _: ipytilt.sync("a", "/b"), "sync() counts only while", "@session.tiltfile"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_answered_with_what_to_do(name: str, session: Session, tmp_path: Path) -> None:
    call, message, hint = MISUSE[name]
    (tmp_path / "Tiltfile").write_text("")
    with pytest.raises(UsageError) as caught:
        call(session)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_asynchronous_tiltfile_is_refused(session: Session) -> None:
    async def dev() -> None:
        """Never awaited."""

    with pytest.raises(UsageError, match=r"dev\(\) is asynchronous"):
        session.tiltfile(dev)


def test_a_tiltfile_does_not_wait_for_itself(session: Session) -> None:
    def dev() -> None:
        ipytilt.local_resource("one", "true")
        session.wait()

    with pytest.raises(TiltError, match="cannot drive a session while it is evaluated"):
        session.tiltfile(dev, timeout=PATIENCE)


def test_a_stopped_session_says_so(tmp_path: Path) -> None:
    with Session(tmp_path, engine="sandbox") as session:
        pass
    with pytest.raises(TiltError, match="This session was stopped"):
        session.tiltfile("")


# ---------------------------------------------------------------------------------------------- scripts, notebooks

SCRIPT = """
import sys
from ipytilt import CIFailed, Session, exec_action, local_resource, probe

with Session(engine="sandbox") as session:
    @session.tiltfile
    def dev():
        local_resource("srv", serve_cmd="echo $$ >pid; exec sleep 1241",
                       readiness_probe=probe(exec=exec_action(["test", "-s", "pid"])))
        local_resource("bad", "exit 3", auto_init=False)

    session.ci(timeout=60)
    session["bad"].trigger()
    try:
        session.ci(timeout=60)
    except CIFailed as failed:
        print(*failed.reasons)
    print(session.story("bad"))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"IPython", "ipywidgets", "anywidget", "docker"}))
"""


def test_a_script_needs_no_notebook_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("bad:update: ")
    assert "command, error" in done.stdout
    assert last == "[]"
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(pid))


def test_a_script_without_a_stop_ends_its_servers_with_itself(tmp_path: Path) -> None:
    text = (
        SCRIPT.replace(" as session:", ":")
        .replace("with Session(", "if session := Session(")
        .partition("    session[")[0]
    )
    (tmp_path / "script.py").write_text(text)
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, timeout=120, check=True)
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(pid))


def test_python_and_magics_share_the_session_of_a_notebook(tmp_path: Path) -> None:
    with kernel_in(tmp_path) as kernel:
        assert "%load_ext ipytilt" in kernel.run("import ipytilt; ipytilt.session()").shown_error
        kernel.good("%load_ext ipytilt")
        kernel.good("%%tiltfile\nlocal_resource('one', 'true')")
        kernel.good("session = ipytilt.session()\nawait session.async_wait(timeout=60)")
        kernel.good(
            "@session.tiltfile\ndef more():\n    ipytilt.local_resource('two', 'true', deps=['src'])\n"
            "await session['two'].async_wait(timeout=60)"
        )
        assert kernel.good("%tilt wait").text == "Ready: one, two"
        assert "more():3" in kernel.good("%tilt explain src").text
        assert kernel.complete("session['") == ["one", "two"]
        assert "<table>" in kernel.good("session.story('one')").results[0]["text/html"]
        assert "%unload_ext ipytilt ends it" in kernel.run("session.stop()").shown_error
        kernel.good("with session:\n    pass\nsession.wait(timeout=60)")
