"""The ports every engine implements, and `Work`, the handle on one run.

Engines block; they are called on worker threads (`Builder`, `Deployer`, `Containers`) or on threads they start
themselves (`Observer`, which posts facts until stopped). They log through `work.log`, look at `work.check()` between
actions, and register `work.on_cancel(kill)` around anything that can hang. They translate foreign errors once, at
their own border, into `Rejected` (the user's input: no retry), `Unavailable` (the world: back off) or `Broke` (a
container died under us), and keep no opinion about what happens next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ipytilt.core.prune import Prune
from ipytilt.core.spec import Resource
from ipytilt.core.steps import (
    Applied,
    Apply,
    BuildImage,
    Built,
    Cluster,
    Container,
    Copy,
    Delete,
    Order,
    Pod,
    PublishImage,
)
from ipytilt.errors import Cancelled

Log: TypeAlias = Callable[[str, str], None]
"""`log(text, level)`: one or more lines of plain text; level is "debug", "info", "warning" or "error"."""

Stop: TypeAlias = Callable[[], None]
"""Ends a standing order; returns within two seconds, whatever it has to leave behind."""


class Work:
    """One run's handle for an engine: where its output goes, and whether it is still wanted. Thread-safe."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._kills: dict[object, Callable[[], None]] = {}

    def log(self, text: str, level: str = "info") -> None:
        """Append lines to the resource's log."""
        self._log(text, level)

    @property
    def cancelled(self) -> bool:
        """Somebody asked for the end of this run."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the run is no longer wanted."""
        if self.cancelled:
            raise Cancelled("cancelled")

    @contextmanager
    def on_cancel(self, kill: Callable[[], None]) -> Iterator[None]:
        """Within the block, `cancel()` calls `kill` (once, on the cancelling thread; it must not block)."""
        key = object()
        with self._lock:
            self._kills[key] = kill
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._kills.pop(key, None)

    def cancel(self) -> None:
        """Ask the run to end; returns at once."""
        self._cancelled.set()
        with self._lock:
            kills = list(self._kills.values())
            self._kills.clear()
        for kill in kills:
            kill()


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """Fact: the engine answers (`problem` is "") or why it does not."""

    engine: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ContainersSeen:
    """Fact: the containers that belong to a resource now (all of them; empty means none)."""

    resource: str
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """Fact: a local server's process; `exit_code` is None while it runs, `error` says why it could not start."""

    resource: str
    after_run: int
    pid: int = 0
    exit_code: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ProbeSeen:
    """Fact: a readiness probe changed its mind."""

    resource: str
    after_run: int
    ready: bool


@dataclass(frozen=True, slots=True)
class PodsFound:
    """Fact: the pods that belong to what a resource has applied now (all of them; empty means none)."""

    resource: str
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """Fact: what kind of cluster answers."""

    cluster: Cluster


@dataclass(frozen=True, slots=True)
class ForwardSeen:
    """Fact: a forwarded port listens (`problem` is ""), or why it does not."""

    resource: str
    port: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ClaimSeen:
    """Fact: who has a claim now; "" means this session."""

    scope: str
    by: str


Fact: TypeAlias = (
    ClaimSeen | EngineSeen | ContainersSeen | ServerSeen | ProbeSeen | PodsFound | ClusterSeen | ForwardSeen
)
Post: TypeAlias = Callable[[Fact], None]


class Builder(Protocol):
    """Builds images."""

    def build(self, step: BuildImage, work: Work) -> Built:
        """Build the image, or raise: `Rejected` with the build's own error, `Unavailable`, `Cancelled`."""
        ...

    def has(self, built: Built) -> bool:
        """Whether what was built is still there."""
        ...


class Pruner(Protocol):
    """Removes what was built and nobody uses any more."""

    def prune(self, prune: Prune, work: Work) -> str:
        """Remove old images of ours; returns how many, or "" if there were none."""
        ...


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a daemon has: names of images, uids of the pods whose containers it runs; no version means no daemon."""

    version: str = ""
    images: frozenset[str] = frozenset()
    pods: frozenset[str] = frozenset()


class Publisher(Protocol):
    """Hands images on."""

    def push(self, local_ref: str, work: Work) -> None:
        """Push an image to its registry, with the user's own credentials; `Rejected` with the registry's words."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment a command line needs to talk to this engine's images."""
        ...

    def holdings(self) -> Holdings:
        """What its daemon has: whether it is a cluster's own runtime can be told from that."""
        ...


class Deployer(Protocol):
    """Brings resources up and takes them down."""

    def apply(self, step: Apply, work: Work) -> Applied:
        """Deploy; on return the containers exist (not necessarily ready)."""
        ...

    def delete(self, step: Delete, work: Work) -> None:
        """Take down what `apply` deployed; nothing there is fine."""
        ...


class Containers(Protocol):
    """Acts inside running containers: what a live update needs.

    Attributes:
        lasting: the containers outlive the session that made them.
    """

    lasting: bool

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """Copy what exists locally, remove what does not: one stream, removals first.

        Ownership follows the container's user. Raises `Rejected` naming the path (and the user) when a local file
        cannot be read or a container path cannot be written; `Broke` when the container dies; `Unavailable` when the
        engine is away.
        """
        ...

    def differing(self, where: Container, copies: tuple[Copy, ...], work: Work) -> tuple[Copy, ...]:
        """Those of the copies that `sync` would change something with; see `engines.compare`. Nothing is written.

        Raises as `sync`, and `Rejected` if the image lacks what it takes to look.
        """
        ...

    def exec(self, where: Container, argv: tuple[str, ...], work: Work) -> int:
        """Run argv as the container's user in its working directory; output goes to the log; returns the exit code."""
        ...

    def restart(self, where: Container, work: Work) -> None:
        """Restart the container in place, without a grace period."""
        ...


class Observer(Protocol):
    """Keeps standing orders."""

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """Begin to follow, serve, observe or attach; facts go to `post` from the order's own thread until stopped."""
        ...


class ContainerEngine(Builder, Pruner, Publisher, Deployer, Containers, Observer, Protocol):
    """These ports together: what builds and runs images, and Compose services."""

    @property
    def name(self) -> str:
        """The engine: docker or sandbox."""
        ...

    def describe(self) -> str:
        """One line for people: product, version, where."""
        ...

    def found(self, resource: Resource) -> tuple[Container, ...]:
        """The containers of a Compose service that run now, whoever brought them up."""
        ...

    def close(self) -> None:
        """Let go of connections, and of everything that must not outlive the kernel; within two seconds."""
        ...


class ClusterEngine(Deployer, Containers, Observer, Protocol):
    """Deploys to Kubernetes clusters, acts inside their pods and observes them."""

    def publish(self, step: PublishImage, built: Built, work: Work) -> Built:
        """Make an image of the container engine known to the cluster: push it, load it, or nothing.

        Returns it with its `cluster_ref`.
        """
        ...

    def close(self) -> None:
        """Let go of connections and forwarded ports; within two seconds."""
        ...


class LocalEngineLike(Deployer, Observer, Protocol):
    """Runs `local_resource` commands and servers."""
