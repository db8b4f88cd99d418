"""What kind of cluster answers: the product it is, its version, and the registry it asks for images.

Called on the thread that observes the cluster. What the user may not see there counts as absent: a cluster that shows
neither its nodes nor the config maps of `kube-public` is a cluster all the same.
"""

from __future__ import annotations

import os
from typing import Any

from ipytilt.core.spec import KubeContext, Registry
from ipytilt.core.steps import Cluster
from ipytilt.engines.kubernetes.client import Client, Refused
from ipytilt.engines.kubernetes.fields import at, documents

_BY_NAME = (
    ("minikube", "minikube"),
    ("docker-for-desktop-cluster", "docker-desktop"),
    ("docker-desktop", "docker-desktop"),
    ("kind", "kind"),
    ("microk8s", "microk8s"),
    ("api-crc-testing", "crc"),
    ("krucible-", "krucible"),
    ("k3d-", "k3d"),
    ("rancher-desktop", "rancher-desktop"),
    ("colima", "colima"),
    ("orbstack", "orbstack"),
    ("gke_", "gke"),
)
"""What the name of a cluster in the kube config begins with, and the product that calls its clusters so."""

_BY_NODE = (("k3d-", "k3d"), ("docker-desktop", "docker-desktop"), ("lima-rancher-desktop", "rancher-desktop"))
_BY_LABEL = (("minikube.k8s.io/name", "minikube"), ("microk8s.io/cluster", "microk8s"))
_HOSTING = "localRegistryHosting.v1"
_MICROK8S_REGISTRY = "localhost:32000"


def look(client: Client) -> Cluster:
    """Ask the cluster what it is. Raises Unavailable if it is away, Rejected if the kube config cannot be used."""
    doing = "asking the cluster for its version"
    version = str(at(client.call("GET", "/version", doing=doing), "gitVersion") or "")
    nodes = seen(client, "/api/v1/nodes", limit=5)
    product = product_of(cluster_name(client.context), nodes)
    arch = next((str(found) for node in nodes if (found := at(node, "status", "nodeInfo", "architecture"))), "")
    return Cluster(client.context, product, version, arch, _registry(client, product, nodes))


def seen(client: Client, path: str, *, limit: int) -> list[Any]:
    """The first objects of a list; none if the user may not see them."""
    try:
        found = client.call("GET", path, query=(("limit", str(limit)),))
    except Refused:
        return []
    return at(found, "items") or []


def cluster_name(context: KubeContext) -> str:
    """What the kube config calls the cluster of a context; "" if it does not say."""
    from kubernetes.config import ConfigException, list_kube_config_contexts

    config = context.config or os.environ.get("KUBECONFIG") or None
    try:
        every, current = list_kube_config_contexts(config_file=config)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError):
        return ""
    found = next((one for one in every if one["name"] == context.name), None) if context.name else current
    return str(at(found, "context", "cluster") or "")


def product_of(name: str, nodes: list[Any]) -> str:
    """The product, from what the kube config calls the cluster and what its nodes say of themselves; "": unknown."""
    for beginning, product in _BY_NAME:
        if name.startswith(beginning):
            return product
    for node in nodes:
        for label, product in _BY_LABEL:
            if label in (at(node, "metadata", "labels") or {}):
                return product
        if str(at(node, "spec", "providerID") or "").startswith("kind://"):
            return "kind"
        for beginning, product in _BY_NODE:
            if str(at(node, "metadata", "name")).startswith(beginning):
                return product
    return ""


def _registry(client: Client, product: str, nodes: list[Any]) -> Registry | None:
    """The registry the cluster announces: in the standard config map, by microk8s' add-on, by notes on its nodes."""
    path = "/api/v1/namespaces/kube-public/configmaps/local-registry-hosting"
    announced = at(_found(client, path), "data", _HOSTING)
    if announced:
        return registry_of(str(announced))
    if product == "microk8s" and _found(client, "/api/v1/namespaces/container-registry/services/registry"):
        return Registry(_MICROK8S_REGISTRY)
    for node in nodes if product in ("kind", "k3d") else []:
        notes = at(node, "metadata", "annotations") or {}
        if host := notes.get("tilt.dev/registry"):
            return Registry(host, notes.get("tilt.dev/registry-from-cluster", ""))
    return None


def registry_of(announced: str) -> Registry | None:
    """The registry of a `local-registry-hosting` entry; None if it names none."""
    try:
        entry = next(iter(documents(announced)), None)
    except ValueError:
        return None
    host = str(at(entry, "host") or "")
    return Registry(host, str(at(entry, "hostFromContainerRuntime") or "")) if host else None


def _found(client: Client, path: str) -> Any:
    """The object, or None if there is none, or none for this user."""
    try:
        return client.call("GET", path)
    except Refused:
        return None
