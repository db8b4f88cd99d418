"""Takes objects out of a cluster: what left the Tiltfile, what is switched off, what a forced update begins with.

Runs on worker threads. Deletions are sent and not waited for; whoever applies again copes with what is still leaving.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ipytilt.core import manifests
from ipytilt.core.steps import ObjectRef
from ipytilt.engines.base import Work
from ipytilt.engines.kubernetes.client import ENGINE, Client, Refused
from ipytilt.engines.kubernetes.fields import at
from ipytilt.engines.kubernetes.kinds import Kinds
from ipytilt.engines.kubernetes.parallel import each
from ipytilt.engines.kubernetes.upsert import BACKGROUND
from ipytilt.errors import Rejected

_POLICY = "tilt.dev/down-policy"


class Removal:
    """Deletes objects of one cluster."""

    def __init__(self, client: Client, kinds: Kinds, work: Work) -> None:
        self._client = client
        self._kinds = kinds
        self._work = work

    def remove(self, refs: Iterable[ObjectRef], *, keep: Iterable[ObjectRef] = (), forced: bool = False) -> None:
        """Delete what is there of `refs` and not among `keep`, the last applied first.

        What carries the annotation that protects it stays, unless `forced`. Everything is tried; then Rejected names
        what could not be deleted, or Unavailable is raised.
        """
        kept = {ref.key for ref in self.settled(keep)}
        leaving = [ref for ref in self.settled(refs) if ref.key not in kept and ref.name]
        if not leaving:
            return
        problems: list[str] = []
        ranked = sorted(leaving, key=_rank, reverse=True)
        self._work.log("Deleting kubernetes objects:")
        for _, batch in groupby(ranked, key=_rank):
            answers = each(lambda ref: self._delete(ref, forced=forced), list(batch), self._work, go_on=True)
            problems += filter(None, answers)
        if problems:
            raise Rejected("\n".join(problems), engine=ENGINE, doing="deleting Kubernetes objects")

    def settled(self, refs: Iterable[ObjectRef]) -> Iterator[ObjectRef]:
        """Each with the namespace it is really in; those of kinds that the cluster does not know are gone with them."""
        default = self._client.context.namespace
        return (found for ref in refs if (found := self._kinds.settled(ref, default)) is not None)

    def _delete(self, ref: ObjectRef, *, forced: bool) -> str:
        """Delete one object; what went wrong, or ""."""
        place = self._kinds.place(ref.api_version, ref.kind)
        if place is None:
            return ""
        path, doing = place.path(ref.namespace, ref.name), f"deleting {ref.kind} {ref.name}"
        try:
            if not forced and is_protected(self._client.call("GET", path, doing=doing)):
                self._work.log(f"→ {ref.kind}/{ref.name} stays: it is annotated {_POLICY}: keep")
                return ""
            self._client.call("DELETE", path, body=BACKGROUND, doing=doing)
        except Refused as refused:
            return "" if refused.status == 404 else f"{ref.kind} {ref.name}: {refused.message}"
        self._work.log(f"→ {ref.kind}/{ref.name}")
        return ""


def is_protected(document: Any) -> bool:
    """The user has said that the object is to stay."""
    return bool(at(document, "metadata", "annotations", _POLICY) == "keep")


def without_namespaces(refs: Sequence[ObjectRef], work: Work) -> list[ObjectRef]:
    """All but the namespaces, which hold more than the resource's own; it is said that they stay."""
    kept = [ref.name for ref in refs if _is_namespace(ref)]
    if kept:
        work.log(f"Not deleting namespaces: {', '.join(kept)} (--delete-namespaces deletes them)")
    return [ref for ref in refs if not _is_namespace(ref)]


def unused(refs: Sequence[ObjectRef], others: Iterable[ObjectRef], work: Work) -> list[ObjectRef]:
    """All but the namespaces that any of the others is in."""
    used = {ref.namespace for ref in others}
    kept = [ref for ref in refs if _is_namespace(ref) and ref.name in used]
    if kept:
        work.log(f"Not deleting namespaces that are in use: {', '.join(ref.name for ref in kept)}")
    return [ref for ref in refs if ref not in kept]


def _is_namespace(ref: ObjectRef) -> bool:
    return ref.kind == "Namespace" and ref.api_version == "v1"


def _rank(ref: ObjectRef) -> int:
    return manifests.apply_rank({"kind": ref.kind})
