"""Where a cluster keeps the objects of a kind: its address, and whether they live in namespaces.

Callable from any thread. What the API server says of a group is remembered, and asked for anew when a kind is missing:
it may have been defined a moment ago.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ipytilt.core.steps import ObjectRef
from ipytilt.engines.kubernetes.client import Client, Refused


@dataclass(frozen=True, slots=True)
class Place:
    """The collection that the objects of a kind are in."""

    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """The path of the collection, or of one object in it."""
        within = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.root}{within}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


class Kinds:
    """The kinds of one cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[str, Mapping[str, Place]] = {}

    def place(self, api_version: str, kind: str) -> Place | None:
        """Where objects of a kind are; None if the cluster knows no such kind. Raises as `Client.call`."""
        with self._lock:
            known = self._known.get(api_version, {})
        if kind not in known:
            known = self._ask(api_version)
            with self._lock:
                self._known[api_version] = known
        return known.get(kind)

    def settled(self, ref: ObjectRef, default: str) -> ObjectRef | None:
        """The reference with the namespace the object really is in; None if the cluster knows no such kind."""
        place = self.place(ref.api_version, ref.kind)
        if place is None:
            return None
        namespace = (ref.namespace or default) if place.namespaced else ""
        return ObjectRef(ref.api_version, ref.kind, ref.name, namespace, ref.uid)

    def _ask(self, api_version: str) -> Mapping[str, Place]:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            said = self._client.call("GET", root, doing=f"asking the cluster for the kinds of {api_version}")
        except Refused as refused:
            if refused.status == 404:
                return {}
            raise
        return {str(one["kind"]): _place(root, one) for one in said["resources"] if "/" not in one["name"]}


def _place(root: str, resource: Mapping[str, Any]) -> Place:
    return Place(root, str(resource["name"]), bool(resource["namespaced"]))
