"""From a draft to a `Spec`: match images to what deploys them, apply defaults, check what only the whole can show.

Runs on the evaluating thread once the code has ended; asks the host for ignore files, otherwise works on the draft
alone. The order of the stages is the order in which Tilt reports errors.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ipytilt.core import lint
from ipytilt.core.spec import (
    Compose,
    ComposeBuild,
    Ignore,
    Image,
    Kubernetes,
    Link,
    Local,
    Resource,
    Spec,
    Target,
    TriggerMode,
    Warned,
)
from ipytilt.tiltfile import image_builds, kube_assemble
from ipytilt.tiltfile.button_specs import buttons
from ipytilt.tiltfile.compose_files import bind_sources, build_section, published_ports
from ipytilt.tiltfile.compose_watch import with_rules
from ipytilt.tiltfile.draft import Draft, ImageDraft, LocalDraft, ResourceDraft, ServiceDraft, Wrong, did_you_mean
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.image_builds import Builds
from ipytilt.tiltfile.kube_assemble import UNCATEGORIZED, KubeResource


@dataclass(slots=True)
class _Made:
    """A resource on its way: what it deploys, the builds it uses directly, and what the user said about it."""

    draft: ResourceDraft
    target: Target
    direct: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    deps: list[str] = field(default_factory=list)


def assemble(draft: Draft, host: Host, *, args: Sequence[str]) -> Spec:
    """The spec of everything registered; `Wrong` if it does not fit together.

    `args` are the Tiltfile arguments: names of resources to enable, unless the Tiltfile parsed them itself.
    """
    builds = Builds(draft.images)
    image_builds.attach_live_updates(draft, builds)
    names = {(service.project, service.service): service.name for service in draft.services}
    kube = kube_assemble.group(draft, builds, host)
    services = [_service(service, draft, names, builds, host=host) for service in draft.services]
    unused = _unused(draft, builds)
    draft.warnings += _unused_images(unused, draft, kube, builds)
    kube_assemble.check(kube, builds)
    if draft.registry and services:
        raise Wrong("default_registry is not supported with docker compose")
    made = [*map(_kubernetes, kube), *services]
    _check_live_updates(made, builds)
    _check_steps(draft)
    made += [_local(local, host) for local in draft.locals]
    made.sort(key=lambda part: part.draft.name == UNCATEGORIZED and isinstance(part.target, Kubernetes))
    resources = _resources(made, draft)
    deployed = dict.fromkeys(key for resource in resources for key in resource.images)
    images = {image.key: image_builds.finished(image, builds, host) for image in builds if image.key in deployed}
    return Spec(
        resources=resources,
        images=MappingProxyType({key: images[key] for key in deployed}),
        enabled=_enabled(draft, resources, args),
        config_files=host.reads,
        watch_ignores=(*draft.watch_ignores, *_written_files(images.values())),
        registry=draft.registry,
        settings=draft.settings,
        secrets=tuple(kube_assemble.secrets(draft)),
        buttons=tuple(buttons(draft)),
        warnings=tuple(draft.warnings),
        unused_images=tuple((image.key, image.origin) for image in unused),
    )


def _kubernetes(resource: KubeResource) -> _Made:
    return _Made(draft=resource, target=resource.target, direct=resource.direct, images=resource.images)


# ---------------------------------------------------------------------------------------------- compose


def _service(
    service: ServiceDraft, draft: Draft, names: Mapping[tuple[str, str], str], builds: Builds, *, host: Host
) -> _Made:
    """`names` are those of all resources made from services, by project and service."""
    project = draft.projects[service.project]
    used = image_builds.service_image(service)
    image = builds.find(used)
    if image is None and (context := build_section(service.config)):
        image = ImageDraft(
            reference=used,
            build=ComposeBuild(service=service.service, context=context.directory),
            watched=(context.directory,),
            dockerfile_path=context.dockerfile,
            volumes=bind_sources(service.config),
            origin=service.origin,
        )
        builds.add(image)
        builds.find(used)
    if image and (image.entrypoint is not None or image.container_args is not None):
        word = "entrypoint" if image.entrypoint is not None else "container_args"
        raise Wrong(f"docker_build/custom_build.{word} not supported for Docker Compose resources", origin=image.origin)
    image, warnings = with_rules(service, project, image, builds, host=host)
    draft.warnings += warnings
    ports = published_ports(service.config)
    needed = [(service.project, name) for name in service.config.get("depends_on") or {}]
    inferred = [Link(f"http://localhost:{port}/") for port in ports] if service.infer_links else []
    return _Made(
        draft=service,
        target=Compose(
            project=project,
            service=service.service,
            image=used.familiar,
            image_built=image.key if image else "",
            config=json.dumps(service.config, sort_keys=True, separators=(",", ":")),
            ports=ports,
            volumes=bind_sources(service.config),
        ),
        direct=(image.key,) if image else (),
        images=image_builds.build_order(service.name, [image] if image else [], builds),
        links=tuple(inferred),
        deps=[names[key] for key in needed if key in names],
    )


# ---------------------------------------------------------------------------------------------- images as a whole


def _unused(draft: Draft, builds: Builds) -> list[ImageDraft]:
    """Builds that provide nothing, and of which that is to be said."""
    suppressed = draft.settings.update.suppress_unused_image_warnings
    unused = [image for image in builds if image.key not in builds.used and image.key not in suppressed]
    return [] if "*" in suppressed else unused


def _unused_images(
    unused: Sequence[ImageDraft], draft: Draft, kube: Sequence[KubeResource], builds: Builds
) -> Iterator[Warned]:
    if unused:
        yield Warned(_why_unused(unused[0], draft, kube, builds), unused[0].origin, lint.UNUSED_IMAGE)


def _why_unused(image: ImageDraft, draft: Draft, kube: Sequence[KubeResource], builds: Builds) -> str:
    if not draft.services and not kube:
        return (
            "We could not find any deployment instructions, such as docker_compose(...) or k8s_yaml(...). "
            "No image is built until something deploys it."
        )
    if not draft.services and not any(resource.has_images or resource.custom for resource in kube):
        return (
            "No Kubernetes configs with images found. If you are using custom resources, tell where their images are "
            "written with k8s_kind(..., image_json_path=...)."
        )
    similar = difflib.get_close_matches(image.key, builds.consumed, n=3)
    hint = f"\nDid you mean… {', '.join(similar)}?" if similar else ""
    where = "Kubernetes" if kube else "Docker Compose"
    return (
        f"Image not used in any {where} config: {image.key} ({image.origin}){hint}\n"
        "Skipping this image build. If that is meant, suppress this warning with "
        f'update_settings(suppress_unused_image_warnings=["{image.key}"])'
    )


def _check_live_updates(made: Iterable[_Made], builds: Builds) -> None:
    direct = {key for resource in made for key in resource.direct}
    for image in builds:
        if image.key in direct:
            image_builds.check_live_update_paths(image, builds)


def _check_steps(draft: Draft) -> None:
    left = draft.unused_steps
    if left:
        listed = "".join(f"\n\t- {step} at {origin}" for origin, step in left.items())
        raise Wrong(
            f"found {len(left)} live_update steps that were created but not used in a live_update:{listed}",
            origin=next(iter(left)),
            hint="pass them to docker_build(..., live_update=[...]) or custom_build(..., live_update=[...])",
        )


def _written_files(images: Iterable[Image]) -> Iterator[Ignore]:
    for image in images:
        path = getattr(image.build, "outputs_image_ref_to", "")
        if path:
            yield Ignore(path)


# ---------------------------------------------------------------------------------------------- local resources


def _local(local: LocalDraft, host: Host) -> _Made:
    patterns = [Ignore(local.dir, local.ignore, local.origin)] if local.ignore else []
    return _Made(
        draft=local,
        target=Local(
            cmd=local.cmd,
            serve=local.serve,
            deps=local.deps,
            ignores=(*image_builds.git_folders([*local.deps, local.dir], host), *patterns),
            allow_parallel=local.allow_parallel or local.cmd is None,
            probe=local.probe,
        ),
    )


# ---------------------------------------------------------------------------------------------- resources


def _resources(made: Sequence[_Made], draft: Draft) -> tuple[Resource, ...]:
    default = draft.trigger_mode[0] if draft.trigger_mode else TriggerMode.AUTO
    known = {resource.draft.name for resource in made}
    resources = []
    for part in made:
        about = part.draft
        _check_name(about)
        resources.append(
            Resource(
                name=about.name,
                target=part.target,
                images=part.images,
                resource_deps=tuple(_known_deps(part, known, draft)),
                trigger_mode=about.trigger_mode or default,
                auto_init=about.auto_init is not False,
                labels=tuple(sorted(about.labels)),
                links=(*about.links, *part.links),
                source=about.source,
                origin=about.origin,
            )
        )
    _check_order(resources)
    return tuple(resources)


def _check_name(about: ResourceDraft) -> None:
    if not about.name:
        raise Wrong("manifest missing name", origin=about.origin)
    for letter in "/%":
        if letter in about.name:
            raise Wrong(f"invalid value \"{about.name}\": may not contain '{letter}'", origin=about.origin)


def _known_deps(part: _Made, known: set[str], draft: Draft) -> Iterator[str]:
    name = part.draft.name
    for dep in dict.fromkeys([*part.deps, *part.draft.resource_deps]):
        if dep == name:
            raise Wrong(f"resource {name} specified a dependency on itself", origin=part.draft.origin)
        if dep in known:
            yield dep
            continue
        hint = did_you_mean(dep, sorted(known - {name}))
        text = f"resource {name} specified a dependency on unknown resource {dep} - dependency ignored{hint}"
        draft.warnings.append(Warned(text, part.draft.origin, lint.UNKNOWN_DEPENDENCY))


def _check_order(resources: Sequence[Resource]) -> None:
    """`Wrong` if resources wait for each other in a circle."""
    by_name = {resource.name: resource for resource in resources}
    done: set[str] = set()
    for start in by_name:
        path: list[str] = []
        pending: list[Iterator[str]] = [iter((start,))]
        while pending:
            name = next(pending[-1], None)
            if name is None:
                pending.pop()
                if path:
                    done.add(path.pop())
            elif name in path:
                circle = [*path[path.index(name) :], name]
                raise Wrong(
                    f"cycle detected in resource dependency graph: {' -> '.join(circle)}", origin=by_name[name].origin
                )
            elif name not in done:
                path.append(name)
                pending.append(iter(by_name[name].resource_deps))


def _enabled(draft: Draft, resources: Sequence[Resource], args: Sequence[str]) -> frozenset[str]:
    by_name = {resource.name: resource for resource in resources}
    selected = draft.config.selected
    if selected is None and draft.config.parsed_in is None and args:
        selected = tuple(args)
    if selected is None:
        return frozenset(by_name)
    unknown = [name for name in selected if name not in by_name]
    if unknown:
        missing, existing = (", ".join(map(json.dumps, names)) for names in (unknown, by_name))
        raise Wrong(
            f"You specified some resources that could not be found: {missing}\n"
            f"Is this a typo? Existing resources in Tiltfile: {existing}{did_you_mean(unknown[0], by_name)}"
        )
    if not selected:
        return frozenset()
    enabled: set[str] = set()
    waiting = [*selected, *({UNCATEGORIZED} & by_name.keys())]
    while waiting:
        name = waiting.pop()
        if name not in enabled:
            enabled.add(name)
            waiting += by_name[name].resource_deps
    return frozenset(enabled)
