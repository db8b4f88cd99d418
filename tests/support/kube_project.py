"""A small project on disk that is deployed to a cluster, with a session on it. Runs on the test's thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ipytilt.core.steps import Container, Pod
from ipytilt.runtime.session import Config, Session
from tests.support.cluster import KubernetesCluster
from tests.support.project import PATIENCE, Project
from tests.support.waiting import eventually

LIVE_UPDATE = """[
    fall_back_on('app/stop'),
    sync('app', '/app'),
    run('sh /app/hook.sh', trigger='app/hook.sh'),
]"""
IMAGE = {"image": "app-image", "imagePullPolicy": "IfNotPresent"}
LOOP = ["sh", "-c", "echo started; while ! test -e /end; do sleep 0.1; done; exit 3"]
DOCKERFILE = f"FROM busybox\nWORKDIR /app\nCOPY . .\nCMD {json.dumps(LOOP)}\n"


class KubeProject(Project):
    """A folder with a Deployment `app`, and a session that runs it in a namespace of its own."""

    def __init__(self, folder: Path, cluster: KubernetesCluster) -> None:
        self.folder = folder
        self.cluster = cluster
        self.namespace = cluster.namespace()
        self.session = Session(Config("docker", str(folder)))
        self.write("app/Dockerfile", DOCKERFILE)
        self.write("app/file.txt", "first\n")
        self.deployment()

    def deployment(
        self, *, replicas: int = 1, containers: tuple[str, ...] = ("web",), image: Mapping[str, object] = IMAGE
    ) -> None:
        """Write the YAML; `image` are fields of all containers."""
        labels = {"app": "app"}
        spec = {"terminationGracePeriodSeconds": 1, "containers": [{"name": name, **image} for name in containers]}
        document = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app", "namespace": self.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
        self.write("app.yaml", json.dumps(document))

    def tiltfile(self, live_update: str = LIVE_UPDATE) -> str:
        """The Tiltfile."""
        lines = (
            f"allow_k8s_contexts({self.cluster.context!r})",
            "k8s_yaml('app.yaml')",
            f"docker_build('app-image', 'app', live_update={live_update})",
        )
        return "\n".join(lines)

    def up(self, text: str = "") -> None:
        """Run a cell and wait until everything is ready."""
        self.load(text or self.tiltfile())
        self.ready()

    def pods(self) -> list[Pod]:
        """The pods that stay, as the session knows them."""
        return [pod for pod in self.session.state.tracks["app"].pods if not pod.deleting]

    def running(self, count: int = 1) -> list[Container]:
        """The running containers of pods that stay, once there are so many."""

        def found() -> list[Container] | None:
            containers = [c for pod in self.pods() for c in pod.containers if c.running]
            return containers if len(containers) == count else None

        containers = eventually(found, timeout=PATIENCE)
        assert containers is not None
        return containers

    def container(self, name: str = "app") -> Container:
        assert name == "app"
        return self.running()[0]

    def beside(self, where: Container, *argv: str) -> str:
        """What a program prints in a container, by kubectl; "" if it fails."""
        pod = where.pod.partition("/")[2]
        words = ("exec", f"--namespace={self.namespace}", pod, f"--container={where.service}", "--", *argv)
        try:
            return self.cluster.kubectl(*words).strip()
        except AssertionError:
            return ""

    def content(self, path: str) -> str:
        return self.beside(self.container(), "cat", path)

    def delete(self, *words: str) -> None:
        """Delete objects of the namespace and do not wait for their end."""
        self.cluster.kubectl("delete", f"--namespace={self.namespace}", "--wait=false", *words)
