"""What an update consists of: steps (imperatives the runtime executes) and what they yield (facts).

Pure values. `core.plan` writes the steps, `runtime.execute` hands each to one engine call, the yield travels back in
`UpdateFinished`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ipytilt.core.batch import Pace
from ipytilt.core.claims import Claim
from ipytilt.core.settings import UpdateSettings
from ipytilt.core.spec import (
    Command,
    Ignore,
    Image,
    Kind,
    KubeContext,
    LiveUpdate,
    PortForward,
    Registry,
    Resource,
)


@dataclass(frozen=True, slots=True)
class Built:
    """An image that exists: `ref` is its key in the spec, `local_ref` the engine's name for it.

    `cluster_ref` is what the cluster calls it, once it can be had there. A `stale` one is an earlier session's: what
    live updates bring has changed since, so that its containers are to be compared.
    """

    ref: str
    local_ref: str
    digest: str = ""
    cluster_ref: str = ""
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container as an engine sees it.

    `id` is unique in its engine and new for each replacement; `state` is Docker's word (created, running, paused,
    restarting, removing, exited, dead); `image` is the digest or reference it runs; `started_at` is the engine's own
    stamp, only ever compared for equality; `exit_code` is None while it lives.

    In a pod, `id` also says which cluster and pod it is in (its engine can tell), `service` is its name there, `pod`
    the pod's `namespace/name`; what waits is `created`, or `restarting` if it crashes again and again, and `reason` is
    the cluster's word for it. Which engine it belongs to says `kind`.
    """

    id: str
    name: str
    service: str
    state: str
    image: str = ""
    started_at: str = ""
    exit_code: int | None = None
    health: str = ""
    error: str = ""
    ports: tuple[int, ...] = ()
    kind: Kind = "compose"
    pod: str = ""
    reason: str = ""
    restarts: int = 0

    @property
    def running(self) -> bool:
        """Can be synced into now."""
        return self.state == "running"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that belongs to what is deployed.

    `phase` and `status` are the cluster's and kubectl's words; `created_at` is a time stamp that sorts; `ready`: all
    its regular containers are; `problem` is what keeps it from that and will not pass by itself, or ""; `init` are
    the containers that run before the others; `template` is the hash of the pod template that made it ("": unknown).
    """

    name: str
    namespace: str
    uid: str
    phase: str
    status: str = ""
    created_at: str = ""
    ready: bool = False
    deleting: bool = False
    problem: str = ""
    template: str = ""
    containers: tuple[Container, ...] = ()
    init: tuple[Container, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def restarts(self) -> int:
        """How often its regular containers were started again."""
        return sum(container.restarts for container in self.containers)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that answers: the product it is ("kind", "k3d", "minikube", "docker-desktop", ...; "": unknown).

    `registry` is the one the cluster announces; `arch` is what its nodes are built for, in Docker's words.
    """

    context: KubeContext
    product: str = ""
    version: str = ""
    arch: str = ""
    registry: Registry | None = None


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object in a cluster; `uid` is "" if it is not known to exist. Compared without it."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Group, kind, namespace and name: what it is, in whatever version."""
        return self.api_version.rpartition("/")[0], self.kind, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class BuildImage:
    """Build `image`; `bases` maps each spec reference it is built on to the local reference that exists.

    `unless` is what was built before and still counts: nothing is built while the engine has it. With a `registry`,
    the image gets the name it has there (`core.images.in_registry`). `found_in`: what an earlier session built for
    this resource will do, as long as its container runs and live updates bring whatever has changed since. `arch`: what
    it is to run on, in Docker's words, unless the Tiltfile says.
    """

    image: Image
    bases: tuple[tuple[str, str], ...] = ()
    unless: Built | None = None
    registry: Registry | None = None
    found_in: Resource | None = None
    arch: str = ""


@dataclass(frozen=True, slots=True)
class PublishImage:
    """Make the image this update has built known to the cluster of `context`: push it, load it, or nothing."""

    image: Image
    context: KubeContext
    registry: Registry | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Deploy a resource: bring up its service, run its command, apply its objects.

    `images` are what this deploy uses; `recreate` asks for a fresh container even if nothing changed; without `revive`
    one that does not run is replaced, not started again with whatever was done to it; `force` deletes what is
    deployed first. To a cluster: `rules` are the images as the Tiltfile defines them, `previous` is what
    earlier deploys of the resource left there, `keep` what other resources deploy, `pods` are replaced afterwards
    (`namespace/name`).
    """

    resource: Resource
    images: tuple[Built, ...] = ()
    recreate: bool = False
    revive: bool = True
    force: bool = False
    rules: tuple[Image, ...] = ()
    previous: tuple[ObjectRef, ...] = ()
    keep: tuple[ObjectRef, ...] = ()
    pods: tuple[str, ...] = ()
    settings: UpdateSettings = field(default_factory=UpdateSettings)


@dataclass(frozen=True, slots=True)
class Delete:
    """Take down what a resource deployed, but for what other resources `keep` in the cluster.

    What may hold more than the resource itself stays unless it is asked for: `namespaces` of the cluster, `volumes` of
    a Compose project.
    """

    resource: Resource
    keep: tuple[ObjectRef, ...] = ()
    namespaces: bool = False
    volumes: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """One mapped path: a local file, link or directory (by itself) that goes to an absolute container path.

    `root` is the source of the sync it is below: what is under a link in there belongs to the link's target.
    """

    local: str
    container: str
    root: str = ""


@dataclass(frozen=True, slots=True)
class SyncFiles:
    """Bring `copies` into a container and remove what no longer exists locally.

    Which of them exist is decided when the step runs, by looking at the disk: a missing local path becomes a removal.
    """

    container: Container
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True)
class SyncAll:
    """`initial_sync()`: bring everything below the sync sources into a container, but for what is ignored.

    Nothing is removed; run steps whose triggers cover one of the files follow.
    """

    container: Container
    rules: LiveUpdate
    ignores: tuple[Ignore, ...] = ()


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Compare what a container has below the sync targets with the files here, and send what differs.

    `image` has the rules. Left out is what is ignored, and what only an image brings (`fall_back_on`). `changed` are
    paths that are known to have changed: what is gone of them is removed, and what they trigger runs in any case; so
    do the `unmet` commands, which failed before.
    """

    container: Container
    image: Image
    ignores: tuple[Ignore, ...] = ()
    changed: tuple[str, ...] = ()
    unmet: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ExecIn:
    """Run argv inside a container as its configured user; `index`/`count` number the commands of this update."""

    container: Container
    argv: tuple[str, ...]
    echo_off: bool = False
    index: int = 1
    count: int = 1


@dataclass(frozen=True, slots=True)
class RestartContainer:
    """Restart a container in place, without a grace period."""

    container: Container


Step: TypeAlias = BuildImage | PublishImage | Apply | Delete | SyncFiles | SyncAll | CatchUp | ExecIn | RestartContainer


@dataclass(frozen=True, slots=True)
class Applied:
    """A deploy succeeded; `containers` are the ones that now belong to the resource.

    In a cluster they come later: `objects` are what was applied, `templates` the hashes of the pod templates among
    them, `complete`: all of it are jobs that have been done; `at` is when it began (seconds since the epoch).

    `kept` are the ids of those that were there before: nobody knows here what was done to them.
    """

    resource: str
    containers: tuple[Container, ...] = ()
    objects: tuple[ObjectRef, ...] = ()
    templates: tuple[str, ...] = ()
    complete: bool = False
    at: float = 0.0
    kept: tuple[str, ...] = ()


# ---------------------------------------------------------------------------------------------- standing orders


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep an eye on `roots`; report changes under the name of the watch, ignored paths left out.

    `pace` is how long they rest before that, if it was set.
    """

    name: str
    roots: tuple[str, ...]
    ignores: tuple[Ignore, ...] = ()
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Serve:
    """Keep a local server running; a new `after_run` means a restart."""

    resource: Resource
    command: Command
    after_run: int


@dataclass(frozen=True, slots=True)
class Observe:
    """Report the containers of these deployed resources, and the engine's own health, as they change."""

    engine: str
    resources: tuple[Resource, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Follow:
    """Stream a container's own output into the log of `resource`, each line behind `prefix`."""

    resource: str
    container_id: str
    started_at: str
    kind: Kind = "compose"
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Attach:
    """Keep a session open into a container, so that a live update costs no connection."""

    container_id: str
    started_at: str
    kind: Kind = "compose"


@dataclass(frozen=True, slots=True)
class ObserveCluster:
    """Report whether the cluster of a context answers, and what kind of cluster it is."""

    context: KubeContext


@dataclass(frozen=True, slots=True)
class ObservePods:
    """Report the pods that belong to what a resource has applied, and the cluster's events about them."""

    resource: Resource
    applied: Applied


@dataclass(frozen=True, slots=True)
class Forward:
    """Forward a local port (`forward`, its container port filled in) to a pod (`namespace/name`, with its uid)."""

    resource: str
    context: KubeContext
    forward: PortForward
    pod: str
    uid: str


Order: TypeAlias = Claim | Watch | Serve | Observe | Follow | Attach | ObserveCluster | ObservePods | Forward
