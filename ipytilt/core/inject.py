"""The documents of a resource as they go to the cluster: with the images that were built, and with our marks on them.

Pure. Called by the engine before it applies; what comes out is new, the documents of the spec stay as they are. Images
are found in the four places where the Tiltfile layer looked for them: containers, image volumes, environment variables
(where an image asks for it), and wherever a locator leads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipytilt.core import images, manifests
from ipytilt.core.jsonpath import JsonPath
from ipytilt.core.spec import Image, ImageLocator, Kubernetes
from ipytilt.core.steps import Built

MANAGED_BY = ("app.kubernetes.io/managed-by", "tilt")
"""The label of everything that is deployed from a Tiltfile, and of its pods."""

TEMPLATE_LABEL = "tilt.dev/pod-template-hash"
"""The label of every pod: the hash of the template that made it."""

_HASH_DIGITS = 20


class NotInjectedError(ValueError):
    """An image has no place in the documents; `index` is that of the document at fault, or -1."""

    def __init__(self, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Injected:
    """Documents to apply, in the order of the spec, and the hashes of the pod templates among them."""

    documents: tuple[dict[str, Any], ...]
    templates: tuple[str, ...]


def inject(target: Kubernetes, built: Sequence[Built], rules: Sequence[Image]) -> Injected:
    """Put what was built into the documents of a target.

    `rules` are the images of the resource as the Tiltfile defines them. Raises NotInjectedError in Tilt's words if one
    that is not merely a base of others is nowhere to be found, or has a command but no container.
    """
    documents = [json.loads(text) for text in target.objects]
    known = {image.ref: image for image in rules}
    bases = {base for image in rules for base in image.depends_on}
    for one in built:
        if one.ref in known:
            placed = _Placing(known[one.ref], one).into(documents, target.image_locators)
            if not placed and one.ref not in bases:
                raise NotInjectedError(f"Docker image missing from yaml: {one.ref}")
    templates: list[str] = []
    for document in documents:
        if built:
            _settle(document)
        _label(document)
        templates += _hashed(document)
    return Injected(tuple(documents), tuple(dict.fromkeys(templates)))


# ---------------------------------------------------------------------------------------------- images


@dataclass(slots=True)
class _Placing:
    """One built image on its way into documents."""

    image: Image
    built: Built
    _wanted: images.Reference = field(init=False)
    _cluster: str = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = images.parse(self.image.ref)
        self._cluster = self.built.cluster_ref or self.built.local_ref

    def into(self, documents: Sequence[dict[str, Any]], locators: Sequence[ImageLocator]) -> bool:
        """Put it wherever it belongs; whether there was such a place."""
        found = False
        for index, document in enumerate(documents):
            run = self._in_containers(document)
            elsewhere = self._in_volumes(document) + self._in_env(document)
            elsewhere += sum(self._located(document, one) for one in locators if one.object == index)
            if elsewhere and not run:
                self._check_commands(document, index)
            found = found or bool(run or elsewhere)
        return found

    def _matches(self, text: object) -> bool:
        if not isinstance(text, str):
            return False
        try:
            return images.matches(self._wanted, images.parse(text), exact=self.image.exact)
        except ValueError:
            return False

    def _in_containers(self, document: dict[str, Any]) -> int:
        found = [one for one in _containers(document) if self._matches(one.get("image"))]
        for container in found:
            container["image"] = self._cluster
            if self.image.entrypoint is not None:
                container["command"] = list(self.image.entrypoint)
            if self.image.container_args is not None:
                container["args"] = list(self.image.container_args)
        return len(found)

    def _check_commands(self, document: dict[str, Any], index: int) -> None:
        """A command of its own needs a container to run in."""
        command = self.image.entrypoint or self.image.container_args
        if command is None:
            return
        raise NotInjectedError(
            f"could not inject command {list(command)} into entity: {manifests.identity(document).name}. "
            f"No container found matching ref: {self.image.ref}",
            index,
        )

    def _in_volumes(self, document: dict[str, Any]) -> int:
        volumes = manifests.pod_spec(document).get("volumes")
        found = [one["image"] for one in volumes or [] if self._matches(_at(_at(one, "image"), "reference"))]
        for mounted in found:
            mounted["reference"] = self._cluster
        return len(found)

    def _in_env(self, document: dict[str, Any]) -> int:
        if not self.image.match_in_env_vars:
            return 0
        every = (one for container in _containers(document) for one in container.get("env") or [])
        found = [one for one in every if self._matches(_at(one, "value"))]
        for variable in found:
            variable["value"] = self._cluster
        return len(found)

    def _located(self, document: dict[str, Any], locator: ImageLocator) -> int:
        """Where a JSON path leads: to texts, or to maps that have the repository and the tag in two fields."""
        try:
            hits = JsonPath(locator.path).find(_marked(document, {}, ""))
        except LookupError:
            return 0
        found = 0
        for hit in hits:
            if locator.repo_field:
                found += self._in_fields(hit, locator)
            elif isinstance(hit, _Place) and self._matches(str(hit)):
                hit.holder[hit.key] = self._cluster
                found += 1
        return found

    def _in_fields(self, hit: object, locator: ImageLocator) -> int:
        repository, tag = _at(hit, locator.repo_field), _at(hit, locator.tag_field)
        if not isinstance(repository, _Place) or not self._matches(f"{repository}:{tag}" if tag else str(repository)):
            return 0
        placed = images.parse(self._cluster)
        repository.holder[locator.repo_field] = placed.familiar_name
        repository.holder[locator.tag_field] = placed.tag
        return 1


class _Place(str):
    """A text of a document that knows where it stands: in `holder` under `key`."""

    __slots__ = ("holder", "key")
    holder: Any
    key: str | int


def _marked(value: Any, holder: Any, key: str | int) -> Any:
    """A copy of a document whose texts know their places in it."""
    if isinstance(value, dict):
        return {name: _marked(item, value, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_marked(item, value, index) for index, item in enumerate(value)]
    if isinstance(value, str):
        place = _Place(value)
        place.holder, place.key = holder, key
        return place
    return value


# ---------------------------------------------------------------------------------------------- marks


def _settle(document: dict[str, Any]) -> None:
    """What images that exist here only need: nobody pulls them, and a pod that hangs keeps no other from its own."""
    for container in _containers(document):
        container["imagePullPolicy"] = "IfNotPresent"
    if manifests.is_typed(document) and document["kind"] == "StatefulSet" and isinstance(document.get("spec"), dict):
        document["spec"]["podManagementPolicy"] = "Parallel"


def _label(document: dict[str, Any]) -> None:
    name, value = MANAGED_BY
    _labels(document)[name] = value
    selected = _at(_at(_at(document, "spec"), "selector"), "matchLabels") or {}
    for template in _templates(document):
        labels = _labels(template)
        if name not in selected:  # a selector that asks for another value would no longer find its pods
            labels[name] = value


def _hashed(document: dict[str, Any]) -> Iterator[str]:
    for template in _templates(document):
        text = json.dumps(template, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:_HASH_DIGITS]
        _labels(template)[TEMPLATE_LABEL] = digest
        yield digest


def _templates(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod template of an object that makes pods."""
    template = manifests.pod_template(document)
    if template and isinstance(template, dict):
        yield template


def _containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Its containers, to be changed in place."""
    return [container for container in manifests.containers(document) if isinstance(container, dict)]


def _labels(holder: dict[str, Any]) -> dict[str, Any]:
    """The labels of an object or template, to be changed in place."""
    about = holder.get("metadata")
    if not isinstance(about, dict):
        about = holder["metadata"] = {}
    labels = about.get("labels")
    if not isinstance(labels, dict):
        labels = about["labels"] = {}
    return labels


def _at(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
