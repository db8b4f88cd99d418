"""The verbs without a notebook: what they answer, and what bad words get."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from ipytilt import verbs
from ipytilt.core.events import Source
from ipytilt.errors import Cancelled, CIFailed, Reported, TiltError, UsageError
from ipytilt.runtime.session import Config, Session
from ipytilt.views import wire
from ipytilt.views.rows import session_view
from tests.support import eventually
from tests.support.leaks import no_leaks

SLOW = "local_resource('slow', 'touch begun; sleep 6400', allow_parallel=True)"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with no_leaks():
        session = Session(Config("sandbox", str(tmp_path)))
        yield session
        assert session.stop() == ()


def cell(session: Session, text: str, key: str = "cell:1") -> verbs.Answer:
    return verbs.put_cell(session, Source(key, key, session.config.directory, text), None)


def said(session: Session, line: str) -> str:
    return verbs.do(session, verbs.split(line)).text


# ---------------------------------------------------------------------------------------------- bad words


@pytest.mark.parametrize(
    "line, expected",
    [
        ("frob", "Unknown verb 'frob'"),
        ("Status", "Unknown verb 'Status'"),
        ("'stat us'", "Unknown verb 'stat us'"),
        ("''", "Unknown verb ''"),
        ("--engine", "Unknown verb '--engine'"),
        ("trigger", "arguments are required: name"),
        ("trigger a b", "unrecognized arguments: b"),
        ("trigger -x", "arguments are required: name"),
        ("trigger nobody", "There is no resource 'nobody'"),
        ("stop", "arguments are required: name"),
        ("stop nobody", "There is no resource 'nobody'"),
        ("enable", "arguments are required: names"),
        ("enable nobody", "There is no resource 'nobody'"),
        ("disable", "arguments are required: names"),
        ("disable one nobody", "There is no resource 'nobody'"),
        ("logs nobody", "There is no resource 'nobody'"),
        ("logs --tail", "--tail: expected one argument"),
        ("logs --tail many", "--tail: invalid"),
        ("logs --tail 0", "0 is no number of lines"),
        ("logs --tail -5", "-5 is no number of lines"),
        ("logs --ta 5", "unrecognized arguments: --ta"),
        ("wait nobody", "There is no resource 'nobody'"),
        ("wait --timeout soon", "--timeout: invalid"),
        ("wait --timeout nan", "nan is no time to wait"),
        ("wait --timeout -1", "-1 is no time to wait"),
        ("wait --timeout inf", "inf is no time to wait"),
        ("ci --timeout -1", "-1 is no time to wait"),
        ("ci --output-snapshot-on-exit", "expected one argument"),
        ("wait --timeout 1e300", "1e300 is no time to wait"),
        ("explain", "arguments are required: path"),
        ("explain a b", "unrecognized arguments: b"),
        ("why", "arguments are required: name"),
        ("why nobody", "There is no resource 'nobody'"),
        ("up nowhere/Tiltfile", "There is no file nowhere/Tiltfile"),
        ("up Tiltfile one", "There is no file Tiltfile"),
        ("args words", "unrecognized arguments: words"),
        ("import", "Cannot read"),
        ("import nowhere --to n.ipynb", "Cannot read"),
        ("import a b", "unrecognized arguments: b"),
        ("import --to", "--to: expected one argument"),
        ("export a b", "unrecognized arguments: b"),
        ("export nowhere/Tiltfile", "would start in"),
        ("down now", "unrecognized arguments: now"),
        ("status now", "unrecognized arguments: now"),
        ("engine docker", "unrecognized arguments: docker"),
        ("panel now", "unrecognized arguments: now"),
        ("help me", "There is no verb and no Tiltfile function 'me'"),
    ],
)
def test_wrong_words_say_what_is_wrong_and_what_to_try(session: Session, line: str, expected: str) -> None:
    cell(session, "local_resource('one', 'true')")
    with pytest.raises(UsageError) as caught:
        said(session, line)
    assert expected in caught.value.message
    assert caught.value.hint
    assert said(session, "wait one") == "Ready: one"


@pytest.mark.parametrize("line", ["trigger 'x", 'logs "', "why \\"])
def test_an_open_quote(line: str) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        verbs.split(line)


@pytest.mark.parametrize("line", ["wait", "wait --timeout 0", "trigger x", "why x", "stop x", "enable x"])
def test_before_anything_was_defined_the_hint_says_how_to_begin(session: Session, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        said(session, line)
    assert "%%tiltfile" in caught.value.hint


def test_every_verb_tells_its_use_and_has_its_place_in_the_help(session: Session) -> None:
    listed = said(session, "help")
    assert said(session, "--help") == said(session, "-h") == listed
    for name in verbs.VERBS:
        assert f"%tilt {name} " in listed
        assert said(session, f"{name} --help").startswith(f"usage: %tilt {name}")
    assert not session.started


def test_after_the_end_of_the_session(tmp_path: Path) -> None:
    session = Session(Config("sandbox", str(tmp_path)))
    cell(session, "local_resource('one', 'true')")
    session.stop()
    for line in ("wait", "down", "args -- x", "panel"):
        with pytest.raises(TiltError, match="This session was stopped"):
            said(session, line)
    assert "one" in said(session, "status")


# ---------------------------------------------------------------------------------------------- answers


def test_waiting_too_long_names_each_resource_that_is_late_and_why(session: Session, tmp_path: Path) -> None:
    cell(session, f"{SLOW}\nlocal_resource('next', 'true', resource_deps=['slow'], allow_parallel=True)")
    cell(session, "local_resource('manual', 'true', auto_init=False, trigger_mode=TRIGGER_MODE_MANUAL)", "cell:2")
    eventually((tmp_path / "begun").exists)
    with pytest.raises(TiltError) as caught:
        said(session, "wait --timeout 0.2")
    lines = caught.value.message.splitlines()
    assert lines[0] == "Waited 0.2 s for all resources"
    assert lines[1:] == ["slow: Updating… Running command", "next: waits for slow to be ready"]
    with pytest.raises(UsageError, match="manual does not start by itself") as refused:
        said(session, "wait manual")
    assert "trigger manual" in refused.value.hint


@pytest.mark.parametrize("subcommand, watches", [("up", True), ("ci", False)])
def test_nothing_is_watched_where_nobody_edits(subcommand: str, *, watches: bool, tmp_path: Path) -> None:
    session = Session(Config("sandbox", str(tmp_path), subcommand=subcommand))
    cell(session, "local_resource('one', 'true', deps=['src'])")
    session.wait(timeout=60)
    assert any(thread.name.startswith("ipytilt-watcher") for thread in threading.enumerate()) == watches
    session.stop()


def test_ci_says_that_all_is_up_or_why_not(session: Session) -> None:
    with pytest.raises(UsageError, match="no Tiltfile to judge"):
        said(session, "ci")
    cell(session, "config.define_string('x')\nconfig.parse()\nlocal_resource('one', 'true')")
    assert said(session, "ci").endswith(verbs.HEALTHY)
    assert "one" in said(session, "ci --timeout 60 -- --x=other")
    cell(session, "local_resource('two', 'exit 3')", "cell:2")
    with pytest.raises(CIFailed) as failed:
        said(session, "ci")
    assert [reason.partition(":")[0] for reason in failed.value.reasons] == ["two"]
    said(session, "down")
    with pytest.raises(UsageError, match="taken down"):
        said(session, "ci")


def test_what_cannot_become_ready_is_not_waited_for(session: Session) -> None:
    cell(session, "local_resource('one', 'true')\nlocal_resource('two', 'true')")
    assert said(session, "wait") == "Ready: one, two"
    assert said(session, "disable one") == "Disabled one"
    for line in ("wait one", "trigger one"):
        with pytest.raises(UsageError, match="one is disabled"):
            said(session, line)
    assert said(session, "wait") == "Ready: two"
    assert said(session, "enable one") == "Enabled one"
    assert said(session, "trigger one") == "Triggered one"
    assert said(session, "wait one") == "Ready: one"
    said(session, "down")
    for line in ("wait", "wait one", "trigger one"):
        with pytest.raises(UsageError, match="Everything was taken down"):
            said(session, line)
    said(session, "up")
    assert said(session, "wait") == "Ready: one, two"


def test_status_speaks_of_a_good_tiltfile_only_if_there_is_one(session: Session) -> None:
    for good in (False, True):
        with pytest.raises(Reported):
            cell(session, "nope()", "cell:bad")
        assert "nope()" in said(session, "status")
        assert ("last good Tiltfile stays in force" in said(session, "status")) is good
        cell(session, "local_resource('one', 'true')")


def test_down_with_nothing_up(session: Session) -> None:
    assert said(session, "down").startswith("Everything is down")


def test_the_evaluation_can_be_stopped_by_name(session: Session, tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            cell(session, "local('touch begun; exec sleep 6401')")
        except TiltError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually((tmp_path / "begun").exists)
    said(session, "stop '(Tiltfile)'")
    thread.join(20)
    assert isinstance(raised[0], Reported)
    assert raised[0].message == "The evaluation of the Tiltfile was stopped"


def test_an_interrupt_ends_the_evaluation(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = session.put(Source("cell:1", "Cell 1", session.config.directory, "while True:\n    pass"))
    wait_for = session.store.wait_for

    def interrupted(*_: object, **__: object) -> object:
        monkeypatch.setattr(session.store, "wait_for", wait_for)
        raise KeyboardInterrupt

    monkeypatch.setattr(session.store, "wait_for", interrupted)
    with pytest.raises(Cancelled, match="Stopped evaluating"):
        session.wait_loaded(ticket)
    cell(session, "local_resource('one', 'true')")
    assert said(session, "wait") == "Ready: one"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x", "", "~", "a\0b", "ü\udcff", "x" * 5000])
def test_explain_answers_for_any_path(session: Session, path: str) -> None:
    cell(session, "local_resource('one', 'true', deps=['src'])")
    assert "would do nothing" in verbs.do(session, ["explain", path]).text
    assert "one: command" in said(session, "explain src/deep/file")


def test_logs_are_cut_and_attributed(session: Session) -> None:
    cell(session, "local_resource('a', 'seq 500')\nlocal_resource('b', 'echo from-b')\nprint('from the file')")
    said(session, "wait")
    assert len(said(session, "logs").splitlines()) == verbs.TAIL_LINES
    assert len(said(session, "logs a --tail 7").splitlines()) == 7
    assert "from-b" in said(session, "logs b")
    assert "│" not in said(session, "logs b")
    assert "            b │ from-b" in said(session, "logs a b --tail 2000")
    assert "from the file" in said(session, "logs '(Tiltfile)'")


# ---------------------------------------------------------------------------------------------- secrets


def test_secrets_are_shown_nowhere(session: Session) -> None:
    session.logs.redact({"hunter2-hunter2": "[redacted]"})
    cell(session, "local_resource('leaks', 'echo hunter2-hunter2; echo $PW; exit 3', env={'PW': 'hunter2-hunter2'})")
    with pytest.raises(TiltError) as caught:
        said(session, "wait")
    with pytest.raises(TiltError) as failed:
        cell(session, "fail('hunter2-hunter2')", "cell:2")
    shown = [
        caught.value.render(),
        failed.value.render(),
        *(said(session, line) for line in ("status", "logs", "logs leaks", "why leaks", "explain x")),
        json.dumps(wire.document(session_view(session.state, session.engine_line, scrub=session.logs.scrub))),
    ]
    for text in shown:
        assert "hunter2" not in text
    assert "[redacted]" in said(session, "logs leaks")


def test_the_values_of_secret_objects_are_secrets(session: Session) -> None:
    secret = (
        "{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'db'}, 'stringData': {'pw': 'hunter2-hunter2'}}"
    )
    told = "local_resource('tells', 'echo pw is hunter2-hunter2; exit 3')"
    cell(session, f"k8s_yaml(encode_yaml({secret}))\n{told}")
    with pytest.raises(TiltError, match="exit status 3"):
        said(session, "wait tells")
    assert "pw is [redacted secret db:pw]" in said(session, "logs tells").splitlines()
    assert "hunter2" not in said(session, "status") + said(session, "why tells")


# ---------------------------------------------------------------------------------------------- lint and help

DEAD = "docker_build('img', '.', live_update=[sync('src', '/s'), run('x', trigger='other')])\ndocker_compose('c.yml')"


def test_lint_lists_what_is_likely_wrong(session: Session) -> None:
    assert said(session, "lint") == "Nothing to complain about."
    cell(session, "local_resource('a', 'true', deps=['nope'])\ndocker_build('img', '.', dockerfile_contents='FROM x')")
    shown = said(session, "lint")
    assert "cell:1:1: deps of a: there is no" in shown
    assert "cell:1:2: nothing uses the image img" in shown
    with pytest.raises(TiltError):
        cell(session, "fail('on purpose')", key="cell:2")
    assert said(session, "lint").startswith("The newest Tiltfile is in error")


def test_lint_knows_what_is_switched_off(session: Session) -> None:
    cell(session, "local_resource('a', 'true')\nlocal_resource('b', 'true', resource_deps=['a'])")
    said(session, "disable a")
    assert "cell:1:2: b does not start until a is switched on" in said(session, "lint")
    said(session, "enable a")
    assert said(session, "lint") == "Nothing to complain about."


def test_a_cell_says_at_once_what_no_later_cell_can_mend(session: Session, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "c.yml").write_text("services:\n  web: {image: img}\n")
    answer = cell(session, "trigger_mode(TRIGGER_MODE_MANUAL)\n" + DEAD)
    assert answer.panel
    assert answer.text.startswith("cell:1:2: run('x') runs for its trigger 'other', which no sync covers")
    assert cell(session, "local_resource('a', 'true', auto_init=False, deps=['nope'])", key="cell:2").text == ""


def test_help_explains_verbs_and_names(session: Session) -> None:
    assert "Update a resource now" in said(session, "help trigger")
    assert said(session, "help docker_build").startswith("docker_build(ref, context,")
    assert said(session, "help os.path").startswith("os.path: a module")
    assert said(session, "help len").startswith("len(x)")
    with pytest.raises(UsageError) as caught:
        said(session, "help docker_bild")
    assert "docker_build" in caught.value.hint


# ---------------------------------------------------------------------------------------------- arguments

PICKY = "config.define_string('who')\nlocal_resource(config.parse().get('who', 'nobody'), 'true')"


def test_arguments_are_set_shown_and_cleared(session: Session) -> None:
    assert said(session, "args") == "The Tiltfile is given no arguments"
    assert not session.started
    cell(session, PICKY)
    assert said(session, "args -- --who 'a b'") == ""
    assert said(session, "args") == "The Tiltfile is given: --who 'a b'"
    assert said(session, "wait") == "Ready: a b"
    for line in ("args --clear", "args -- --who x", "args --"):
        assert said(session, line) == ""
        assert said(session, "wait") == f"Ready: {'x' if line.endswith('x') else 'nobody'}"
    with pytest.raises(UsageError, match="at once"):
        said(session, "args --clear -- x")
    with pytest.raises(Reported, match="unknown flag: --nope"):
        said(session, "args -- --nope")
    assert said(session, "status")


# ---------------------------------------------------------------------------------------------- import and export


def test_cells_go_to_a_file_and_come_back(session: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no %%tiltfile cells") as caught:
        said(session, "export")
    assert caught.value.hint
    cell(session, "\nnames = ['a']", "cell:1")
    cell(session, "\nfor n in names: local_resource(n, 'true')", "cell:2")
    cell(session, "\nnames = ['b']", "cell:1")
    said(session, "args -- b")
    assert said(session, "export") == f"Wrote {tmp_path}/Tiltfile: 2 cells"
    written = (tmp_path / "Tiltfile").read_text()
    assert written.splitlines()[2:] == ["", "names = ['b']", "", "for n in names: local_resource(n, 'true')"]
    assert written.splitlines()[1].endswith("tilt up -- b")
    with pytest.raises(UsageError, match="exists already"):
        said(session, "export Tiltfile")
    with pytest.raises(Reported):
        cell(session, "nope()", "cell:3")
    assert "this is what was good before it" in said(session, "export --force")
    assert (tmp_path / "Tiltfile").read_text() == written
    answer = verbs.do(session, ["import"])
    assert answer.next_cell == "%%tiltfile -- b\nnames = ['b']\n\nfor n in names: local_resource(n, 'true')"
    assert "runs that file already" not in answer.text
    assert said(session, "import --to n.ipynb --") == f"Wrote {tmp_path}/n.ipynb: 2 cells"
    assert "exists already" in failed(session, "import --to n.ipynb")
    assert said(session, "import --to n.ipynb --whole --force") == f"Wrote {tmp_path}/n.ipynb: 1 cell"
    assert "are for a notebook" in failed(session, "import --whole")


def test_a_file_that_runs_already_is_not_imported_unnoticed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('a', 'true')")
    said(session, "up")
    assert "%reload_ext ipytilt" in said(session, "import Tiltfile")
    cell(session, "local_resource('b', 'true')")
    assert "reads" in failed(session, "export --force")
    assert said(session, "export Other") == f"Wrote {tmp_path}/Other: 2 cells"


def failed(session: Session, line: str) -> str:
    """What is wrong with a line that is answered by an error, which says what to try."""
    with pytest.raises(UsageError) as caught:
        said(session, line)
    assert caught.value.hint
    return caught.value.message


def test_a_button_is_pressed(session: Session, tmp_path: Path) -> None:
    assert said(session, "press") == "The Tiltfile has no buttons"
    cell(
        session,
        "load('ext://uibutton', 'cmd_button', 'location', 'text_input')\n"
        "cmd_button('b', argv=['sh', '-c', 'printf %s \"$T\" > pressed'], text='Go', location=location.NAV,"
        " inputs=[text_input('T', default='none')])\n"
        "cmd_button('off', argv=['x'], location=location.NAV, disabled=True)\n"
        "cmd_button('sure', argv=['x'], location=location.NAV, requires_confirmation=True)",
    )
    assert said(session, "press").splitlines()[0] == """b: Go (printf %s "$T" > pressed)"""
    for line, problem in (
        ("press nothing", "no button 'nothing'"),
        ("press off", "disabled"),
        ("press sure", "confirmed"),
        ("press b T", "INPUT=VALUE"),
        ("press b U=1", "no input 'U'"),
    ):
        with pytest.raises(UsageError, match=problem):
            said(session, line)
    assert said(session, "press b T=a=b") == "Pressed b"
    eventually((tmp_path / "pressed").exists)
    eventually(lambda: (tmp_path / "pressed").read_text() == "a=b")


def test_old_images_are_removed_when_asked_for(session: Session) -> None:
    assert said(session, "docker-prune") == "There are no old images."


# ---------------------------------------------------------------------------------------------- only some of it


THREE = """
local_resource('db', 'true', allow_parallel=True)
local_resource('api', 'true', resource_deps=['db'], allow_parallel=True)
local_resource('web', 'false', allow_parallel=True)
"""


def enabled(session: Session) -> list[str]:
    return [r.name for r in session.state.spec.resources if session.state.enabled(r.name)]


@pytest.mark.parametrize("line", ["up api", "up -- api", "ci api", "ci -- api"])
def test_names_enable_what_they_need_and_nothing_else(session: Session, line: str) -> None:
    cell(session, THREE)
    assert enabled(session) == ["db", "api", "web"]
    said(session, line)
    assert enabled(session) == ["db", "api"]


def test_names_after_a_tiltfile(session: Session, tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text(THREE)
    said(session, "up Tiltfile web")
    assert enabled(session) == ["web"]
    assert session.state.load.args == ("web",)


@pytest.mark.parametrize("verb", ["up", "ci"])
def test_unknown_names_are_answered_with_the_known_ones_and_forgotten(session: Session, verb: str) -> None:
    cell(session, THREE)
    with pytest.raises(TiltError, match=r'could not be found: "wbe"\nIs this a typo\? Existing.*"db", "api", "web"'):
        said(session, f"{verb} wbe")
    cell(session, "local_resource('new', 'true')", "cell:2")
    assert enabled(session) == ["db", "api", "web", "new"]


@pytest.mark.parametrize("line, good", [("ci api", True), ("ci web", False), ("ci nobody", False)])
def test_ci_leaves_a_snapshot_however_it_ends(session: Session, line: str, tmp_path: Path, *, good: bool) -> None:
    cell(session, THREE)
    with suppress(TiltError) if not good else nullcontext():
        said(session, f"{line} --output-snapshot-on-exit shot.json")
    shot = json.loads((tmp_path / "shot.json").read_text())
    assert set(shot) == {"createdAt", "view", "log"}
    assert sorted(shot["view"]["order"]) == ["api", "db", "web"]
    assert all(set(line) == {"at", "level", "span", "text", "resource"} for line in shot["log"])


def test_a_snapshot_that_cannot_be_written_is_said(session: Session) -> None:
    cell(session, "local_resource('one', 'true')")
    with pytest.raises(TiltError, match=r"cannot be written to .*nowhere/shot\.json: No such file"):
        said(session, "ci --output-snapshot-on-exit nowhere/shot.json")
