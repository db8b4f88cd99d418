"""Old spec, new spec -> what became of each resource.

Pure. `reduce` applies the verdicts when a Tiltfile load succeeds: an unchanged or merely re-labelled resource keeps
its track and costs nothing, a changed one is rebuilt, a replaced or removed one is taken down first.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ipytilt.core.spec import Resource, Spec


class Verdict(Enum):
    """What a reload means for one resource."""

    SAME = "same"
    DISPLAY = "display only"
    REBUILD = "rebuild"
    ADDED = "added"
    REPLACED = "replaced"
    REMOVED = "removed"


def compare(old: Spec, new: Spec) -> Mapping[str, Verdict]:
    """Verdict by resource name, for every name in either spec."""
    before = {r.name: r for r in old.resources}
    after = {r.name: r for r in new.resources}
    verdicts = {name: Verdict.REMOVED for name in before if name not in after}
    for name, resource in after.items():
        verdicts[name] = _verdict(old, new, before.get(name), resource)
    return verdicts


def changed_images(old: Spec, new: Spec) -> frozenset[str]:
    """References whose build is not what it was (or is gone): what was built for them no longer counts."""
    return frozenset(ref for ref, image in old.images.items() if new.images.get(ref) != image)


def _verdict(old: Spec, new: Spec, before: Resource | None, after: Resource) -> Verdict:
    if before is None:
        return Verdict.ADDED
    if before.kind != after.kind:
        return Verdict.REPLACED
    images_same = before.images == after.images and all(old.images.get(r) == new.images.get(r) for r in after.images)
    if before.target != after.target or not images_same:
        return Verdict.REBUILD
    return Verdict.SAME if before == after else Verdict.DISPLAY
