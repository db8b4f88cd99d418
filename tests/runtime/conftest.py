"""A watcher and a directory of its own for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.batch import Pace
from tests.support.watching import Eye


@pytest.fixture
def eye() -> Iterator[Eye]:
    """A watcher that posts what belongs together at once."""
    eye = Eye(Pace(lone=0.02, burst=0.02, storm=0.02))
    yield eye
    eye.watcher.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory with room beside it."""
    path = tmp_path / "root"
    path.mkdir()
    return path
