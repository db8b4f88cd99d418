"""Images on their way to a real cluster: there already, loaded, or pushed. Runs on pytest's thread.

The commands that load images are stand-ins: they write down how they are called. The registry is a real one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ipytilt.core.spec import Command, CustomBuild, Image, KubeContext, Registry
from ipytilt.core.steps import Built, PublishImage
from ipytilt.engines.base import Holdings, Work
from ipytilt.engines.docker import DockerEngine, connect
from ipytilt.engines.kubernetes import publish as publishing
from ipytilt.engines.kubernetes.client import Clients
from ipytilt.engines.kubernetes.cluster import look, seen
from ipytilt.engines.kubernetes.publish import Publishing
from ipytilt.errors import Rejected
from tests.engines.clusters import Desk, desk, document, pod_spec
from tests.engines.contract import fails
from tests.support.cluster import KubernetesCluster
from tests.support.core import image
from tests.support.waiting import eventually

pytestmark = pytest.mark.kubernetes

WEB = image("web")
BUILT = Built("web", "web:tilt-1")


class Elsewhere:
    """A container engine that no cluster runs on."""

    def __init__(self, folder: Path) -> None:
        self.environ: Mapping[str, str] = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        self.pushed: list[str] = []

    def holdings(self) -> Holdings:
        return Holdings("1.0")

    def push(self, local_ref: str, work: Work) -> None:
        self.pushed.append(local_ref)


@pytest.fixture
def at(cluster: KubernetesCluster) -> Iterator[Desk]:
    """Give a desk on the cluster."""
    with desk(cluster) as found:
        yield found


@pytest.fixture
def docker(at: Desk) -> Iterator[DockerEngine]:
    """Give the daemon that the cluster's images are built in."""
    engine = connect(os.environ)
    yield engine
    engine.close()


def named(at: Desk, folder: Path, name: str) -> KubeContext:
    """A context of a kube config that gives the cluster this name."""
    found = json.loads(at.cluster.kubectl("config", "view", "--raw", "--minify", "--output=json"))
    found["clusters"][0]["name"] = found["contexts"][0]["context"]["cluster"] = name
    config = folder / f"{name}.config"
    config.write_text(json.dumps(found))
    return replace(at.context, config=str(config))


def publish(at: Desk, engine: Elsewhere | DockerEngine, context: KubeContext, **step: object) -> Built:
    """Hand the image on; keywords are more of the step."""
    made = replace(PublishImage(WEB, context), **step)  # type: ignore[arg-type]
    clients = Clients()
    try:
        return Publishing(clients, engine).publish(made, BUILT, at.work())
    finally:
        clients.close()


@pytest.mark.parametrize(
    "name, words",
    [
        ("kind-work", "kind load docker-image web:tilt-1 --name work"),
        ("k3d-work", "k3d image import web:tilt-1 --cluster work"),
        ("minikube", "minikube --profile minikube image load web:tilt-1"),
    ],
)
def test_165_a_product_without_a_registry_loads_images(at: Desk, tmp_path: Path, name: str, words: str) -> None:
    program, called = tmp_path / words.split(maxsplit=1)[0], tmp_path / "called"
    program.write_text(f'#!/bin/sh\necho "$(basename $0) $*" > {called}\n')
    program.chmod(0o755)
    engine = Elsewhere(tmp_path)
    assert publish(at, engine, named(at, tmp_path, name)).cluster_ref == "web:tilt-1"
    assert called.read_text().strip() == words
    assert not engine.pushed
    called.unlink()
    registry = Registry("reg.example:5000", "in-cluster:5000")
    publish(at, engine, named(at, tmp_path, name), registry=registry)
    assert engine.pushed == ["web:tilt-1"]
    assert not called.exists()


def test_a_program_that_fails_is_quoted(at: Desk, tmp_path: Path) -> None:
    program = tmp_path / "kind"
    program.write_text("#!/bin/sh\necho no nodes found for cluster\nexit 1\n")
    program.chmod(0o755)
    problem = fails(Rejected, lambda: publish(at, Elsewhere(tmp_path), named(at, tmp_path, "kind-work")))
    assert problem.message == "no nodes found for cluster"
    assert problem.doing == "loading web:tilt-1 into the kind cluster work"


def test_a_cluster_on_the_daemon_that_builds_has_the_image_already(at: Desk, docker: DockerEngine) -> None:
    if not at.cluster.shares_docker:
        pytest.skip("this cluster has a runtime of its own")
    at.apply(document("Pod", "p", spec=pod_spec()))
    eventually(lambda: at.get("pod", "p")["status"]["phase"] == "Running", timeout=60)
    assert publish(at, docker, at.context).cluster_ref == "web:tilt-1"
    assert "Skipping push: the cluster runs on the same Docker daemon" in at.lines()


def test_what_a_command_has_pushed_itself_is_not_pushed_again(at: Desk, tmp_path: Path) -> None:
    engine = Elsewhere(tmp_path)
    registry = Registry("reg.example:5000", "in-cluster:5000")
    build = CustomBuild(Command(("true",), "/"), disable_push=True)
    built = replace(BUILT, local_ref="reg.example:5000/web:1")
    step = PublishImage(Image("web", build), at.context, registry)
    assert Publishing(at.clients, engine).publish(step, built, at.work()).cluster_ref == "in-cluster:5000/web:1"
    assert not engine.pushed


def test_a_cluster_is_looked_at(at: Desk) -> None:
    found = look(at.clients.of(at.context))
    assert found.version.startswith("v1.")
    assert found.arch in ("amd64", "arm64")
    assert found.context == at.context


def test_a_registry_that_the_cluster_announces_is_seen(at: Desk) -> None:
    if not at.cluster.shares_docker:
        pytest.skip("the announcements of this cluster are not ours to change")
    text = "host: localhost:5001\nhostFromContainerRuntime: registry:5000\n"
    announced = document(
        "ConfigMap",
        "local-registry-hosting",
        about={"namespace": "kube-public"},
        data={"localRegistryHosting.v1": text},
    )
    at.apply(announced)
    try:
        assert look(at.clients.of(at.context)).registry == Registry("localhost:5001", "registry:5000")
    finally:
        at.delete(announced)
    eventually(lambda: look(at.clients.of(at.context)).registry is None)


def test_a_cluster_without_pods_is_told_by_what_its_node_reports(
    at: Desk, docker: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at.cluster.shares_docker:
        pytest.skip("this cluster has a runtime of its own")
    monkeypatch.setattr(publishing, "seen", lambda *_, **__: [])  # as if there were no pods yet
    here = docker.holdings()
    told = [replace(here, pods=frozenset()), replace(here, pods=frozenset(), images=frozenset({"other:1"}))]
    told += [replace(told[0], version="1.0"), replace(here, pods=frozenset({"of a pod that is gone"}))]
    nodes = seen(at.clients.of(at.context), "/api/v1/nodes", limit=5)
    client = at.clients.of(at.context)
    assert [publishing._is_runtime(one, client, nodes, product="") for one in told] == [True, False, False, True]
