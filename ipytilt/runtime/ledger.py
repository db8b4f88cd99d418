"""What live updates brought into containers, kept on the disk for the session that finds them after this one.

A file in a container that is not here any more is only removed if it is known to have come from here: while the
session lives its journal of changes says so, for a container of an earlier session this does. One file per container
in the user's cache folder, a line for each update that brought or removed other files than those before it.

Workers note on their own threads what they are about to do (`later`), which costs next to nothing, and write it down
once their update is over. One lock guards the tables.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress

from ipytilt.engines.cache import make_room

KEPT_RECORDS = 100
"""How many containers are remembered, those written to last; most of the others are gone."""
KEPT_PATHS = 50_000
"""How many files are remembered of one container; what comes on top of them stays in it."""


class Ledger:
    """The records of one folder. Methods may be called from any thread."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._pending: list[tuple[str, str, tuple[str, ...]]] = []
        self._known: dict[str, set[str]] = {}
        self._owners: dict[str, str] = {}

    def brought(self, container_id: str) -> frozenset[str]:
        """Local paths of what is known to have been brought into a container, and not removed from it since.

        Another session may have had the container meanwhile: what is written down counts.
        """
        with self._lock:
            if os.path.exists(self._path(container_id)):
                self._known.pop(container_id, None)
            return frozenset(self._of(container_id))

    def later(self, resource: str, container_id: str, paths: Sequence[str]) -> None:
        """These local paths are about to be brought into, or removed from, a container of a resource."""
        self._pending.append((resource, container_id, tuple(paths)))

    def write(self) -> None:
        """Write down what was noted for `later`. Raises OSError; the session remembers all the same."""
        with self._lock:
            pending, self._pending = self._pending, []
            for resource, container_id, paths in pending:
                self._owners[container_id] = resource
                self._note(container_id, paths)
            for container_id in list(self._known)[:-KEPT_RECORDS]:  # those of pods are not said to be gone
                del self._known[container_id]
                self._owners.pop(container_id, None)

    def forget(self, resource: str, *, but: Collection[str] = ()) -> None:
        """The containers of a resource are gone, all `but` these."""
        with self._lock:
            gone = [each for each, owner in self._owners.items() if owner == resource and each not in but]
            for container_id in gone:
                del self._owners[container_id]
                self._known.pop(container_id, None)
                with suppress(FileNotFoundError):
                    os.unlink(self._path(container_id))

    def _note(self, container_id: str, paths: tuple[str, ...]) -> None:
        known = self._of(container_id)
        here = {path for path in paths if os.path.lexists(path)}
        come, gone = here - known, known.intersection(paths) - here
        if len(known) + len(come) > KEPT_PATHS:
            come = set()
        if not come and not gone:
            return
        known |= come
        known -= gone
        path = self._path(container_id)
        if not os.path.exists(path):
            make_room(self._folder, KEPT_RECORDS)
        with open(path, "a", encoding="ascii") as file:
            file.write("\n" + json.dumps([sorted(come), sorted(gone)]))  # whatever the line before ended like

    def _of(self, container_id: str) -> set[str]:
        """What is known of a container, read once; a line cut off by the end of a kernel is passed over."""
        known = self._known.get(container_id)
        if known is None:
            known = self._known[container_id] = set()
            with suppress(FileNotFoundError), open(self._path(container_id), encoding="ascii") as file:
                for line in file:
                    with suppress(ValueError):
                        come, gone = json.loads(line)
                        known.update(come)
                        known.difference_update(gone)
        return known

    def _path(self, container_id: str) -> str:
        return os.path.join(self._folder, re.sub(r"[^\w.-]", "_", container_id)[-200:])
