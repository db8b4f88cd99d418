"""Short storms on every engine: at rest the container has what the folder has. The long one is `make storm`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storm import storm as storms
from tests.storm import weather
from tests.storm.storm import Storm
from tests.support.disks import small_disk

ENGINES = [
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.compose]),
    pytest.param("sandbox"),
]
pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture(params=ENGINES)
def storm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storm]:
    """A project that is up."""
    folder = tmp_path / f"storm{abs(hash(request.node.name)) % 10**8}"
    folder.mkdir()
    made = Storm(folder, request.param)
    made.up()
    yield made
    made.close()


def test_nothing_is_lost_in_a_storm(storm: Storm) -> None:
    for seed in (1, 2, 3):
        print(f"seed {seed}")  # noqa: T201 - what failed is to be known
        storm.round(weather.script(seed, 150, faults=True))


@pytest.mark.docker  # whoever may run a Docker daemon may mount
@pytest.mark.compose
@pytest.mark.parametrize("rules", ["", "initial_sync(), "], ids=["changes", "initial_sync"])
@pytest.mark.parametrize("engine", ["docker", "sandbox"])
def test_nothing_is_lost_when_the_disk_fills_and_is_freed(engine: str, rules: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", weather.DISK_KB) as disk:
        storm = Storm(_made(tmp_path / f"full{abs(hash((engine, rules))) % 10**8}"), engine, disk=disk, rules=rules)
        try:
            storm.up()
            full = (weather.Op("write", "a/b", number=7), weather.Op("full"), weather.Op("full"))
            writes = tuple(weather.Op("write", f"c/n{number}", number=number) for number in range(40))
            storm.round((full, writes))
            print("seed 4")  # noqa: T201 - what failed is to be known
            storm.round(weather.script(4, 120, faults=True, kinds=weather.DISK_FAULTS))
        finally:
            storm.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_nothing_is_lost_where_it_once_was(storm: Storm) -> None:
    for name, script in storms.kept().items():
        print(name)  # noqa: T201 - what failed is to be known
        storm.round(script)


def test_a_storm_can_fail(storm: Storm) -> None:
    """What the others rely on: a difference is seen, whichever kind it is."""
    (storm.tree / "file").write_text("one\n")
    storm._rest()
    storm.project.in_container("sh", "-c", "cd /app/src; echo two >file; chmod 600 file; mkdir -p extra; ln -s x link")
    here, there = storms.local_tree(storm.tree), storm._container_tree()
    found = storms.differences(here, there)
    assert "still has extra" in found
    assert "still has link" in found
    assert "file is" in found
    assert here["file"][1] != there["file"][1]
