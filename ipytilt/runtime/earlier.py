"""Images that an earlier session built, and whether its containers may go on running them.

A session that finds a container which was updated live could build its image anew, and would lose the container over
files that are in it already. If all that changed since that image was built is what live updates bring, the container
stays with its image, which is then *stale*, and is compared with the files instead.

What is needed for that is one file per image in the user's cache folder, written on the worker's thread after a build:
the definition of the image, and what stood in its build context. Any thread may call; nothing else is kept.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeAlias

from ipytilt.core.live import mapped
from ipytilt.core.paths import Matcher
from ipytilt.core.spec import DockerBuild, Image, LiveUpdate
from ipytilt.core.steps import Built, Container
from ipytilt.engines.cache import make_room
from ipytilt.engines.context import walk

KEPT_IMAGES = 100
"""How many images are remembered, those built last."""
KEPT_FILES = 20_000
"""An image with more files in its context is not remembered."""

Files: TypeAlias = Mapping[str, list[int]]
"""Path of each file of a build context -> what tells whether it changed."""


class Earlier:
    """The records of one folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def note(self, image: Image, built: Built, files: Files) -> None:
        """The image was built while its context held `files`. Raises OSError."""
        if len(files) > KEPT_FILES:
            return
        make_room(self._folder, KEPT_IMAGES)
        path = self._path(image)
        temporary = f"{path}.{secrets.token_hex(4)}"
        with open(temporary, "w", encoding="ascii") as file:
            json.dump({"image": _definition(image), "built": asdict(built), "files": files}, file)
        os.replace(temporary, path)

    def usable(self, image: Image, running: Collection[Container]) -> Built | None:
        """What an earlier session built, if one of these containers runs it and live updates bring what changed since.

        It is `stale` if anything did.
        """
        record = self._read(image)
        if record is None or record["image"] != _definition(image):
            return None
        built = Built(**record["built"])
        before, now = record["files"], context_files(image)
        changed = tuple(path for path in {**before, **now} if before.get(path) != now.get(path))
        sorted_out = mapped(image.live_update or LiveUpdate(base="/"), changed)
        if sorted_out.unmatched or sorted_out.stopped or built.digest not in {one.image for one in running}:
            return None
        return Built(built.ref, built.local_ref, built.digest, stale=bool(changed))

    def gone(self, image: Image, digest: str) -> frozenset[str]:
        """The files that an image of that digest was built with and that are not here any more."""
        record = self._read(image)
        if record is None or record["built"]["digest"] != digest:
            return frozenset()
        return frozenset(path for path in record["files"] if not os.path.lexists(path))

    def _read(self, image: Image) -> dict[str, Any] | None:
        with suppress(OSError, ValueError), open(self._path(image), encoding="ascii") as file:
            found: dict[str, Any] = json.load(file)
            return found
        return None

    def _path(self, image: Image) -> str:
        name = f"{_context(image)}:{image.ref}".replace("%", "%25").replace("/", "%2F")
        return os.path.join(self._folder, name[-200:])


def context_files(image: Image) -> Files:
    """What stands in the build context of an image now. Raises OSError for what cannot be read."""
    found = walk(_context(image), Matcher(image.context_ignores)) if _context(image) else ()
    return {
        one.path: [one.status.st_mode, one.status.st_size, one.status.st_mtime_ns, one.status.st_ino]
        for one in found
        if not one.is_directory
    }


def _context(image: Image) -> str:
    return image.build.context if isinstance(image.build, DockerBuild) else ""


def _definition(value: object) -> Any:
    """What makes an image what it is, without where it was said; bare build arguments with their values."""
    if isinstance(value, DockerBuild):
        from_here = {name: os.environ.get(name) for name in value.args if "=" not in name}
        return [_fields(value), from_here]
    if is_dataclass(value):
        return _fields(value)
    return [_definition(one) for one in value] if isinstance(value, tuple) else value


def _fields(value: Any) -> dict[str, Any]:
    return {one.name: _definition(getattr(value, one.name)) for one in fields(value) if one.compare}
