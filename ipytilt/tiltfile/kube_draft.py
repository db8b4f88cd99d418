"""What one evaluation has registered for Kubernetes so far; part of the draft, filled by builtins, read by assembly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ipytilt.core.images import Reference
from ipytilt.core.jsonpath import JsonPath
from ipytilt.core.manifests import DEFAULT_NAMESPACE, Identity, identity
from ipytilt.core.spec import NOWHERE, CustomDeploy, Link, Origin, PortForward, TriggerMode


@dataclass(eq=False, slots=True)
class KubeObject:
    """One object and where it was registered; `source` is the key of the cell or file that did.

    `stands` is where it is written: a line of a YAML file if it came from one.
    """

    document: dict[str, Any]
    origin: Origin
    source: str
    stands: Origin
    identity: Identity = field(init=False)

    def __post_init__(self) -> None:
        self.identity = identity(self.document)


@dataclass(frozen=True, slots=True)
class Selector:
    """Picks objects by regular expressions searched anywhere; None matches all."""

    api_version: re.Pattern[str] | None = None
    kind: re.Pattern[str] | None = None
    name: re.Pattern[str] | None = None
    namespace: re.Pattern[str] | None = None

    def matches(self, identity: Identity) -> bool:
        """Whether every given expression is found."""
        texts = (
            (self.api_version, identity.api_version),
            (self.kind, identity.kind),
            (self.name, identity.name),
            (self.namespace, identity.namespace or DEFAULT_NAMESPACE),
        )
        return all(pattern is None or pattern.search(text) for pattern, text in texts)


@dataclass(frozen=True, slots=True)
class ImageFields:
    """An image written in two fields of the object that `path` leads to."""

    path: JsonPath
    repo_field: str
    tag_field: str


@dataclass(frozen=True, slots=True)
class KindRule:
    """`k8s_kind` or `k8s_image_json_path`: the objects it selects are workloads; where their images are written."""

    selector: Selector
    paths: tuple[JsonPath, ...] = ()
    fields: ImageFields | None = None
    pod_readiness: str = ""
    origin: Origin = NOWHERE


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


BUILT_IN_RULES = (
    KindRule(Selector(_pattern("^batch/v1"), _pattern("^Job$")), pod_readiness="succeeded"),
    KindRule(Selector(_pattern("^batch/v1"), _pattern("^CronJob$")), pod_readiness="ignore"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOptions:
    """One `k8s_resource` call; None and "" mean not said."""

    workload: str
    new_name: str
    port_forwards: tuple[PortForward, ...]
    extra_pod_selectors: tuple[tuple[tuple[str, str], ...], ...]
    trigger_mode: TriggerMode | None
    resource_deps: tuple[str, ...]
    objects: tuple[str, ...]
    auto_init: bool | None
    pod_readiness: str
    links: tuple[Link, ...]
    labels: tuple[str, ...]
    discovery_strategy: str
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDeployDraft:
    """A `k8s_custom_deploy`; `live_update_image` is the image that carries its live update."""

    name: str
    deploy: CustomDeploy
    image_deps: tuple[Reference, ...]
    live_update_image: Reference | None
    origin: Origin
    source: str


Naming = Callable[[Identity], Any]


@dataclass(slots=True)
class KubeDraft:
    """Everything Kubernetes, in call order; `naming` is the user's function and where it was registered."""

    objects: list[KubeObject] = field(default_factory=list)
    options: list[ResourceOptions] = field(default_factory=list)
    rules: list[KindRule] = field(default_factory=list)
    custom_deploys: list[CustomDeployDraft] = field(default_factory=list)
    naming: tuple[Naming, Origin] | None = None
    allowed_contexts: set[str] = field(default_factory=set)

    @property
    def is_used(self) -> bool:
        """Something is to be deployed to a cluster."""
        return bool(self.objects or self.custom_deploys)

    def rules_for(self, item: KubeObject) -> Iterator[KindRule]:
        """The rules that select an object, the built-in ones first."""
        return (rule for rule in (*BUILT_IN_RULES, *self.rules) if rule.selector.matches(item.identity))
