"""Local resources with real commands, servers and probes."""

from __future__ import annotations

import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt import processes
from ipytilt.core.spec import Command, ExecAction, HTTPGetAction, Local, Origin, Probe, Resource, TCPSocketAction
from ipytilt.core.steps import Applied, Apply, Attach, Delete, Serve
from ipytilt.engines.base import Fact, ProbeSeen, ServerSeen, Stop, Work
from ipytilt.engines.local import LocalEngine
from ipytilt.errors import Cancelled, Rejected
from tests.support.processes import alive
from tests.support.waiting import eventually

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"
HTTP = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path[1:] or 200))
        self.send_header("Location", "http://elsewhere/")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Desk:
    """Everything an engine talks to: logs and facts, and the orders to end with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = LocalEngine(grace=0.3)
        self.log: list[tuple[str, str]] = []
        self.facts: list[Fact] = []
        self.stops: list[Stop] = []

    def command(self, script: str | tuple[str, ...], *env: str) -> Command:
        argv = ("sh", "-c", script) if isinstance(script, str) else script
        return Command(argv, str(self.directory), env, Origin("Tiltfile", 3))

    def apply(self, script: str | tuple[str, ...], *env: str, work: Work | None = None) -> Applied:
        resource = Resource("gen", Local(cmd=self.command(script, *env)))
        return self.engine.apply(Apply(resource), work or Work(self.write))

    def serve(self, script: str | tuple[str, ...], *env: str, after_run: int = 1, probe: Probe | None = None) -> Stop:
        command = self.command(script, *env)
        order = Serve(Resource("web", Local(serve=command, probe=probe)), command, after_run)
        self.stops.append(self.engine.start(order, self.facts.append, self.write))
        return self.stops[-1]

    def write(self, text: str, level: str) -> None:
        self.log.append((text, level))

    def texts(self) -> list[str]:
        return [text for text, _ in self.log]

    def said(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.texts()

    def servers(self) -> list[ServerSeen]:
        return [fact for fact in self.facts if isinstance(fact, ServerSeen)]

    def pid(self, after_run: int = 1) -> int:
        return eventually(lambda: next((s.pid for s in self.servers() if s.after_run == after_run), 0))

    def ended(self, after_run: int = 1) -> ServerSeen:
        def last() -> ServerSeen | None:
            return next((s for s in self.servers() if s.after_run == after_run and s.exit_code is not None), None)

        found = eventually(last)
        assert found is not None
        return found

    def verdicts(self) -> list[bool]:
        return [fact.ready for fact in self.facts if isinstance(fact, ProbeSeen)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    for stop in desk.stops:
        stop()
    assert processes.stop_all() == ()


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        number: int = found.getsockname()[1]
        return number


# ---------------------------------------------------------------------------------------------- commands


def test_a_command_logs_itself_and_its_output_in_order(desk: Desk) -> None:
    assert desk.apply("echo one; echo two >&2; printf three") == Applied("gen")
    assert desk.log == [
        ("Running cmd: echo one; echo two >&2; printf three", "info"),
        ("one", "info"),
        ("two", "info"),
        ("three", "info"),
    ]


def test_a_command_runs_in_its_directory_with_its_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_KERNEL", "kernel")
    monkeypatch.setenv("LINES", "99")
    monkeypatch.delenv("COLUMNS", raising=False)
    desk.apply('pwd; echo "$FROM_KERNEL $LINES $COLUMNS $PYTHONUNBUFFERED $OWN"', "OWN=a=b")
    assert desk.texts()[1:] == [str(desk.directory), "kernel 99 80 1 a=b"]


@pytest.mark.parametrize(
    "script, message",
    [
        ("exit 2", 'Command "exit 2" failed: exit status 2'),
        ("kill -9 $$", 'Command "kill -9 $$" failed: exit status 137'),
        (("false",), 'Command "false" failed: exit status 1'),
        (("no-such-tool", "a b"), "no-such-tool 'a b' failed to start: No such file or directory: no-such-tool"),
        ((), '"" invalid cmd: it has no program'),
    ],
)
def test_a_failing_command_is_the_users_to_mend(desk: Desk, script: str | tuple[str, ...], message: str) -> None:
    with pytest.raises(Rejected) as caught:
        desk.apply(script)
    assert caught.value.message == message


def test_a_missing_directory_is_named(desk: Desk) -> None:
    shutil.rmtree(desk.directory)
    with pytest.raises(Rejected) as caught:
        desk.apply("true")
    failure = f"true failed to start: No such file or directory: {desk.directory}"
    assert caught.value.render() == f"Tiltfile:3: {failure}\nTry: check the working directory"
    desk.directory.mkdir()


def test_what_a_command_leaves_in_the_background_ends_with_it(desk: Desk) -> None:
    desk.apply("sleep 1000 & echo $!")
    eventually(lambda: not alive(int(desk.texts()[1])))


def test_a_cancelled_command_is_killed_when_it_does_not_listen(desk: Desk) -> None:
    work = Work(desk.write)

    def cancel() -> None:
        eventually(desk.said("up"))
        work.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled):
        desk.apply(STUBBORN, work=work)
    canceller.join(10)
    assert desk.texts()[-1].startswith("Time is up! Sending ")


def test_a_server_without_a_command_applies_at_once(desk: Desk) -> None:
    resource = Resource("web", Local(serve=desk.command("sleep 1000")))
    work = Work(desk.write)
    assert desk.engine.apply(Apply(resource), work) == Applied("web")
    desk.engine.delete(Delete(resource), work)
    assert desk.log == []


# ---------------------------------------------------------------------------------------------- servers


def test_a_server_is_reported_and_stopped(desk: Desk) -> None:
    stop = desk.serve("echo up; exec sleep 1000")
    pid = desk.pid()
    eventually(desk.said("up"))
    stop()
    assert not alive(pid)
    assert desk.facts == [
        ServerSeen("web", 1, pid=pid),
        ServerSeen("web", 1, pid=pid, exit_code=137, error="killed"),
    ]


def test_a_stopped_server_takes_what_it_detached_with_it(desk: Desk) -> None:
    stop = desk.serve("setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000")
    eventually(lambda: len(desk.log) == 2)
    stop()
    assert not alive(int(desk.texts()[1]))


def test_a_server_that_ignores_the_request_is_killed_after_the_grace(desk: Desk) -> None:
    stop = desk.serve(STUBBORN)
    eventually(desk.said("up"))
    pid = desk.pid()
    stop()
    assert desk.texts()[-1] == f"Time is up! Sending {pid} a kill signal"
    assert not alive(pid)


@pytest.mark.parametrize(
    "code, error", [(0, "Server exited with exit code 0"), (3, "Process {pid} exited with non-zero status")]
)
def test_a_server_that_exits_by_itself_is_an_error_and_not_restarted(desk: Desk, code: int, error: str) -> None:
    stop = desk.serve(f"exit {code}")
    end = desk.ended()
    assert end == ServerSeen("web", 1, pid=end.pid, exit_code=code, error=error.format(pid=end.pid))
    eventually(lambda: desk.log[-1:] == [(f"Server exited with exit code {code}", "error")])
    stop()
    assert len(desk.facts) == 2


def test_a_server_that_cannot_start_says_so(desk: Desk) -> None:
    desk.serve(("no-such-server",))
    message = "no-such-server failed to start: No such file or directory: no-such-server"
    assert desk.ended() == ServerSeen("web", 1, exit_code=1, error=message)
    assert desk.log[-1] == (f"{message}\nTry: check that it is installed and on PATH", "error")


def test_the_next_server_starts_when_the_one_before_is_gone(desk: Desk, port: int) -> None:
    """The first ignores SIGTERM and keeps the port until it is killed; the second could not bind it earlier."""
    script = (
        "import signal, socket, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); s = socket.socket(); "
        f"s.bind(('127.0.0.1', {port})); s.listen(); print('bound'); time.sleep(1000)"
    )
    first = desk.serve((sys.executable, "-c", script))
    eventually(desk.said("bound"))
    starter = threading.Thread(target=first)
    starter.start()
    desk.serve((sys.executable, "-c", script), after_run=2)
    eventually(lambda: desk.texts().count("bound") == 2)
    starter.join(10)
    assert [(s.after_run, s.exit_code) for s in desk.servers()] == [(1, None), (1, 137), (2, None)]


def test_a_server_stopped_while_it_waits_for_its_turn_never_starts(desk: Desk) -> None:
    first = desk.serve(STUBBORN)
    eventually(desk.said("up"))
    second = desk.serve("touch started", after_run=2)
    starter = threading.Thread(target=second)
    starter.start()
    first()
    starter.join(10)
    third = desk.serve("echo third; sleep 1000", after_run=3)
    eventually(desk.said("third"))
    third()
    assert {s.after_run for s in desk.servers()} == {1, 3}
    assert not (desk.directory / "started").exists()


def test_other_orders_are_refused(desk: Desk) -> None:
    with pytest.raises(TypeError, match="Attach"):
        desk.engine.start(Attach("1", ""), desk.facts.append, desk.write)


def test_a_broken_listener_does_not_leave_a_server(desk: Desk) -> None:
    def fail(text: str, level: str) -> None:
        desk.write(text, level)
        if level == "info" and text == "up":
            raise ValueError("no room")

    command = desk.command("echo up; sleep 1000")
    order = Serve(Resource("web", Local(serve=command)), command, 1)
    desk.stops.append(desk.engine.start(order, desk.facts.append, fail))
    assert desk.ended().error == "This is a bug in ipytilt: ValueError('no room')"
    assert not alive(desk.pid())


# ---------------------------------------------------------------------------------------------- probes


def test_an_http_probe_sees_the_server_come_up(desk: Desk, port: int) -> None:
    desk.serve((sys.executable, "-c", HTTP, str(port)), probe=Probe(HTTPGetAction(port, "127.0.0.1"), period_secs=1))
    eventually(lambda: desk.verdicts() == [True])
    assert ("[readiness probe: success] HTTP status 200", "info") in desk.log


@pytest.mark.parametrize("path, ready", [("/204", True), ("302", True), ("/404", False), ("/500", False)])
def test_http_answers(desk: Desk, port: int, path: str, ready: bool) -> None:  # noqa: FBT001 - a table
    action = HTTPGetAction(port, "127.0.0.1", "HTTP", path)
    desk.serve((sys.executable, "-c", HTTP, str(port)), probe=Probe(action, period_secs=1, failure_threshold=60))
    if ready:
        eventually(lambda: desk.verdicts() == [True])
    else:
        eventually(desk.said(f"[readiness probe: failure] HTTP status {path[-3:]}"))
        assert desk.verdicts() == []


def test_a_tcp_probe_sees_the_port(desk: Desk, port: int) -> None:
    desk.serve((sys.executable, "-c", HTTP, str(port)), probe=Probe(TCPSocketAction(port, "127.0.0.1"), period_secs=1))
    eventually(lambda: desk.verdicts() == [True])


def test_an_exec_probe_runs_where_the_server_runs_and_may_change_its_mind(desk: Desk) -> None:
    check = ExecAction(("sh", "-c", 'echo "$NAME checked"; test -e ready'))
    probe = Probe(check, period_secs=1, failure_threshold=1)
    desk.serve("echo serving; exec sleep 1000", "NAME=web", probe=probe)
    eventually(lambda: desk.verdicts() == [False])
    (desk.directory / "ready").touch()
    eventually(lambda: desk.verdicts() == [False, True])
    (desk.directory / "ready").unlink()
    eventually(lambda: desk.verdicts() == [False, True, False])
    lines = [(text, level) for text, level in desk.log if "probe" in text and level != "debug"]
    assert lines == [
        ("[readiness probe: failure] web checked", "warning"),
        ("[readiness probe: success] web checked", "info"),
        ("[readiness probe: failure] web checked", "warning"),
    ]
    assert [s.exit_code for s in desk.servers()] == [None]


def test_three_failures_make_a_server_unready_and_no_error(desk: Desk, port: int) -> None:
    desk.serve("exec sleep 1000", probe=Probe(HTTPGetAction(port, "127.0.0.1"), period_secs=1))
    eventually(lambda: desk.verdicts() == [False])
    levels = [level for text, level in desk.log if text.startswith("[readiness probe: failure]")]
    assert levels == ["debug", "debug", "warning"]
    assert [s.exit_code for s in desk.servers()] == [None]


def test_a_probe_that_hangs_fails_and_is_killed(desk: Desk) -> None:
    probe = Probe(ExecAction(("sleep", "1000")), period_secs=1, failure_threshold=1)
    stop = desk.serve("exec sleep 1000", probe=probe)
    eventually(lambda: desk.verdicts() == [False])
    assert "sleep 1000: killed, it took longer than 1 s" in desk.texts()[-1]
    stop()
    assert processes.living() == ()


def test_a_probe_ends_with_its_server(desk: Desk) -> None:
    desk.serve("sleep 0.2", probe=Probe(ExecAction(("sleep", "1000")), timeout_secs=1000))
    assert desk.ended().exit_code == 0
    eventually(lambda: processes.living() == ())
    assert desk.verdicts() == []


@pytest.mark.parametrize(
    "action, why",
    [
        (HTTPGetAction(0), "port must be 1 to 65535, not 0"),
        (TCPSocketAction(65536), "port must be 1 to 65535, not 65536"),
        (HTTPGetAction(80, scheme="ftp"), "scheme must be http or https, not 'ftp'"),
        (ExecAction(()), "exec needs a command"),
    ],
)
def test_an_invalid_probe_keeps_the_server_from_starting(
    desk: Desk, action: ExecAction | HTTPGetAction | TCPSocketAction, why: str
) -> None:
    desk.serve("touch started", probe=Probe(action))
    assert desk.ended() == ServerSeen("web", 1, exit_code=1, error=f"Invalid readiness probe: {why}")
    assert not (desk.directory / "started").exists()
