"""What an update consists of: steps (imperatives the runtime executes) and what they yield (facts).

Pure values. `core.plan` writes the steps, `runtime.execute` hands each to one engine call, the yield travels back in
`UpdateFinished`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ipytilt.core.spec import Command, Ignore, Image, LiveUpdate, Resource


@dataclass(frozen=True, slots=True)
class Built:
    """An image that exists: `ref` is its key in the spec, `local_ref` the engine's name for it."""

    ref: str
    local_ref: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """A container as an engine sees it.

    `id` is unique in its engine and new for each replacement; `state` is Docker's word (created, running, paused,
    restarting, removing, exited, dead); `image` is the digest or reference it runs; `started_at` is the engine's own
    stamp, only ever compared for equality; `exit_code` is None while it lives.
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

    @property
    def running(self) -> bool:
        """Can be synced into now."""
        return self.state == "running"


@dataclass(frozen=True, slots=True)
class BuildImage:
    """Build `image`; `bases` maps each spec reference it is built on to the local reference that exists.

    `unless` is what was built before and still counts: nothing is built while the engine has it.
    """

    image: Image
    bases: tuple[tuple[str, str], ...] = ()
    unless: Built | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Deploy a resource: bring up its service, run its command, apply its objects.

    `images` are what this deploy uses; `recreate` asks for a fresh container even if nothing changed; `force` deletes
    what is deployed first.
    """

    resource: Resource
    images: tuple[Built, ...] = ()
    recreate: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Take down what a resource deployed."""

    resource: Resource


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


Step: TypeAlias = BuildImage | Apply | Delete | SyncFiles | SyncAll | ExecIn | RestartContainer


@dataclass(frozen=True, slots=True)
class Applied:
    """A deploy succeeded; `containers` are the ones that now belong to the resource."""

    resource: str
    containers: tuple[Container, ...] = ()


# ---------------------------------------------------------------------------------------------- standing orders


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep an eye on `roots`; report changes under the name of the watch, ignored paths left out."""

    name: str
    roots: tuple[str, ...]
    ignores: tuple[Ignore, ...] = ()


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
    """Stream a container's own output into the log of `resource`."""

    resource: str
    container_id: str
    started_at: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Keep a session open into a container, so that a live update costs no connection."""

    container_id: str
    started_at: str


Order: TypeAlias = Watch | Serve | Observe | Follow | Attach
