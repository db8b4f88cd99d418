"""What kind of cluster answers, told from names, nodes and announcements. Runs on pytest's thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.spec import KubeContext, Registry
from ipytilt.engines.kubernetes.cluster import cluster_name, product_of, registry_of

_CONFIG = """\
apiVersion: v1
kind: Config
current-context: mine
contexts:
- {name: mine, context: {cluster: k3d-here, user: me}}
- {name: other, context: {cluster: kind-there, user: me}}
clusters:
- {name: k3d-here, cluster: {server: "https://127.0.0.1:1"}}
- {name: kind-there, cluster: {server: "https://127.0.0.1:2"}}
users:
- {name: me, user: {}}
"""


def _node(name: str = "n", provider: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"providerID": provider}}


@pytest.mark.parametrize(
    "name, nodes, product",
    [
        ("kind-work", [], "kind"),
        ("kind", [], "kind"),
        ("k3d-x", [], "k3d"),
        ("minikube", [], "minikube"),
        ("docker-for-desktop-cluster", [], "docker-desktop"),
        ("rancher-desktop", [], "rancher-desktop"),
        ("mine", [_node(provider="kind://docker/work/work-control-plane")], "kind"),
        ("mine", [_node("k3d-x-server-0")], "k3d"),
        ("mine", [_node("a"), _node("docker-desktop")], "docker-desktop"),
        ("mine", [{"metadata": {"name": "m", "labels": {"minikube.k8s.io/name": "m"}}}], "minikube"),
        ("mine", [_node()], ""),
        ("", [], ""),
    ],
)
def test_a_product_is_told_from_the_name_of_its_cluster_or_from_its_nodes(
    name: str, nodes: list[Any], product: str
) -> None:
    assert product_of(name, nodes) == product


@pytest.mark.parametrize(
    "announced, registry",
    [
        ("host: localhost:5000", Registry("localhost:5000")),
        (
            'host: "localhost:5000"\nhostFromContainerRuntime: "registry:5000"\nhelp: https://example.org',
            Registry("localhost:5000", "registry:5000"),
        ),
        ("help: https://example.org", None),
        ("", None),
        ("host: [", None),
    ],
)
def test_an_announced_registry_is_read(announced: str, registry: Registry | None) -> None:
    assert registry_of(announced) == registry


def test_the_kube_config_says_what_the_cluster_of_a_context_is_called(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(_CONFIG)
    assert cluster_name(KubeContext("other", config=str(config))) == "kind-there"
    assert cluster_name(KubeContext(config=str(config))) == "k3d-here"
    assert cluster_name(KubeContext("none", config=str(config))) == ""
    assert cluster_name(KubeContext("mine", config=str(tmp_path / "absent"))) == ""
