"""Which pods belong to what a resource has applied: by who owns them, or by their labels.

Asks the cluster for owners it does not know yet, on the thread of whoever asks; one cache per cluster, as neither the
owners of an object nor the time it was made ever change.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ipytilt.core.spec import Kubernetes
from ipytilt.core.steps import Applied
from ipytilt.engines.kubernetes.client import Client, Document, Refused
from ipytilt.engines.kubernetes.kinds import Kinds
from ipytilt.engines.kubernetes.pods import TEMPLATE_LABEL

_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Owned:
    """An object in a chain of owners: which kind, when it was made, and the uids and kinds of those that own it."""

    uid: str
    kind: str
    created_at: str
    owners: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Belonging:
    """A pod that belongs to a resource: `ancestor` is the uid of what was applied, or "" if its labels say so."""

    pod: Document
    ancestor: str = ""
    replica_set: Owned | None = None


class Owners:
    """Chains of owners in one cluster. All methods may be called from any thread; they raise Unavailable."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[str, Owned] = {}
        self._kinds = Kinds(client)

    def chain(self, document: Document, until: Collection[str]) -> tuple[Owned, ...]:
        """The object and those it belongs to, nearest first, as far as the first of the uids in `until`."""
        metadata = document["metadata"]
        return self._above(_owned(document, document.get("kind") or "Pod"), metadata.get("namespace") or "", until)

    def chain_of(self, reference: Document, until: Collection[str]) -> tuple[Owned, ...]:
        """As `chain`, for the object that an event is about."""
        uid, namespace = str(reference.get("uid") or ""), str(reference.get("namespace") or "")
        version, kind = str(reference.get("apiVersion") or "v1"), str(reference.get("kind") or "")
        if uid in until:
            return (Owned(uid, kind, ""),)
        return self._above(
            self._find((uid, version, kind, str(reference.get("name") or "")), namespace), namespace, until
        )

    def _above(self, first: Owned, namespace: str, until: Collection[str]) -> tuple[Owned, ...]:
        chain, todo = [first], list(first.owners)
        while chain[-1].uid not in until and todo and len(chain) < _DEEPEST:
            uid, version, kind, name = todo.pop(0)
            is_known_by_uid = uid in until and kind != "ReplicaSet"  # of a replica set its age counts, too
            owner = Owned(uid, kind, "") if is_known_by_uid else self._find((uid, version, kind, name), namespace)
            chain.append(owner)
            todo = list(owner.owners) or todo
        return tuple(chain)

    def _find(self, reference: tuple[str, str, str, str], namespace: str) -> Owned:
        """An owner; one that cannot be found is taken for one that nobody owns, and not looked for again."""
        uid, version, kind, name = reference
        with self._lock:
            known = self._known.get(uid)
        if known is not None:
            return known
        document: Any = None
        try:
            place = self._kinds.place(version, kind)
            if place is not None and name:
                document = self._client.call("GET", place.path(namespace, name))
        except Refused:  # it is not there any more, or not ours to read
            document = None
        is_it = bool(document) and document["metadata"]["uid"] == uid
        found = _owned(document, kind) if is_it else Owned(uid, kind, "")
        with self._lock:
            return self._known.setdefault(uid, found)


def belonging(
    documents: Iterable[Document], target: Kubernetes, applied: Applied, *, owners: Owners
) -> tuple[Belonging, ...]:
    """The pods among `documents` that belong to what was applied, and do so still. Raises Unavailable."""
    uids = frozenset(ref.uid for ref in applied.objects if ref.uid)
    found = [_belonging(pod, target, uids, owners=owners) for pod in documents]
    mine = [one for one in found if one is not None and _is_current(one.pod, applied)]
    return tuple(one for one in mine if _is_newest(one, mine))


def _belonging(pod: Document, target: Kubernetes, uids: frozenset[str], *, owners: Owners) -> Belonging | None:
    if target.discovery_strategy != "selectors-only":
        chain = owners.chain(pod, uids)
        if chain[-1].uid in uids:
            replica_set = next((one for one in chain[1:] if one.kind == "ReplicaSet"), None)
            return Belonging(pod, chain[-1].uid, replica_set)
    labels = (pod["metadata"].get("labels") or {}).items()
    if any(labels >= set(selector) for selector in target.extra_pod_selectors if selector):
        return Belonging(pod)
    return None


def _is_current(pod: Document, applied: Applied) -> bool:
    """What made it is what was applied last, as far as it says."""
    template = (pod["metadata"].get("labels") or {}).get(TEMPLATE_LABEL)
    return not template or not applied.templates or template in applied.templates


def _is_newest(one: Belonging, mine: Sequence[Belonging]) -> bool:
    """No pod of the same ancestor is of a newer replica set."""
    made = one.replica_set.created_at if one.replica_set else ""
    others = [other.replica_set for other in mine if other.ancestor == one.ancestor and other.replica_set]
    return not made or all(other.created_at <= made for other in others)


def _owned(document: Document, kind: str) -> Owned:
    metadata = document["metadata"]
    references = sorted(metadata.get("ownerReferences") or (), key=lambda one: not one.get("controller"))
    owners = tuple((one["uid"], one["apiVersion"], one["kind"], one["name"]) for one in references)
    return Owned(metadata["uid"], kind, metadata.get("creationTimestamp") or "", owners)
