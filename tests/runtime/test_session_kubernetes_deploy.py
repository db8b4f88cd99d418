"""Sessions that deploy to a real cluster: documents that change, that it refuses, and a cluster that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.state import State
from ipytilt.runtime.session import Config, Session
from tests.support.cluster import KubernetesCluster
from tests.support.project import PATIENCE, Project
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

REST = "uncategorized"


class Objects(Project):
    """A folder with documents that make no pods, and a session that deploys them to a namespace of its own."""

    def __init__(self, folder: Path, cluster: KubernetesCluster) -> None:
        self.folder = folder
        self.cluster = cluster
        self.namespace = cluster.namespace()
        self.session = Session(Config("docker", str(folder)))

    def maps(self, *names: str, namespace: str = "") -> None:
        """Write one ConfigMap after the other, each on a line of its own."""
        about = {"namespace": namespace or self.namespace}
        texts = [json.dumps(_config_map({**about, "name": name})) for name in names]
        self.write("objects.yaml", "\n---\n".join(texts))

    def deploy(self) -> None:
        self.load(f"allow_k8s_contexts({self.cluster.context!r})\nk8s_yaml('objects.yaml')")

    def names(self) -> set[str]:
        """The ConfigMaps that are there and ours."""
        words = ("get", "configmaps", f"--namespace={self.namespace}", "--selector=app.kubernetes.io/managed-by=tilt")
        return set(self.cluster.kubectl(*words, "--output=jsonpath={.items[*].metadata.name}").split())

    def has(self, *names: str) -> None:
        """Wait until these ConfigMaps are there, by an update that went well."""
        eventually(lambda: self.names() == set(names), timeout=PATIENCE)
        eventually(lambda: self.record(REST).result == "ok", timeout=PATIENCE)

    def failed(self) -> str:
        """What is wrong with the newest update, once one has failed."""

        def error(state: State) -> bool:
            track = state.tracks.get(REST)
            return bool(track and track.last and track.last.result == "error")

        last = self.until(error).tracks[REST].last
        assert last is not None
        return last.error


def _config_map(about: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"a": "1"}}


@pytest.fixture
def objects(cluster: KubernetesCluster, tmp_path: Path) -> Iterator[Objects]:
    found = Objects(tmp_path, cluster)
    yield found
    found.close()


def test_what_left_the_tiltfile_leaves_the_cluster_and_down_takes_the_rest(objects: Objects) -> None:
    objects.maps("a", "b")
    objects.deploy()
    objects.ready()
    objects.has("a", "b")
    objects.maps("b", "c")
    objects.has("b", "c")
    objects.session.down()
    objects.session.wait_taken_down()
    eventually(lambda: not objects.names(), timeout=PATIENCE)


def test_a_document_that_is_refused_is_pointed_at_and_mending_it_is_enough(objects: Objects) -> None:
    objects.maps("a", "NOT-A-NAME")
    objects.deploy()
    error = objects.failed()
    assert f"{objects.folder}/objects.yaml:3: ConfigMap NOT-A-NAME (object 2 of 2): " in error
    assert "is invalid" in error
    objects.maps("a", "b")
    objects.has("a", "b")


def test_a_namespace_that_is_not_there_is_told_and_made_up_for(objects: Objects) -> None:
    missing = f"{objects.namespace}-missing"
    objects.maps("a", namespace=missing)
    objects.deploy()
    assert f'namespaces "{missing}" not found\nTry: make it with kubectl create namespace' in objects.failed()
    objects.maps("a")
    objects.has("a")


def test_what_was_to_be_applied_while_the_api_server_was_away_is_applied_when_it_is_back(objects: Objects) -> None:
    objects.maps("a")
    objects.deploy()
    objects.ready()
    objects.cluster.stop_apiserver()
    objects.maps("a", "b")
    objects.until(lambda state: REST in state.holds)
    objects.cluster.start_apiserver()
    objects.has("a", "b")


def test_an_image_that_cannot_be_pulled_is_told(objects: Objects) -> None:
    container = {"name": "c", "image": "127.0.0.1:1/nobody/nothing:1"}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": objects.namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    objects.write("objects.yaml", json.dumps(deployment))
    objects.deploy()
    state = objects.until(lambda state: any(pod.problem for pod in state.tracks["web"].pods))
    problem = state.tracks["web"].pods[0].problem
    assert "ErrImagePull" in problem or "ImagePullBackOff" in problem
