"""Kubernetes documents as values: names, pods, images, services, order, secrets."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ipytilt.core.manifests import (
    apply_rank,
    container_images,
    env_values,
    has_pod_template,
    identity,
    is_named_by,
    is_typed,
    parse_fragment,
    secret_values,
    serves,
    unique_names,
)


def document(kind: str, name: str = "n", *, version: str = "v1", namespace: str = "", **rest: Any) -> dict[str, Any]:
    about = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": about, **rest}


POD = {
    "containers": [{"image": "b", "env": [{"name": "E", "value": "v"}, {"name": "F"}]}, {"name": "no image"}],
    "initContainers": [{"image": "a"}],
    "ephemeralContainers": [{"image": "never"}],
    "volumes": [{"image": {"reference": "c"}}, {"emptyDir": {}}],
}
TEMPLATE = {"metadata": {"labels": {"app": "x", "tier": "web"}}, "spec": POD}


@pytest.mark.parametrize(
    "pod_maker",
    [
        document("Pod", spec=POD),
        document("PodTemplate", template=TEMPLATE),
        document("ReplicationController", spec={"template": TEMPLATE}),
        document("Deployment", version="apps/v1", spec={"template": TEMPLATE}),
        document("Deployment", version="extensions/v1beta1", spec={"template": TEMPLATE}),
        document("ReplicaSet", version="apps/v1beta2", spec={"template": TEMPLATE}),
        document("StatefulSet", version="apps/v1beta1", spec={"template": TEMPLATE}),
        document("DaemonSet", version="apps/v1", spec={"template": TEMPLATE}),
        document("Job", version="batch/v1", spec={"template": TEMPLATE}),
        document("CronJob", version="batch/v1beta1", spec={"jobTemplate": {"spec": {"template": TEMPLATE}}}),
    ],
    ids=lambda found: f"{found['kind']} {found['apiVersion']}",
)
def test_images_of_typed_objects(pod_maker: dict[str, Any]) -> None:
    assert is_typed(pod_maker)
    assert container_images(pod_maker) == ["a", "b", "", "c"]
    assert env_values(pod_maker) == ["v"]
    assert has_pod_template(pod_maker) is (pod_maker["kind"] != "Pod")


@pytest.mark.parametrize(
    "opaque",
    [
        document("Deployment", version="apps/v9", spec={"template": TEMPLATE}),
        document("Rollout", version="argoproj.io/v1alpha1", spec={"template": TEMPLATE}),
        document("Job", version="batch/v2alpha1", spec={"template": TEMPLATE}),
        document("ConfigMap"),
    ],
)
def test_opaque_objects_have_no_images(opaque: dict[str, Any]) -> None:
    assert not is_typed(opaque)
    assert container_images(opaque) == env_values(opaque) == []


@pytest.mark.parametrize("spec", [None, {}, {"template": None}, {"template": {"spec": {"containers": None}}}])
def test_gaps_are_no_images(spec: Any) -> None:
    assert container_images(document("Deployment", version="apps/v1", spec=spec)) == []


@pytest.mark.parametrize(
    "objects, names",
    [
        (["a/Deployment/apps/v1", "b/Deployment/apps/v1"], ["a", "b"]),
        (["A/Deployment/apps/v1"], ["a"]),
        (["a/Deployment/apps/v1", "a/Job/batch/v1"], ["a:deployment", "a:job"]),
        (["a/Pod/v1", "a/Pod/ex.io/v1"], ["a:pod:default:core", "a:pod:default:ex.io"]),
        (["a/Pod/v1", "a/Pod/v1"], ["a:pod:default:core:0", "a:pod:default:core:1"]),
        (["a/Pod/v1", "A/Pod/v1", "b/Pod/v1"], ["a:pod:default:core:0", "a:pod:default:core:1", "b"]),
        (["x:y/Pod/v1", "x:y/Job/batch/v1"], [r"x\:y:pod", r"x\:y:job"]),
    ],
)
def test_unique_names(objects: list[str], names: list[str]) -> None:
    found = [text.split("/", 2) for text in objects]
    assert unique_names([identity(document(kind, name, version=version)) for name, kind, version in found]) == names


def test_namespaces_tell_apart() -> None:
    found = [identity(document("Pod", namespace=namespace)) for namespace in ("", "other")]
    assert unique_names(found) == ["n:pod:default", "n:pod:other"]


@pytest.mark.parametrize(
    "text, parts",
    [("a", ("a",)), ("a:b:c", ("a", "b", "c")), (r"a\:b:c", ("a:b", "c")), (r"a\\:b", ("a\\", "b")), (":b", ("", "b"))],
)
def test_fragments(text: str, parts: tuple[str, ...]) -> None:
    assert parse_fragment(text) == parts


@pytest.mark.parametrize(
    "text, problem",
    [("", "selector can't be empty"), ("a:b:c:d", "Too many parts in selector"), (r"a\b", "invalid escape sequence")],
)
def test_texts_that_are_no_fragment(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_fragment(text)


@pytest.mark.parametrize(
    "fragment, named",
    [
        (("N",), True),
        (("n", "DEPLOYMENT"), True),
        (("n", "deployment", "default"), True),
        (("n", "deployment", "other"), False),
        (("n", "deploy"), False),
        (("m",), False),
    ],
)
def test_naming(fragment: tuple[str, ...], *, named: bool) -> None:
    assert is_named_by(identity(document("Deployment", version="apps/v1")), fragment) is named


@pytest.mark.parametrize(
    "selector, where, its, expected",
    [
        ({"app": "x"}, "", "", True),
        ({"app": "x", "tier": "web"}, "", "", True),
        ({"app": "y"}, "", "", False),
        ({"app": "x", "more": "z"}, "", "", False),
        ({}, "", "", False),
        (None, "", "", False),
        ({"app": "x"}, "default", "own", True),
        ({"app": "x"}, "own", "own", True),
        ({"app": "x"}, "other", "own", False),
        ({"app": "x"}, "other", "", False),
    ],
)
def test_services(selector: Any, where: str, its: str, *, expected: bool) -> None:
    service = document("Service", namespace=where, spec={"selector": selector})
    workload = document("Deployment", version="apps/v1", namespace=its, spec={"template": TEMPLATE})
    assert serves(service, workload) is expected
    assert not serves({**service, "apiVersion": "serving.knative.dev/v1"}, workload)
    assert not serves(service, document("Pod", spec=POD))


def test_order_of_applying() -> None:
    kinds = ["Widget", "Deployment", "Service", "Namespace", "Secret", "ConfigMap", "Pod", "CronJob"]
    ordered = sorted(map(document, kinds), key=apply_rank)
    assert [found["kind"] for found in ordered] == [
        *("Namespace", "ConfigMap", "Secret", "Service", "Deployment", "CronJob"),
        *("Widget", "Pod"),
    ]


def test_secrets() -> None:
    data = {"a": base64.b64encode(b"hidden").decode(), "b": base64.b64encode(b"\xff").decode()}
    found = dict(secret_values(document("Secret", data=data, stringData={"c": "plain"})))
    assert found == {"a": "hidden", "b": "\udcff", "c": "plain"}
    assert list(secret_values(document("ConfigMap", data=data))) == []
