"""Makes images of the container engine known to a cluster: pushed, loaded, or there already.

Called on worker threads.
"""

from __future__ import annotations

from ipytilt.core.steps import Built, PublishImage
from ipytilt.engines.base import Publisher, Work
from ipytilt.engines.kubernetes.client import ENGINE, Clients
from ipytilt.errors import Rejected


class Publishing:
    """`base.ClusterEngine.publish`."""

    def __init__(self, clients: Clients, publisher: Publisher) -> None:
        self._clients = clients
        self._publisher = publisher

    def publish(self, step: PublishImage, built: Built, work: Work) -> Built:  # noqa: ARG002
        """See `base.ClusterEngine`."""
        raise Rejected("images cannot be handed to a cluster yet", engine=ENGINE, doing=f"publishing {step.image.ref}")
