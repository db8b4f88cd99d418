"""Containers of the sandbox, in both ways to run them. Runs on pytest's thread; facts come on the engine's."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from ipytilt.core.steps import Attach, Copy, Delete
from ipytilt.engines.base import ContainersSeen, EngineSeen
from ipytilt.errors import Broke, Rejected
from tests.engines.sandboxes import (
    SLEEPER,
    Listening,
    Running,
    follow,
    free_port,
    last,
    observe,
    processes_named,
    service,
    write,
)
from tests.support.waiting import eventually

# ---------------------------------------------------------------------------------------------- what a container sees


def test_a_web_app_is_built_run_and_changed_while_it_runs(sandbox: Running) -> None:
    port = free_port()
    app = (
        "import http.server, os, pathlib\n"
        "class Page(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        self.wfile.write(pathlib.Path('page.html').read_bytes())\n"
        "http.server.HTTPServer(('', int(os.environ['PORT'])), Page).serve_forever()\n"
    )
    write(sandbox.folder, {"app.py": app, "page.html": "first"})
    config = {
        "environment": {"PORT": str(port)},
        "ports": [{"target": port, "published": str(port), "protocol": "tcp", "host_ip": "127.0.0.1"}],
    }
    dockerfile = 'FROM python:3-slim\nWORKDIR /app\nCOPY . .\nCMD ["python3", "app.py"]'
    container = sandbox.run(dockerfile, config)
    assert container.ports == (port,)
    assert eventually(lambda: get(port)) == "first"
    (sandbox.folder / "page.html").write_text("second")
    copy = Copy(str(sandbox.folder / "page.html"), "/app/page.html")
    sandbox.engine.sync(container, (copy,), sandbox.heard.work)
    assert get(port) == "second"


def get(port: int) -> str:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            return file.read().partition(b"\r\n\r\n")[2].decode()
    return ""


def test_environment_directory_and_command_come_from_the_image_and_the_service(sandbox: Running) -> None:
    dockerfile = 'FROM a\nWORKDIR /app\nENV A=image B=image\nENTRYPOINT ["sh", "-c"]\nCMD ["exit 7"]'
    config = {
        "environment": ["B=service", "C"],
        "command": ["echo $A $B $(pwd) $HOME; exec sleep 1000"],
        "working_dir": "/else/where",
    }
    container = sandbox.run(dockerfile, config)
    lines = follow(sandbox, container)
    eventually(lambda: lines)
    assert lines[0].split()[:3] == ["image", "service", "/else/where"]
    assert sandbox.exec(container, "sh", "-c", "echo here > $HOME/file; echo $B; pwd") == (0, "service\n/else/where")


def test_an_overridden_entrypoint_drops_the_command_of_the_image(sandbox: Running) -> None:
    built = sandbox.build('FROM a\nCMD ["1000", "no number"]')
    container = sandbox.up({"entrypoint": "sleep 1000"}, built)
    assert sandbox.exec(container, "true")[0] == 0


def test_a_service_without_a_built_image_runs_programs_of_the_host(sandbox: Running) -> None:
    container = sandbox.up({"image": "python:3.12", "command": "sleep 1000"})
    assert sandbox.exec(container, "sh", "-c", "echo $((1 + 1))") == (0, "2")


def test_a_service_with_a_build_section_builds_itself(sandbox: Running) -> None:
    write(sandbox.folder, {"web/a": "A", "web/b": "B", "web/.dockerignore": "b\n"})
    write(sandbox.folder, {"web/Dockerfile": "FROM a\nARG X\nWORKDIR /app\nCOPY . .\nENV X=$X\nCMD sleep 1000"})
    container = sandbox.up({"build": {"context": "web", "args": {"X": "1"}}})
    assert sandbox.exec(container, "sh", "-c", "echo *; echo $X") == (0, "Dockerfile a\n1")
    other = sandbox.up({"build": {"context": ".", "dockerfile_inline": "FROM a\nCMD sleep 1000"}}, name="other")
    assert other.service == "other"


def test_a_container_cannot_change_image_or_host(sandbox: Running, host_file: Path) -> None:
    write(sandbox.folder, {"f": "image"})
    built = sandbox.build("FROM a\nWORKDIR /app\nCOPY f .\nCMD sleep 1000")
    container = sandbox.up({}, built)
    script = f"echo mine > f; rm -f {host_file}; echo mine > {host_file}; touch /usr/bin/x; touch /tmp/{os.getpid()}"
    sandbox.exec(container, "sh", "-c", script)
    assert sandbox.read(container, "/app/f") == "mine\n"
    assert host_file.read_text() == "mine"
    assert not Path("/usr/bin/x").exists()
    assert not Path(f"/tmp/{os.getpid()}").exists()
    other = sandbox.up({}, built, name="other")
    assert sandbox.exec(other, "cat", "f") == (0, "image")


def test_volumes(sandbox: Running, host_file: Path) -> None:
    write(sandbox.folder, {"data/in": "in"})
    volumes = [
        {"type": "bind", "source": str(sandbox.folder / "data"), "target": "/app/data"},
        {"type": "bind", "source": str(sandbox.folder / "new"), "target": "/new"},
        {"type": "volume", "source": "kept", "target": "/kept"},
        f"{host_file}:/fixed:ro",
    ]
    built = sandbox.build(SLEEPER)
    container = sandbox.up({"volumes": volumes}, built)
    script = "cat data/in && echo out > data/out && echo n > /new/n && echo k > /kept/k; echo x > /fixed"
    sandbox.exec(container, "sh", "-c", script)
    assert (sandbox.folder / "data/out").read_text() == "out\n"
    assert (sandbox.folder / "new/n").read_text() == "n\n"
    assert sandbox.exec(container, "cat", "/fixed") == (0, "mine")
    assert host_file.read_text() == "mine"
    replaced = sandbox.up({"volumes": volumes}, built, recreate=True)
    assert sandbox.exec(replaced, "cat", "/kept/k") == (0, "k")


def test_a_volume_cannot_be_led_out_by_a_link_of_the_image(sandbox: Running, tmp_path: Path) -> None:
    built = sandbox.build(f"FROM a\nRUN ln -s {tmp_path} /link\nCMD sleep 1000")
    volumes = [{"type": "bind", "source": str(sandbox.folder), "target": "/link/made"}]
    with suppress(Rejected):
        sandbox.up({"volumes": volumes}, built)
    assert not (tmp_path / "made").exists()


# ---------------------------------------------------------------------------------------------- ports


def test_a_port_published_as_another_is_forwarded(sandbox: Running) -> None:
    inner, outer = free_port(), free_port()
    script = (
        "import socket\n"
        f"server = socket.create_server(('127.0.0.1', {inner}))\n"
        "while True:\n"
        "    connection, _ = server.accept()\n"
        "    while data := connection.recv(100): connection.sendall(data.upper())\n"
        "    connection.close()\n"
    )
    write(sandbox.folder, {"echo.py": script})
    dockerfile = "FROM a\nWORKDIR /app\nCOPY echo.py .\nCMD exec python3 echo.py"
    container = sandbox.run(dockerfile, {"ports": [f"{outer}:{inner}"]})
    assert container.ports == (outer,)

    def answer() -> bytes:
        with suppress(OSError), socket.create_connection(("127.0.0.1", outer), 5) as connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()
        return b""

    assert eventually(answer) == b"HELLO"
    with socket.create_connection(("127.0.0.1", outer), 5):
        down(sandbox)
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system calls it, nobody listens any more
        socket.create_connection(("127.0.0.1", outer), 5).close()


def test_a_taken_port_is_said(sandbox: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Rejected, match="in use") as caught:
            sandbox.run(SLEEPER, {"ports": [f"{port}:1"]})
    assert str(port) in caught.value.render()


@pytest.mark.parametrize("port", ["1000-1001:1000-1001", "53:5353/udp"])
def test_ports_that_cannot_be_published(sandbox: Running, port: str) -> None:
    with pytest.raises(Rejected, match="cannot publish"):
        sandbox.run(SLEEPER, {"ports": [port]})


# ---------------------------------------------------------------------------------------------- life of a container


def down(sandbox: Running, name: str = "web") -> None:
    sandbox.engine.delete(Delete(service(sandbox.folder, {}, name=name)), sandbox.heard.work)


def test_an_unchanged_container_is_left_alone_and_a_changed_one_replaced(sandbox: Running) -> None:
    built = sandbox.build(SLEEPER)
    first = sandbox.up({}, built)
    assert sandbox.up({}, built) == first
    second = sandbox.up({"environment": {"A": "1"}}, built)
    assert second.id != first.id
    assert sandbox.up({"environment": {"A": "1"}}, built, recreate=True).id != second.id
    write(sandbox.folder, {"a": ""})
    fourth = sandbox.up({"environment": {"A": "1"}}, sandbox.build(f"{SLEEPER}\nCOPY a ."))
    assert fourth.image != first.image
    with pytest.raises(Broke, match="is gone"):
        sandbox.exec(first, "true")


def test_facts_tell_the_life_of_a_container(sandbox: Running) -> None:
    facts = observe(sandbox, "web", "other")
    eventually(lambda: len(facts) == 3)
    assert facts == [EngineSeen("sandbox"), ContainersSeen("web", ()), ContainersSeen("other", ())]
    container = sandbox.run("FROM a\nCMD read line < pipe; exit 3", {})
    assert (container.state, container.exit_code, container.service) == ("running", None, "web")
    eventually(lambda: (seen := last(facts)) and seen.state == "exited")
    sandbox.up({"command": "sleep 1000"}, sandbox.build("FROM a"))
    eventually(lambda: (seen := last(facts)) and seen.state == "running" and seen.id != container.id)
    down(sandbox)
    eventually(lambda: last(facts) is None)
    assert facts[-1] == ContainersSeen("web", ())


def test_the_exit_code_is_reported(sandbox: Running) -> None:
    facts = observe(sandbox, "web")
    sandbox.run("FROM a\nCMD exit 3", {})
    eventually(lambda: (seen := last(facts)) and seen.exit_code == 3)


def test_an_exited_container_is_started_again_by_the_next_deploy(sandbox: Running) -> None:
    built = sandbox.build("FROM a\nWORKDIR /app\nCMD test -e once || { touch once; exit 1; }; sleep 1000")
    facts = observe(sandbox, "web")
    first = sandbox.up({}, built)
    eventually(lambda: (seen := last(facts)) and seen.state == "exited")
    again = sandbox.up({}, built)
    assert again.id == first.id
    assert again.started_at != first.started_at
    assert sandbox.exec(again, "ls") == (0, "once")


def test_a_restart_keeps_files_and_ends_all_processes(sandbox: Running) -> None:
    mark = f"9{os.getpid()}7"
    container = sandbox.run(f"FROM a\nWORKDIR /app\nCMD echo started >> log; setsid sleep {mark} & exec sleep {mark}")
    eventually(lambda: len(processes_named(mark)) >= 2)
    before = set(processes_named(mark))
    facts = observe(sandbox, "web")
    sandbox.engine.restart(container, sandbox.heard.work)
    eventually(lambda: sandbox.read(container, "/app/log") == "started\nstarted\n")
    assert not before & set(processes_named(mark))
    eventually(lambda: (seen := last(facts)) and seen.state == "running" and seen.started_at != container.started_at)
    assert {seen.id for fact in facts if isinstance(fact, ContainersSeen) for seen in fact.containers} == {container.id}


@pytest.mark.parametrize(
    "policy,code,restarts",
    [
        ("always", 0, True),
        ("unless-stopped", 1, True),
        ("on-failure", 1, True),
        ("on-failure", 0, False),
        ("no", 1, False),
    ],
)
def test_restart_policies(sandbox: Running, policy: str, code: int, *, restarts: bool) -> None:
    script = f"echo x >> log; test $(wc -l < log) = 2 && exec sleep 1000; exit {code}"
    facts = observe(sandbox, "web")
    container = sandbox.run(f"FROM a\nWORKDIR /app\nCMD {script}", {"restart": policy})
    if restarts:
        eventually(
            lambda: (seen := last(facts)) and seen.state == "running" and seen.started_at != container.started_at
        )
    else:
        eventually(lambda: (seen := last(facts)) and seen.state == "exited")
    assert {fact.containers[0].id for fact in facts if isinstance(fact, ContainersSeen) and fact.containers} == {
        container.id
    }


def test_restarts_may_be_limited(sandbox: Running) -> None:
    container = sandbox.run("FROM a\nCMD echo try; exit 1", {"restart": "on-failure:2"})
    facts = observe(sandbox, "web")
    starts: set[str] = {container.started_at}

    def three() -> bool:
        starts.update(each.containers[0].started_at for each in facts if isinstance(each, ContainersSeen))
        return len(starts) == 3 and (seen := last(facts)) is not None and seen.state == "exited"

    eventually(three)


def test_stopping_gives_grace(sandbox: Running) -> None:
    container = sandbox.run(
        "FROM a\nCMD trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
        {"stop_grace_period": "20s"},
    )
    lines = follow(sandbox, container)
    eventually(lambda: "ready" in lines)
    down(sandbox)
    assert "bye" in lines


def test_what_ignores_the_end_is_killed_with_all_it_started(sandbox: Running) -> None:
    mark = f"9{os.getpid()}5"
    script = f"trap '' TERM; setsid sleep {mark} & sleep {mark} & echo ready; wait; sleep {mark}"
    container = sandbox.run(f"FROM a\nCMD {script}", {"stop_grace_period": "100ms"})
    lines = follow(sandbox, container)
    eventually(lambda: "ready" in lines)
    down(sandbox)
    assert processes_named(mark) == []


def test_deleting_what_is_not_there_is_fine(sandbox: Running) -> None:
    down(sandbox, "nobody")


def test_output_is_followed_from_its_start_on(sandbox: Running) -> None:
    container = sandbox.run("FROM a\nCMD echo out; echo err >&2; exec sleep 1000")
    lines = follow(sandbox, container)
    eventually(lambda: lines == ["out", "err"])
    sandbox.engine.restart(container, sandbox.heard.work)
    eventually(lambda: len(container_lines(sandbox)) == 4)
    assert lines == ["out", "err"]
    sandbox.engine.start(Attach(container.id, container.started_at), lambda _: None, Listening().log)()


def container_lines(sandbox: Running) -> list[tuple[str, str]]:
    return list(sandbox.engine._containers["web"].output._lines)


@pytest.mark.parametrize(
    "dockerfile,config,message",
    [
        ("FROM a", {}, "service web has no command"),
        ('FROM a\nCMD ["no-such-program"]', {}, "no-such-program: executable file not found in"),
        ("FROM a\nCMD x", {"working_dir": "/dev/null"}, "working directory /dev/null"),
    ],
)
def test_a_container_that_cannot_be_started(
    sandbox: Running, dockerfile: str, config: dict[str, str], message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        sandbox.run(dockerfile, config)
    assert sandbox.engine._containers == {}


def test_what_is_not_followed_is_said(sandbox: Running) -> None:
    sandbox.run(SLEEPER, {"healthcheck": {"test": ["CMD", "true"]}, "user": "1000"})
    assert [line for line in sandbox.heard.lines if "is not followed" in line] == [
        "healthcheck is not followed in the sandbox: health is not checked",
        "user is not followed in the sandbox: it runs as the user of the notebook",
    ]
