"""What `kubectl apply` sends: a patch that brings an object to what a document says and leaves alone what others set.

Pure. The document is compared with what was applied last, which the object carries in an annotation: what was there
then and is gone now is removed, everything else of the document is sent, and the API server merges. Kinds that
Kubernetes itself defines have lists that are merged entry by entry; what tells their entries apart is part of its
interface and the same in every version. The lists of all other kinds are replaced as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

STRATEGIC = "application/strategic-merge-patch+json"
PLAIN = "application/merge-patch+json"

_KEYS = {
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),  # of a container, of a Service
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "webhooks": ("name",),
}
"""Field -> what tells the entries of its list apart. Lists of other names are replaced as a whole."""

_EXCLUSIVE = ("strategy", "volumes")
"""Fields whose maps hold one alternative of several: what the document does not name has to go."""


def annotated(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with itself in the annotation that the next apply compares with."""
    about = dict(document.get("metadata") or {})
    notes = {name: text for name, text in (about.get("annotations") or {}).items() if name != LAST_APPLIED}
    plain = {**document, "metadata": {**about, "annotations": notes}}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**document, "metadata": {**about, "annotations": {**notes, LAST_APPLIED: f"{text}\n"}}}


def last_text(wanted: Mapping[str, Any]) -> str:
    """The note in an annotated document."""
    return str(wanted["metadata"]["annotations"][LAST_APPLIED])


def last_applied(current: Mapping[str, Any]) -> dict[str, Any]:
    """What the object was applied from last; empty if it does not say."""
    text = ((current.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def plain_patch(before: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch: the document, and null for what `before` had besides."""
    patch: dict[str, Any] = {name: None for name in before if name not in document}
    for name, value in document.items():
        known = before.get(name)
        patch[name] = plain_patch(known if isinstance(known, Mapping) else {}, value) if _is_map(value) else value
    return patch


def strategic_patch(before: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A strategic merge patch: as a JSON merge patch, with lists merged entry by entry where the server does so."""
    patch: dict[str, Any] = {name: None for name in before if name not in document}
    for name, value in document.items():
        known = before.get(name)
        if _is_map(value):
            patch[name] = strategic_patch(known if isinstance(known, Mapping) else {}, value)
            if name in _EXCLUSIVE:
                patch[name]["$retainKeys"] = sorted(value)
        elif key := _key(name, value):
            patch |= _listed(name, key, known, value)
        else:
            patch[name] = value
        if name in _KEYS and value == [] and isinstance(known, list):
            patch.update(_emptied(name, known))
    return patch


def _listed(name: str, key: str, before: Any, entries: list[dict[str, Any]]) -> dict[str, Any]:
    if len({str(entry[key]) for entry in entries}) < len(entries):  # a server that merges would make one of them
        return {name: [*entries, {"$patch": "replace"}]}
    order = [{key: entry[key]} for entry in entries]
    return {name: _entries(name, key, before, entries), f"$setElementOrder/{name}": order}


def _entries(name: str, key: str, before: Any, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each entry with what was removed from it, and the order to delete those that are gone."""
    known = {old[key]: old for old in before if _is_map(old) and key in old} if isinstance(before, list) else {}
    found = []
    for entry in entries:
        patch = strategic_patch(known.get(entry[key], {}), entry)
        if name in _EXCLUSIVE:
            patch["$retainKeys"] = sorted(entry)
        found.append(patch)
    left = {entry[key] for entry in entries}
    return [*found, *({"$patch": "delete", key: value} for value in known if value not in left)]


def _emptied(name: str, before: list[Any]) -> dict[str, Any]:
    """An empty list says nothing to a server that merges: every entry there was is deleted by name."""
    key = _key(name, before)
    return {name: [{"$patch": "delete", key: entry[key]} for entry in before]} if key else {}


def _key(name: str, value: Any) -> str:
    """What tells the entries of this list apart; "" if it is replaced as a whole."""
    if not isinstance(value, list) or not value:
        return ""
    keys = _KEYS.get(name, ())
    return next((key for key in keys if all(_is_map(entry) and key in entry for entry in value)), "")


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
