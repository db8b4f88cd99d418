"""Likely mistakes in what is asked for: allowed by the language, and hardly ever meant.

Pure functions over a `Spec`, on any thread; `exists` is the one question they ask of the world. A rule is a generator
of findings, listed in `RULES`; it must be certain of what it says. `%tilt lint` shows all of them, a cell's result
those that no later cell can make untrue.
"""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ipytilt.core.paths import Matcher, is_below
from ipytilt.core.spec import (
    NOWHERE,
    Compose,
    CustomBuild,
    DockerBuild,
    Image,
    Kubernetes,
    LiveUpdate,
    Local,
    Origin,
    Resource,
    RunStep,
    Spec,
    Sync,
)

Exists = Callable[[str], bool]

UNUSED_IMAGE = "unused-image"
UNKNOWN_DEPENDENCY = "unknown-dependency"
IGNORED_SYNC = "ignored-sync"
STOPPED_SYNC = "stopped-sync"
DEAD_TRIGGER = "dead-trigger"
UNSYNCED_TRIGGER = "unsynced-trigger"
PORT_CLASH = "port-clash"
MISSING_PATH = "missing-path"
IGNORED_PATH = "ignored-path"
UNUSED_LIVE_UPDATE = "unused-live-update"
UNREADY_SERVER = "unready-server"
WAITS_FOR_MANUAL = "waits-for-manual"
WAITS_FOR_DISABLED = "waits-for-disabled"
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One likely mistake: where it stands, what it is, why it is one, and what to try."""

    rule: str
    origin: Origin
    what: str
    why: str = ""
    advice: str = ""


def lint(spec: Spec, exists: Exists) -> tuple[Finding, ...]:
    """Every finding, in the order of the text; those of one place in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(spec, exists)]
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: (finding.origin.file, finding.origin.line)))


def certain(spec: Spec, exists: Exists, file: str) -> tuple[Finding, ...]:
    """What is wrong with the text of that name whatever other cells add: live updates and ports, in order."""
    rules = (_ignored_syncs, _stopped_syncs, _dead_triggers, _port_clashes)
    found = [finding for rule in rules for finding in rule(spec, exists) if finding.rule != MISSING_PATH]
    mine = (finding for finding in dict.fromkeys(found) if finding.origin.file == file)
    return tuple(sorted(mine, key=lambda finding: finding.origin.line))


# ---------------------------------------------------------------------------------------------- warnings


def _warnings(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    for warning in spec.warnings:
        if warning.rule == UNKNOWN_DEPENDENCY:
            why = "the name is left out: nothing is waited for"
            yield Finding(warning.rule, warning.origin, warning, why, "mend the name, or define the resource")
        elif not warning.rule:
            yield Finding(WARNING, warning.origin, warning)
    for ref, origin in spec.unused_images:
        yield Finding(
            UNUSED_IMAGE,
            origin,
            f"nothing uses the image {ref}",
            "no service, workload or other image names it, so it is never built",
            f'mend its name, deploy it, or say update_settings(suppress_unused_image_warnings=["{ref}"])',
        )


# ---------------------------------------------------------------------------------------------- live updates


def _live(spec: Spec) -> Iterator[tuple[Image, LiveUpdate]]:
    for image in spec.images.values():
        if image.live_update:
            yield image, image.live_update


def _parts(image: Image, spec: Spec) -> list[Image]:
    """The image and all it is built on: a change in any of them is a change of the image."""
    parts, waiting = {image.ref: image}, [*image.depends_on]
    while waiting:
        base = spec.images.get(waiting.pop())
        if base is not None and base.ref not in parts:
            parts[base.ref] = base
            waiting += base.depends_on
    return list(parts.values())


def _unseen(path: str, image: Image, spec: Spec, *, directory: bool) -> str:
    """Why no change at or below the path is ever noticed; "" if some may be."""
    reasons = []
    for part in _parts(image, spec):
        if not any(is_below(path, root) or is_below(root, path) for root in part.watched):
            continue
        matcher = Matcher((*part.watch_ignores, *spec.watch_ignores))
        if not (matcher.can_prune(path) if directory else matcher.ignores(path)):
            return ""
        reasons.append(_because(matcher, path))
    if reasons:
        return reasons[0]
    return f"it lies outside of what the image watches: {', '.join(image.watched) or 'nothing'}"


def _because(matcher: Matcher, path: str) -> str:
    reason = matcher.reason(path)
    if reason is None or not reason[1]:
        return "it is left out of the image's files"
    return f"the pattern {reason[1]} leaves it out, below {reason[0].base}"


def _ignored_syncs(spec: Spec, exists: Exists) -> Iterator[Finding]:
    for image, rules in _live(spec):
        for sync in rules.syncs:
            directory = sync.directory or not exists(sync.local)  # what is not there yet may become one
            why = _unseen(sync.local, image, spec, directory=directory)
            if why:
                advice = "sync something that is watched, or take it out of ignore=, only= or .dockerignore"
                yield Finding(IGNORED_SYNC, sync.origin, f"{_shown(sync)} never has anything to do", why, advice)
            elif not exists(sync.local):
                why = "nothing is synced until it appears"
                yield Finding(
                    MISSING_PATH, sync.origin, f"{_shown(sync)}: there is no {sync.local}", why, "mend the path"
                )


def _stopped_syncs(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    for _image, rules in _live(spec):
        for sync in rules.syncs:
            for stop in rules.stop_paths:
                if is_below(sync.local, stop.path) and stop.only is None:
                    why = f"every change there is also one of fall_back_on({stop.path!r}), which means a full build"
                    advice = "name only the files in fall_back_on that need a full build"
                    yield Finding(STOPPED_SYNC, sync.origin, f"{_shown(sync)} never has anything to do", why, advice)


def _shown(sync: Sync) -> str:
    return f"sync({sync.local!r}, {sync.container!r})"


def _dead_triggers(spec: Spec, exists: Exists) -> Iterator[Finding]:
    for image, rules in _live(spec):
        for run in rules.runs:
            for path, written in zip(run.triggers, run.triggers_as_written or run.triggers, strict=True):
                if any(is_below(path, stop.path) and stop.only is None for stop in rules.stop_paths):
                    why = "the file is below a fall_back_on, so a change of it means a full build instead"
                    advice = "leave it out of fall_back_on, or of the trigger"
                else:
                    why = _unseen(path, image, spec, directory=not exists(path))
                    advice = "name a file that is watched"
                if why:
                    what = f"{_command(run)} never runs for its trigger {written!r}"
                    yield Finding(DEAD_TRIGGER, run.origin, what, why, advice)
                elif rules.syncs and not any(is_below(path, s.local) or is_below(s.local, path) for s in rules.syncs):
                    what = f"{_command(run)} runs for its trigger {written!r}, which no sync covers"
                    why = "the command sees that file as it was when the image was built; Tilt builds anew instead"
                    advice = "sync it as well, if the command reads it"
                    yield Finding(UNSYNCED_TRIGGER, run.origin, what, why, advice)


def _command(run: RunStep) -> str:
    words = run.argv[2:] if run.argv[:2] == ("sh", "-c") else run.argv
    return f"run({' '.join(words)!r})"


def _unused_live_updates(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    """Only where every user is known to deploy another image: Compose services name theirs."""
    for image, rules in _live(spec):
        users = [resource for resource in spec.resources if image.ref in resource.images]
        services = [user.target for user in users if isinstance(user.target, Compose)]
        if len(services) == len(users) and all(s.image_built != image.ref for s in services):
            bases = [other.ref for other in spec.images.values() if image.ref in other.depends_on]
            yield Finding(
                UNUSED_LIVE_UPDATE,
                rules.origin,
                f"the live_update of {image.ref} is never used",
                f"only {', '.join(bases)} is built on it, and no container runs the image itself",
                f"give the steps to {bases[0] if bases else 'the image that runs'}",
            )


# ---------------------------------------------------------------------------------------------- paths


def _missing_paths(spec: Spec, exists: Exists) -> Iterator[Finding]:
    for resource in spec.resources:
        match resource.target:
            case Local(deps=deps):
                yield from _missing(deps, f"deps of {resource.name}", resource.origin, exists)
            case Kubernetes(custom_deploy=deploy) if deploy is not None:
                yield from _missing(deploy.deps, f"deps of {resource.name}", resource.origin, exists)
    for image in spec.images.values():
        if isinstance(image.build, CustomBuild):
            yield from _missing(image.build.deps, f"deps of {image.ref}", image.origin, exists)
        elif isinstance(image.build, DockerBuild):
            yield from _missing((image.build.context,), f"context of {image.ref}", image.origin, exists)


def _missing(paths: Iterable[str], whose: str, origin: Origin, exists: Exists) -> Iterator[Finding]:
    for path in paths:
        if not exists(path):
            glob = any(letter in posixpath.basename(path) for letter in "*?[")
            advice = "patterns are not expanded: name the folder" if glob else "mend the path"
            yield Finding(
                MISSING_PATH, origin, f"{whose}: there is no {path}", "nothing changes until it appears", advice
            )


def _ignored_deps(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    for resource in spec.resources:
        if isinstance(resource.target, Local):
            matcher = Matcher((*resource.target.ignores, *spec.watch_ignores))
            for path in resource.target.deps:
                if matcher.can_prune(path):
                    what = f"deps of {resource.name}: {path} is never looked at"
                    yield Finding(IGNORED_PATH, resource.origin, what, _because(matcher, path), "narrow the ignore")


# ---------------------------------------------------------------------------------------------- resources


def _port_clashes(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    users: dict[tuple[int, str], list[tuple[Resource, str]]] = defaultdict(list)
    for resource in spec.resources:
        if resource.name in spec.enabled:
            for port, protocol, host in set(_listens(resource)):
                users[port, protocol].append((resource, host))
    for (port, _protocol), found in users.items():
        for at, (resource, host) in enumerate(found):
            first = next(
                (other for other, theirs in found[:at] if other is not resource and _overlap(host, theirs)), None
            )
            if first is not None:
                yield Finding(
                    PORT_CLASH,
                    resource.origin,
                    f"{resource.name} and {first.name} both want port {port} of this machine",
                    f"only one of them can have it; {first.name} asks for it at {first.origin}",
                    "give one of them another port",
                )


def _overlap(one: str, other: str) -> bool:
    return one == other or not {one, other}.isdisjoint({"0.0.0.0", "::", "*"})  # noqa: S104 - compared, not listened on


def _listens(resource: Resource) -> Iterator[tuple[int, str, str]]:
    """Ports of this machine that a resource takes: port, protocol, address."""
    target = resource.target
    if isinstance(target, Kubernetes):
        for forward in target.port_forwards:
            yield forward.local, "tcp", _address(forward.host)
    elif isinstance(target, Compose):
        for port in json.loads(target.config).get("ports") or []:
            published = str(port.get("published", "")) if isinstance(port, dict) else ""
            if published.isdigit() and int(published) in target.ports:
                yield int(published), port.get("protocol") or "tcp", port.get("host_ip") or "0.0.0.0"  # noqa: S104


def _address(host: str) -> str:
    return "127.0.0.1" if host in ("", "localhost") else host


def _unready_servers(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    dependents: dict[str, list[str]] = defaultdict(list)
    for resource in spec.resources:
        for name in resource.resource_deps:
            dependents[name].append(resource.name)
    for resource in spec.resources:
        target, waiting = resource.target, dependents.get(resource.name)
        if waiting and isinstance(target, Local) and target.serve and not target.probe:
            yield Finding(
                UNREADY_SERVER,
                resource.origin,
                f"{', '.join(waiting)} may start before {resource.name} answers",
                "a serve_cmd without a readiness_probe counts as ready as soon as its process runs",
                "give it readiness_probe=probe(http_get=http_get_action(PORT)), or one of the others",
            )


def _waiting_for_disabled(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    for resource in spec.resources:
        for name in resource.resource_deps if resource.name in spec.enabled else ():
            if name not in spec.enabled:
                what = f"{resource.name} does not start until {name} is switched on"
                why = f"{resource.name} waits for {name} to be ready, and that is switched off"
                yield Finding(WAITS_FOR_DISABLED, resource.origin, what, why, f"enable {name}, or drop the dependency")


def _waiting_for_manual(spec: Spec, _exists: Exists) -> Iterator[Finding]:
    manual = {resource.name for resource in spec.resources if not resource.auto_init}
    for resource in spec.resources:
        for name in resource.resource_deps:
            if name in manual and resource.auto_init:
                what = f"{resource.name} does not start until somebody triggers {name}"
                why = f"{name} has auto_init=False, and {resource.name} waits for it to be ready"
                yield Finding(WAITS_FOR_MANUAL, resource.origin, what, why, "drop the dependency, or auto_init=False")


RULES: tuple[Callable[[Spec, Exists], Iterator[Finding]], ...] = (
    _warnings,
    _ignored_syncs,
    _stopped_syncs,
    _dead_triggers,
    _unused_live_updates,
    _missing_paths,
    _ignored_deps,
    _port_clashes,
    _unready_servers,
    _waiting_for_disabled,
    _waiting_for_manual,
)


def rendered(finding: Finding, base: str = "") -> str:
    """The finding as text of up to three lines; a file below `base` is shown relative to it."""
    place = finding.origin
    file = posixpath.relpath(place.file, base) if base and is_below(place.file, base) else place.file
    where = f"{file}:{place.line}: " if place != NOWHERE else ""
    lines = [f"{where}{finding.what}  [{finding.rule}]"]
    lines += [f"    why: {finding.why}"] * bool(finding.why) + [f"    try: {finding.advice}"] * bool(finding.advice)
    return "\n".join(lines)
