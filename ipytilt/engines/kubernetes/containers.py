"""Kubernetes' way into the containers of pods: programs run in them over the exec interface.

Called on worker threads and by the `Attach` threads of `engines.sessions`, which does live update on top of this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from ipytilt.core.steps import Container, Copy
from ipytilt.engines.base import Work
from ipytilt.engines.context import Archive
from ipytilt.engines.kubernetes.client import ENGINE, Clients, Document, Refused
from ipytilt.engines.kubernetes.exec import PodExec
from ipytilt.engines.kubernetes.names import Place, place_of
from ipytilt.engines.sessions import Exec, Sessions
from ipytilt.errors import Broke, EngineError, Rejected, Unavailable

# What kubelets and runtimes say of a container that is not there any more; the API may not know it yet.
_GONE = re.compile(
    r"(?i)container not found|not running|no running task|is paused|"
    r"(pod|container).* (does not exist|not found|exited|stopped)|cannot exec in a (stopped|deleted)"
)


class PodContainers:
    """Implements `base.Containers`, and `sessions.Transport` for it."""

    engine = ENGINE
    lasting = True

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.sessions = Sessions(self)

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """See `base.Containers`."""
        self.sessions.sync(where, copies, work)

    def differing(self, where: Container, copies: tuple[Copy, ...], work: Work) -> tuple[Copy, ...]:
        """See `base.Containers`."""
        return self.sessions.differing(where, copies, work)

    def exec(self, where: Container, argv: tuple[str, ...], work: Work) -> int:
        """See `base.Containers`."""
        return self.sessions.exec(where, argv, work)

    def restart(self, where: Container, work: Work) -> None:  # noqa: ARG002 - the port's signature
        """See `base.Containers`; a Tiltfile that asks for it was refused."""
        raise Rejected(
            "containers of pods cannot be restarted in place", engine=ENGINE, doing=f"restarting {where.name}"
        )

    # ------------------------------------------------------------------------------------ sessions.Transport

    def connect(self, container_id: str, argv: Sequence[str], *, stdin: bool) -> Exec:
        """See `sessions.Transport`."""
        place = place_of(container_id)
        try:
            running = PodExec(self._clients.of(place.context), place, argv, stdin=stdin)
        except (Refused, Unavailable) as error:
            raise self._explained(error, place) from error
        try:
            # The way leads by names: another pod, or another run of the container, may have them by now.
            gone = self.gone(container_id)
        except EngineError:
            running.close()
            raise
        if gone:
            running.close()
            raise Broke(gone, engine=ENGINE)
        return running

    def gone(self, container_id: str) -> str:
        """See `sessions.Transport`."""
        place = place_of(container_id)
        path = f"/api/v1/namespaces/{quote(place.namespace)}/pods/{quote(place.pod)}"
        try:
            pod = self._clients.of(place.context).call("GET", path, doing=f"looking at pod {place.pod}")
        except Refused as error:
            if error.status != 404:
                raise
            return "its pod is gone"
        return _gone(place, pod)

    def label(self, container_id: str) -> str:
        """See `sessions.Transport`."""
        place = place_of(container_id)
        return f"{place.pod}/{place.container}"

    def unpack(self, container_id: str, archive: Archive) -> None:  # noqa: ARG002 - the port's signature
        """See `sessions.Transport`: there is no other way into a pod."""
        problem = f"the image of container {self.label(container_id)} has no shell, or no tar and head to unpack files"
        hint = "put them into the image (busybox has all of them), or take its live_update out of the Tiltfile"
        raise Rejected(problem, engine=ENGINE, doing="copying files", hint=hint)

    def _explained(self, error: EngineError, place: Place) -> EngineError:
        """Why there is no way in, when it is the container that is not there."""
        if isinstance(error, Refused) and error.status == 404:
            return Broke(self.gone(place.id) or error.message, engine=ENGINE)
        if _GONE.search(error.message):
            return Broke(self.gone(place.id) or error.message, engine=ENGINE)
        return error


def _gone(place: Place, pod: Document) -> str:
    """What became of a container, by its pod as it is now; "" if it runs."""
    if pod["metadata"]["uid"] != place.uid:
        return "its pod was replaced by another of the same name"
    status = pod["status"]
    if status.get("phase") in ("Failed", "Succeeded"):
        return f"its pod is over ({status.get('reason') or status['phase']})"
    statuses: Mapping[str, Document] = {one["name"]: one for one in status.get("containerStatuses") or ()}
    found = statuses.get(place.container, {})
    state = found.get("state") or {}
    if "running" not in state:
        reason = next((said["reason"] for said in state.values() if said.get("reason")), "")
        return f"it does not run ({reason})" if reason else "it does not run"
    return "" if found.get("containerID") == place.run else "it was started anew"
