"""Live updates of the sandbox, and its beginning and end. Runs on pytest's thread; facts come on the engine's."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ipytilt import processes
from ipytilt.core.spec import Kubernetes, Resource
from ipytilt.core.steps import Apply, Built, Container, Copy
from ipytilt.engines import sandbox_run
from ipytilt.engines.sandbox import SandboxEngine
from ipytilt.errors import Broke, Cancelled, Rejected
from tests.engines.sandboxes import (
    SLEEPER,
    Listening,
    Running,
    last,
    observe,
    processes_named,
    write,
)
from tests.support.waiting import eventually

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
    names = ("a", "dir", "dir/one", "gone", "link", "empty", "kind", "kind/below", "never")
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
    with pytest.raises(Rejected, match="all of the container would be removed"):
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
    with pytest.raises(Rejected, match="has not been built in this session"):
        sandbox.up({}, Built("web", "web:of-another-session"))


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
