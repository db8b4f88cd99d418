"""The Kubernetes cluster of the tests: the rig's, or one that the user named.

Runs kubectl as a child process, on the test's thread. ``TILT_TEST_CONTEXT`` names a context of the user's kubeconfig to
test on instead of a cluster of the rig; no other cluster is ever used.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually
from tools.rig import cluster as rig
from tools.rig import images, kube_machine

CONTEXT_VARIABLE = "TILT_TEST_CONTEXT"
# how a context's name begins -> what takes images of the local daemon into its cluster
_LOADERS = {
    "kind-": ("kind", "load", "docker-image", "--name={cluster}", "{image}"),
    "k3d-": ("k3d", "image", "import", "--cluster={cluster}", "{image}"),
    "minikube": ("minikube", "image", "load", "--profile=minikube{cluster}", "{image}"),
}


class KubernetesCluster:
    """A cluster for tests: what leads to it, and what a test does to it from outside."""

    def __init__(self, context: str, env: Mapping[str, str], own: rig.Cluster | None) -> None:
        self.context = context
        self.env = dict(env)
        self._own = own
        self._namespaces: list[str] = []
        self._stopped: set[str] = set()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig whose current context is the cluster's."""
        return Path(self.env["KUBECONFIG"])

    @property
    def docker_host(self) -> str:
        """The address of the daemon that images are built in; empty for the usual one."""
        return self.env.get("DOCKER_HOST", "")

    @property
    def node(self) -> str:
        """The address of the (first) node."""
        addresses = self.get("nodes")["items"][0]["status"]["addresses"]
        return str(next(one["address"] for one in addresses if one["type"] == "InternalIP"))

    @property
    def machine(self) -> str:
        """The address of this machine as the cluster sees it."""
        routed = subprocess.run(["ip", "-o", "route", "get", self.node], check=True, capture_output=True, text=True)
        words = routed.stdout.split()
        return words[words.index("src") + 1]

    @property
    def shares_docker(self) -> bool:
        """Whether the images of DOCKER_HOST are in the cluster without a push or a load."""
        return self._own is not None

    def kubectl(self, *words: str, data: str = "") -> str:
        """Return what kubectl prints, given ``data`` as input. Raises AssertionError with its errors."""
        command = ["kubectl", f"--context={self.context}", *words]
        env = {**os.environ, **self.env}
        done = subprocess.run(command, env=env, input=data, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"`{' '.join(command)}`: {done.stderr.strip()}"
        return done.stdout

    def get(self, *words: str) -> dict[str, Any]:
        """Return what ``kubectl get`` finds, as the API says it."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "--output=json"))
        return found

    def namespace(self) -> str:
        """Make a namespace that goes after the test; return its name."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self._namespaces.append(name)
        self.kubectl("create", "namespace", name)
        # Pods are refused until a controller has given the namespace an account for them.
        eventually(lambda: self.kubectl("get", f"--namespace={name}", "serviceaccount", "default"), timeout=60)
        return name

    def stop_apiserver(self) -> None:
        """Stop the API server; it is started again after the test at the latest."""
        self.stop_part("kube-apiserver")

    def start_apiserver(self) -> None:
        """Start the API server and return when it answers."""
        self.start_part("kube-apiserver")

    def stop_part(self, name: str) -> None:
        """Stop one program of the cluster: kubelet, dockerd... The test is skipped when that is not ours to do."""
        self.of_the_rig().stop_part(name)
        self._stopped.add(name)

    def start_part(self, name: str) -> None:
        """Start it again and return when it answers."""
        self.of_the_rig().start_part(name)
        self._stopped.discard(name)

    def clean_up(self) -> None:
        """Start what a test stopped and delete its namespaces, without waiting for their end."""
        for name in list(self._stopped):
            self.start_part(name)
        while self._namespaces:
            name = self._namespaces.pop()
            with contextlib.suppress(AssertionError):  # the test itself may have deleted it
                self.kubectl("delete", "namespace", name, "--wait=false")
                self.kubectl("delete", "pods", f"--namespace={name}", "--all", "--grace-period=1", "--wait=false")

    def load(self, image: str) -> None:
        """Bring an image of the local daemon into a cluster that does not see them."""
        for prefix, command in _LOADERS.items():
            if not self.shares_docker and self.context.startswith(prefix):
                name = self.context.removeprefix(prefix)
                words = [word.format(cluster=name, image=image) for word in command]
                subprocess.run(words, env={**os.environ, **self.env}, check=True, capture_output=True)

    @contextmanager
    def lost(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Let go of a cluster that this run started, as if the run were killed; after the block there is a new one.

        Gives its folder, which ends with it, and what it has noted of the machine before it was started. The test is
        skipped when the cluster is not this run's.
        """
        lost = self.of_the_rig()
        before = kube_machine.noted(lost.folder)
        try:
            lost.let_go()
        except rig.NoClusterError as error:
            pytest.skip(str(error))
        try:
            yield lost.folder, before
        finally:
            lost.stop()
            self._own = rig.start()
            self.env = self._own.env

    def end_other_than(self, first: rig.Cluster) -> None:
        """End the cluster that took the place of a lost one."""
        if self._own not in (None, first):
            self.of_the_rig().stop()

    def of_the_rig(self) -> rig.Cluster:
        """Return the rig's own view of the cluster; the test is skipped when it is not one of the rig."""
        if self._own is None:
            pytest.skip(f"the cluster that {CONTEXT_VARIABLE} names is not ours to stop")
        return self._own


@contextmanager
def cluster_of_the_rig() -> Iterator[KubernetesCluster]:
    """Give the cluster that was left running, or one that ends with the block. Raises NoClusterError."""
    with rig.in_use() as own:
        found = KubernetesCluster(own.context, own.env, own)
        yield found
        found.end_other_than(own)


def kubeconfig_of(context: str, folder: Path) -> Path:
    """Write a kubeconfig of one context of the user's into ``folder``; return its path. Raises NoClusterError."""
    view = ["kubectl", "config", "view", "--minify", "--flatten", "--raw", f"--context={context}"]
    found = subprocess.run(view, check=False, capture_output=True, text=True)
    if found.returncode:
        raise rig.NoClusterError(f"{CONTEXT_VARIABLE}={context}: {found.stderr.strip()}")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(found.stdout)
    return kubeconfig


def named_cluster(context: str, *, kubeconfig: Path, docker: Mapping[str, str]) -> KubernetesCluster:
    """Return the cluster of the user's that a kubeconfig leads to, with the base images in it.

    ``docker`` leads to the daemon that images are built in.
    """
    named = KubernetesCluster(context, {**docker, "KUBECONFIG": str(kubeconfig)}, None)
    for image in (images.BASE, images.BARE):
        named.load(image)
    return named
