"""A notebook's kernel, treated badly: interrupted, restarted, killed, flooded with logs, and looked at from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import eventually
from tests.support.jupyter import notebook
from tests.support.kernels import Kernel, all_gone, kernel_in
from tests.support.processes import alive
from tests.support.project import COMPOSE, DOCKERFILE
from tools.processes import command_line

SANDBOXED = """
docker_compose('docker-compose.yml')
docker_build('app-image', 'app', live_update=[sync('app', '/app')])
"""
LOCALS = """
local_resource('long', 'sleep 6301 & sleep 6302', allow_parallel=True)
local_resource('srv', serve_cmd='setsid sleep 6303 & sleep 6304', allow_parallel=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a Compose service."""
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text(DOCKERFILE)
    return tmp_path


@pytest.fixture
def kernel(folder: Path) -> Iterator[Kernel]:
    with kernel_in(folder) as kernel:
        kernel.good("%load_ext ipytilt")
        yield kernel


def records(folder: Path) -> list[str]:
    """What a later session would find of children that may have been left behind."""
    place = folder / f"ipytilt-{os.getuid()}"
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else []


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def listening(pid: int) -> set[tuple[str, int]]:
    """Where a process listens, by /proc."""
    folder = Path(f"/proc/{pid}")
    own = {link for link in map(_target, (folder / "fd").iterdir()) if link.startswith("socket:")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (folder / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in own:
                found.add(_address(*local.split(":")))
    return found


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


def _address(host: str, port: str) -> tuple[str, int]:
    words = struct.unpack(f"={len(host) // 8}I", bytes.fromhex(host))
    packed = struct.pack(f">{len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), int(port, 16)


def everything_up(kernel: Kernel) -> set[int]:
    """A command, a server with a child that left its session, a sandbox container; all processes of the kernel."""
    kernel.good(f"%%tiltfile\n{SANDBOXED}{LOCALS}")
    assert "app" in kernel.good("%tilt wait app srv").text

    def up() -> bool:
        return all(map(kernel.runs, ("sleep 6301", "sleep 6302", "sleep 6303", "sleep 6304", "echo started")))

    eventually(up, timeout=30)
    return kernel.family()


# ---------------------------------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("busy", ["local('sleep 6310')", "while True:\n    pass"], ids=["command", "loop"])
def test_an_interrupted_cell_stops_evaluating_and_changes_nothing(kernel: Kernel, folder: Path, busy: str) -> None:
    kernel.good("%%tiltfile good\nlocal_resource('good', 'true')")
    cell = kernel.begin(f"%%tiltfile busy\nlocal('touch begun')\nlocal_resource('bad', 'true')\n{busy}")
    eventually((folder / "begun").exists, timeout=30)
    kernel.interrupt()
    output = kernel.finish(cell)
    assert output.shown_error.startswith("Stopped evaluating the Tiltfile")
    assert "Traceback" not in output.shown_error
    eventually(lambda: not kernel.runs("sleep 6310"))
    assert kernel.good("%tilt wait").text == "Ready: good"
    kernel.good("%%tiltfile busy\nlocal_resource('mended', 'true')")
    assert kernel.good("%tilt wait").text == "Ready: good, mended"


TELL_WHEN_WAITING = """
import sys, threading, time
def tell():
    def waits():
        frame, names = sys._current_frames()[threading.main_thread().ident], set()
        while frame:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        return 'wait_for' in names
    while not waits(): time.sleep(0.01)
    open('waiting', 'w').close()
threading.Thread(target=tell, daemon=True).start()
"""


def test_an_interrupted_wait_ends_and_the_session_goes_on(kernel: Kernel, folder: Path) -> None:
    kernel.good("%%tiltfile\nlocal_resource('slow', 'echo begun; while [ ! -e go ]; do sleep 0.05; done')")
    cell = kernel.begin(f"{TELL_WHEN_WAITING}\n%tilt wait")
    eventually((folder / "waiting").exists, timeout=30)  # an interrupt before that would be of another kind
    kernel.interrupt()
    output = kernel.finish(cell)
    assert output.shown_error.startswith("Stopped waiting; the session goes on in the background")
    assert "Traceback" not in output.shown_error
    kernel.good("open('go', 'w').close()")
    assert kernel.good("%tilt wait").text == "Ready: slow"
    assert kernel.good("%tilt logs slow").text.splitlines().count("begun") == 1


def test_an_interrupt_of_another_cell_disturbs_nothing(kernel: Kernel, folder: Path) -> None:
    family = {pid for pid in everything_up(kernel) if "sleep 0.2" not in " ".join(command_line(pid)[-2:])}
    cell = kernel.begin("import time\nopen('busy', 'w').close()\nwhile True: time.sleep(0.01)")
    eventually((folder / "busy").exists)
    kernel.interrupt()
    assert kernel.finish(cell).error is not None
    assert {pid for pid in family if not alive(pid)} == set()
    assert "app" in kernel.good("%tilt wait app srv").text


# ---------------------------------------------------------------------------------------------- restarted and killed


def test_a_restart_leaves_nothing_and_a_new_session_takes_over(kernel: Kernel, folder: Path) -> None:
    family = everything_up(kernel)
    assert records(folder)
    kernel.restart()
    all_gone(family)
    eventually(lambda: not records(folder))
    kernel.good("%load_ext ipytilt")
    all_gone(everything_up(kernel) & family)


def test_a_killed_kernel_leaves_nothing_and_a_new_one_takes_over(kernel: Kernel, folder: Path) -> None:
    family = everything_up(kernel)
    os.kill(kernel.pid, signal.SIGKILL)
    all_gone(family)
    eventually(lambda: not records(folder))
    with kernel_in(folder) as other:
        other.good("%load_ext ipytilt")
        everything_up(other)


def test_what_a_guardian_killed_with_its_kernel_missed_is_ended_by_the_next_session(
    kernel: Kernel, folder: Path
) -> None:
    family = everything_up(kernel)
    guardian = {pid for pid in family if any(word.endswith("guardian.py") for word in command_line(pid))}
    assert len(guardian) == 1
    os.kill(next(iter(guardian)), signal.SIGKILL)
    os.kill(kernel.pid, signal.SIGKILL)
    all_gone(guardian)
    assert records(folder)
    with kernel_in(folder) as other:
        other.good("%load_ext ipytilt\n%tilt panel")
        other.good("%%tiltfile\nlocal_resource('any', 'true')")
        other.good("%tilt wait")
        all_gone(family)
        other.good("%unload_ext ipytilt")
    assert records(folder) == []


def test_shutting_down_leaves_nothing(folder: Path) -> None:
    with kernel_in(folder) as kernel:
        kernel.good("%load_ext ipytilt")
        family = everything_up(kernel)
    all_gone(family)
    eventually(lambda: not records(folder))


# ---------------------------------------------------------------------------------------------- seen from outside


def test_what_resources_say_never_lands_in_a_cell(kernel: Kernel) -> None:
    kernel.good(
        "%%tiltfile\nlocal_resource('loud', serve_cmd='while :; do echo loud; echo LOUD >&2; sleep 0.001; done')"
    )
    kernel.good("%tilt wait")
    output = kernel.good(
        "import time\n"
        "session = next(c for c in get_ipython().configurables if type(c).__name__ == 'IpyTilt').cockpit.session\n"
        "end = session.logs.end('loud') + 200\n"
        "while session.logs.end('loud') < end: time.sleep(0.01)"
    )
    assert (output.stdout, output.stderr, output.text) == ("", "", "")
    assert output.displays == []


def test_nothing_listens_beyond_this_machine(kernel: Kernel, folder: Path) -> None:
    inside, outside = free_ports(2)
    serve = f"import socket; s = socket.create_server(('127.0.0.1', {inside})); print('listening'); s.accept()"
    dockerfile = f"FROM python\nWORKDIR /app\nCOPY . .\nCMD {json.dumps(['python3', '-u', '-c', serve])}\n"
    (folder / "app/Dockerfile").write_text(dockerfile)
    ports = f"    ports: ['{outside}:{inside}']\n"
    (folder / "docker-compose.yml").write_text(COMPOSE + ports)
    kernel.good(f"%%tiltfile\n{SANDBOXED}")
    kernel.good("%tilt wait")
    eventually(lambda: "listening" in kernel.good("%tilt logs app").text)
    found = {place for pid in {kernel.pid, *kernel.family()} for place in listening(pid)}
    assert {("127.0.0.1", inside), ("127.0.0.1", outside)} <= found
    assert {address for address, _ in found} <= {"127.0.0.1", "::1"}


def test_a_saved_notebook_tells_what_was_and_keeps_no_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTILT_ENGINE", "sandbox")
    monkeypatch.setenv("IPYTHONDIR", str(folder / ".ipython"))
    talks = "local_resource('talks', 'for i in 1 2 3; do echo it-says-$i; done')"
    fails = "local_resource('fails', 'echo the-reason; exit 3')"
    waits = "%tilt wait talks", "%tilt wait fails"
    document = nbformat.from_dict(  # type: ignore[no-untyped-call]
        notebook("%load_ext ipytilt", f"%%tiltfile\n{talks}\n{fails}", *waits, "%unload_ext ipytilt")
    )
    document.cells[3].metadata.tags = ["raises-exception"]
    NotebookClient(document, timeout=60, resources={"metadata": {"path": str(folder)}}).execute()
    assert "it-says" not in json.dumps(document.metadata.get("widgets", {}))
    saved = json.loads(nbformat.writes(document))  # type: ignore[no-untyped-call]
    widget, static = saved["cells"][1]["outputs"]
    assert set(widget["data"]) == {"application/vnd.jupyter.widget-view+json"}
    assert "it-says" not in json.dumps(saved["cells"][1]["outputs"])
    text, html = ("".join(static["data"][kind]) for kind in ("text/plain", "text/html"))
    for shown in (text, html):
        assert "talks" in shown
        assert "exit status 3" in shown
    assert "the-reason" in html
    assert "<table" in html
    assert "<script" not in html
