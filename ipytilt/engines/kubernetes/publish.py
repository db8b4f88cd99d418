"""Makes images of the container engine known to a cluster: pushed, loaded, or there already.

Called on worker threads. A cluster that runs on the very daemon that builds sees an image as soon as it is built. One
that a product runs in containers or machines of its own has a command that loads images. Everything else pulls from a
registry.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from ipytilt import processes
from ipytilt.core.images import seen_from_cluster
from ipytilt.core.spec import CustomBuild, KubeContext
from ipytilt.core.steps import Built, PublishImage
from ipytilt.engines.base import Holdings, Publisher, Work
from ipytilt.engines.kubernetes.client import ENGINE, Client, Clients
from ipytilt.engines.kubernetes.cluster import cluster_name, product_of, seen
from ipytilt.engines.kubernetes.fields import at
from ipytilt.errors import Rejected

_LOADERS = {
    "kind": ("kind", "load", "docker-image", "{image}", "--name", "{cluster}"),
    "k3d": ("k3d", "image", "import", "{image}", "--cluster", "{cluster}"),
    "minikube": ("minikube", "--profile", "{cluster}", "image", "load", "{image}"),
}
"""Product -> its command that brings an image of the local daemon into a cluster."""

_DOCKER = "docker://"


class Publishing:
    """`base.ClusterEngine.publish`."""

    def __init__(self, clients: Clients, publisher: Publisher) -> None:
        self._clients = clients
        self._publisher = publisher
        self._lock = threading.Lock()
        self._advised: set[KubeContext] = set()
        self._shared: set[KubeContext] = set()  # whose runtime is the publisher's daemon; that does not change

    def publish(self, step: PublishImage, built: Built, work: Work) -> Built:
        """See `base.ClusterEngine`."""
        cluster_ref = seen_from_cluster(built.local_ref, step.registry)
        build = step.image.build
        if isinstance(build, CustomBuild) and (build.disable_push or build.skips_local_docker):
            work.log("Skipping push: the custom_build says so")
            return replace(built, cluster_ref=cluster_ref)
        client = self._clients.of(step.context)
        nodes = seen(client, "/api/v1/nodes", limit=500)
        name = cluster_name(step.context)
        product = product_of(name, nodes)
        holdings = self._publisher.holdings()
        if step.context in self._shared or _is_runtime(holdings, client, nodes, product=product):
            self._shared.add(step.context)
            work.log("Skipping push: the cluster runs on the same Docker daemon")
            return replace(built, cluster_ref=built.local_ref)
        if step.registry is None and product in _LOADERS and holdings.version:
            self._advise(step.context, product, work)
            self._load(_LOADERS[product], name, built.local_ref, work)
        else:
            self._push(step, built, work)
        return replace(built, cluster_ref=cluster_ref)

    def _advise(self, context: KubeContext, product: str, work: Work) -> None:
        with self._lock:
            if context in self._advised:
                return
            self._advised.add(context)
        work.log(f"Images are loaded into the {product} cluster one by one. A local registry would be faster.")

    def _load(self, command: tuple[str, ...], name: str, image: str, work: Work) -> None:
        product = command[0]
        cluster = name.removeprefix(f"{product}-")
        argv = [word.format(image=image, cluster=cluster) for word in command]
        doing = f"loading {image} into the {product} cluster {cluster}"
        work.log(f"Loading image to {product}\nRunning: {processes.describe(argv)}")
        said: list[str] = []

        def line(_: str, text: str) -> None:
            work.log(f"  {text}")
            said.append(text)

        try:
            done = processes.run(argv, env=self._publisher.environ, on_line=line, cancel=work)
        except processes.StartFailed as problem:
            hint = f"install {product}, or give the cluster a registry: default_registry(...)"
            raise Rejected(problem.message, engine=ENGINE, doing=doing, hint=hint) from problem
        if done.exit_code:
            message = "\n".join(said[-5:]) or f"exit status {done.exit_code}"
            raise Rejected(message, engine=ENGINE, doing=doing, hint=f"is the cluster {cluster} running?")

    def _push(self, step: PublishImage, built: Built, work: Work) -> None:
        try:
            self._publisher.push(built.local_ref, work)
        except Rejected as problem:
            if step.registry is not None:
                raise
            hint = "name a registry that you may push to and the cluster pulls from: default_registry(...)"
            raise Rejected(problem.message, engine=problem.engine, doing=problem.doing, hint=hint) from problem


def _is_runtime(holdings: Holdings, client: Client, nodes: list[Any], *, product: str) -> bool:
    """Whether the daemon that builds also runs the containers of the cluster.

    Told from the pods it runs; where there are none yet, from the version and the images that the node reports.
    """
    runtimes = {str(at(node, "status", "nodeInfo", "containerRuntimeVersion") or "") for node in nodes}
    if not holdings.version or not nodes:
        return False
    if product == "docker-desktop":
        return True
    if not all(runtime.startswith(_DOCKER) for runtime in runtimes) or len(nodes) > 1:
        return False  # on several machines, one daemon's images are not enough
    found = seen(client, "/api/v1/pods", limit=500)
    running = {str(at(pod, "metadata", "uid")) for pod in found if _surely_runs(pod)}
    if running:
        return bool(running & holdings.pods)
    if runtimes != {f"{_DOCKER}{holdings.version}"}:
        return False
    reported = [_tags(at(image, "names") or []) for image in at(nodes[0], "status", "images") or []]
    known = [bool(holdings.images & tags) for tags in reported if tags]
    return sum(known) * 2 > len(known)  # nodes report images for a while that are gone


def _surely_runs(pod: Any) -> bool:
    return at(pod, "status", "phase") == "Running" and not at(pod, "metadata", "deletionTimestamp")


def _tags(names: list[str]) -> set[str]:
    """The names that are not digests."""
    return {name for name in names if "@" not in name and "<none>" not in name}
