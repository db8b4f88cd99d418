"""Every check of the contract on every container engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ipytilt.engines import docker
from ipytilt.engines.base import ContainerEngine
from ipytilt.engines.sandbox import SandboxEngine
from tests.engines.contract import CHECKS, Workspace
from tools.rig import images

CONNECT: Mapping[str, Callable[[Path], ContainerEngine]] = {
    "docker": lambda _: docker.connect(os.environ),
    "sandbox": lambda folder: SandboxEngine(folder=str(folder), isolation="namespaces"),
    "sandbox-proot": lambda folder: SandboxEngine(folder=str(folder), isolation="proot"),
}
_MARKS = {"docker": [pytest.mark.docker, pytest.mark.compose]}


@pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, [])) for name in CONNECT])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace on one of the engines; everything deployed in it is taken down."""
    engine = CONNECT[request.param](tmp_path / "engine")
    found = Workspace(engine, tmp_path, base=images.BASE)
    yield found
    found.close()
    engine.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_contract(check: Callable[[Workspace], None], workspace: Workspace) -> None:
    check(workspace)
