"""Brings one object to what its document says, whatever is in the way.

Runs on the threads of `engines.kubernetes.deploy`. As `kubectl apply`: what is new is created, what is there is patched
(see `merge`), with the document in an annotation for the next time; or by the API server itself, if the Tiltfile asks
for server-side apply. What cannot be changed is deleted and made anew; what is too large for the annotation is
replaced.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from ipytilt.core import manifests
from ipytilt.core.steps import ObjectRef
from ipytilt.engines.base import Work
from ipytilt.engines.kubernetes import merge
from ipytilt.engines.kubernetes.client import ENGINE, Client, Refused
from ipytilt.engines.kubernetes.fields import at
from ipytilt.engines.kubernetes.kinds import Kinds, Place
from ipytilt.errors import Rejected, Unavailable

MANAGER = "tilt"
BACKGROUND = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
"""Delete at once; what belongs to the object follows."""

_LOOK_SECONDS = 0.25
_RECREATE_SECONDS = 30.0
_LEAVING_SECONDS = 60.0
_IMMUTABLE = re.compile(r"\b(is|are) immutable|Forbidden: |(may |can)not (be )?(change|update)")
_TOO_LARGE = re.compile(r"metadata\.annotations: Too long|request is too large|Request entity too large")
_RACES = re.compile(r"the object has been modified|is being deleted")
_NO_ACCOUNT = re.compile(r'serviceaccount "default" not found')  # a namespace gets it a moment after it was made
_RACE = (404, 409)
_ALSO_TYPED = ("apiextensions.k8s.io", "apiregistration.k8s.io")


class Upsert:
    """One object on its way into the cluster; `seconds` is what each attempt may take."""

    def __init__(self, client: Client, kinds: Kinds, work: Work, *, seconds: float, server_side: bool) -> None:
        self._client = client
        self._kinds = kinds
        self._work = work
        self._seconds = seconds
        self._server_side = server_side
        self._deadline = 0.0

    def run(self, document: dict[str, Any], *, anew: bool = False) -> dict[str, Any]:
        """Apply a document; the object as it then is. With `anew`, one that is there is replaced by a new one.

        Raises Refused with the server's words, Rejected if it takes too long or there is no such kind, Unavailable.
        """
        self._deadline = time.monotonic() + self._seconds
        identity = manifests.identity(document)
        place = self._kinds.place(identity.api_version, identity.kind)
        if place is None:
            message = f'no matches for kind "{identity.kind}" in version "{identity.api_version}"'
            raise Refused(message, status=404, reason="NoKind")
        document = _placed(document, place, self._client.context.namespace)
        if not identity.name:
            return self._create(document, place)
        if anew:
            self._delete(document, place)
        tried = False
        while True:
            try:
                return self._escalating(document, place)
            except Refused as refused:
                early = _NO_ACCOUNT.search(refused.message) and time.monotonic() < self._deadline
                race = refused.status in _RACE or _RACES.search(refused.message)
                if not early and (tried or not race):
                    raise
                tried = tried or not early
            rest(self._work, _LOOK_SECONDS)

    def _escalating(self, document: dict[str, Any], place: Place) -> dict[str, Any]:
        name = manifests.identity(document).name
        try:
            return self._apply(document, place)
        except Refused as refused:
            if _TOO_LARGE.search(refused.message):
                way, what = self._replace, "Attempting to create or replace"
            elif refused.status == 422 and _IMMUTABLE.search(refused.message):
                way, what = self._recreate, "Attempting to delete and re-create"
            else:
                raise
            self._work.log(f'Updating "{name}" failed: {refused.message}\n{what}')
        found = way(document, place)
        self._work.log(f'Updating "{name}" succeeded!')
        return found

    def _apply(self, document: dict[str, Any], place: Place) -> dict[str, Any]:
        current = self._current(document, place)
        if current is not None and at(current, "metadata", "deletionTimestamp"):
            name = manifests.identity(document).name
            self._work.log(f'Waiting for "{name}" to be gone: it is being deleted')
            self._gone(document, place, current, _LEAVING_SECONDS)
            current = None
        if self._server_side:
            return self._ask("PATCH", document, place, body=document, content_type="application/apply-patch+yaml")
        wanted = merge.annotated(document)
        if current is None:
            return self._create(wanted, place)
        before = merge.last_applied(current)
        identity = manifests.identity(document)
        if identity.is_built_in or identity.group in _ALSO_TYPED:
            patch, content_type = merge.strategic_patch(before, document), merge.STRATEGIC
        else:
            patch, content_type = merge.plain_patch(before, document), merge.PLAIN
        notes = {**(patch["metadata"].get("annotations") or {}), merge.LAST_APPLIED: merge.last_text(wanted)}
        patch["metadata"] = {**patch["metadata"], "annotations": notes}
        return self._ask("PATCH", document, place, body=patch, content_type=content_type)

    def _create(self, document: dict[str, Any], place: Place) -> dict[str, Any]:
        return self._ask("POST", document, place, body=document)

    def _replace(self, document: dict[str, Any], place: Place) -> dict[str, Any]:
        """Create it, or put it in the place of the one that is there, without a note of what was applied."""
        current = self._current(document, place)
        if current is None:
            return self._create(document, place)
        about = {**document["metadata"], "resourceVersion": at(current, "metadata", "resourceVersion")}
        return self._ask("PUT", document, place, body={**document, "metadata": about})

    def _recreate(self, document: dict[str, Any], place: Place) -> dict[str, Any]:
        self._delete(document, place)
        return self._create(document if self._server_side else merge.annotated(document), place)

    def _delete(self, document: dict[str, Any], place: Place) -> None:
        """Delete the object and wait until it is gone; there may be none."""
        current = self._current(document, place)
        if current is not None:
            try:
                self._ask("DELETE", document, place, body=BACKGROUND)
            except Refused as refused:
                if refused.status != 404:
                    raise
            self._gone(document, place, current, _RECREATE_SECONDS)

    def _gone(self, document: dict[str, Any], place: Place, known: dict[str, Any], seconds: float) -> None:
        """Wait until an object is gone; that takes nothing from the time of the attempt."""
        began, left, uid = time.monotonic(), self._deadline - time.monotonic(), at(known, "metadata", "uid")
        while (current := self._current(document, place)) is not None and at(current, "metadata", "uid") == uid:
            if time.monotonic() > began + seconds:
                held = at(current, "metadata", "finalizers")
                hint = f"its finalizers hold it: {', '.join(held)}" if held else "see what holds it: kubectl describe"
                raise Rejected(f"it is still being deleted after {seconds:.0f} s", engine=ENGINE, hint=hint)
            rest(self._work, _LOOK_SECONDS)
            self._deadline = time.monotonic() + left

    def _current(self, document: dict[str, Any], place: Place) -> dict[str, Any] | None:
        try:
            return self._ask("GET", document, place)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def _ask(
        self,
        method: str,
        document: dict[str, Any],
        place: Place,
        *,
        body: object = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One request about the object; Rejected if the time is over."""
        self._work.check()
        identity = manifests.identity(document)
        path = place.path(identity.namespace, "" if method == "POST" else identity.name)
        query = [("fieldManager", MANAGER)] if method in ("POST", "PUT", "PATCH") else []
        query += [("force", "true")] if content_type.startswith("application/apply") else []
        left = self._deadline - time.monotonic()
        try:
            if left > 0:
                found = self._client.call(method, path, query=query, body=body, content_type=content_type, timeout=left)
                return found if isinstance(found, dict) else {}
        except Unavailable:
            if time.monotonic() < self._deadline:
                raise
        hint = f"update_settings(k8s_upsert_timeout_secs={2 * self._seconds:.0f}) gives it more time"
        raise Rejected(f"it took longer than {self._seconds:.0f} s", engine=ENGINE, hint=hint)


def rest(work: Work, seconds: float) -> None:
    """Do nothing for a while. Raises Cancelled as soon as the work is no longer wanted."""
    over = threading.Event()
    with work.on_cancel(over.set):
        over.wait(seconds)
    work.check()


def ref_of(found: dict[str, Any]) -> ObjectRef:
    """What an object in the cluster is called, with its uid."""
    identity = manifests.identity(found)
    uid = str(at(found, "metadata", "uid") or "")
    return ObjectRef(identity.api_version, identity.kind, identity.name, identity.namespace, uid)


def _placed(document: dict[str, Any], place: Place, default: str) -> dict[str, Any]:
    """The document with the namespace it is to be in, or without one."""
    about = dict(document.get("metadata") or {})
    namespace = about.pop("namespace", "") or default
    return {**document, "metadata": {**about, "namespace": namespace} if place.namespaced else about}
