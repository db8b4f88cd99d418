"""What is asked for: the frozen result of evaluating the Tiltfile.

Pure values, built once by `tiltfile.assemble` and read by every other layer on any thread. Paths are absolute and
clean; an image is known by its *familiar* reference (`docker.io/library/` dropped, tag kept), which is its key in
`Spec.images`. Every rule a user wrote keeps its `Origin`, because `why` and `explain` answer with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from ipytilt.core.settings import Settings

if TYPE_CHECKING:
    from ipytilt.core.buttons import Button

Kind: TypeAlias = Literal["local", "compose", "kubernetes"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the user's own text a rule stands: a file (or a cell's display name) and 1-based line and column."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


NOWHERE = Origin()


class TriggerMode(StrEnum):
    """When a resource updates by itself; `auto_init` is kept apart, as in a Tiltfile."""

    AUTO = "auto"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Selection:
    """Files at or below `path`: those that match `include` (all, without any) and do not match `ignore`.

    Both are patterns in the dockerignore dialect, relative to `path`.
    """

    path: str
    include: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    origin: Origin = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Ignore:
    """An ignore set: patterns in the dockerignore dialect below `base`; no patterns means `base` and all below it.

    With `unless`, what is ignored is what lies below the path of a selection, yet belongs to none of them.
    """

    base: str
    patterns: tuple[str, ...] = ()
    origin: Origin = field(default=NOWHERE, compare=False)
    unless: tuple[Selection, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command on the host: argv (never a shell string), working directory, extra environment as sorted `K=V`."""

    argv: tuple[str, ...]
    dir: str
    env: tuple[str, ...] = ()
    origin: Origin = field(default=NOWHERE, compare=False)


# ---------------------------------------------------------------------------------------------- live update


@dataclass(frozen=True, slots=True)
class Sync:
    """`sync(local, container)`: a file or directory on the host mirrored to an absolute path in the container.

    `container` keeps a trailing slash when it was written, because it decides how a single file is named.
    `directory`: the source was one when the Tiltfile was evaluated. `only` narrows it to some files below the source;
    without `initial`, a new container is not filled with it.
    """

    local: str
    container: str
    origin: Origin = field(default=NOWHERE, compare=False)
    directory: bool = field(default=False, compare=False)
    only: Selection | None = None
    initial: bool = True


@dataclass(frozen=True, slots=True)
class StopPath:
    """One path of `fall_back_on`: a change at or below it means a full update; `only` narrows it to some files."""

    path: str
    origin: Origin = field(default=NOWHERE, compare=False)
    only: Selection | None = None


@dataclass(frozen=True, slots=True)
class RunStep:
    """`run(cmd, trigger)`: argv executed in the container; no triggers means on every live update.

    `triggers` are absolute; `triggers_as_written` are what the Tiltfile said, for the result document. `only` narrows
    them to some files.
    """

    argv: tuple[str, ...]
    triggers: tuple[str, ...] = ()
    echo_off: bool = False
    triggers_as_written: tuple[str, ...] = field(default=(), compare=False)
    origin: Origin = field(default=NOWHERE, compare=False)
    only: Selection | None = None


@dataclass(frozen=True, slots=True)
class LiveUpdate:
    """The live-update rules of one image, in the order the language enforces.

    `restart`: every live update ends with a restart of the container; `restart_on`: those with one of these files.
    `from_compose`: the rules are a `develop.watch` section, where every sync of a file counts, not only the first, and
    where filling a new container only copies.
    """

    base: str
    stop_paths: tuple[StopPath, ...] = ()
    syncs: tuple[Sync, ...] = ()
    runs: tuple[RunStep, ...] = ()
    restart: bool = False
    initial_sync: bool = False
    origin: Origin = field(default=NOWHERE, compare=False)
    restart_on: tuple[Selection, ...] = ()
    from_compose: bool = False


# ---------------------------------------------------------------------------------------------- images


@dataclass(frozen=True, slots=True)
class DockerBuild:
    """An image built from a Dockerfile.

    `dockerfile` is its text; `dockerfile_path` is where it was read from, or "" for `dockerfile_contents`.
    `args` are sorted `K=V`, a bare `K` takes its value from the environment.
    """

    context: str
    dockerfile: str
    dockerfile_path: str = ""
    args: tuple[str, ...] = ()
    target: str = ""
    ssh: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    network: str = ""
    extra_tags: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = field(default=(), compare=False)  # a different cache is not a different image
    platform: str = ""
    pull: bool = False
    extra_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomBuild:
    """An image built by the user's own command."""

    command: Command
    deps: tuple[str, ...] = field(default=(), compare=False)  # what triggers is not what is built
    output_tag: str = ""
    outputs_image_ref_to: str = ""
    skips_local_docker: bool = False
    disable_push: bool = False
    image_deps: tuple[str, ...] = ()

    @property
    def live_update_only(self) -> bool:
        """The command `:` never builds: the image is only synced into."""
        return self.command.argv in ((":",), ("sh", "-c", ":"))


@dataclass(frozen=True, slots=True)
class ComposeBuild:
    """An image that Compose builds itself from the service's `build` section."""

    service: str
    context: str


Build: TypeAlias = DockerBuild | CustomBuild | ComposeBuild


@dataclass(frozen=True, slots=True)
class Image:
    """One image and how it comes to be.

    `context_ignores` are left out of the build context, `watch_ignores` are not watched, `watched` are the roots
    whose files belong to the image. `deployed_exact`: matches used references tag and all.
    """

    ref: str
    build: Build
    exact: bool = False
    depends_on: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    container_args: tuple[str, ...] | None = None
    match_in_env_vars: bool = False
    watched: tuple[str, ...] = field(default=(), compare=False)  # what triggers is not what is built
    context_ignores: tuple[Ignore, ...] = ()
    watch_ignores: tuple[Ignore, ...] = field(default=(), compare=False)
    live_update: LiveUpdate | None = None
    origin: Origin = field(default=NOWHERE, compare=False)


# ---------------------------------------------------------------------------------------------- resources


@dataclass(frozen=True, slots=True)
class ExecAction:
    """Probe by a command on the host; exit 0 is success."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HTTPGetAction:
    """Probe by an HTTP GET; 200 to 399 is success."""

    port: int
    host: str = ""
    scheme: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class TCPSocketAction:
    """Probe by a TCP connection."""

    port: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """`probe(...)`: seconds; 0 means the default (timeout 1, period 10, success 1, failure 3)."""

    action: ExecAction | HTTPGetAction | TCPSocketAction
    initial_delay_secs: int = 0
    timeout_secs: int = 0
    period_secs: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0


@dataclass(frozen=True, slots=True)
class Local:
    """The target of `local_resource`: an update command, a server, or both."""

    cmd: Command | None = None
    serve: Command | None = None
    deps: tuple[str, ...] = field(default=(), compare=False)
    ignores: tuple[Ignore, ...] = field(default=(), compare=False)
    allow_parallel: bool = False
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A Compose project as handed to `docker compose`: inline YAML stands in `config_paths` as a temporary file."""

    name: str
    config_paths: tuple[str, ...]
    directory: str
    env_file: str = ""
    profiles: tuple[str, ...] = ()
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Compose:
    """The target of a Compose service.

    `image` is the reference the service runs (Tilt-built images are tagged as it). `config` is the effective service
    definition as canonical JSON, which makes a change of it a change of the resource. `image_built` names the image
    of `Spec.images` that provides it, or "".
    """

    project: ComposeProject = field(compare=False)  # other services of the project are not this one's business
    service: str
    image: str = ""
    image_built: str = ""
    config: str = "{}"
    ports: tuple[int, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortForward:
    """A forwarded port: container 0 means "chosen by the pod"."""

    local: int
    container: int = 0
    host: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class CustomDeploy:
    """`k8s_custom_deploy`: commands that apply and delete, and what triggers them: `deps` without `ignores`."""

    apply: Command
    delete: Command
    deps: tuple[str, ...] = ()
    image_deps: tuple[str, ...] = ()
    container_selector: str = ""
    image_selector: str = ""
    ignores: tuple[Ignore, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ImageLocator:
    """Where a document keeps an image that is in no container: `object` is its index among the target's objects.

    The JSON path leads to texts; if `repo_field` is given, to maps with the repository and the tag in two fields.
    """

    object: int
    path: str
    repo_field: str = ""
    tag_field: str = ""


@dataclass(frozen=True, slots=True)
class KubeContext:
    """Which cluster is meant: a context of the kube config, and where objects without a namespace go.

    `config` are the kube config's files, with colons, as of when the Tiltfile was evaluated: what may be deployed to
    was decided then, and switching the current context afterwards must not lead anywhere else.
    """

    name: str = ""
    namespace: str = "default"
    config: str = ""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """The target of a Kubernetes resource; `objects` are documents as canonical JSON, in deploy order.

    `origins` says for each of them where it stands; `direct` are the images they name, others are only bases of those.
    """

    objects: tuple[str, ...] = ()
    port_forwards: tuple[PortForward, ...] = ()
    pod_readiness: Literal["wait", "ignore", "succeeded"] = "wait"
    discovery_strategy: str = "default"
    extra_pod_selectors: tuple[tuple[tuple[str, str], ...], ...] = ()
    custom_deploy: CustomDeploy | None = None
    image_locators: tuple[ImageLocator, ...] = ()
    context: KubeContext = field(default_factory=KubeContext)
    origins: tuple[Origin, ...] = field(default=(), compare=False)
    direct: tuple[str, ...] = ()


Target: TypeAlias = Local | Compose | Kubernetes


@dataclass(frozen=True, slots=True)
class Link:
    """A link shown beside a resource."""

    url: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One row: what to build (`images`, base images first) and where it runs (`target`)."""

    name: str
    target: Target
    images: tuple[str, ...] = ()
    resource_deps: tuple[str, ...] = ()
    trigger_mode: TriggerMode = TriggerMode.AUTO
    auto_init: bool = True
    labels: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    source: str = ""  # key of the cell or file that defined it
    origin: Origin = field(default=NOWHERE, compare=False)

    @property
    def kind(self) -> Kind:
        """The field's name for what it is."""
        match self.target:
            case Local():
                return "local"
            case Compose():
                return "compose"
            case Kubernetes():
                return "kubernetes"

    @property
    def deployed_is_ready(self) -> bool:
        """Nothing of it runs that could become ready: deploying it is all there is to do."""
        return isinstance(self.target, Kubernetes) and self.target.pod_readiness == "ignore"


# ---------------------------------------------------------------------------------------------- the whole


@dataclass(frozen=True, slots=True)
class Registry:
    """`default_registry(...)`."""

    host: str
    host_from_cluster: str = ""
    single_name: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value never to be shown: `label` is what stands in its place."""

    value: str = field(repr=False)
    label: str


class Warned(str):
    """A warning: its text, which `lint` rule has more to say about it ("": none), and where it arose."""

    __slots__ = ("origin", "rule")
    origin: Origin
    rule: str

    def __new__(cls, text: str, origin: Origin = NOWHERE, rule: str = "") -> Self:
        """A string that knows two things more."""
        self = super().__new__(cls, text)
        self.origin, self.rule = origin, rule
        return self


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole of what is asked for, in definition order.

    `unused_images` are builds that nothing deploys, by reference and where they stand.
    """

    resources: tuple[Resource, ...] = ()
    images: Mapping[str, Image] = field(default_factory=lambda: MappingProxyType({}))
    enabled: frozenset[str] = frozenset()
    config_files: tuple[str, ...] = ()
    watch_ignores: tuple[Ignore, ...] = ()
    registry: Registry | None = None
    settings: Settings = field(default_factory=Settings)
    secrets: tuple[Secret, ...] = ()
    warnings: tuple[Warned, ...] = ()
    unused_images: tuple[tuple[str, Origin], ...] = ()
    buttons: tuple[Button, ...] = ()
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _users: Mapping[str, tuple[Resource, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        users: dict[str, tuple[Resource, ...]] = {}
        for resource in self.resources:
            users.update({ref: (*users.get(ref, ()), resource) for ref in resource.images})
        object.__setattr__(self, "_places", {r.name: place for place, r in enumerate(self.resources)})
        object.__setattr__(self, "_users", users)

    def dependants_first(self) -> tuple[Resource, ...]:
        """The resources, each before those it depends on; of a circle all at once."""
        found: list[Resource] = []
        while left := [one for one in reversed(self.resources) if one not in found]:
            needed = {dep for one in left for dep in one.resource_deps}
            found += [one for one in left if one.name not in needed] or left
        return tuple(found)

    def resource(self, name: str) -> Resource | None:
        """The resource of that name, or None."""
        place = self._places.get(name)
        return None if place is None else self.resources[place]

    def in_order(self, names: Collection[str]) -> list[Resource]:
        """The resources among these names, in definition order."""
        return [self.resources[place] for place in sorted(self._places[n] for n in names if n in self._places)]

    def users(self, ref: str) -> tuple[Resource, ...]:
        """The resources that run this image, or one built on it, in definition order."""
        return self._users.get(ref, ())
