"""How a resource is doing, as data: what `session["api"].status` is.

Runs on the caller's thread; reads the newest snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipytilt.core import status
from ipytilt.core.spec import Resource
from ipytilt.runtime.session import Session


@dataclass(frozen=True, slots=True)
class Status:
    """How a resource is doing now.

    `update` and `runtime` are Tilt's words ("ok", "error", "pending", "in_progress", "none", ...), `text` says it for
    people; `waits_for` is why an update is held, `waits_on` whom for. `endpoints` are URLs.
    """

    resource: str
    kind: str
    update: str
    runtime: str
    text: str
    ready: bool
    up_to_date: bool
    has_pending_changes: bool
    waits_for: str = ""
    waits_on: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()


def status_of(session: Session, resource: Resource) -> Status:
    """As of now; secrets are left out."""
    state = session.state
    update, running = status.update_status(state, resource), status.runtime_status(state, resource)
    hold = state.holds.get(resource.name)
    return Status(
        resource.name,
        resource.kind,
        update.word,
        running.word,
        session.logs.scrub(", ".join(filter(None, (update.text, running.text)))),
        ready=status.is_ready(state, resource),
        up_to_date=status.is_up_to_date(state, resource),
        has_pending_changes=status.has_pending_changes(state, resource),
        waits_for=hold.text if hold else "",
        waits_on=hold.on if hold else (),
        endpoints=tuple(endpoint.url for endpoint in status.endpoints(state, resource)),
    )
