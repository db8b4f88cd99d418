"""Removes images of ours that nobody uses any more, with the stopped containers that ran them.

Runs on a worker thread. Only what carries our label is looked at, so nobody else's images are in danger; BuildKit
keeps its own cache within bounds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ipytilt.core.images import parse
from ipytilt.core.prune import Prune
from ipytilt.engines.base import Work
from ipytilt.engines.docker.builder import COLLECT_LABEL
from ipytilt.engines.docker.client import Daemon, seconds_of, translated
from ipytilt.errors import Rejected


def remove_old(daemon: Daemon, prune: Prune, work: Work) -> str:
    """See `base.Pruner.prune`."""
    removed = size = 0
    with daemon.api("removing old images") as api:
        filters = {"label": [COLLECT_LABEL]}
        containers = api.prune_containers({**filters, "until": f"{prune.max_age:.0f}s"}).get("ContainersDeleted") or []
        listed = [api.inspect_image(image["Id"]) for image in api.images(filters=filters)]
        for image in _old(listed, prune, now=time.time()):
            work.check()
            with suppress(Rejected), translated(""):  # a container runs it
                api.remove_image(image["RepoTags"][0])
                removed, size = removed + 1, size + int(image["Size"])
    found = [f"{len(containers)} containers"] if containers else []
    found += [f"{removed} images, reclaimed {_size_text(size)}"] if removed else []
    return f"removed {', '.join(found)}" if found else ""


def _old(images: list[Any], prune: Prune, *, now: float) -> Iterator[Any]:
    """Those to remove: of each name all but the newest, as far as they are old. What has several tags is somebody's."""
    by_name: dict[str, list[tuple[float, Any]]] = defaultdict(list)
    for image in images:
        tags = image["RepoTags"] or []
        if len(tags) == 1 and tags[0] not in prune.keep:
            by_name[parse(tags[0]).name].append((_used_at(image), image))
    for found in by_name.values():
        found.sort(key=lambda one: one[0], reverse=True)
        yield from (image for used_at, image in found[prune.keep_recent :] if used_at <= now - prune.max_age)


def _used_at(image: Any) -> float:
    """When it was tagged last, in seconds since the epoch; building it again from the cache tags it again."""
    return seconds_of(str((image.get("Metadata") or {}).get("LastTagTime") or "")) or seconds_of(str(image["Created"]))


def _size_text(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.4g}{unit}"
        value /= 1000
    return f"{value:.4g}GB"
