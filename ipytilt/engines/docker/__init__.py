"""The Docker engine: builds images, deploys Compose services, acts inside containers, observes them.

`connect` finds the daemon; everything else happens on the threads of whoever calls, and of the standing orders.
"""

from __future__ import annotations

from collections.abc import Mapping

from ipytilt.core.prune import Prune
from ipytilt.core.spec import Resource
from ipytilt.core.steps import Applied, Apply, BuildImage, Built, Container, Delete, Order
from ipytilt.engines.base import Holdings, Log, Post, Stop, Work
from ipytilt.engines.docker.builder import DockerBuilder
from ipytilt.engines.docker.client import ENGINE, Daemon, find_daemon
from ipytilt.engines.docker.compose import ComposeDeployer
from ipytilt.engines.docker.containers import DockerContainers
from ipytilt.engines.docker.observer import DockerObserver
from ipytilt.engines.docker.prune import remove_old
from ipytilt.engines.docker.push import holdings, push


class DockerEngine(DockerContainers):
    """Implements `base.ContainerEngine` on a Docker daemon, or on Podman behind Docker's interface."""

    name = ENGINE

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        self.daemon = daemon
        self._builder = DockerBuilder(daemon)
        self._deployer = ComposeDeployer(daemon)
        self._observer = DockerObserver(daemon, self.sessions)

    def describe(self) -> str:
        """One line for people: product, version, where."""
        return f"{'Podman' if self.daemon.is_podman else 'Docker'} {self.daemon.version} at {self.daemon.host}"

    @property
    def environ(self) -> Mapping[str, str]:
        """See `base.Publisher`."""
        return self.daemon.environ

    def holdings(self) -> Holdings:
        """See `base.Publisher`."""
        return holdings(self.daemon)

    def push(self, local_ref: str, work: Work) -> None:
        """See `base.Publisher`."""
        push(self.daemon, local_ref, work)

    def prune(self, prune: Prune, work: Work) -> str:
        """See `base.Pruner`."""
        return remove_old(self.daemon, prune, work)

    def build(self, step: BuildImage, work: Work) -> Built:
        """See `base.Builder`."""
        return self._builder.build(step, work)

    def has(self, built: Built) -> bool:
        """See `base.Builder`."""
        return self._builder.has(built)

    def apply(self, step: Apply, work: Work) -> Applied:
        """See `base.Deployer`."""
        return self._deployer.apply(step, work)

    def found(self, resource: Resource) -> tuple[Container, ...]:
        """See `base.ContainerEngine`."""
        return self._deployer.found(resource)

    def delete(self, step: Delete, work: Work) -> None:
        """See `base.Deployer`."""
        self._deployer.delete(step, work)

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `base.Observer`."""
        return self._observer.start(order, post, log)

    def close(self) -> None:
        """See `base.ContainerEngine`. Orders are stopped by who started them; containers live on."""


def connect(environ: Mapping[str, str]) -> DockerEngine:
    """The engine on the daemon that the docker command line would use, else on one of this user, Podman included.

    Raises Unavailable saying where was looked and what was wrong there.
    """
    return DockerEngine(find_daemon(environ))
