"""What the tests of live update into pods share: workspaces whose containers are in pods of a real cluster.

The images are built in the cluster's own Docker daemon; kubectl, run as a child, deploys and deletes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from ipytilt.core.spec import KubeContext
from ipytilt.core.steps import BuildImage, Built, Container, Pod
from ipytilt.engines import docker
from ipytilt.engines.base import ContainerEngine, Work
from ipytilt.engines.kubernetes import KubernetesEngine
from ipytilt.engines.kubernetes.pods import pod_of
from ipytilt.engines.sessions import Exec
from tests.engines.contract import FOREVER, Workspace
from tests.support.cluster import KubernetesCluster
from tests.support.waiting import eventually
from tools.rig import images


class PodEngine(KubernetesEngine):
    """Pods, and the Docker daemon that makes their images."""

    def __init__(self) -> None:
        self.builder = docker.connect(os.environ)
        super().__init__(self.builder)

    def build(self, step: BuildImage, work: Work) -> Built:
        return self.builder.build(step, work)

    def connect(self, where: Container, *argv: str) -> Exec:
        """A running program, as sessions have it."""
        return self._containers.connect(where.id, argv, stdin=True)

    def close(self) -> None:
        super().close()
        self.builder.close()


class PodWorkspace(Workspace):
    """A workspace whose `running` gives a container of a pod."""

    def __init__(self, cluster: KubernetesCluster, directory: Path, *, base: str) -> None:
        super().__init__(cast("ContainerEngine", PodEngine()), directory, base=base)
        self.cluster = cluster
        self.namespace = cluster.namespace()
        self.context = KubeContext(cluster.context, "default", str(cluster.kubeconfig))

    def built(self, dockerfile: str = "FROM BASE\nWORKDIR /app\n", *, ref: str = "web") -> str:
        """The name of an image that the cluster can run."""
        image = self.build(self.image(dockerfile, ref=ref)).local_ref
        self.cluster.load(image)
        return image

    def running(self, dockerfile: str = "FROM BASE\nWORKDIR /app\n", **definition: object) -> Container:
        """The container `web` of a pod `web`; keywords are fields of the container."""
        self.deploy("web", {"web": {"image": self.built(dockerfile), **definition}})
        return self.container("web", "web")

    def take_down(self) -> None:
        self.kubectl("delete", "pod", "web")

    def kubectl(self, *words: str, data: str = "") -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *words, data=data)

    def deploy(self, name: str, containers: Mapping[str, Mapping[str, object]], **spec: object) -> None:
        """Make a pod and wait until it runs; keywords are fields of its spec."""
        usual = {"imagePullPolicy": "IfNotPresent", "command": FOREVER}
        made = [{"name": each, **usual, **fields} for each, fields in containers.items()]
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": made, **spec},
        }
        self.kubectl("apply", "--filename=-", data=json.dumps(document))
        eventually(lambda: len([c for c in self.pod(name).containers if c.running]) == len(made), timeout=60)

    def pod(self, name: str) -> Pod:
        found: dict[str, Any] = json.loads(self.kubectl("get", "pod", name, "--output=json"))
        return pod_of(found, self.context)

    def container(self, pod: str, name: str) -> Container:
        return next(found for found in self.pod(pod).containers if found.service == name)

    def beside(self, where: Container, *argv: str) -> str:
        """What a program prints in a container, by another way than the one under test."""
        return self.kubectl("exec", where.pod.partition("/")[2], f"--container={where.service}", "--", *argv)


@contextmanager
def pod_workspace(cluster: KubernetesCluster, directory: Path, *, base: str = images.BASE) -> Iterator[PodWorkspace]:
    """A workspace in a namespace of its own, which goes after the test."""
    found = PodWorkspace(cluster, directory, base=base)
    try:
        yield found
    finally:
        found.close()
        found.engine.close()
