"""The sandbox in a process of its own: as an ordinary user, and killed in the middle. Runs on pytest's thread."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ipytilt
from ipytilt.engines.sandbox import SandboxEngine
from tests.engines.sandboxes import processes_named
from tests.support.waiting import eventually

NOBODY = 65534
PROGRAM = """
import json, os, sys
from ipytilt.core.spec import Compose, ComposeProject, DockerBuild, Image, Resource
from ipytilt.core.steps import Apply, BuildImage, Copy
from ipytilt.engines.base import Work
from ipytilt.engines.sandbox import SandboxEngine

folder, isolation, mark = sys.argv[1:]
work = Work(lambda text, level: print(text, flush=True))
engine = SandboxEngine(folder=folder + "/cache", isolation=isolation)
dockerfile = (
    "FROM a\\nWORKDIR /app\\nCOPY f .\\nRUN id -u > uid; touch /usr/made || true\\n"
    f"CMD setsid sleep {mark} & trap '' TERM; sleep {mark}; sleep {mark}"
)
built = engine.build(BuildImage(Image("web", DockerBuild(folder, dockerfile))), work)
target = Compose(ComposeProject("p", (), folder), "web", image_built="web")
(container,) = engine.apply(Apply(Resource("web", target), (built,)), work).containers
engine.sync(container, (Copy(folder + "/f", "/app/sub/g"),), work)
engine.exec(container, ("sh", "-c", "cat f sub/g; echo >> f; rm -rf sub; mkdir ~/home && echo home made"), work)
print("ready", flush=True)
sys.stdin.read()
engine.close()
print("left", os.listdir(folder + "/cache/sessions"), flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that any user may write to, with the package in it."""
    folder = Path(tempfile.mkdtemp(prefix="ipytilt-test-"))
    package = Path(ipytilt.__file__).parent
    shutil.copytree(package, folder / "ipytilt", ignore=shutil.ignore_patterns("__pycache__", "static", "labextension"))
    (folder / "f").write_text("content\n")
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def another(place: Path, isolation: str, mark: str, *, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """The program, run by a user of this machine, once its container is up."""
    python = sys.executable
    if user is not None and not (Path(python).stat().st_mode & 0o001 and _is_open_to_all(Path(python).resolve())):
        python = "/usr/bin/python3"
    with subprocess.Popen(
        [python, "-c", PROGRAM, str(place), isolation, mark],
        cwd=place,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
    ) as process:
        try:
            lines: list[str] = []
            assert process.stdout is not None
            while not lines or lines[-1] not in {"ready\n", ""}:
                lines.append(process.stdout.readline())
            assert lines[-4:] == ["content\n", "content\n", "home made\n", "ready\n"]
            yield process
        finally:
            process.kill()


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in path.parents)


@pytest.mark.parametrize("isolation", ["namespaces", "proot"])
def test_an_ordinary_user(place: Path, isolation: str) -> None:
    mark = f"8{os.getpid()}1"
    with another(place, isolation, mark, user=NOBODY if os.getuid() == 0 else None) as process:
        rest, _ = process.communicate(timeout=30)
    assert rest == "left []\n"
    assert process.returncode == 0
    assert processes_named(mark) == []
    assert not Path("/usr/made").exists()


@pytest.mark.parametrize("isolation", ["namespaces", "proot"])
def test_nothing_is_left_when_the_kernel_is_killed(place: Path, isolation: str) -> None:
    mark = f"8{os.getpid()}3"
    with another(place, isolation, mark) as process:
        assert len(processes_named(mark)) >= 2
        process.send_signal(signal.SIGKILL)
        process.wait()
        eventually(lambda: processes_named(mark) == [])
    left = place / "cache/sessions"
    assert list(left.iterdir()) != []
    engine = SandboxEngine(folder=str(place / "cache"), isolation=isolation)
    assert engine.available() == (True, "")
    engine.close()
    assert list(left.iterdir()) == []
