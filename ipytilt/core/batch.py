"""Coalescing of file events: decides when a watch has rested long enough to report what changed.

Pure; time is passed in (seconds of any steady clock). The watcher's thread keeps one `Batch` per watch and sleeps until
the earliest `wake_at`.

A fixed rest makes every save wait for the worst case. Here the rest follows from what was seen: a file that was closed
after writing, renamed into place or deleted is complete, and alone it goes at once; so does a directory that was
removed, whatever was in it. A file still open, or several files together, wait for company; how long follows from the
pauses between them and from the time they have taken so far, so that a fast storm is over soon after its last file and
a slow one is kept together. The cap ends a batch whose events never rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipytilt.core.paths import is_below

_PAUSES = 2
_SHARE = 1 / 20


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of quiet before a batch is reported, and the most it may take.

    `lone` after at most `few` complete files, or a removed directory; else twice the longest pause between events, or a
    twentieth of the time since the first one if that is more, within `burst` and `storm`. `cap` from the first event
    on, whatever happens. `lone == burst == storm` gives one fixed rest.
    """

    lone: float = 0.003
    few: int = 3
    burst: float = 0.020
    storm: float = 0.200
    cap: float = 10.0


class Batch:
    """Changed paths of one watch since the last report. Its `pace` may be replaced at any time."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self._paths: set[str] = set()
        self._incomplete: set[str] = set()
        self._top = ""
        self._is_one_tree = False
        self._continued = False
        self._pause = 0.0
        self._first = 0.0
        self._last = 0.0
        self._reported = float("-inf")

    @property
    def wake_at(self) -> float | None:
        """When to ask `due` next; None while there is nothing to report."""
        if not self._paths:
            return None
        return min(self._last + self._rest, self._first + self.pace.cap)

    def add(self, paths: Mapping[str, bool], now: float) -> None:
        """Note events on `paths`; each says whether its file is complete (False: more is likely to come)."""
        if not paths:
            return
        if not self._paths:
            self._first = self._last = now
            self._pause = 0.0
            # A long operation whose first file was taken for a lone save gets no second one through that way.
            self._continued = now - self._reported < 2 * self.pace.lone
        self._pause = max(self._pause, now - self._last)
        self._last = max(self._last, now)
        for path, complete in paths.items():
            self._note(path)
            if complete:
                self._incomplete.discard(path)
            else:
                self._incomplete.add(path)

    def due(self, now: float) -> tuple[str, ...]:
        """The sorted paths, each once, if the batch has rested or hit the cap (it is empty then); else nothing."""
        wake_at = self.wake_at
        if wake_at is None or now < wake_at:
            return ()
        paths = tuple(sorted(self._paths))
        self._paths.clear()
        self._incomplete.clear()
        self._reported = now
        return paths

    def _note(self, path: str) -> None:
        """Add a path, and keep track of whether one of them has all the others below it."""
        if not self._paths or len(path) < len(self._top):
            self._top = path
            self._is_one_tree = all(is_below(known, path) for known in self._paths)
        else:
            self._is_one_tree = self._is_one_tree and is_below(path, self._top)
        self._paths.add(path)

    @property
    def _rest(self) -> float:
        pace = self.pace
        is_lone = len(self._paths) <= pace.few or self._is_one_tree
        if is_lone and not self._incomplete and not self._continued:
            return pace.lone
        return min(pace.storm, max(pace.burst, _PAUSES * self._pause, _SHARE * (self._last - self._first)))
