"""The sandbox for tests of engines, once per way to run commands. Runs on pytest's thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ipytilt import processes
from ipytilt.engines.sandbox import SandboxEngine
from tests.engines.sandboxes import Running


@pytest.fixture(params=["namespaces", "proot"])
def isolation(request: pytest.FixtureRequest) -> str:
    """Give the ways to make views, one after the other."""
    return str(request.param)


@pytest.fixture
def sandbox(tmp_path: Path, isolation: str) -> Iterator[Running]:
    """Give a sandbox with trees of its own and an empty project."""
    (tmp_path / "project").mkdir()
    running = Running(SandboxEngine(folder=str(tmp_path / "cache"), isolation=isolation), tmp_path / "project")
    yield running
    running.close()
    processes.stop_all()


@pytest.fixture
def host_file() -> Iterator[Path]:
    """Give a file of the user's that containers of either kind can see: not below /tmp, they have their own."""
    with TemporaryDirectory(prefix="ipytilt-test-", dir="/var/tmp") as folder:
        path = Path(folder, "host-file")
        path.write_text("mine")
        yield path
