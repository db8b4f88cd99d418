"""Compose projects: `docker_compose`, `dc_resource`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ipytilt.core.spec import ComposeProject
from ipytilt.tiltfile.builtin import builtin
from ipytilt.tiltfile.compose_files import effective, in_dependency_order
from ipytilt.tiltfile.compose_files import project_name as normalised
from ipytilt.tiltfile.draft import Draft, ServiceDraft, Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.image_builds import service_image
from ipytilt.tiltfile.pathnames import basename, dirname
from ipytilt.tiltfile.values import Blob, GitRepo
from ipytilt.tiltfile.vocabulary import (
    Labels,
    Links,
    MaybeBool,
    MaybePath,
    Mode,
    Seq,
    Strs,
    go_type,
    one_or_many,
    path,
)


@builtin("docker_compose")
def docker_compose(
    ev: Eval,
    configPaths: Any,  # noqa: N803 - Tilt's own name
    env_file: MaybePath = "",
    project_name: str = "",
    profiles: Strs = (),
    wait: MaybeBool = False,
) -> None:
    """Make a resource of each service of a Compose project, waiting for what it depends on.

    `configPaths` is one or many Compose files (or Blobs holding YAML), later ones on top of earlier ones. A second call
    for the same project adds its files to it. `project_name` defaults to the name of the first file's folder,
    `profiles` to those in `COMPOSE_PROFILES`; `env_file` takes the place of `.env`. With `wait`, a service counts as up
    only when it is healthy. An image that `docker_build` declares takes the place of the service's own.

    A service's `develop.watch` rules, which Tilt passes over, become the live update of the image it runs, unless that
    has one of its own: `sync` copies, `rebuild` builds anew, `restart` and `exec` follow the copying. They count for
    every service that runs the image. What no rule is about builds anew, as it does without them.
    """
    items = one_or_many(configPaths)
    if not items:
        raise Wrong("Nothing to compose")
    files = [item for item in items if not isinstance(item, Blob)]
    for item in files:
        if not isinstance(item, str | GitRepo):
            raise Wrong(f"docker_compose: expected blob | path (string). Actual type: {go_type(item)}")
    paths = tuple(ev.host.keep_text(i.text, ".yml") if isinstance(i, Blob) else path(ev, i) for i in items)
    directory = dirname(path(ev, files[0])) if files else ev.dir
    name = project_name or normalised(basename(directory))
    if not name:
        raise Wrong("project name must not be empty: give project_name=")
    chosen = profiles or tuple(filter(None, ev.host.environ.get("COMPOSE_PROFILES", "").split(",")))
    known = ev.draft.projects.get(name)
    if known is None:
        project = ComposeProject(name, paths, directory, env_file or "", chosen, bool(wait))
    else:
        project = replace(
            known,
            config_paths=tuple(dict.fromkeys((*known.config_paths, *paths))),
            env_file=env_file or known.env_file,
            profiles=tuple(dict.fromkeys((*known.profiles, *profiles))),
            wait=bool(wait) or known.wait,
        )
    _register(ev, project)


def _register(ev: Eval, project: ComposeProject) -> None:
    """(Re-)read the project's services; those known already keep what `dc_resource` said about them."""
    draft = ev.draft
    services = effective(project, ev.host, cancelled=ev.cancelled).get("services") or {}
    draft.projects[project.name] = project
    known = {service.service: service for service in draft.services if service.project == project.name}
    others = [service for service in draft.services if service.project != project.name]
    mine = []
    for name in in_dependency_order(services):
        service = known.get(name)
        if service is None:
            origin = ev.origin()
            draft.claim(name, "dc_resource", origin, source=ev.current.source)
            service = ServiceDraft(
                name=name,
                origin=origin,
                source=ev.current.source,
                service=name,
                project=project.name,
                config=services[name],
            )
        service.config = services[name]
        service_image(service)  # an unusable name is an error of this call
        mine.append(service)
    draft.services = [*others, *mine]


@builtin("dc_resource")
def dc_resource(
    ev: Eval,
    name: str,
    image: str = "",
    trigger_mode: Mode | None = None,
    resource_deps: Seq = (),
    infer_links: MaybeBool = None,
    links: Links = (),
    labels: Labels = (),
    auto_init: MaybeBool = None,
    project_name: str = "",
    new_name: str = "",
) -> None:
    """Say more about a service that `docker_compose` made a resource of; may be called again to add to it.

    `new_name` renames the resource from here on. `image` is the image it is matched by, if not the one in the Compose
    file. `resource_deps`, `links` and `labels` add up over calls, of the rest the last one counts. `infer_links=False`
    leaves out the links to published ports, `auto_init=False` does not start it by itself. `project_name` tells
    services of one name apart.
    """
    if not name:
        raise Wrong("dc_resource: `name` must not be empty")
    service = _service_named(ev.draft, name, project_name)
    if image:
        service.image = image
        service_image(service)
    if trigger_mode is not None:
        service.trigger_mode = trigger_mode
    if auto_init is not None:
        service.auto_init = auto_init
    if infer_links is not None:
        service.infer_links = infer_links
    service.resource_deps += resource_deps
    service.links += links
    service.labels.update(labels)
    if new_name and new_name != service.name:
        try:
            ev.draft.rename(service.name, new_name)
        except Wrong as wrong:
            raise Wrong(f'dc_resource specified to rename "{name}" to "{new_name}": {wrong.message}') from None
        service.name = new_name


def _service_named(draft: Draft, name: str, project: str) -> ServiceDraft:
    candidates = [service for service in draft.services if project in ("", service.project)]
    found = [service for service in candidates if service.name == name]
    if not found:
        names = ", ".join(_quoted(service.name for service in candidates)) or "none"
        raise Wrong(
            f'no Docker Compose service found with name "{name}". Found these instead: {names}',
            hint="" if candidates else "call docker_compose(...) before dc_resource(...)",
        )
    if len(found) > 1:
        raise Wrong(f'found multiple resources named "{name}", please specify which one with project_name= argument')
    return found[0]


def _quoted(names: Iterable[str]) -> Iterable[str]:
    return (json.dumps(name) for name in names)
