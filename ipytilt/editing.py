"""Help while a cell is being written: what TAB offers and Shift-Tab shows inside `%%tiltfile`, and `docker_build?`.

Called by the magics on the thread that answers the front end, and imported at the first such question. Reads the
newest snapshot, lists a folder, reads a loaded file; starts nothing, evaluates nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from itertools import islice

from ipytilt.core.events import Source
from ipytilt.core.manifests import container_images
from ipytilt.core.spec import Compose, DockerBuild, Kubernetes
from ipytilt.core.state import State
from ipytilt.tiltfile import completion, manual
from ipytilt.tiltfile.completion import MOST_FILES, Completion, Known
from ipytilt.tiltfile.lint import text_of

_MAGIC = re.compile(r"\s*(?:%%\w+[^\n]*\n\s*)*?%%tiltfile\b[^\n]*\n")
_WORKDIR = re.compile(r"^\s*WORKDIR\s+(/\S*)", re.MULTILINE | re.IGNORECASE)
_MOST_TEXT = 64_000  # characters of a Tiltfile whose names are offered


def complete(cell: str, offset: int, state: State | None, directory: str) -> Completion | None:
    """What may stand at the cursor of a cell; None if that is not within the text of a `%%tiltfile` cell."""
    start = _body(cell, offset)
    if start < 0:
        return None
    known = _known(state, directory)
    found = completion.complete(cell[start:], offset - start, known, listing=_listing, reading=_reading)
    return Completion(start + found.start, found.offers)


def describe(cell: str, offset: int, state: State | None, directory: str) -> str:
    """What can be read about what is at the cursor of a `%%tiltfile` cell; "" if nothing, or in another cell."""
    start = _body(cell, offset)
    return completion.describe(cell[start:], offset - start, _known(state, directory)) if start >= 0 else ""


def is_documented(name: str) -> bool:
    """Whether a Tiltfile may use this name without defining it."""
    return bool(manual.text(name))


def _body(cell: str, offset: int) -> int:
    """Where the text of a Tiltfile cell begins; -1 for other cells, and if the cursor is before it."""
    magic = _MAGIC.match(cell)
    return magic.end() if magic and magic.end() <= offset else -1


def _known(state: State | None, directory: str) -> Known:
    if state is None:
        return Known(directory=directory)
    spec = state.spec
    names = {kind: tuple(r.name for r in spec.resources if r.kind == kind) for kind in ("compose", "kubernetes")}
    return Known(
        texts=tuple(filter(None, (text_of(source, _MOST_TEXT) for source in state.load.good))),
        resources=tuple(resource.name for resource in spec.resources),
        services=names["compose"],
        workloads=names["kubernetes"],
        images=tuple(dict.fromkeys((*spec.images, *_deployed_images(state)))),
        labels=tuple(sorted({label for resource in spec.resources for label in resource.labels})),
        containers=tuple(dict.fromkeys(_container_paths(state))),
        directory=directory,
    )


def _deployed_images(state: State) -> Iterator[str]:
    """What services and workloads run, built here or not."""
    for resource in state.spec.resources:
        if isinstance(resource.target, Compose) and resource.target.image:
            yield resource.target.image
        elif isinstance(resource.target, Kubernetes):
            for document in resource.target.objects:
                yield from container_images(json.loads(document))


def _container_paths(state: State) -> Iterator[str]:
    """Where images keep their files, as far as Dockerfiles and syncs say."""
    for image in state.spec.images.values():
        if image.live_update:
            yield from (sync.container for sync in image.live_update.syncs)
        if isinstance(image.build, DockerBuild):
            yield from _WORKDIR.findall(image.build.dockerfile)


def _reading(path: str) -> str:
    return text_of(Source(path, path, "", None, path), _MOST_TEXT)


def _listing(folder: str) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, MOST_FILES):
                yield entry.name, entry.is_dir()
    except OSError:  # no such folder, or none of ours: nothing to offer
        return
