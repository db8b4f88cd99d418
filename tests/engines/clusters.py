"""What the tests of deploys share: a namespace of a real cluster, documents for it, and the engine at work on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipytilt.core.pods import objects_of
from ipytilt.core.settings import UpdateSettings
from ipytilt.core.spec import CustomDeploy, KubeContext, Kubernetes, Origin, Resource
from ipytilt.core.steps import Applied, Apply, Delete, ObjectRef
from ipytilt.engines.base import Work
from ipytilt.engines.kubernetes.client import Clients
from ipytilt.engines.kubernetes.deploy import Deploying
from tests.support.cluster import KubernetesCluster

Document = dict[str, Any]


class Desk:
    """Deploys to a namespace of its own, and looks at what came of it with kubectl."""

    def __init__(self, cluster: KubernetesCluster, config: Path | None = None) -> None:
        self.cluster = cluster
        self.namespace = cluster.namespace()
        self.context = KubeContext(cluster.context, self.namespace, str(config or cluster.kubeconfig))
        self.clients = Clients()
        self.engine = Deploying(self.clients)
        self.log: list[tuple[str, str]] = []

    def work(self) -> Work:
        return Work(lambda text, level: self.log.append((text, level)))

    def lines(self) -> list[str]:
        return [line for text, _ in self.log for line in text.split("\n")]

    def resource(self, *documents: Document, name: str = "web", custom: CustomDeploy | None = None) -> Resource:
        """A resource whose documents stand in `deploy.yaml`, one per line."""
        texts = tuple(map(json.dumps, documents))
        origins = tuple(Origin("deploy.yaml", index) for index in range(1, len(texts) + 1))
        return Resource(name, Kubernetes(texts, context=self.context, origins=origins, custom_deploy=custom))

    def apply(
        self,
        *documents: Document,
        resource: Resource | None = None,
        previous: tuple[ObjectRef, ...] = (),
        keep: tuple[Resource, ...] = (),
        pods: tuple[str, ...] = (),
        force: bool = False,
        work: Work | None = None,
        **settings: Any,
    ) -> Applied:
        """Deploy; keywords are update settings."""
        step = Apply(
            resource or self.resource(*documents),
            force=force,
            previous=previous,
            keep=tuple(ref for one in keep for ref in objects_of(one)),
            pods=pods,
            settings=UpdateSettings(**settings),
        )
        return self.engine.apply(step, work or self.work())

    def delete(self, *documents: Document, namespaces: bool = False) -> None:
        self.engine.delete(Delete(self.resource(*documents), namespaces=namespaces), self.work())

    def kubectl(self, *words: str, data: str = "") -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *words, data=data)

    def get(self, kind: str, name: str) -> Document:
        """The object as the cluster has it."""
        found: Document = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an object that is not on its way out."""
        listed = json.loads(self.kubectl("get", kind, "--output=json"))["items"]
        return any(one["metadata"]["name"] == name and not one["metadata"].get("deletionTimestamp") for one in listed)


@contextmanager
def desk(cluster: KubernetesCluster, config: Path | None = None) -> Iterator[Desk]:
    """Give a desk on the cluster, reached by another kube config if one is given; it is let go of in the end."""
    found = Desk(cluster, config)
    try:
        yield found
    finally:
        found.clients.close()


def document(
    kind: str, name: str, version: str = "v1", *, about: Mapping[str, Any] | None = None, **rest: Any
) -> Document:
    """A document; `about` is more of its metadata."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **(about or {})}, **rest}


def config_map(name: str, about: Mapping[str, Any] | None = None, **data: str) -> Document:
    """A ConfigMap."""
    return document("ConfigMap", name, about=about, data=data)


def deployment(name: str = "web", *, selector: str = "app", **container: Any) -> Document:
    """A Deployment of one pod that waits; keywords are fields of its container."""
    return document(
        "Deployment",
        name,
        "apps/v1",
        spec={
            "selector": {"matchLabels": {selector: name}},
            "template": {"metadata": {"labels": {"app": name, "other": name}}, "spec": pod_spec(**container)},
        },
    )


def pod_spec(**container: Any) -> Document:
    """One container that waits."""
    waits = {"name": "c", "image": "ipytilt-base:test", "command": ["sleep", "3600"], "imagePullPolicy": "IfNotPresent"}
    return {"terminationGracePeriodSeconds": 1, "containers": [{**waits, **container}]}
