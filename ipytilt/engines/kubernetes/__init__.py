"""The Kubernetes engine: hands images to clusters, applies objects, acts inside pods, observes them.

Making one connects to nothing and imports nothing heavy; there is one `Client` per context, made when it is first
needed. Everything happens on the threads of whoever calls, and of the standing orders.
"""

from __future__ import annotations

from ipytilt.core.steps import Applied, Apply, Built, Container, Copy, Delete, Order, PublishImage
from ipytilt.engines.base import Log, Post, Publisher, Stop, Work
from ipytilt.engines.kubernetes.client import ENGINE, Clients
from ipytilt.engines.kubernetes.containers import PodContainers
from ipytilt.engines.kubernetes.deploy import Deploying
from ipytilt.engines.kubernetes.observer import KubernetesObserver
from ipytilt.engines.kubernetes.publish import Publishing


class KubernetesEngine:
    """Implements `base.ClusterEngine`; images come from `publisher`."""

    name = ENGINE
    lasting = True

    def __init__(self, publisher: Publisher) -> None:
        self.clients = Clients()
        self._publishing = Publishing(self.clients, publisher)
        self._deploying = Deploying(self.clients)
        self._containers = PodContainers(self.clients)
        self._observer = KubernetesObserver(self.clients, self._containers.sessions)

    def publish(self, step: PublishImage, built: Built, work: Work) -> Built:
        """See `base.ClusterEngine`."""
        return self._publishing.publish(step, built, work)

    def apply(self, step: Apply, work: Work) -> Applied:
        """See `base.Deployer`."""
        return self._deploying.apply(step, work)

    def delete(self, step: Delete, work: Work) -> None:
        """See `base.Deployer`."""
        self._deploying.delete(step, work)

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """See `base.Containers`."""
        self._containers.sync(where, copies, work)

    def differing(self, where: Container, copies: tuple[Copy, ...], work: Work) -> tuple[Copy, ...]:
        """See `base.Containers`."""
        return self._containers.differing(where, copies, work)

    def exec(self, where: Container, argv: tuple[str, ...], work: Work) -> int:
        """See `base.Containers`."""
        return self._containers.exec(where, argv, work)

    def restart(self, where: Container, work: Work) -> None:
        """See `base.Containers`."""
        self._containers.restart(where, work)

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `base.Observer`."""
        return self._observer.start(order, post, log)

    def close(self) -> None:
        """See `base.ClusterEngine`. Orders are stopped by who started them; what is deployed lives on."""
        self.clients.close()
