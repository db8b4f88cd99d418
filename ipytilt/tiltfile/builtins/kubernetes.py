"""Kubernetes: objects from YAML, what resources they become, where custom kinds keep their images, contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Annotated, Any

from ipytilt.core.jsonpath import JsonPath
from ipytilt.core.manifests import Identity
from ipytilt.core.spec import Command, CustomBuild, CustomDeploy, Ignore, LiveUpdate, Origin
from ipytilt.starlark import MISSING, Value, parameters, type_name
from ipytilt.tiltfile import kube_context
from ipytilt.tiltfile.builtin import Kind, builtin
from ipytilt.tiltfile.builtins.kube_words import (
    KindRegex,
    MaybeImageFields,
    NameRegex,
    NamespaceRegex,
    PathTexts,
    PodSelectors,
    VersionRegex,
    forwards,
)
from ipytilt.tiltfile.builtins.live_update import consume
from ipytilt.tiltfile.draft import ImageDraft, Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.image_builds import git_folders
from ipytilt.tiltfile.kube_draft import CustomDeployDraft, ImageFields, KindRule, KubeObject, ResourceOptions, Selector
from ipytilt.tiltfile.kube_yaml import parse_with_lines, serialize
from ipytilt.tiltfile.values import Blob, GitRepo
from ipytilt.tiltfile.vocabulary import (
    Cmd,
    CommandEnv,
    Env,
    ImageDeps,
    Labels,
    Links,
    MaybeBool,
    MaybePath,
    Mode,
    Name,
    OneOrMany,
    Paths,
    Seq,
    Steps,
    go_type,
    one_or_many,
    path,
    reference,
)

# ---------------------------------------------------------------------------------------------- objects


_OF_A_FILE = "file: "  # what the origin of a Blob begins with that is a file's text


def _documents(ev: Eval, yaml: Any, *, needed: bool) -> Iterator[tuple[dict[str, Any], Origin]]:
    """The objects of one or many paths and Blobs, and where each stands; `Wrong` for none if some are `needed`."""
    items = one_or_many(yaml)
    found = 0
    for item in items:
        if isinstance(item, Blob):
            text, place = item.text, item.origin
            file = place.removeprefix(_OF_A_FILE) if place.startswith(_OF_A_FILE) else ""
        elif isinstance(item, str | GitRepo):
            file = place = path(ev, item)
            text = ev.read(place, "error reading yaml file")
        else:
            raise Wrong(f"expected blob | path (string). Actual type: {go_type(item)}")
        for document, line in parse_with_lines(text, place):
            found += 1
            yield document, Origin(file, line) if file else ev.origin()
    if needed and not found and (not items or isinstance(items[0], Blob)):
        raise Wrong("Empty YAML passed to k8s_yaml")


@builtin("k8s_yaml")
def k8s_yaml(ev: Eval, yaml: Any, allow_duplicates: bool = False) -> None:
    """Deploy the Kubernetes objects in YAML: one or many paths, or Blobs that hold the text itself.

    Each workload becomes a resource, with the services that lead to it; what belongs to none is deployed by the
    resource `uncategorized`. Images that are built here take the place of those the workloads name. The same object
    twice is an error unless `allow_duplicates`. A change of a file evaluates the Tiltfile again.
    """
    registered = ev.draft.kube.objects
    known = {item.identity: item for item in registered}
    for document, stands in _documents(ev, yaml, needed=True):
        item = KubeObject(document, ev.origin(), ev.current.source, stands)
        first = known.setdefault(item.identity, item)
        if first is not item and not allow_duplicates:
            who = item.identity
            place = f" (Namespace: {who.namespace})" if who.namespace else ""
            raise Wrong(
                f"Duplicate YAML: {who.kind} {who.name}{place}\nFirst registered at {first.origin}.",
                hint="leave one of them out, or pass allow_duplicates=True to k8s_yaml",
            )
        registered.append(item)


@builtin("filter_yaml")
def filter_yaml(
    ev: Eval,
    yaml: Any,
    labels: Env = {},  # noqa: B006 - never changed
    name: NameRegex = None,
    namespace: NamespaceRegex = None,
    kind: KindRegex = None,
    api_version: VersionRegex = None,
) -> tuple[Blob, Blob]:
    """Split Kubernetes YAML in two Blobs: the objects that match, and the rest.

    `yaml` is as for `k8s_yaml`. `name`, `namespace`, `kind` and `api_version` are regular expressions found anywhere,
    whatever the case ("^web$" for the whole); `labels` must be among the object's.
    """
    selector = Selector(api_version, kind, name, namespace)
    matching: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for document, stands in _documents(ev, yaml, needed=False):
        item = KubeObject(document, ev.origin(), "", stands)
        its_labels = (document.get("metadata") or {}).get("labels") or {}
        matches = selector.matches(item.identity) and labels.items() <= its_labels.items()
        (matching if matches else rest).append(document)
    origin = yaml.origin if isinstance(yaml, Blob) else "filter_yaml"
    return Blob(serialize(matching), origin), Blob(serialize(rest), origin)


# ---------------------------------------------------------------------------------------------- resources


def _one_of(allowed: tuple[str, ...], message: str) -> Callable[[Eval, Any], str]:
    def convert(_ev: Eval, value: Any) -> str:
        if not isinstance(value, str | Blob):
            raise Wrong(f"Value should be convertible to string, but is type {type_name(value)}")
        if str(value) not in allowed:
            raise Wrong(message.format(value))
        return str(value)

    return convert


Readiness = Annotated[
    str, Kind("str", _one_of(("", "wait", "ignore", "succeeded"), "Invalid value. Allowed: {{ignore, wait}}. Got: {}"))
]
Discovery = Annotated[
    str,
    Kind("str", _one_of(("", "default", "selectors-only"), 'Invalid. Must be one of: "default", "selectors-only"')),
]


@builtin("k8s_resource")
def k8s_resource(
    ev: Eval,
    workload: Name = "",
    new_name: Name = "",
    port_forwards: Any = (),
    extra_pod_selectors: PodSelectors = (),
    trigger_mode: Mode | None = None,
    resource_deps: Seq = (),
    objects: Seq = (),
    auto_init: MaybeBool = None,
    pod_readiness: Readiness = "",
    links: Links = (),
    labels: Labels = (),
    discovery_strategy: Discovery = "",
) -> None:
    """Say more about a Kubernetes resource, or make one of `objects`; may be called again to add to it.

    `workload` names the resource, `new_name` renames it. `objects` are `name`, `name:kind` or `name:kind:namespace`,
    and are deployed with it. `port_forwards` are ports, "local:container", "host:local:container" or
    `port_forward(...)`. `extra_pod_selectors` are labels of pods that belong to it though it did not make them.
    `pod_readiness` is "wait", "ignore" or "succeeded": what its pods must be for it to be ready.
    `discovery_strategy="selectors-only"` finds pods by those labels alone. `resource_deps`, `trigger_mode`,
    `auto_init`, `links` and `labels` are as in `local_resource`. It may stand before the YAML it speaks of.
    """
    if not workload and not new_name:
        raise Wrong(
            "Resource name missing. Must give a name for an existing resource or a new_name to create a new resource."
        )
    if not workload and not objects:
        raise Wrong(
            "k8s_resource doesn't specify a workload or any objects. All non-workload resources must specify 1 or more "
            "objects"
        )
    ev.draft.kube.options.append(
        ResourceOptions(
            workload=workload,
            new_name=new_name,
            port_forwards=forwards(port_forwards, workload or new_name),
            extra_pod_selectors=extra_pod_selectors,
            trigger_mode=trigger_mode,
            resource_deps=resource_deps,
            objects=objects,
            auto_init=auto_init,
            pod_readiness=pod_readiness,
            links=links,
            labels=labels,
            discovery_strategy=discovery_strategy,
            origin=ev.origin(),
            source=ev.current.source,
        )
    )


@builtin("k8s_custom_deploy")
def k8s_custom_deploy(
    ev: Eval,
    name: str,
    apply_cmd: Cmd,
    delete_cmd: Cmd,
    deps: Paths,
    image_selector: str = "",
    live_update: Steps = (),
    apply_dir: MaybePath = None,
    apply_env: CommandEnv = (),
    apply_cmd_bat: Cmd | None = None,
    delete_dir: MaybePath = None,
    delete_env: CommandEnv = (),
    delete_cmd_bat: Cmd | None = None,
    container_selector: str = "",
    image_deps: ImageDeps = (),
) -> None:
    """Deploy with a command of your own, which prints the YAML it applied; `delete_cmd` takes it away again.

    It runs at start and when one of `deps` changes, in `apply_dir` with `apply_env`, and finds images of `image_deps`
    in `TILT_IMAGE_0` and so on. With `live_update`, `image_selector` (an image) or `container_selector` (a container's
    name) tells which containers to update. `k8s_resource(name, ...)` says more about the resource. `apply_cmd_bat` and
    `delete_cmd_bat` are for Windows.
    """
    del apply_cmd_bat, delete_cmd_bat
    for word, argv in (("apply_cmd", apply_cmd), ("delete_cmd", delete_cmd)):
        if not argv:
            raise Wrong(f"k8s_custom_deploy: {word} cannot be empty")
    origin, source = ev.origin(), ev.current.source
    try:
        ev.draft.claim(name, "k8s_resource", origin, source=source)
    except Wrong as wrong:
        raise Wrong(f"error making resource for {name}: {wrong.message}") from None
    rules = consume(ev, live_update)
    image = _live_update_image(ev, name, rules, image=image_selector, container=container_selector)
    if image:
        image.watched = deps
        ev.draft.add_image(image)
    deploy = CustomDeploy(
        apply=Command(apply_cmd, apply_dir or ev.dir, apply_env, origin),
        delete=Command(delete_cmd, delete_dir or ev.dir, delete_env, origin),
        deps=deps,
        container_selector=container_selector,
        image_selector=image.key if image and image_selector else "",
        ignores=(*git_folders(deps, ev.host), *_updated_live(ev, rules)),
    )
    ev.draft.kube.custom_deploys.append(
        CustomDeployDraft(
            name=name,
            deploy=deploy,
            image_deps=image_deps,
            live_update_image=image.reference if image else None,
            origin=origin,
            source=source,
        )
    )


def _live_update_image(
    ev: Eval, name: str, rules: LiveUpdate | None, *, image: str, container: str
) -> ImageDraft | None:
    """The image, never built, that carries the live update of a custom deploy."""
    if rules is None:
        return None
    if image and container:
        raise Wrong("k8s_custom_deploy: cannot specify more than one Live Update selector")
    if not image and not container:
        raise Wrong("k8s_custom_deploy: no Live Update selector specified")
    return ImageDraft(
        reference=reference(image or f"k8s_custom_deploy:{name}", "image_selector" if image else "name"),
        build=CustomBuild(Command((":",), ev.dir, (), ev.origin()), disable_push=True, skips_local_docker=True),
        live_update=rules,
        tiltfile=ev.current.path,
        origin=ev.origin(),
    )


def _updated_live(ev: Eval, rules: LiveUpdate | None) -> Iterator[Ignore]:
    """What is synced or stops a sync does not make the command run again."""
    if rules:
        paths = (*(sync.local for sync in rules.syncs), *(stop.path for stop in rules.stop_paths))
        yield Ignore(ev.dir, paths, rules.origin)


# ---------------------------------------------------------------------------------------------- custom kinds


def _json_paths(texts: tuple[str, ...]) -> tuple[JsonPath, ...]:
    try:
        return tuple(JsonPath(text) for text in texts)
    except ValueError as error:
        raise Wrong(f"Parsing JSON path {', '.join(map(repr, texts))}: {error}") from None


@builtin("k8s_kind")
def k8s_kind(
    ev: Eval,
    kind: KindRegex,
    *,
    image_json_path: PathTexts = (),
    api_version: VersionRegex = None,
    image_object: MaybeImageFields = None,
    pod_readiness: Readiness = "",
) -> None:
    """Treat objects of a kind as workloads, and say where they keep their images.

    `kind` and `api_version` are regular expressions. `image_json_path` are kubectl-style paths such as `{.spec.image}`;
    `image_object` is for images written in two fields, a dict with `json_path`, `repo_field` and `tag_field`.
    `pod_readiness` is as in `k8s_resource`. Calls for the same kind add up.
    """
    if image_json_path and image_object:
        raise Wrong("Cannot specify both image_json_path and image_object")
    fields = ImageFields(_json_paths((image_object[0],))[0], *image_object[1:]) if image_object else None
    ev.draft.kube.rules.append(
        KindRule(Selector(api_version, kind), _json_paths(image_json_path), fields, pod_readiness, ev.origin())
    )


@builtin("k8s_image_json_path")
def k8s_image_json_path(
    ev: Eval,
    paths: PathTexts,
    api_version: VersionRegex = None,
    kind: KindRegex = None,
    name: NameRegex = None,
    namespace: NamespaceRegex = None,
) -> None:
    """Say where the selected objects keep their images: kubectl-style paths such as `{.spec.image}`."""
    if not (kind or name or namespace):
        raise Wrong("at least one of kind, name, or namespace must be specified")
    selector = Selector(api_version, kind, name, namespace)
    ev.draft.kube.rules.append(KindRule(selector, _json_paths(paths), origin=ev.origin()))


# ---------------------------------------------------------------------------------------------- names


class ObjectID(Value):
    """What a naming function gets: an object's name, kind, namespace and group."""

    type_name = "K8sObjectID"

    def __init__(self, identity: Identity) -> None:
        self._fields = dict(zip(("name", "kind", "namespace", "group"), identity.parts, strict=True))

    def attr(self, name: str) -> Any:
        """A part."""
        return self._fields.get(name, MISSING)

    def attr_names(self) -> list[str]:
        """The parts."""
        return sorted(self._fields)

    def __str__(self) -> str:
        return ":".join(self._fields.values()).lower()


@builtin("workload_to_resource_function")
def workload_to_resource_function(ev: Eval, func: Any) -> None:
    """Let a function with one parameter, the workload's id, decide what each resource is called.

    The id has `name`, `kind`, `namespace` and `group`; the function returns the name, which must be its own. It is
    called once the Tiltfile has ended. The last call counts.
    """
    if type(func) is not FunctionType:
        raise Wrong(f"workload_to_resource_function: for parameter func: got {type_name(func)}, want function")
    signature = parameters(func)
    count = len(signature.parameters) if signature else 0
    if count != 1:
        name = "lambda" if func.__name__ == "<lambda>" else func.__name__
        raise Wrong(f"workload_to_resource_function arg must take 1 argument. {name} takes {count}")
    where, thread = ev.current, ev.thread

    def naming(identity: Identity) -> Any:
        with ev.running(where):
            return thread.call(func, [ObjectID(identity)]) if thread else None

    ev.draft.kube.naming = (naming, ev.origin())


# ---------------------------------------------------------------------------------------------- contexts


@builtin("allow_k8s_contexts")
def allow_k8s_contexts(ev: Eval, contexts: OneOrMany) -> None:
    """Allow deploying to these contexts of the kube config, though they are not known to be for development.

    Contexts of local clusters (kind, minikube, Docker Desktop and the like) need no permission.
    """
    ev.draft.kube.allowed_contexts.update(contexts)


@builtin("k8s_context", raw=True, shown="")
def k8s_context(ev: Eval, _args: Any, _kwargs: Any) -> str:
    """The current context of the kube config; "" without one."""
    context = kube_context.current(ev.host)
    return context.name if context else ""


@builtin("k8s_namespace", raw=True, shown="")
def k8s_namespace(ev: Eval, _args: Any, _kwargs: Any) -> str:
    """The namespace of the current context, "default" if it names none; "" without a kube config."""
    context = kube_context.current(ev.host)
    return context.namespace if context else ""
