"""Live-update rules from a Compose file: what the `develop.watch` section of a service says, in our own terms.

Runs on the evaluating thread, called by `assemble` for each service; reads the Compose files once more, for the lines
of the rules. Tilt passes the section over. As with `docker compose watch`, every rule that takes a file counts, and a
file that the rules over it leave out does nothing; unlike there, a file of the build context that no rule is about
builds anew, as it does without the section.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ipytilt.core.paths import is_below
from ipytilt.core.spec import (
    Command,
    ComposeProject,
    CustomBuild,
    Ignore,
    LiveUpdate,
    Origin,
    RunStep,
    Selection,
    StopPath,
    Sync,
    Warned,
)
from ipytilt.tiltfile.builtins.yaml_text import positions
from ipytilt.tiltfile.compose_files import bind_sources
from ipytilt.tiltfile.draft import ImageDraft, ServiceDraft
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.image_builds import Builds, service_image
from ipytilt.tiltfile.pathnames import absolute, relative

_UNSUPPORTED = ("user", "privileged")


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """One rule, its path absolute; `hook` is the `exec` of it, `selection` which files below the path it is about."""

    action: str
    path: str
    target: str
    hook: Mapping[str, Any]
    initial: bool
    selection: Selection

    @property
    def origin(self) -> Origin:
        return self.selection.origin

    @property
    def syncs(self) -> bool:
        return self.action.startswith("sync")

    @property
    def only(self) -> Selection | None:
        return self.selection if self.selection.include or self.selection.ignore else None

    def __str__(self) -> str:
        return f"{self.action} {self.path}"


def with_rules(
    service: ServiceDraft, project: ComposeProject, image: ImageDraft | None, builds: Builds, *, host: Host
) -> tuple[ImageDraft | None, list[Warned]]:
    """The image a service runs with the rules of its `develop.watch`, and what of them cannot be done.

    An image with a `live_update` of its own keeps that one; one that nobody builds is declared, to be synced into.
    """
    rules = list(_rules(service, project, host))
    if not rules or (image is not None and image.live_update is not None and not image.live_update.from_compose):
        return image, []
    mounted = bind_sources(service.config)
    problems = {rule: _problem(rule, mounted, built=image is not None) for rule in rules}
    kept = [rule for rule, problem in problems.items() if not problem]
    said = [(rule, f"{rule} is left out: {problem}") for rule, problem in problems.items() if problem]
    said += _changed(kept)
    if kept:
        image = image or _only_synced(service, project, builds)
        said += _give(image, kept, project, host=host)
    return image, [Warned(f"develop.watch of {service.service}: {text}", rule.origin) for rule, text in said]


def _rules(service: ServiceDraft, project: ComposeProject, host: Host) -> Iterator[_Rule]:
    written = (service.config.get("develop") or {}).get("watch") or []
    lines = _Lines(service, project, host) if written else None
    for rule in written:
        path = absolute(project.directory, rule["path"])
        origin = lines.of(rule["action"], path) if lines else service.origin
        yield _Rule(
            action=rule["action"],
            path=path,
            target=rule.get("target") or "",
            hook=rule.get("exec") or {},
            initial=bool(rule.get("initial_sync") or rule.get("x-initialSync")),
            selection=Selection(path, _strings(rule.get("include")), _strings(rule.get("ignore")), origin),
        )


def _strings(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


class _Lines:
    """Where the rules of a service stand, in the order of the files."""

    def __init__(self, service: ServiceDraft, project: ComposeProject, host: Host) -> None:
        self._base = project.directory
        self._default = Origin(project.config_paths[0])
        self._places: list[tuple[Origin, Mapping[str, str]]] = []
        for path in project.config_paths:
            try:
                text = host.read(path, record=False).decode(errors="replace")
            except OSError:  # gone since it was read: its rules stand, without a line
                continue
            for line, column, fields in positions(text, "services", service.service, "develop", "watch"):
                self._places.append((Origin(path, line, column), fields))

    def of(self, action: str, path: str) -> Origin:
        """The place of that rule, used up; a file without a line for what was extended or included."""
        for place in self._places:
            origin, fields = place
            if fields.get("action") == action and absolute(self._base, fields.get("path", "")) == path:
                self._places.remove(place)
                return origin
        return self._default


def _problem(rule: _Rule, mounted: Iterable[str], *, built: bool) -> str:
    """Why a rule cannot be followed, "" if it can."""
    if rule.action == "rebuild" and not built:
        return "the service has no build section, and no docker_build() provides its image"
    if rule.syncs and not rule.target:
        return "it has no target"
    if rule.action == "sync+exec" and not rule.hook.get("command"):
        return "its exec has no command"
    volume = next((source for source in mounted if is_below(rule.path, source)), "")
    if rule.syncs and volume:
        return f"the container has {volume} mounted and sees every change by itself"
    return ""


def _changed(rules: Iterable[_Rule]) -> Iterator[tuple[_Rule, str]]:
    for rule in rules:
        for key in _UNSUPPORTED:
            if rule.action == "sync+exec" and rule.hook.get(key):
                yield rule, f"{rule}: exec.{key} is passed over, the command runs as the container's own user"


def _only_synced(service: ServiceDraft, project: ComposeProject, builds: Builds) -> ImageDraft:
    """The image of a service that nobody builds."""
    used = service_image(service)
    nothing = CustomBuild(Command((":",), project.directory))
    image = ImageDraft(reference=used, build=nothing, origin=service.origin)
    builds.add(image)
    builds.find(used)
    return image


def _give(image: ImageDraft, rules: list[_Rule], project: ComposeProject, *, host: Host) -> Iterator[tuple[_Rule, str]]:
    """Give the rules to the image; of several services that run it, those of the first count for all."""
    made = _live_update(rules, project, host)
    if image.live_update is not None:
        if image.live_update != made:
            yield rules[0], f"it is passed over: {image.key} has that of another service, {image.live_update.origin}"
        return
    if made.syncs or made.runs or made.restart_on:
        image.live_update = made
    outside = (rule.path for rule in rules if not any(is_below(rule.path, root) for root in image.watched))
    image.watched += tuple(dict.fromkeys(outside))
    _look_into_mounts(image, [rule.path for rule in rules if not rule.syncs])
    if any(rule.only for rule in rules):
        image.passed_over += (Ignore(project.directory, unless=tuple(rule.selection for rule in rules)),)


def _look_into_mounts(image: ImageDraft, paths: list[str]) -> None:
    """What is mounted needs no copying and is not watched, but for these paths."""
    for volume in image.volumes:
        below = [path for path in paths if is_below(path, volume)]
        if below and volume not in below:
            image.passed_over += (Ignore(volume, ("**", *(f"!{relative(volume, path)}" for path in below))),)
    image.volumes = tuple(v for v in image.volumes if not any(is_below(p, v) or is_below(v, p) for p in paths))


def _live_update(rules: list[_Rule], project: ComposeProject, host: Host) -> LiveUpdate:
    return LiveUpdate(
        base=project.directory,
        stop_paths=tuple(StopPath(r.path, r.origin, r.only) for r in rules if r.action == "rebuild"),
        syncs=tuple(_sync(rule, host) for rule in rules if rule.syncs),
        runs=tuple(_run(rule, project) for rule in rules if rule.action == "sync+exec"),
        restart_on=tuple(rule.selection for rule in rules if rule.action.endswith("restart")),
        initial_sync=any(rule.syncs and rule.initial for rule in rules),
        from_compose=True,
        origin=rules[0].origin,
    )


def _sync(rule: _Rule, host: Host) -> Sync:
    target = rule.target if rule.target.startswith("/") else f"/{rule.target}"
    return Sync(rule.path, target, rule.origin, directory=host.is_dir(rule.path), only=rule.only, initial=rule.initial)


def _run(rule: _Rule, project: ComposeProject) -> RunStep:
    written = (relative(project.directory, rule.path),)
    return RunStep(_argv(rule.hook), (rule.path,), triggers_as_written=written, origin=rule.origin, only=rule.only)


def _argv(hook: Mapping[str, Any]) -> tuple[str, ...]:
    """The command of a hook; a directory and an environment of its own take a shell."""
    command = _words(hook["command"])
    changes = f"cd {shlex.quote(hook['working_dir'])} && " if hook.get("working_dir") else ""
    changes += "".join(f"{name}={shlex.quote(value)} " for name, value in _environment(hook.get("environment")))
    return ("sh", "-c", changes + shlex.join(command)) if changes else command


def _words(command: Any) -> tuple[str, ...]:
    return tuple(shlex.split(command)) if isinstance(command, str) else tuple(map(str, command))


def _environment(value: Any) -> Iterator[tuple[str, str]]:
    """Assignments; a name without a value says nothing."""
    if isinstance(value, list):
        value = {name: text for name, equals, text in (str(item).partition("=") for item in value) if equals}
    yield from ((name, str(text)) for name, text in (value or {}).items() if text is not None)
