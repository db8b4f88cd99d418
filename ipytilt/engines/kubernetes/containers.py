"""Kubernetes' way into the containers of pods: programs run in them over the exec interface.

Called on worker threads and by the `Attach` threads of `engines.sessions`, which does live update on top of this.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipytilt.core.steps import Container, Copy
from ipytilt.engines.base import Work
from ipytilt.engines.context import Archive
from ipytilt.engines.kubernetes.client import ENGINE, Clients
from ipytilt.engines.sessions import Exec, Sessions
from ipytilt.errors import Rejected


class PodContainers:
    """Implements `base.Containers`, and `sessions.Transport` for it."""

    engine = ENGINE

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.sessions = Sessions(self)

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """See `base.Containers`."""
        self.sessions.sync(where, copies, work)

    def exec(self, where: Container, argv: tuple[str, ...], work: Work) -> int:
        """See `base.Containers`."""
        return self.sessions.exec(where, argv, work)

    def restart(self, where: Container, work: Work) -> None:  # noqa: ARG002 - the port's signature
        """See `base.Containers`; a Tiltfile that asks for it was refused."""
        raise Rejected(
            "containers of pods cannot be restarted in place", engine=ENGINE, doing=f"restarting {where.name}"
        )

    # ------------------------------------------------------------------------------------ sessions.Transport

    def connect(self, container_id: str, argv: Sequence[str], *, stdin: bool) -> Exec:  # noqa: ARG002
        """See `sessions.Transport`."""
        raise Rejected("there is no way into pods yet", engine=ENGINE)

    def is_running(self, container_id: str) -> bool:  # noqa: ARG002
        """See `sessions.Transport`."""
        return False

    def unpack(self, container_id: str, archive: Archive) -> None:  # noqa: ARG002
        """See `sessions.Transport`."""
        raise Rejected("there is no way into pods without tar", engine=ENGINE)
