"""The kube context: what it is called, and where Kubernetes objects may be deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ipytilt.tiltfile.load import LoadError
from tests.tiltfile.cases_k8s import objects
from tests.tiltfile.evaluated import evaluate

CONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: %s, namespace: ns}}, {name: other, context: {cluster: x}}]
clusters: [{name: %s, cluster: {certificate-authority: %s}}]
"""


def kube(cluster: str, *, authority: str = "/ca.crt", path: str = "/home/u/.kube/config") -> dict[str, Any]:
    files = {path: CONFIG % (cluster, cluster, authority)}
    return {
        "files": files,
        "environ": {"HOME": "/home/u"} if path.startswith("/home/u/.kube/c") else {"KUBECONFIG": path},
    }


def in_cluster(text: str, config: Mapping[str, Any]) -> Any:
    return evaluate(text, {"k.yaml": objects("D(a,i)"), **config["files"]}, environ=config["environ"])


@pytest.mark.parametrize(
    "config",
    [
        *(kube(name) for name in ("minikube", "docker-desktop", "kind-x", "kind", "k3d-x", "orbstack", "colima-x")),
        kube("x", authority="/home/u/.minikube/ca.crt"),
        kube("x", path="/tmp/kind-config-x"),
        kube("x", path="/home/u/.config/k3d/x.yaml"),
    ],
)
def test_development_clusters(config: dict[str, Any]) -> None:
    assert in_cluster("k8s_yaml('k.yaml')", config).spec.resources


@pytest.mark.parametrize("name", ["prod", "orbstack2", "kind2", "gke"])
def test_other_clusters(name: str) -> None:
    with pytest.raises(LoadError, match=r"Stop! c might be production\.") as caught:
        in_cluster("k8s_yaml('k.yaml')", kube(name))
    assert 'allow_k8s_contexts("c")' in caught.value.hint
    for allowing in (
        "k8s_yaml('k.yaml')\nallow_k8s_contexts('c')",
        "allow_k8s_contexts(['d', 'c'])\nk8s_yaml('k.yaml')",
    ):
        assert in_cluster(allowing, kube(name)).spec.resources
    assert in_cluster("local_resource('l', 'x')", kube(name)).spec.resources
    with pytest.raises(LoadError, match="Refusing to run 'local' because c might be a production kube context"):
        in_cluster("local('x')", kube(name))


def test_what_the_context_is() -> None:
    text = "print(repr(k8s_context()), repr(k8s_namespace(1, x=2)))"
    assert in_cluster(text, kube("x")).log == ('"c" "ns"',)
    assert evaluate(text).log == ('"" ""',)
    files = {"/a": "contexts: [{name: first, context: {}}]", "/b": "current-context: first\ncontexts: []"}
    assert evaluate(text, files, environ={"KUBECONFIG": "/a:/missing:/b"}).log == ('"first" "default"',)


def test_a_context_that_no_config_describes() -> None:
    environ = {"KUBECONFIG": "/c"}
    files = {"/c": "current-context: gone", "k.yaml": objects("D(a,i)")}
    assert evaluate("print(k8s_context(), k8s_namespace())", files, environ=environ).log == ("gone default",)
    with pytest.raises(LoadError, match=r"Stop! gone might be production\."):
        evaluate("k8s_yaml('k.yaml')", files, environ=environ)
    assert evaluate("k8s_yaml('k.yaml')", {**files, "/c": "clusters: []"}, environ=environ).spec.resources


def test_a_kube_config_that_is_none() -> None:
    broken = {"environ": {"KUBECONFIG": "/c"}, "files": {"/c": "a: ["}}
    with pytest.raises(LoadError, match="reading the kube config /c: yaml: line 2"):
        in_cluster("k8s_context()", broken)
