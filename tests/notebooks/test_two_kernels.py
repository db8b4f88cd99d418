"""Two kernels on one project: the second says who holds it and does nothing until it is free or taken over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.jupyter import ROOT
from tests.support.kernels import Kernel, kernel_in
from tests.support.project import COMPOSE, DOCKERFILE

CELL = """%%tiltfile
docker_compose('docker-compose.yml')
docker_build('app-image', 'app', live_update=[sync('app', '/app')])
"""
SESSION = "session = __import__('ipytilt').session()"
SHOWN = f"{SESSION}; print([status.waits_for for status in session.status], len(session['app'].updates))"
PATIENCE = 60.0
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a Compose service."""
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "app/file.txt").write_text("first\n")
    return tmp_path


@pytest.fixture
def first(folder: Path) -> Iterator[Kernel]:
    """The kernel that came first and holds the project."""
    with kernel_in(folder, JPY_SESSION_NAME="work/first.ipynb") as kernel:
        kernel.good("%load_ext ipytilt")
        kernel.good(CELL)
        kernel.good("%tilt wait")
        yield kernel


@pytest.fixture
def second(first: Kernel, folder: Path) -> Iterator[Kernel]:
    """Another kernel that has run the same cell."""
    with kernel_in(folder, JPY_SESSION_NAME="second.ipynb") as kernel:
        kernel.good("%load_ext ipytilt")
        kernel.good(CELL)
        shown = kernel.good("%tilt").text
        assert f"is held by notebook first.ipynb (kernel {first.pid}) since 2" in shown
        assert "%tilt takeover takes it over" in shown
        yield kernel


def runs_containers(kernel: Kernel) -> bool:
    """The sandbox's containers are children of the kernel that deployed them."""
    return kernel.runs("echo started")


def shows(kernel: Kernel, words: str) -> bool:
    """What `%tilt status` says."""
    return words in kernel.good("%tilt status").text


def content(kernel: Kernel) -> str:
    """The live-updated file in the kernel's container."""
    kernel.good(f"{SESSION}._session; from ipytilt.engines.base import Work; said = []")
    where = "next(iter(session.state.tracks['app'].containers.values())).container"
    run = (
        f"session.engines().containers.exec({where}, ('cat', '/app/file.txt'), Work(lambda text, _: said.append(text)))"
    )
    return kernel.good(f"{run}; said[0]").text


def test_the_second_does_nothing_until_it_takes_over_and_then_the_first_does_nothing(
    first: Kernel, second: Kernel, folder: Path
) -> None:
    assert "is held by notebook first.ipynb" in second.good(SHOWN).stdout
    second.good("%tilt trigger app")
    assert second.good(SHOWN).stdout.endswith(" 0\n")
    assert not runs_containers(second)
    assert runs_containers(first)

    assert second.good("%tilt takeover").text.startswith("This session's now: Compose project ")
    second.good("%tilt wait")
    assert runs_containers(second)
    assert shows(first, f"was taken over by notebook second.ipynb (kernel {second.pid}) since 2")

    updates = first.good(SHOWN).stdout.split()[-1]
    (folder / "app/file.txt").write_text("second\n")
    eventually(lambda: content(second) == "'second'", PATIENCE)
    eventually(lambda: "was taken over by" in first.good(SHOWN).stdout, PATIENCE)  # it waits, and says for whom
    assert first.good(SHOWN).stdout.split()[-1] == updates

    first.good(f"{SESSION}.take_over().wait()")
    assert shows(second, "was taken over by notebook first.ipynb")
    assert content(first) == "'second'"
    assert "Nothing is held by another session" in first.run("%tilt takeover").shown_error


def test_a_killed_holder_leaves_it_to_the_second(first: Kernel, second: Kernel) -> None:
    os.kill(first.pid, signal.SIGKILL)
    second.good("%tilt wait")
    assert runs_containers(second)
    assert "is held by" not in second.good("%tilt").text


def test_a_frozen_holder_is_passed_over_and_stops_when_it_wakes(first: Kernel, second: Kernel, folder: Path) -> None:
    updates = first.good(SHOWN).stdout.split()[-1]
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second.good("%tilt takeover")
        second.good("%tilt wait")
        (folder / "app/file.txt").write_text("second\n")
        eventually(lambda: content(second) == "'second'", PATIENCE)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: shows(first, "was taken over by notebook second.ipynb"), PATIENCE)
    (folder / "app/file.txt").write_text("third\n")
    eventually(lambda: "was taken over by" in first.good(SHOWN).stdout, PATIENCE)
    first.good(f"{SESSION}; done = [u for u in session['app'].updates if u.result == 'ok']; print(len(done))")
    assert first.good("print(len(done))").stdout.strip() == updates
    eventually(lambda: content(second) == "'third'", PATIENCE)


def test_down_leaves_it_to_the_second(first: Kernel, second: Kernel) -> None:
    first.good("%tilt down")
    second.good("%tilt wait")
    first.good("%tilt up")
    assert shows(first, "is held by notebook second.ipynb")


def test_ci_in_a_shell_says_who_holds_the_project_and_can_take_it_over(first: Kernel, folder: Path) -> None:
    (folder / "Tiltfile").write_text(CELL.partition("\n")[2])
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT), "IPYTILT_ENGINE": "sandbox"}

    def shell(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ipytilt.cli", *words]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    refused = shell("ci")
    assert refused.returncode == 1
    assert f"app:update: Compose project {folder.name}" in refused.stderr
    assert f"is held by notebook first.ipynb (kernel {first.pid}) since 2" in refused.stderr
    taken = shell("ci", "--takeover")
    assert taken.returncode == 0, taken.stderr
    assert "SUCCESS" in taken.stdout
    assert shows(first, "was taken over by ipytilt ci (process ")
