"""Old images leave the daemon: those of ours, not the newest ones, and none that is used."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.prune import Prune
from tests.engines.contract import Workspace
from tests.engines.docks import workspace

pytestmark = pytest.mark.docker

DAY = 86_400.0


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Workspace]:
    with workspace(tmp_path, os.environ) as found:
        yield found


def tags(at: Workspace) -> list[str]:
    listed = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", at.ref("web")]
    return subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()


def builds(at: Workspace, count: int) -> list[str]:
    """So many different images of one name, the newest last."""
    return [at.build(at.image(f"FROM BASE\nRUN echo {number} > /number\n")).local_ref for number in range(count)]


def test_all_but_the_newest_go(at: Workspace) -> None:
    made = builds(at, 4)
    subprocess.run(["docker", "tag", made[1], f"{at.ref('mine')}:kept"], check=True)
    said = at.engine.prune(Prune(0.0, 1, keep=(made[0],)), at.work())
    assert re.search(r"removed \d+ images, reclaimed [\d.]+[kM]?B", said)  # others may have left some, too
    assert sorted(tags(at)) == sorted([made[0], made[1], made[3]])


def test_what_is_not_old_stays(at: Workspace) -> None:
    made = builds(at, 2)
    assert at.engine.prune(Prune(DAY, 0), at.work()) == ""
    assert sorted(tags(at)) == sorted(made)


def test_what_a_container_runs_stays(at: Workspace) -> None:
    (made,) = builds(at, 1)
    name = at.ref("runs")
    subprocess.run(["docker", "run", "-d", "--name", name, "--network", "none", made, "sleep", "60"], check=True)
    try:
        at.engine.prune(Prune(0.0, 0), at.work())
        assert tags(at) == [made]
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True)


def test_what_others_built_stays(at: Workspace) -> None:
    name = f"{at.ref('web')}:other"
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], input="FROM scratch\nLABEL a=b\n", check=True, text=True)
    try:
        at.engine.prune(Prune(0.0, 0), at.work())
        assert tags(at) == [name]
    finally:
        subprocess.run(["docker", "rmi", "-f", name], check=True)
