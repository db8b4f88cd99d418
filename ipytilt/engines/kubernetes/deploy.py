"""Brings objects into a cluster and out of it again.

Called on worker threads.
"""

from __future__ import annotations

from ipytilt.core.steps import Applied, Apply, Delete
from ipytilt.engines.base import Work
from ipytilt.engines.kubernetes.client import ENGINE, Clients
from ipytilt.errors import Rejected


class Deploying:
    """Implements `base.Deployer`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def apply(self, step: Apply, work: Work) -> Applied:  # noqa: ARG002
        """See `base.Deployer`."""
        raise Rejected(
            "Kubernetes objects cannot be applied yet", engine=ENGINE, doing=f"applying {step.resource.name}"
        )

    def delete(self, step: Delete, work: Work) -> None:  # noqa: ARG002
        """See `base.Deployer`."""
        raise Rejected(
            "Kubernetes objects cannot be deleted yet", engine=ENGINE, doing=f"deleting {step.resource.name}"
        )
