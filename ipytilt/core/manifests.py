"""Kubernetes documents as values: what an object is called, the pods it makes, the images it runs, the order to apply.

Pure functions over parsed documents (maps, lists, strings, numbers), called by the Tiltfile layer while it assembles.
Only kinds in released API versions are *typed*, that is, understood; everything else is opaque.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Document: TypeAlias = Mapping[str, Any]

DEFAULT_NAMESPACE = "default"

_APPLIED_FIRST = (
    *("Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "MutatingWebhookConfiguration"),
    *("ServiceAccount", "PodSecurityPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
    *("PersistentVolume", "PersistentVolumeClaim", "ConfigMap", "Secret", "Service", "LimitRange", "PriorityClass"),
    *("Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget"),
)
_RANK = {kind: rank for rank, kind in enumerate(_APPLIED_FIRST)}

_APPS = ("apps/v1", "apps/v1beta2", "extensions/v1beta1")
_POD_MAKERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # kind: API versions, path to the pod template
    "Pod": (("v1",), ()),
    "PodTemplate": (("v1",), ("template",)),
    "ReplicationController": (("v1",), ("spec", "template")),
    "Deployment": ((*_APPS, "apps/v1beta1"), ("spec", "template")),
    "ReplicaSet": (_APPS, ("spec", "template")),
    "StatefulSet": (("apps/v1", "apps/v1beta2", "apps/v1beta1"), ("spec", "template")),
    "DaemonSet": (_APPS, ("spec", "template")),
    "Job": (("batch/v1",), ("spec", "template")),
    "CronJob": (("batch/v1", "batch/v1beta1"), ("spec", "jobTemplate", "spec", "template")),
}
# What the Kubernetes client knows; custom resource definitions are not among it.
_BUILT_IN_GROUPS = frozenset(
    (
        *("apps", "autoscaling", "batch", "core", "extensions", "policy"),
        *("admissionregistration.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io"),
        *("coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io"),
        *("internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io"),
        *("resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io"),
    )
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What an object is called; `namespace` is "" if the document names none."""

    name: str
    kind: str
    namespace: str
    api_version: str

    @property
    def group(self) -> str:
        """The API group, `core` for the oldest one."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else "core"

    @property
    def is_built_in(self) -> bool:
        """The API group is one of Kubernetes' own."""
        return self.group in _BUILT_IN_GROUPS

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Name, kind, namespace and group; together they tell objects apart."""
        return self.name, self.kind, self.namespace or DEFAULT_NAMESPACE, self.group


def identity(document: Document) -> Identity:
    """What the object is called, as far as it says."""
    about = _map(document.get("metadata"))
    texts = (about.get("name"), document.get("kind"), about.get("namespace"), document.get("apiVersion"))
    return Identity(*(text if isinstance(text, str) else "" for text in texts))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Iterator[Mapping[str, Any]]:
    """The maps of a list."""
    yield from (item for item in (value if isinstance(value, list) else []) if isinstance(item, Mapping))


# ---------------------------------------------------------------------------------------------- names


def unique_names(identities: Sequence[Identity]) -> list[str]:
    """A name for each object: the shortest of `name`, `name:kind`, ... that no other could have, in lower case.

    Objects that share even the longest one get their index behind it.
    """
    candidates = [_candidates(identity) for identity in identities]
    wanted = Counter(name for names in candidates for name in names)
    return [
        next((name for name in names if wanted[name] == 1), f"{names[-1]}:{index}")
        for index, names in enumerate(candidates)
    ]


def _candidates(identity: Identity) -> list[str]:
    parts = [escaped(part.lower()) for part in identity.parts]
    return [":".join(parts[:count]) for count in range(1, len(parts) + 1)]


def escaped(part: str) -> str:
    """A part of a name in which `:` separates parts."""
    return part.replace("\\", "\\\\").replace(":", "\\:")


def parse_fragment(text: str) -> tuple[str, ...]:
    """The parts of `name`, `name:kind` or `name:kind:namespace`; ValueError if it is none of them."""
    if unknown := re.search(r"\\(.?)", re.sub(r"\\[\\:]", "", text)):
        raise ValueError(f"invalid escape sequence '{unknown[0]}' in '{text}': only \\: and \\\\ are known")
    parts = tuple(re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:^|:)((?:\\.|[^:\\])*)", text))
    if not text:
        raise ValueError("selector can't be empty")
    if len(parts) > 3:
        raise ValueError(
            "Too many parts in selector. Selectors must contain between 1 and 3 parts (colon separated), "
            f"found {len(parts)} parts in {text}"
        )
    return parts


def is_named_by(identity: Identity, fragment: Sequence[str]) -> bool:
    """Whether each part of a fragment is the object's, whatever the case."""
    return all(wanted.lower() == part.lower() for wanted, part in zip(fragment, identity.parts, strict=False))


# ---------------------------------------------------------------------------------------------- pods


def makes_pods(kind: str) -> bool:
    """Objects of this kind are, or make, pods, if their version is a released one."""
    return kind in _POD_MAKERS


def is_typed(document: Document) -> bool:
    """The object is, or makes, pods in a way that is understood."""
    versions, _ = _POD_MAKERS.get(str(document.get("kind")), ((), ()))
    return document.get("apiVersion") in versions


def _template(document: Document) -> Mapping[str, Any]:
    """The pod template; for a Pod the pod itself; empty for what makes no pods."""
    if not is_typed(document):
        return {}
    value: Any = document
    for name in _POD_MAKERS[document["kind"]][1]:
        value = _map(value).get(name)
    return _map(value)


def pod_spec(document: Document) -> Mapping[str, Any]:
    """The spec of the pods a typed object is or makes; empty for others."""
    return _map(_template(document).get("spec"))


def pod_template(document: Document) -> Mapping[str, Any]:
    """The template of the pods an object makes; empty if it makes none."""
    return _template(document) if has_pod_template(document) else {}


def has_pod_template(document: Document) -> bool:
    """The object makes pods; a Pod does not."""
    return is_typed(document) and document["kind"] != "Pod"


def containers(document: Document) -> list[Mapping[str, Any]]:
    """The containers of a typed object, the init containers first."""
    spec = pod_spec(document)
    return [*_items(spec.get("initContainers")), *_items(spec.get("containers"))]


def container_images(document: Document) -> list[str]:
    """The images its pods run and mount, as written; "" for a container that names none."""
    found = [str(container.get("image") or "") for container in containers(document)]
    mounted = (_map(volume.get("image")).get("reference") for volume in _items(pod_spec(document).get("volumes")))
    return [*found, *(str(reference) for reference in mounted if reference)]


def env_values(document: Document) -> list[str]:
    """The literal values of its containers' environment variables."""
    values = [variable.get("value") for container in containers(document) for variable in _items(container.get("env"))]
    return [value for value in values if isinstance(value, str) and value]


def selector(service: Document) -> Mapping[str, Any]:
    """The labels of the pods a Service sends its requests to; empty for none and for other objects."""
    is_service = service.get("kind") == "Service" and service.get("apiVersion") == "v1"
    return _map(_map(service.get("spec")).get("selector")) if is_service else {}


def pod_labels(workload: Document) -> Mapping[str, Any]:
    """The labels of the pods an object makes; a Pod makes none."""
    return _map(_map(pod_template(workload).get("metadata")).get("labels"))


def serves(service: Document, workload: Document) -> bool:
    """Whether a Service sends its requests to the pods this object makes."""
    wanted = selector(service)
    if not wanted or not wanted.items() <= pod_labels(workload).items():
        return False
    where, its = identity(service).namespace, identity(workload).namespace
    return where in ("", DEFAULT_NAMESPACE) or where == its


# ---------------------------------------------------------------------------------------------- the rest


def apply_rank(document: Document) -> int:
    """Sort key of the order in which objects are applied; objects of one kind keep their order."""
    return _RANK.get(str(document.get("kind")), len(_RANK))


def secret_values(document: Document) -> Iterator[tuple[str, str]]:
    """Key and text of everything a Secret holds; none for other objects."""
    if document.get("kind") != "Secret" or document.get("apiVersion") != "v1":
        return
    for name, value in _map(document.get("data")).items():
        yield name, decoded(str(value)).decode("utf-8", "surrogateescape")
    yield from ((name, str(value)) for name, value in _map(document.get("stringData")).items())


def decoded(text: str) -> bytes:
    """What a base64 text stands for; ValueError if it is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        bad = re.search(r"[^A-Za-z0-9+/]", text)
        raise ValueError(f"illegal base64 data at input byte {bad.start() if bad else len(text)}") from None
