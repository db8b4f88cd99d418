"""What one evaluation has registered so far: mutable, owned by the evaluating thread, thrown away after `assemble`.

Builtins fill it, `assemble` reads it. Parts that need no later decision are already values of `core.spec`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipytilt.core.images import Reference
from ipytilt.core.settings import Settings
from ipytilt.core.spec import (
    NOWHERE,
    Build,
    Command,
    ComposeProject,
    Ignore,
    Link,
    LiveUpdate,
    Origin,
    Probe,
    Registry,
    StopPath,
    TriggerMode,
    Warned,
)
from ipytilt.starlark.text import quote
from ipytilt.tiltfile.kube_draft import KubeDraft


class Wrong(Exception):
    """The Tiltfile is wrong. Raised by builtins and assembly, turned into a TiltfileError by `load`.

    Attributes:
        origin: where, if that is not the call being executed.
        hint: what to try, or "".
    """

    def __init__(self, message: str, *, origin: Origin = NOWHERE, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.origin = origin
        self.hint = hint


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to append to a message about a name that is not known: the most similar one that is, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


@dataclass(frozen=True, slots=True)
class Step:
    """One live-update step as the Tiltfile made it; `kind` is Tilt's word, the other fields depend on it."""

    kind: str
    origin: Origin
    paths: tuple[StopPath, ...] = ()  # fall_back_on
    local: str = ""  # sync
    container: str = ""
    argv: tuple[str, ...] = ()  # run
    triggers: tuple[str, ...] = ()
    echo_off: bool = False

    def __str__(self) -> str:
        match self.kind:
            case "sync":
                return f"sync step: '{self.local}'->'{self.container}'"
            case "run":
                tail = f" (triggers: {'; '.join(self.triggers)})" if self.triggers else ""
                return f"run step: {quote(_shown(self.argv))}{tail}"
            case "fall_back_on":
                return f"fall_back_on step: [{' '.join(stop.path for stop in self.paths)}]'"
            case kind:
                return f"{kind} step"


def _shown(argv: tuple[str, ...]) -> str:
    return argv[2] if argv[:2] == ("sh", "-c") else " ".join(argv)


@dataclass(slots=True)
class ImageDraft:
    """A declared image build; `key` is what it is called everywhere.

    `watched` are its context or deps; `ignore` and `only` the patterns as written; `image_deps` are required;
    `dockerfile_path` and `volumes` are known for builds by Compose; `passed_over` is not watched, by a Compose file's
    own rules; `tiltfile` is the file (or "") that made the call.
    `restarts_process`: its live update restarts the process by way of the extension of that name.
    """

    reference: Reference
    build: Build
    watched: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    container_args: tuple[str, ...] | None = None
    match_in_env_vars: bool = False
    live_update: LiveUpdate | None = None
    image_deps: tuple[Reference, ...] = ()
    dockerfile_path: str = ""
    volumes: tuple[str, ...] = ()
    passed_over: tuple[Ignore, ...] = ()
    restarts_process: bool = False
    tiltfile: str = ""
    origin: Origin = NOWHERE
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.reference.familiar


@dataclass(slots=True, kw_only=True)
class ResourceDraft:
    """What every kind of resource has; None means not said."""

    name: str
    origin: Origin
    source: str
    trigger_mode: TriggerMode | None = None
    auto_init: bool | None = None
    resource_deps: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class LocalDraft(ResourceDraft):
    """A `local_resource`; `ignore` patterns are relative to `dir`, the working directory of the call."""

    cmd: Command | None
    serve: Command | None
    deps: tuple[str, ...]
    ignore: tuple[str, ...]
    dir: str
    allow_parallel: bool
    probe: Probe | None


@dataclass(slots=True, kw_only=True)
class ServiceDraft(ResourceDraft):
    """A Compose service; `config` is its effective definition, `image` an override of the image it is matched by."""

    service: str
    project: str
    config: Mapping[str, Any]
    image: str = ""
    infer_links: bool = True


@dataclass(slots=True)
class ConfigDraft:
    """What `config.*` said: which resources run, and the settings a Tiltfile takes from its arguments."""

    selected: tuple[str, ...] | None = None  # None: not said; () after clear_enabled_resources
    settings: dict[str, Any] = field(default_factory=dict)
    parsed_in: str | None = None


@dataclass(slots=True)
class Draft:
    """Everything registered so far, in call order."""

    images: list[ImageDraft] = field(default_factory=list)
    locals: list[LocalDraft] = field(default_factory=list)
    services: list[ServiceDraft] = field(default_factory=list)
    projects: dict[str, ComposeProject] = field(default_factory=dict)
    kube: KubeDraft = field(default_factory=KubeDraft)
    api_objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # v1alpha1, by kind and name
    loaded_extensions: set[str] = field(default_factory=set)
    live_updates: list[tuple[Reference, LiveUpdate]] = field(default_factory=list)  # the older standalone form
    unused_steps: dict[Origin, str] = field(default_factory=dict)
    trigger_mode: tuple[TriggerMode, Origin] | None = None
    watch_ignores: list[Ignore] = field(default_factory=list)
    registry: Registry | None = None
    settings: Settings = field(default_factory=Settings)
    team: str = ""
    telemetry: bool = False
    config: ConfigDraft = field(default_factory=ConfigDraft)
    warnings: list[Warned] = field(default_factory=list)
    _names: dict[str, tuple[str, Origin, str]] = field(default_factory=dict)

    def claim(self, name: str, kind: str, origin: Origin, *, source: str) -> None:
        """Take a resource name; `Wrong` if a resource has it. `kind` is the builtin users make such resources with."""
        taken = self._names.get(name)
        if taken:
            other, where, its_source = taken
            place = f" ({where})" if its_source != source else ""
            raise Wrong(f'{other} named "{name}" already exists{place}')
        self._names[name] = (kind, origin, source)

    def rename(self, old: str, new: str) -> None:
        """Give a taken name up for another that must be free."""
        kind, origin, source = self._names[old]
        self.claim(new, kind, origin, source=source)
        del self._names[old]

    def add_image(self, image: ImageDraft) -> None:
        """Declare an image build; `Wrong` if the same reference has one."""
        for other in self.images:
            if other.reference == image.reference:
                place = f" ({other.origin})" if other.origin.file != image.origin.file else ""
                raise Wrong(f'Image for ref "{image.key}" has already been defined{place}')
        self.images.append(image)
