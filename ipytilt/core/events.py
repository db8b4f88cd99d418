"""What can happen: a closed union of frozen facts, in the past tense.

Posted from any thread through `controller.post`; reduced one by one on the controller thread. Events carry data, never
exceptions. Times are seconds of one monotonic clock passed in by the poster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ipytilt.core.buttons import Press
from ipytilt.core.paces import Paces
from ipytilt.core.spec import Spec
from ipytilt.core.steps import Applied, Built, Cluster, Container, Pod


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of Tiltfile: a notebook cell or a file.

    `key` is stable over re-runs of the same cell; `name` is how errors call it; `base` is the directory relative paths
    start from; `text` is None for a file, which is read anew at each load. `program` is a Python function that stands
    in the place of a text.
    """

    key: str
    name: str
    base: str
    text: str | None = None
    path: str = ""
    program: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class SourcePut:
    """A cell ran or a file was named: it replaces the source of the same key. `ticket` identifies the request."""

    source: Source
    ticket: int
    at: float


@dataclass(frozen=True, slots=True)
class SourceRemoved:
    """A source is no longer wanted; an empty key means all of them."""

    key: str
    ticket: int
    at: float


@dataclass(frozen=True, slots=True)
class ArgsChanged:
    """Tiltfile arguments were replaced."""

    args: tuple[str, ...]
    ticket: int
    at: float


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as data: what is shown, what to try, where, and a trace when it is a bug of ours."""

    message: str
    hint: str = ""
    where: str = ""
    text: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class LoadStarted:
    """A worker began to evaluate the Tiltfile."""

    run: int
    at: float


@dataclass(frozen=True, slots=True)
class LoadFinished:
    """The Tiltfile was evaluated: `spec` is None when it is in error; `reads` are the files it depended on."""

    run: int
    spec: Spec | None
    error: ErrorInfo | None
    reads: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """Files under a watch changed (were written, made, moved or deleted)."""

    watch: str
    paths: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class WatchTroubled:
    """A watch cannot see (all of) its files the usual way; "" means it can again."""

    watch: str
    problem: str
    at: float


@dataclass(frozen=True, slots=True)
class Triggered:
    """Somebody asked for an update of a resource; `by` is the reason flag shown ("Web Trigger", "CLI Trigger")."""

    resource: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the running update of a resource to end."""

    resource: str
    at: float


@dataclass(frozen=True, slots=True)
class Enabled:
    """Resources were switched on or off by the user."""

    resources: tuple[str, ...]
    on: bool
    at: float


@dataclass(frozen=True, slots=True)
class RerunSet:
    """A resource is to run again whenever one of these resource_deps was updated; `ALL_DEPS` stands for all it has."""

    resource: str
    deps: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class DownRequested:
    """Everything deployed is to be taken down; nothing starts again until a source is put or a trigger comes.

    `also` says what goes besides: "namespaces" of clusters, "volumes" of Compose projects.
    """

    at: float
    also: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ok:
    """A run did what it was for. `user_error` is a failed run step: shown as an error, files stay synced.

    `unmet`: containers with the commands that failed in them or were left out because of that.
    """

    built: tuple[Built, ...] = ()
    applied: tuple[Applied, ...] = ()
    user_error: str = ""
    unmet: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A run did not finish. `kind`: rejected (no retry), unavailable (back off), broke (content unknown), bug (ours).

    `built` lists what was finished before the failure, `synced` the containers that were brought up to date;
    `container` names the container it happened in, if any.
    """

    error: ErrorInfo
    kind: Literal["rejected", "unavailable", "broke", "bug"]
    built: tuple[Built, ...] = ()
    synced: tuple[str, ...] = ()
    container: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A run was cancelled."""

    built: tuple[Built, ...] = ()


Outcome: TypeAlias = Ok | Failed | Stopped


@dataclass(frozen=True, slots=True)
class PruneRequested:
    """Somebody wants old images removed now."""

    at: float


@dataclass(frozen=True, slots=True)
class PruneFinished:
    """Old images were removed, or could not be: `text` says which."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A run reached one of its steps (0-based)."""

    run: int
    step: int
    title: str
    at: float


@dataclass(frozen=True, slots=True)
class UpdateFinished:
    """A run ended. Posted exactly once per started run."""

    run: int
    outcome: Outcome
    at: float
    step_times: tuple[tuple[str, float], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RuntimeSeen:
    """The containers of a resource, as the engine reports them: all of them, replacing what was known."""

    resource: str
    containers: tuple[Container, ...]
    at: float


@dataclass(frozen=True, slots=True)
class PodsSeen:
    """The pods that belong to what a resource has applied: all of them, replacing what was known."""

    resource: str
    pods: tuple[Pod, ...]
    at: float


@dataclass(frozen=True, slots=True)
class ClusterChanged:
    """What kind of cluster answers, and which registry it asks for images."""

    cluster: Cluster
    at: float


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A forwarded port of a resource listens on this machine (`problem` is "") or why it does not."""

    resource: str
    port: int
    problem: str
    at: float


@dataclass(frozen=True, slots=True)
class PacesSet:
    """Somebody set how long changes rest; replaces all that was set before."""

    paces: Paces
    at: float


@dataclass(frozen=True, slots=True)
class ServerChanged:
    """A local server started, exited or could not start."""

    resource: str
    after_run: int
    pid: int
    exit_code: int | None
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Probed:
    """A readiness probe changed its mind."""

    resource: str
    after_run: int
    ready: bool
    at: float


@dataclass(frozen=True, slots=True)
class EngineChanged:
    """An engine went away (`problem` says how) or answers again ("")."""

    engine: str
    problem: str
    at: float


@dataclass(frozen=True, slots=True)
class ClaimChanged:
    """A scope (`core.claims`) is another session's, which `by` describes, or this one's ("")."""

    scope: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class TakeOverRequested:
    """Somebody wants this session to have what others hold."""

    at: float


@dataclass(frozen=True, slots=True)
class ButtonChanged:
    """The command of a button started, or the newest run of it ended."""

    button: str
    press: Press
    at: float


@dataclass(frozen=True, slots=True)
class CommandHandled:
    """A view's command was dealt with; `problem` is "" or what was wrong with it."""

    id: str
    problem: str
    at: float


Event: TypeAlias = (
    SourcePut
    | SourceRemoved
    | ArgsChanged
    | LoadStarted
    | LoadFinished
    | FilesChanged
    | WatchTroubled
    | Triggered
    | CancelRequested
    | Enabled
    | RerunSet
    | DownRequested
    | PruneRequested
    | PacesSet
    | PruneFinished
    | StepStarted
    | UpdateFinished
    | RuntimeSeen
    | PodsSeen
    | ClusterChanged
    | Forwarded
    | ServerChanged
    | Probed
    | EngineChanged
    | ClaimChanged
    | TakeOverRequested
    | ButtonChanged
    | CommandHandled
)
