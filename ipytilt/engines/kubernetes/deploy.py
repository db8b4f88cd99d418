"""Brings the objects of a resource into a cluster and out of it again.

Called on worker threads. The documents get their images and marks (`core.inject`), are applied batch by batch in the
order of their kinds (`upsert`), and what is no longer among them is deleted (`removal`). Resources that are deployed by
commands of the user's own are the business of `custom_deploy`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ipytilt.core import manifests
from ipytilt.core.inject import TEMPLATE_LABEL, Injected, NotInjectedError, inject
from ipytilt.core.pods import objects_of
from ipytilt.core.spec import CustomDeploy, Kubernetes, Resource
from ipytilt.core.steps import Applied, Apply, Delete, ObjectRef
from ipytilt.engines.base import Work
from ipytilt.engines.kubernetes import custom_deploy, refusals
from ipytilt.engines.kubernetes.client import ENGINE, Client, Clients, Refused
from ipytilt.engines.kubernetes.fields import at
from ipytilt.engines.kubernetes.kinds import Kinds
from ipytilt.engines.kubernetes.parallel import each
from ipytilt.engines.kubernetes.removal import Removal, unused, without_namespaces
from ipytilt.engines.kubernetes.upsert import BACKGROUND, Upsert, ref_of, rest
from ipytilt.errors import EngineError, Rejected

_CRD = "CustomResourceDefinition"
_LOOK_SECONDS = 0.1


class Deploying:
    """Implements `base.Deployer`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._kinds: dict[Client, Kinds] = {}

    def apply(self, step: Apply, work: Work) -> Applied:
        """See `base.Deployer`. Objects of kinds that this very deploy defines come after their definition."""
        target = _target(step.resource)
        client = self._clients.of(target.context)
        deploy = _Deploy(client, self._kinds_of(client), step, target, work)
        return deploy.by_commands(target.custom_deploy) if target.custom_deploy else deploy.run()

    def delete(self, step: Delete, work: Work) -> None:
        """See `base.Deployer`; also says why namespaces stay."""
        target = _target(step.resource)
        if target.custom_deploy:
            custom_deploy.delete(target.custom_deploy, target.context, work)
            return
        client = self._clients.of(target.context)
        refs = list(objects_of(step.resource))
        refs = refs if step.namespaces else without_namespaces(refs, work)
        Removal(client, self._kinds_of(client), work).remove(refs, keep=step.keep)

    def _kinds_of(self, client: Client) -> Kinds:
        with self._lock:
            return self._kinds.setdefault(client, Kinds(client))


@dataclass(slots=True)
class _Deploy:
    """One deploy of one resource."""

    client: Client
    kinds: Kinds
    step: Apply
    target: Kubernetes
    work: Work

    def run(self) -> Applied:
        """Apply the documents of the resource."""
        began = time.time()
        injected = self._injected()
        if self.step.force:
            self._clear()
        found = self._apply(injected.documents)
        objects = tuple(map(ref_of, found))
        self._collect(objects)
        self._replace_pods(injected)
        return Applied(
            self.step.resource.name,
            objects=objects,
            templates=injected.templates,
            complete=_all_done(found),
            at=began,
        )

    def by_commands(self, custom: CustomDeploy) -> Applied:
        """Let the user's own command do it; what it prints is what is deployed."""
        began = time.time()
        if self.step.force:
            custom_deploy.delete(custom, self.target.context, self.work)
        documents = custom_deploy.apply(
            custom,
            self.target.context,
            self.step.images,
            self.work,
            seconds=self.step.settings.k8s_upsert_timeout_secs,
        )
        objects = tuple(map(self._looked_up, documents))
        self.work.log("Objects applied to cluster:\n" + _listed(documents))
        templates = [at(manifests.pod_template(one), "metadata", "labels", TEMPLATE_LABEL) for one in documents]
        return Applied(
            self.step.resource.name,
            objects=objects,
            templates=tuple(dict.fromkeys(filter(None, templates))),
            at=began,
        )

    # ------------------------------------------------------------------------------------ before

    def _injected(self) -> Injected:
        try:
            return inject(self.target, self.step.images, self.step.rules)
        except NotInjectedError as problem:
            where = str(self.target.origins[problem.index]) if self._has_origin(problem.index) else ""
            hint = f"the objects of {self.step.resource.name} must name the image; another place: k8s_image_json_path()"
            raise Rejected(str(problem), engine=ENGINE, doing=self._doing, where=where, hint=hint) from None

    @property
    def _doing(self) -> str:
        return f"deploying {self.step.resource.name}"

    def _has_origin(self, index: int) -> bool:
        return 0 <= index < len(self.target.origins)

    def _clear(self) -> None:
        """Delete what is there, but for namespaces, so that everything is made anew."""
        every = dict.fromkeys((*objects_of(self.step.resource), *self.step.previous))
        refs = [ref for ref in every if ref.kind != "Namespace"]
        Removal(self.client, self.kinds, self.work).remove(refs, keep=self.step.keep, forced=True)

    # ------------------------------------------------------------------------------------ apply

    def _apply(self, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply all documents, kind after kind; the objects as they then are."""
        self.work.log("Applying YAML to cluster")
        places = list(enumerate(documents))
        found: list[dict[str, Any]] = []
        try:
            for _, batch in groupby(places, key=lambda place: manifests.apply_rank(place[1])):
                found += each(self._upsert, list(batch), self.work)
                self._establish(found)
        except EngineError:
            self.work.log("Tried to apply objects to cluster:\n" + _listed(documents), "error")
            raise
        self.work.log("Objects applied to cluster:\n" + _listed(documents))
        return found

    def _upsert(self, place: tuple[int, dict[str, Any]]) -> dict[str, Any]:
        index, document = place
        settings = self.step.settings
        upsert = Upsert(
            self.client,
            self.kinds,
            self.work,
            seconds=settings.k8s_upsert_timeout_secs,
            server_side=settings.k8s_server_side_apply == "true",
        )
        identity = manifests.identity(document)
        key = f"{identity.namespace or self.target.context.namespace}/{identity.name}"
        try:
            return upsert.run(document, anew=identity.kind == "Pod" and key in self.step.pods)
        except Rejected as problem:
            origin = self.target.origins[index] if self._has_origin(index) else None
            count = len(self.target.objects)
            raise refusals.explained(
                problem, document, doing=self._doing, place=f"object {index + 1} of {count}", origin=origin
            ) from problem

    def _establish(self, found: Sequence[dict[str, Any]]) -> None:
        """Wait until the kinds that were just defined can be used."""
        deadline = time.monotonic() + self.step.settings.k8s_upsert_timeout_secs
        for definition in [one for one in found if one.get("kind") == _CRD]:
            spec = definition["spec"]
            versions = [one["name"] for one in spec.get("versions") or [] if one.get("served")] or [spec.get("version")]
            for version in versions:
                while self.kinds.place(f"{spec['group']}/{version}", spec["names"]["kind"]) is None:
                    if time.monotonic() > deadline:
                        name = at(definition, "metadata", "name")
                        hint = f"see what it waits for: kubectl describe crd {name}"
                        raise Rejected(f"{_CRD} {name} is not established", engine=ENGINE, doing=self._doing, hint=hint)
                    rest(self.work, _LOOK_SECONDS)

    # ------------------------------------------------------------------------------------ afterwards

    def _collect(self, applied: Sequence[ObjectRef]) -> None:
        """Delete what earlier deploys left and nobody deploys any longer; what goes wrong holds nothing up."""
        removal = Removal(self.client, self.kinds, self.work)
        try:
            kept = {ref.key for ref in (*applied, *removal.settled(self.step.keep))}
            gone = [ref for ref in removal.settled(self.step.previous) if ref.key not in kept]
            gone = unused(gone, (*applied, *self.step.keep), self.work)
            if gone:
                self.work.log("garbage collecting removed Kubernetes objects")
                removal.remove(gone)
        except EngineError as problem:
            self.work.log(problem.render(), "warning")

    def _replace_pods(self, injected: Injected) -> None:
        """Delete the pods that are to be replaced, unless the new template has them replaced anyway."""
        for key in self.step.pods:
            namespace, _, name = key.partition("/")
            path = f"/api/v1/namespaces/{namespace}/pods/{name}"
            try:
                pod = self.client.call("GET", path)
                owned = at(pod, "metadata", "ownerReferences")
                if owned and at(pod, "metadata", "labels", TEMPLATE_LABEL) in injected.templates:
                    self.work.log(f"Replacing pod {name}")
                    self.client.call("DELETE", path, body=BACKGROUND)
            except Refused as refused:
                if refused.status != 404:
                    raise

    def _looked_up(self, document: dict[str, Any]) -> ObjectRef:
        """The object that a command says it has applied, with the uid it has in the cluster."""
        ref = ref_of(document)
        settled = self.kinds.settled(ref, self.client.context.namespace) or ref
        place = self.kinds.place(ref.api_version, ref.kind)
        if settled.uid or place is None:
            return settled
        try:
            return ref_of(self.client.call("GET", place.path(settled.namespace, settled.name)))
        except Refused as refused:
            if refused.status == 404:
                return settled
            raise


def _target(resource: Resource) -> Kubernetes:
    if not isinstance(resource.target, Kubernetes):
        raise TypeError(f"{resource.name} is not deployed to a cluster")
    return resource.target


def _listed(documents: Iterable[dict[str, Any]]) -> str:
    return "\n".join(f"  → {one.name}:{one.kind.lower()}" for one in map(manifests.identity, documents))


def _all_done(found: Sequence[dict[str, Any]]) -> bool:
    """Whatever makes pods among the objects is a job that has been done."""
    makers = [one for one in found if manifests.makes_pods(str(one.get("kind")))]
    return bool(makers) and all(one["kind"] == "Job" and "Complete" in _true_conditions(one) for one in makers)


def _true_conditions(found: dict[str, Any]) -> Iterator[str]:
    conditions = at(found, "status", "conditions") or []
    return (str(one.get("type")) for one in conditions if one.get("status") == "True")
