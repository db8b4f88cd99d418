"""From registered Kubernetes objects to resources: which are workloads, what they are called, what belongs to them.

Runs on the evaluating thread, called by `assemble`. `group` sorts the objects into resources, applies what
`k8s_resource` said and matches images; `check` is what can only be said once all of that is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ipytilt.core import manifests
from ipytilt.core.images import Reference, parse
from ipytilt.core.jsonpath import JsonPath
from ipytilt.core.manifests import Identity
from ipytilt.core.spec import ImageLocator, KubeContext, Kubernetes, PortForward, Secret
from ipytilt.starlark import EvalError
from ipytilt.tiltfile import image_builds, kube_context
from ipytilt.tiltfile.draft import Draft, ImageDraft, ResourceDraft, Wrong
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.image_builds import Builds
from ipytilt.tiltfile.kube_draft import CustomDeployDraft, ImageFields, KubeObject, ResourceOptions
from ipytilt.tiltfile.kube_types import with_empty_parts
from ipytilt.tiltfile.vocabulary import go_type

UNCATEGORIZED = "uncategorized"

_NAMING = "error applying workload_to_resource_function: "

_MODES: tuple[Literal["wait", "ignore", "succeeded"], ...] = ("wait", "ignore", "succeeded")


@dataclass(slots=True, kw_only=True)
class KubeResource(ResourceDraft):
    """A Kubernetes resource on its way; `direct` are the keys of the builds its objects name, `images` all it needs.

    `has_images`: its objects run images, built here or not. `from_objects`: made by `k8s_resource(objects=...)`.
    """

    objects: list[KubeObject] = field(default_factory=list)
    custom: CustomDeployDraft | None = None
    from_objects: bool = False
    port_forwards: list[PortForward] = field(default_factory=list)
    extra_pod_selectors: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    pod_readiness: str = ""
    discovery_strategy: str = ""
    has_images: bool = False
    direct: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    target: Kubernetes = field(default_factory=Kubernetes)


def group(draft: Draft, builds: Builds, host: Host) -> list[KubeResource]:
    """The resources in the order they are listed; `uncategorized`, with what belongs nowhere, is the last one."""
    grouping = _Grouping(draft, builds, _context(draft, host))
    grouping.custom_deploys()
    grouping.workloads()
    grouping.leftover_pod_makers()
    for options in draft.kube.options:
        grouping.apply(options)
    for resource in grouping.resources:
        if not resource.objects and not resource.custom:
            raise Wrong(
                f"k8s_resource {resource.name!r}: could not associate any k8s_yaml() or k8s_custom_deploy() "
                "with this resource",
                origin=resource.origin,
            )
        grouping.match_images(resource)
        resource.target = _target(resource, grouping)
    return [*grouping.resources, *grouping.rest()]


class _Grouping:
    """Objects find their resource one after the other; what has none yet is `free`, in the order of the YAML."""

    def __init__(self, draft: Draft, builds: Builds, context: KubeContext) -> None:
        self.resources: list[KubeResource] = []
        self.draft = draft
        self.context = context
        self._builds = builds
        self._in_env = [image for image in builds if image.match_in_env_vars]
        self._rules = {item: tuple(draft.kube.rules_for(item)) for item in draft.kube.objects}
        self._images = {item: tuple(self._images_in(item)) for item in draft.kube.objects}
        self._free = dict.fromkeys(draft.kube.objects)
        self._by_name: dict[str, list[KubeObject]] = {}
        for item in draft.kube.objects:
            self._by_name.setdefault(item.identity.name.lower(), []).append(item)
        selectors = {item: manifests.selector(item.document).items() for item in draft.kube.objects}
        self._selectors = {item: selector for item, selector in selectors.items() if selector}

    # ------------------------------------------------------------------------------------------ images of an object

    def _images_in(self, item: KubeObject) -> Iterator[Reference]:
        """Every image an object names, each once, and those of its environment variables that have a build."""
        try:
            texts = [*manifests.container_images(item.document), *self._located(item)]
            found = dict.fromkeys(_parsed(text) for text in texts)
        except Wrong as wrong:
            message = f"finding images in {item.identity.name}: {wrong.message}"
            raise Wrong(message, origin=item.origin, hint=wrong.hint) from None
        if self._in_env:
            found |= dict.fromkeys(self._from_env(manifests.env_values(item.document)))
        yield from found

    def _located(self, item: KubeObject) -> Iterator[str]:
        for rule in self._rules[item]:
            for path in rule.paths:
                yield from _strings(path, item)
            if rule.fields:
                yield from _joined(rule.fields, item)

    def locators(self, items: Sequence[KubeObject]) -> Iterator[ImageLocator]:
        """Where these objects keep images outside their containers."""
        for index, item in enumerate(items):
            for rule in self._rules[item]:
                yield from (ImageLocator(index, path.text) for path in rule.paths)
                if rule.fields:
                    yield ImageLocator(index, rule.fields.path.text, rule.fields.repo_field, rule.fields.tag_field)

    def _from_env(self, values: Iterable[str]) -> Iterator[Reference]:
        for value in values:
            try:
                reference = parse(value)
            except ValueError:
                continue  # most environment variables are no images
            if self._builds.matching(reference) in self._in_env:
                yield reference

    # ------------------------------------------------------------------------------------------ grouping

    def custom_deploys(self) -> None:
        """A resource for each `k8s_custom_deploy`; their names are taken already."""
        self.resources += [
            KubeResource(name=custom.name, origin=custom.origin, source=custom.source, custom=custom)
            for custom in self.draft.kube.custom_deploys
        ]

    def workloads(self) -> None:
        """A resource for each workload, with the services that lead to it."""
        workloads = [item for item in self.draft.kube.objects if self._rules[item] or self._images[item]]
        for item in workloads:
            del self._free[item]  # a service that is a workload is nobody else's
        for item, name in zip(workloads, self._workload_names(workloads), strict=True):
            try:
                resource = self._new(name, item)
            except Wrong as wrong:
                shown = _shown(item.identity)
                message = f"error making resource for workload {shown}: {wrong.message}"
                raise Wrong(message, origin=item.origin) from None
            resource.objects.append(item)
            self._attract(item, resource)

    def _workload_names(self, workloads: Sequence[KubeObject]) -> list[str]:
        identities = [item.identity for item in workloads]
        naming = self.draft.kube.naming
        if naming is None:
            return manifests.unique_names(identities)
        function, origin = naming
        names: dict[str, Identity] = {}
        for identity in identities:
            problem = f"{_NAMING}error determining resource name for '{_shown(identity)}': "
            try:
                name = function(identity)
            except EvalError as error:
                error.message = problem + error.message  # it knows best where it was
                raise
            if not isinstance(name, str):
                found = go_type(name)
                raise Wrong(f"{problem}invalid return value. wanted: string. got: {found}", origin=origin)
            if name in names:
                both = f"both '{_shown(identity)}' and '{_shown(names[name])}'"
                raise Wrong(f"{_NAMING}{both} mapped to resource name '{name}'", origin=origin)
            names[name] = identity
        return list(names)

    def leftover_pod_makers(self) -> None:
        """Objects that make pods but name no image: resources of their own name, or part of the one that has it."""
        for item in list(self._free):
            if item in self._free and manifests.has_pod_template(item.document):
                name = item.identity.name
                resource = self._named(name) or self._new(name, item)
                del self._free[item]
                resource.objects.append(item)
                self._attract(item, resource)

    def _new(self, name: str, item: KubeObject) -> KubeResource:
        self.draft.claim(name, "k8s_resource", item.origin, source=item.source)
        resource = KubeResource(name=name, origin=item.origin, source=item.source)
        self.resources.append(resource)
        return resource

    def _attract(self, item: KubeObject, resource: KubeResource) -> None:
        """The services that lead to an object's pods become part of its resource."""
        labels = manifests.pod_labels(item.document).items()
        services = [service for service, selector in self._selectors.items() if selector <= labels]
        for service in services:
            if service in self._free and manifests.serves(service.document, item.document):
                del self._free[service]
                resource.objects.append(service)

    def _named(self, name: str) -> KubeResource | None:
        return next((resource for resource in self.resources if resource.name == name), None)

    # ------------------------------------------------------------------------------------------ k8s_resource

    def apply(self, options: ResourceOptions) -> None:
        """Do what one `k8s_resource` call says."""
        try:
            resource = self._renamed(options) if options.workload else self._from_objects(options)
            for fragment in options.objects:
                resource.objects.append(self._take(fragment))
        except Wrong as wrong:
            raise Wrong(wrong.message, origin=options.origin, hint=wrong.hint) from None
        resource.port_forwards += options.port_forwards
        resource.extra_pod_selectors += options.extra_pod_selectors
        resource.resource_deps += options.resource_deps
        resource.links += options.links
        resource.labels.update(options.labels)
        resource.pod_readiness = options.pod_readiness or resource.pod_readiness
        resource.discovery_strategy = options.discovery_strategy or resource.discovery_strategy
        if options.trigger_mode is not None:
            resource.trigger_mode = options.trigger_mode
        if options.auto_init is not None:
            resource.auto_init = options.auto_init

    def _renamed(self, options: ResourceOptions) -> KubeResource:
        old, new = options.workload, options.new_name
        resource = self._named(old)
        if resource is None:
            known = ", ".join(resource.name for resource in self.resources) or "none"
            raise Wrong(f'k8s_resource specified unknown resource "{old}". known k8s resources: {known}')
        if new and new != old:
            try:
                self.draft.rename(old, new)
            except Wrong as wrong:
                raise Wrong(f'k8s_resource specified to rename "{old}" to "{new}": {wrong.message}') from None
            resource.name = new
        return resource

    def _from_objects(self, options: ResourceOptions) -> KubeResource:
        name = options.new_name
        self.draft.claim(name, "k8s_resource", options.origin, source=options.source)
        resource = KubeResource(name=name, origin=options.origin, source=options.source, from_objects=True)
        self.resources.append(resource)
        return resource

    def _take(self, fragment: str) -> KubeObject:
        """The one object a fragment names, no longer free."""
        try:
            parts = manifests.parse_fragment(fragment)
        except ValueError as error:
            raise Wrong(f"Error making selector from string {json.dumps(fragment)}: {error}") from None
        every = self.draft.kube.objects
        found = [
            item for item in self._by_name.get(parts[0].lower(), ()) if manifests.is_named_by(item.identity, parts)
        ]
        quoted = json.dumps(fragment)
        nothing = f"No object identified by the fragment {quoted} could be found"
        if not found:
            raise Wrong(f"{nothing}. Possible objects are: {_listed(every)}")
        if len(found) > 1:
            raise Wrong(f"{quoted} is not a unique fragment. Objects that match {quoted} are {_listed(found)}")
        if found[0] not in self._free:
            raise Wrong(f"{nothing} in remaining YAML. Valid remaining fragments are: {_listed(self._free)}")
        del self._free[found[0]]
        return found[0]

    # ------------------------------------------------------------------------------------------ what it all needs

    def match_images(self, resource: KubeResource) -> None:
        """Find the builds a resource uses, directly and through them."""
        used = [reference for item in resource.objects for reference in self._images[item]]
        resource.has_images = bool(used)
        direct = dict.fromkeys(image.key for image in filter(None, map(self._builds.find, used)))
        if resource.custom:
            direct = dict.fromkeys(self._custom_images(resource.custom))
        resource.direct = tuple(direct)
        images = [image for key in direct for image in self._builds if image.key == key]
        resource.images = image_builds.build_order(resource.name, images, self._builds)

    def _custom_images(self, custom: CustomDeployDraft) -> Iterator[str]:
        for reference in custom.image_deps:
            image = self._builds.find(reference)
            if image is None:
                raise Wrong(
                    f'resource "{custom.name}": image build "{reference.familiar}" not found', origin=custom.origin
                )
            yield image.key
        if custom.live_update_image:
            self._builds.find(custom.live_update_image)
            yield custom.live_update_image.familiar

    def readiness(self, resource: KubeResource) -> Literal["wait", "ignore", "succeeded"]:
        """When the resource counts as ready."""
        wanted = [resource.pod_readiness] if resource.pod_readiness else []
        if not wanted:
            wanted = [rule.pod_readiness for item in resource.objects for rule in self._rules[item]]
        for mode in _MODES:
            if mode in wanted:
                return mode
        without_pods = resource.from_objects and not resource.extra_pod_selectors and not resource.images
        return "ignore" if without_pods else "wait"

    def rest(self) -> Iterator[KubeResource]:
        """The resource `uncategorized`, unless every object has a place."""
        if self._free:
            first = next(iter(self._free))
            resource = KubeResource(name=UNCATEGORIZED, origin=first.origin, source=first.source)
            resource.objects += self._free
            resource.pod_readiness = "ignore"
            resource.target = _target(resource, self)
            yield resource


def _target(resource: KubeResource, grouping: _Grouping) -> Kubernetes:
    ordered = sorted(resource.objects, key=lambda item: manifests.apply_rank(item.document))
    custom = resource.custom
    return Kubernetes(
        objects=tuple(json.dumps(item.document, sort_keys=True, separators=(",", ":")) for item in ordered),
        port_forwards=tuple(resource.port_forwards),
        pod_readiness=grouping.readiness(resource),
        discovery_strategy=resource.discovery_strategy or "default",
        extra_pod_selectors=tuple(resource.extra_pod_selectors),
        custom_deploy=replace(custom.deploy, image_deps=tuple(_deps(resource, custom))) if custom else None,
        image_locators=tuple(grouping.locators(ordered)),
        context=grouping.context,
        origins=tuple(item.stands for item in ordered),
        direct=resource.direct,
    )


def _deps(resource: KubeResource, custom: CustomDeployDraft) -> Iterator[str]:
    own = custom.live_update_image.familiar if custom.live_update_image else ""
    return (key for key in resource.direct if key != own)


def _shown(identity: Identity) -> str:
    return ":".join(manifests.escaped(part.lower()) for part in identity.parts)


def _listed(items: Iterable[KubeObject]) -> str:
    fragments = (":".join(map(manifests.escaped, item.identity.parts[:3])) for item in items)
    return ", ".join(json.dumps(fragment, ensure_ascii=False) for fragment in fragments) or "none"


def _parsed(text: str) -> Reference:
    try:
        return parse(text)
    except ValueError as error:
        raise Wrong(f"parsing {text}: {error}", hint="" if text else "every container needs an image") from None


def _strings(path: JsonPath, item: KubeObject) -> Iterator[str]:
    for hit in _hits(path, item):
        if not isinstance(hit, str):
            raise Wrong(f'May only match strings (json_path="{path.text}"), got {json.dumps(hit)}')
        yield hit


def _joined(fields: ImageFields, item: KubeObject) -> Iterator[str]:
    for hit in _hits(fields.path, item):
        if not isinstance(hit, dict):
            raise Wrong(f'May only match maps (json_path="{fields.path.text}"), got {json.dumps(hit)}')
        repo, tag = hit.get(fields.repo_field), hit.get(fields.tag_field)
        if not isinstance(repo, str):
            raise Wrong(f"expected {fields.repo_field} to be a string in {json.dumps(hit)}")
        yield f"{repo}:{tag}" if tag and isinstance(tag, str) else repo


def _hits(path: JsonPath, item: KubeObject) -> list[object]:
    try:
        return path.find(with_empty_parts(item.document))
    except LookupError as error:
        raise Wrong(f'Matching strings (json_path="{path.text}"): {error.args[0]}') from None


# ---------------------------------------------------------------------------------------------- afterwards


def _context(draft: Draft, host: Host) -> KubeContext:
    """Where all of it goes; `Wrong` if that might be a production cluster."""
    if not draft.kube.objects and not draft.kube.custom_deploys:
        return KubeContext()
    problem = "Stop! {} might be production. Kubernetes objects are deployed to development clusters only."
    found = kube_context.current(host)
    kube_context.check_allowed(found, draft.kube.allowed_contexts, problem)
    return KubeContext(found.name, found.namespace, found.config) if found else KubeContext()


def check(resources: Sequence[KubeResource], builds: Builds) -> None:
    """`Wrong` if an image is to restart its container in place."""
    restarts = {image.key: image.origin for image in builds if _restarts(image)}
    found = {resource.name: restarts[key] for resource in resources for key in resource.images if key in restarts}
    if found:
        raise Wrong(
            f"Found `restart_container()` LiveUpdate step in resource(s): [{', '.join(found)}]. "
            "Kubernetes containers cannot be restarted in place.",
            origin=next(iter(found.values())),
            hint="use docker_build_with_restart or custom_build_with_restart of ext://restart_process",
        )


def _restarts(image: ImageDraft) -> bool:
    return bool(image.live_update and image.live_update.restart and not image.restarts_process)


def secrets(draft: Draft) -> Iterator[Secret]:
    """What Secret objects hold, and what to show in its place."""
    if draft.settings.scrub_secrets:
        for item in draft.kube.objects:
            for key, value in manifests.secret_values(item.document):
                if value:
                    yield Secret(value, f"[redacted secret {item.identity.name}:{key}]")
