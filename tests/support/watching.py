"""What tests of the watcher share: a watcher that remembers, and a tree to write in."""

from __future__ import annotations

import time
from pathlib import Path

from ipytilt.core.batch import Pace
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from ipytilt.runtime.inotify import InotifyTree
from ipytilt.runtime.watcher import MayDrop, Watcher
from tests.support.waiting import eventually

WITHIN = 20.0
_MARKER = "marker-"


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class Eye:
    """A watcher and all it said."""

    def __init__(self, pace: Pace | None = None, may_drop: MayDrop = lambda _: False) -> None:
        self.posts: list[tuple[str, tuple[str, ...]]] = []
        self.problems: dict[str, str] = {}
        self.watcher = Watcher(
            lambda name, paths, at: self.posts.append((name, paths)), self._problem, pace=pace, may_drop=may_drop
        )
        self._markers = 0

    def _problem(self, watch: str, text: str) -> None:
        self.problems[watch] = text

    def watch(self, *watches: Watch) -> None:
        """Watch exactly these, and wait until they are in sight."""
        self.watcher.set_watches({watch.name: watch for watch in watches}, time.time_ns())
        assert self.watcher.ready(WITHIN)

    def on(self, *roots: Path, ignores: tuple[Ignore, ...] = ()) -> None:
        """Watch these roots as "w"."""
        self.watch(Watch("w", tuple(map(str, roots)), ignores))

    def seen(self, watch: str = "w") -> set[str]:
        return {path for name, paths in self.posts if name == watch for path in paths}

    def sees(self, *paths: Path, watch: str = "w") -> None:
        """Wait until all these paths were posted."""
        wanted = set(map(str, paths))
        eventually(lambda: wanted <= self.seen(watch), WITHIN)

    def sees_only(self, *paths: Path, marker: Path) -> None:
        """Wait until all that happened so far was posted, and compare; `marker` is a watched directory to write in."""
        self._markers += 1
        path = marker / f"{_MARKER}{self._markers}"
        path.write_text("")
        self.sees(path)
        seen = {path for path in self.seen() if not Path(path).name.startswith(_MARKER)}
        assert seen - {str(marker)} == set(map(str, paths))
        self.posts.clear()

    @property
    def kernel_watches(self) -> int:
        assert isinstance(self.watcher._main, InotifyTree)
        return self.watcher._main.kernel_watches
