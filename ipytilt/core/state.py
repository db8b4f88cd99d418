"""What is known: one frozen `State`, replaced (never mutated) by `core.reduce` on the controller thread.

Changes are numbered: every file change gets the next `seq`, and whatever consumes changes keeps a mark. An image is
built up to a seq, a container has been brought up to a seq per source image, a resource has consumed changes up to a
seq. So a change during a run is neither lost nor needs clock arithmetic, and a replaced container, a rescan after an
overflow and a saved file are all the same computation: what is newer than the mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from ipytilt.core.buttons import Press
from ipytilt.core.claims import Held
from ipytilt.core.events import ErrorInfo, Source
from ipytilt.core.paces import Paces
from ipytilt.core.spec import NOWHERE, Kubernetes, Origin, Resource, Spec
from ipytilt.core.steps import Applied, Built, Cluster, Container, ObjectRef, Pod, Step

EMPTY: Mapping[str, Any] = MappingProxyType({})
HISTORY = 20
"""Finished updates kept per resource."""
HANDLED = 200
"""Answered commands kept, so that a view knows its clicks arrived."""
TILTFILE = "(Tiltfile)"
"""What the evaluation of the Tiltfile goes by where a resource is named."""

FOUND = "it was there before this session deployed it"
STALE = "it runs an image of an earlier session"
"""Why it is not known what a container holds."""

Lane: TypeAlias = Literal["full", "live", "down"]
Changes: TypeAlias = Mapping[str, int]
"""Path -> seq of its newest change."""

INITIAL = "Initial Build"
FILES = "Changed Files"
CONFIG = "Config Changed"
INITIAL_SYNC = "Initial Sync"
CATCH_UP = "Catch Up"
RETRY = "Retry"
RERUN = "Dependency Updated"


@dataclass(frozen=True, slots=True)
class Because:
    """One link of a decision: which rule of the user's decided what, about which path."""

    text: str
    origin: Origin = NOWHERE
    path: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an update runs: reason flags in Tilt's words, the files, and the chain of rules that decided how."""

    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    because: tuple[Because, ...] = ()

    @property
    def text(self) -> str:
        """One short line: a trigger alone wins, then the first build, else all flags."""
        for flag in self.flags:
            if flag.endswith("Trigger") or flag == INITIAL:
                return flag
        if self.flags == (FILES,):
            count = len(self.files)
            return f"{count} File{'s' if count != 1 else ''} Changed"
        return " | ".join(self.flags)


@dataclass(frozen=True, slots=True)
class Run:
    """A started update that has not finished. `marks`: container -> source image -> seq it will be up to date with."""

    id: int
    resource: str
    lane: Lane
    seq: int
    cause: Cause
    branches: tuple[tuple[Step, ...], ...]
    marks: Mapping[str, Mapping[str, int]]
    started_at: float
    step: int = 0
    title: str = ""
    cancelling: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A finished update."""

    run: int
    lane: Lane
    cause: Cause
    started_at: float
    finished_at: float
    result: Literal["ok", "error", "stopped"]
    error: str = ""
    step_times: tuple[tuple[str, float], ...] = ()

    @property
    def took(self) -> float:
        """Seconds."""
        return self.finished_at - self.started_at


@dataclass(frozen=True, slots=True)
class Tracked:
    """A container and what it has: source image -> seq.

    `image` is the image it runs (a key of `Spec.images`, or ""); `trouble` is why a live update broke in it;
    `blocked`: no live update until a newer change than that; `since_run` is the full update during which it was
    first seen (0: none), which tells a container that update made from one that outlived it; `touched`: live
    updates made it differ from its image; `unsure` is why it is not known what it holds ("": it is), so that it has
    to be compared; `filled`: it has had its `initial_sync()`; `unmet` are the run steps that failed or were left out:
    they run with the next live update, and on a trigger.
    """

    container: Container
    image: str = ""
    since_run: int = 0
    marks: Mapping[str, int] = field(default_factory=lambda: EMPTY)
    touched: bool = False
    unsure: str = ""
    filled: bool = False
    trouble: str = ""
    blocked: int = 0
    restarts: int = 0
    unmet: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """The process of a `serve_cmd`; `ready` is None without a verdict of a probe."""

    after_run: int
    pid: int = 0
    exit_code: int | None = None
    error: str = ""
    ready: bool | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A manual trigger that waits to be served; FIFO by `seq`."""

    by: str
    seq: int
    at: float


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one resource.

    `done`: changes up to this seq are consumed. `config`: seq of the newest change of its definition (0: none).
    `started`: an update was ever begun. `served`: the run whose success the server runs for. `switched`: the user's
    own on/off, None to follow the Tiltfile. `broken`: why live updates cannot mend a container, so that a full one
    must follow. `retry_at`: when to try again after the world was away (0: no retry). `serving`: the resource as it
    was when that run deployed it. `off_at`: when the user switched it off, while it is still up (0: no such thing).
    `rerun`: the deps it is to run again for, as they were updated. In a cluster: `deploy` is what was applied last,
    `objects` all that is left there of it and of earlier ones, `pods` those that belong to it, newest last, and
    `forwards` what is wrong with each forwarded port ("": nothing).
    """

    name: str
    done: int = 0
    config: int = 0
    config_files: tuple[str, ...] = ()
    started: bool = False
    deployed: bool = False
    asked: Asked | None = None
    switched: bool | None = None
    was_ready: bool = False
    served: int = 0
    serving: Resource | None = None
    off_at: float = 0.0
    retry_at: float = 0.0
    attempts: int = 0
    broken: str = ""
    retry_cause: Cause | None = None
    rerun: tuple[str, ...] = ()
    containers: Mapping[str, Tracked] = field(default_factory=lambda: EMPTY)
    server: Server | None = None
    deploy: Applied | None = None
    objects: tuple[ObjectRef, ...] = ()
    pods: tuple[Pod, ...] = ()
    forwards: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    history: tuple[Record, ...] = ()
    pending_since: float = 0.0
    runtime_since: float = 0.0

    @property
    def last(self) -> Record | None:
        """The newest finished update."""
        return self.history[0] if self.history else None


@dataclass(frozen=True, slots=True)
class ImageTrack:
    """What is known of one image: the newest build and the seq it includes."""

    built: Built | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """The Tiltfile: what is in force (`good`), what is to be tried (`wanted`), and how the last try went.

    `ticket` counts requests, `finished` is the newest one answered; a cell waits for its own. `args_in_force` are the
    arguments of what is in force, `running_args` of what is being tried.
    """

    good: tuple[Source, ...] = ()
    wanted: tuple[Source, ...] = ()
    args: tuple[str, ...] = ()
    args_in_force: tuple[str, ...] = ()
    running_args: tuple[str, ...] = ()
    stale: bool = False
    changed: tuple[str, ...] = ()
    running: int | None = None
    running_sources: tuple[Source, ...] = ()
    running_ticket: int = 0
    cancelling: bool = False
    ticket: int = 0
    finished: int = 0
    error: ErrorInfo | None = None
    reads: tuple[str, ...] = ()
    count: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Pruning:
    """The removal of old images: Docker builds since the last one, when that began (0: never), how it ended."""

    builds: int = 0
    at: float = 0.0
    running: bool = False
    asked: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to wait: `reason` is the stable word, `text` a sentence, `on` names what holds it, `since` when."""

    reason: str
    text: str
    on: tuple[str, ...] = ()
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Everything the planner and the views look at.

    `engines`: what keeps each from answering ("": nothing; no entry: nobody has asked). `claims`: scopes that this or
    another session has (no entry: nobody has looked, it is free to use).

    `wanting` names the resources that may have something to do; `revision` of the standing orders moves whenever
    they have to be worked out again; `leaving` are resources whose deployment is to be taken down; `rerun` says by
    name which resources run again when which of their deps were updated.
    """

    spec: Spec = field(default_factory=Spec)
    load: Load = field(default_factory=Load)
    seq: int = 0
    next_run: int = 1
    tracks: Mapping[str, Track] = field(default_factory=lambda: EMPTY)
    images: Mapping[str, ImageTrack] = field(default_factory=lambda: EMPTY)
    changes: Mapping[str, Changes] = field(default_factory=lambda: EMPTY)
    runs: Mapping[int, Run] = field(default_factory=dict)
    leaving: Mapping[str, Resource] = field(default_factory=lambda: EMPTY)
    engines: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    claims: Mapping[str, Held] = field(default_factory=lambda: EMPTY)
    cluster: Cluster | None = None
    pruning: Pruning = field(default_factory=Pruning)
    watch_problems: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    holds: Mapping[str, Hold] = field(default_factory=lambda: EMPTY)
    wanting: frozenset[str] = frozenset()
    rerun: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EMPTY)
    presses: Mapping[str, Press] = field(default_factory=lambda: EMPTY)
    paces: Paces = field(default_factory=Paces)
    handled: tuple[tuple[str, str], ...] = ()
    revision: int = 0
    down: bool = False
    down_also: frozenset[str] = frozenset()
    crash: str = ""
    now: float = 0.0

    def running(self, resource: str, lane: Lane | None = None) -> Run | None:
        """The run of a resource (in a lane), if there is one."""
        for run in self.runs.values():
            if run.resource == resource and (lane is None or run.lane == lane):
                return run
        return None

    def enabled(self, resource: str) -> bool:
        """Switched on: by the user if they said so, else by the Tiltfile."""
        track = self.tracks.get(resource)
        if track is not None and track.switched is not None:
            return track.switched
        return resource in self.spec.enabled

    def __repr__(self) -> str:
        running = ", ".join(f"{r.resource}#{r.id} {r.lane}" for r in self.runs.values()) or "nothing"
        return f"<State seq={self.seq} resources={len(self.tracks)} running: {running}>"


def image_watch(ref: str) -> str:
    """Name of the watch over an image's files."""
    return f"image:{ref}"


def deploy_watch(resource: str) -> str:
    """Name of the watch over what a `k8s_custom_deploy` depends on."""
    return f"k8s:{resource}"


def local_watch(resource: str) -> str:
    """Name of the watch over a local resource's deps."""
    return f"local:{resource}"


CONFIG_WATCH = "configs:(Tiltfile)"


def sources_of(spec: Spec, ref: str) -> tuple[str, ...]:
    """An image and every image it is built on, transitively, itself first."""
    found: dict[str, None] = {}
    todo = [ref]
    while todo:
        one = todo.pop(0)
        if one not in found and one in spec.images:
            found[one] = None
            todo.extend(spec.images[one].depends_on)
    return tuple(found)


def watchers(spec: Spec, watch: str) -> tuple[Resource, ...]:
    """The resources whose business this watch is (see `watches_of`), in definition order."""
    kind, _, name = watch.partition(":")
    if kind == "image":
        return spec.users(name)
    resource = spec.resource(name)
    return (resource,) if resource is not None and watch in watches_of(resource) else ()


def watches_of(resource: Resource) -> tuple[str, ...]:
    """The watches whose changes are this resource's business."""
    own = (local_watch(resource.name),) if resource.kind == "local" else ()
    if isinstance(resource.target, Kubernetes) and resource.target.custom_deploy is not None:
        own = (deploy_watch(resource.name),)
    return (*own, *(image_watch(ref) for ref in resource.images))


def pending_files(state: State, resource: Resource, track: Track) -> tuple[str, ...]:
    """Paths whose newest change this resource has not consumed."""
    return tuple(
        sorted({p for w in watches_of(resource) for p, s in state.changes.get(w, {}).items() if s > track.done})
    )
