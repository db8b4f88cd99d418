"""Containers of the sandbox, in both ways to run them. Runs on pytest's thread; facts come on the engine's."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ipytilt import processes
from ipytilt.core.spec import Kubernetes, Resource
from ipytilt.core.steps import Apply, Attach, Container, Copy, Delete, Follow, Observe
from ipytilt.engines import sandbox_run
from ipytilt.engines.base import ContainersSeen, EngineSeen, Fact
from ipytilt.engines.sandbox import SandboxEngine
from ipytilt.errors import Broke, Cancelled, Rejected
from tests.engines.sandboxes import Listening, Running, free_port, processes_named, service, write
from tests.support.waiting import eventually

SLEEPER = 'FROM a\nWORKDIR /app\nCMD ["sleep", "1000"]'


def observe(sandbox: Running, *names: str) -> list[Fact]:
    """Facts about resources, as they come; observing ends with the test."""
    facts: list[Fact] = []
    resources = tuple(service(sandbox.folder, {}, name=name) for name in names)
    stop = sandbox.engine.start(Observe("sandbox", resources), facts.append, Listening().log)
    sandbox.at_end.append(stop)
    return facts


def last(facts: list[Fact], name: str = "web") -> Container | None:
    """The container of a resource, as last reported."""
    seen = [fact for fact in facts if isinstance(fact, ContainersSeen) and fact.resource == name]
    return seen[-1].containers[0] if seen and seen[-1].containers else None


def follow(sandbox: Running, container: Container) -> list[str]:
    """The container's output, as it comes; following ends with the test."""
    listening = Listening()
    order = Follow("web", container.id, container.started_at)
    sandbox.at_end.append(sandbox.engine.start(order, lambda _: None, listening.log))
    return listening.lines


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


# ---------------------------------------------------------------------------------------------- live update


def sync(sandbox: Running, container: Container, *pairs: tuple[Path, str]) -> None:
    copies = tuple(Copy(str(local), path) for local, path in pairs)
    sandbox.engine.sync(container, copies, sandbox.heard.work)


def test_sync_copies_and_removes(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A", "dir/one": "1", "dir/sub/two": "2", "gone/x": "", "kind": "file"})
    container = sandbox.run(f"{SLEEPER}\nCOPY . .")
    write(sandbox.folder, {"a": "B", "dir/one": "new"})
    os.utime(sandbox.folder / "a", (1000, 1000))
    (sandbox.folder / "a").chmod(0o751)
    (sandbox.folder / "gone/x").unlink()
    (sandbox.folder / "gone").rmdir()
    (sandbox.folder / "link").symlink_to("a")
    (sandbox.folder / "empty").mkdir()
    (sandbox.folder / "kind").unlink()
    write(sandbox.folder, {"kind/below": "k"})
    names = ("a", "dir", "gone", "link", "empty", "kind", "never")
    sync(sandbox, container, *((sandbox.folder / name, f"/app/{name}") for name in names))
    root = sandbox.engine.container_root(container) / "app"
    status = (root / "a").stat()
    assert ((root / "a").read_text(), status.st_mode & 0o777, status.st_mtime) == ("B", 0o751, 1000)
    assert ((root / "dir/one").read_text(), (root / "dir/sub/two").read_text()) == ("new", "2")
    assert (root / "link").readlink() == Path("a")
    assert (root / "empty").is_dir()
    assert (root / "kind/below").read_text() == "k"
    assert not (root / "gone").exists()
    assert sandbox.exec(container, "sh", "-c", "cat a dir/one; ls") == (
        0,
        "Bnewa\ndir\nempty\nkind\nlink",
    )


def test_new_directories_anywhere_in_the_image_are_made(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A"})
    container = sandbox.run(SLEEPER)
    sync(sandbox, container, (sandbox.folder / "a", "/app/new/deep/a"))
    assert sandbox.exec(container, "cat", "/app/new/deep/a") == (0, "A")


def test_readers_see_the_old_or_the_new_file(sandbox: Running) -> None:
    write(sandbox.folder, {"big": "0" * 300_000})
    container = sandbox.run(f"{SLEEPER}\nCOPY . .")
    seen: set[str] = set()
    done = threading.Event()
    path = sandbox.engine.container_root(container) / "app/big"

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 20):
        write(sandbox.folder, {"big": str(number % 10) * 300_000})
        sync(sandbox, container, (sandbox.folder / "big", "/app/big"))
    done.set()
    reader.join()
    assert {len(text) for text in seen} == {300_000}
    assert all(len(set(text)) == 1 for text in seen)


def test_links_of_the_container_lead_nowhere_else(sandbox: Running, tmp_path: Path) -> None:
    write(tmp_path, {"outside/precious": "mine"})
    write(sandbox.folder, {"a": "A"})
    container = sandbox.run(SLEEPER)
    outside = tmp_path / "outside"
    script = f"ln -s {outside} abs; ln -s ../../../../../../..{outside} rel; ln -s {outside}/precious file"
    sandbox.exec(container, "sh", "-c", script)
    local = sandbox.folder / "a"
    for path in ("/app/abs/new", "/app/rel/new", "/app/file", "/app/x/../../../../../../../y"):
        with suppress(Rejected):  # the directory the link names may not be one the container can make
            sync(sandbox, container, (local, path))
    sync(
        sandbox, container, (sandbox.folder / "missing", "/app/abs/precious"), (sandbox.folder / "missing", "/app/rel")
    )
    assert sorted(path.name for path in outside.iterdir()) == ["precious"]
    assert (outside / "precious").read_text() == "mine"
    assert sandbox.read(container, "/app/file") == "A"


def test_links_to_directories_of_the_container_are_followed(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A"})
    container = sandbox.run(f"{SLEEPER}\nRUN mkdir /real && ln -s /real there && ln -s loop loop")
    sync(sandbox, container, (sandbox.folder / "a", "/app/there/a"))
    assert sandbox.exec(container, "cat", "/real/a") == (0, "A")
    with pytest.raises(Rejected, match="/app/loop"):
        sync(sandbox, container, (sandbox.folder / "a", "/app/loop/a"))


def test_what_cannot_be_synced_is_named(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A"})
    container = sandbox.run(SLEEPER)
    with pytest.raises(Rejected, match=r"/dev/null/x .* test-web-1"):
        sync(sandbox, container, (sandbox.folder / "a", "/dev/null/x"))
    with pytest.raises(Rejected, match="cannot remove / in test-web-1"):
        sync(sandbox, container, (sandbox.folder / "missing", "/"))


def test_commands_run_in_the_container(sandbox: Running) -> None:
    container = sandbox.run(f"{SLEEPER}\nENV A=1")
    assert sandbox.exec(container, "sh", "-c", "echo $A; pwd; echo err >&2; exit 5") == (5, "1\n/app\nerr")
    code, text = sandbox.exec(container, "no-such-program")
    assert (code, text) == (127, "no-such-program: executable file not found in $PATH")
    assert sandbox.exec(container, "sh", "-c", "kill -9 $$")[0] == 137


def test_a_command_is_cancelled_with_all_it_started(sandbox: Running) -> None:
    container = sandbox.run(SLEEPER)
    mark = f"9{os.getpid()}3"
    listening = Listening()
    caught: list[BaseException] = []

    def run() -> None:
        try:
            sandbox.engine.exec(container, ("sh", "-c", f"setsid sleep {mark} & echo on; sleep {mark}"), listening.work)
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: len(processes_named(mark)) >= 2)
    listening.work.cancel()
    thread.join(10)
    assert len(caught) == 1
    eventually(lambda: processes_named(mark) == [])
    assert sandbox.exec(container, "true")[0] == 0


def test_a_dead_container_is_broke(sandbox: Running) -> None:
    facts = observe(sandbox, "web")
    container = sandbox.run("FROM a\nCMD exit 0")
    eventually(lambda: (seen := last(facts)) and seen.state == "exited")
    write(sandbox.folder, {"a": "A"})
    with pytest.raises(Broke, match="not running"):
        sync(sandbox, container, (sandbox.folder / "a", "/app/a"))
    with pytest.raises(Broke, match="not running"):
        sandbox.exec(container, "true")


def test_a_container_that_dies_during_a_command_is_broke(sandbox: Running) -> None:
    container = sandbox.run("FROM a\nCMD exec sleep 1000")
    listening = Listening()
    process = sandbox.engine._containers["web"]._process
    assert process is not None

    def kill() -> None:
        eventually(lambda: "on" in listening.lines)
        process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(Broke, match="ended meanwhile"):
        sandbox.engine.exec(
            container, ("sh", "-c", "echo on; while :; do sleep 0.05; kill -0 1 || exit; done"), listening.work
        )
    killer.join()


# ---------------------------------------------------------------------------------------------- the engine


def test_closing_ends_containers_and_removes_their_files(sandbox: Running, tmp_path: Path) -> None:
    mark = f"9{os.getpid()}1"
    built = sandbox.build(f"FROM a\nWORKDIR /app\nCMD trap '' TERM; echo > /tmp/x; sleep {mark}; sleep {mark}")
    sandbox.up({}, built)
    sandbox.up({}, built, name="other")
    eventually(lambda: len(processes_named(mark)) >= 2)
    began = time.monotonic()
    sandbox.engine.close()
    assert time.monotonic() - began < 2.5
    assert processes_named(mark) == []
    assert list((tmp_path / "cache/sessions").iterdir()) == []
    assert list((tmp_path / "cache/images").iterdir()) != []
    with pytest.raises(Rejected, match="closed"):
        sandbox.build(SLEEPER)


def test_files_of_a_session_that_crashed_are_swept(sandbox: Running, tmp_path: Path) -> None:
    sandbox.engine.available()
    left = write(tmp_path / "cache/sessions", {"dead/tree/x": "", "dead.lock": ""})
    other = SandboxEngine(folder=str(tmp_path / "cache"))
    try:
        assert other.available()[0]
        assert not (left / "dead").exists()
        assert sandbox.engine._store is not None
        assert Path(sandbox.engine._store.session).is_dir()
    finally:
        other.close()


def test_kubernetes_is_refused(sandbox: Running) -> None:
    with pytest.raises(Rejected, match="not kubernetes"):
        sandbox.engine.apply(Apply(Resource("k", Kubernetes())), sandbox.heard.work)


def test_an_image_of_another_session_is_asked_for(sandbox: Running) -> None:
    resource = service(sandbox.folder, {}, image="web")
    with pytest.raises(Rejected, match="has not been built in this session"):
        sandbox.engine.apply(Apply(resource), sandbox.heard.work)


def test_where_nothing_works_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_run, "_tried", {})
    monkeypatch.setattr(sandbox_run, "_PROBE", ("false",))
    monkeypatch.setenv("PATH", "/nowhere")
    engine = SandboxEngine(folder=str(tmp_path))
    ok, reason = engine.available()
    assert not ok
    assert reason == "containers cannot run here: namespaces: exit code 1; proot: not installed"
    assert "not available" in engine.describe()
    with pytest.raises(Rejected) as caught:
        Running(engine, tmp_path).build("FROM a")
    assert "install proot, or allow user namespaces" in caught.value.hint
    engine.close()


def test_a_folder_without_write_access_is_named() -> None:
    engine = SandboxEngine(folder="/proc/nowhere")
    assert engine.available() == (
        False,
        "containers cannot run here: cannot write to /proc/nowhere: No such file or directory",
    )
    engine.close()


def test_it_says_what_it_is(sandbox: Running, isolation: str) -> None:
    assert sandbox.engine.name == "sandbox"
    assert sandbox.engine.describe() == f"sandbox ({isolation}): this machine's own programs, no images are downloaded"


def test_all_children_are_known_to_the_guardian(sandbox: Running) -> None:
    sandbox.run(SLEEPER)
    assert any(not process.exit_code for process in processes.living())
