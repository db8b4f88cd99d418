"""Documents as the Kubernetes client reads them: which fields a kind has, and what becomes of the others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipytilt.tiltfile.kube_types import decoded, with_empty_parts


def pod(container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container], **spec}}


def deployment(version: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": "Deployment", "spec": spec}


def kind(name: str, version: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": name, **fields}


@pytest.mark.parametrize(
    "written, read",
    [
        (pod({"image": "i", "imagge": "j"}), pod({"image": "i"})),
        (pod({"image": "i", "Image": "j"}, hostnetwork=True), pod({"image": "i"})),
        (pod({"image": "i", "env": None, "stdin": None}), pod({"image": "i"})),
        (pod({"args": ["a", None]}), pod({"args": ["a", ""]})),
        (
            pod({"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}),
            pod({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
        ),
        (pod({"resources": {"requests": {"cpu": 0.5}, "x": 1}}), pod({"resources": {"requests": {"cpu": "0.5"}}})),
        (pod({"livenessProbe": {"httpGet": {"port": "http"}}}), pod({"livenessProbe": {"httpGet": {"port": "http"}}})),
        ({**pod({}), "status": {"phase": "Running"}, "extra": 1}, pod({})),
        (deployment("apps/v1", replicas=0, replica=1), deployment("apps/v1", replicas=0)),
        (deployment("extensions/v1beta1", replicas=1, replica=1), deployment("extensions/v1beta1", replicas=1)),
        (
            kind("ConfigMap", "v1", metadata={"name": "c", "annotations": {"a": None}}, data={"b": None}, more={}),
            kind("ConfigMap", "v1", metadata={"name": "c", "annotations": {"a": ""}}, data={"b": ""}),
        ),
        (
            kind("Ingress", "networking.k8s.io/v1", spec={"rules": [{"host": "h", "port": 1}]}),
            kind("Ingress", "networking.k8s.io/v1", spec={"rules": [{"host": "h"}]}),
        ),
        (
            kind("HorizontalPodAutoscaler", "autoscaling/v2beta2", spec={"maxReplicas": 2, "metrics": [], "most": 3}),
            kind("HorizontalPodAutoscaler", "autoscaling/v2beta2", spec={"maxReplicas": 2, "metrics": []}),
        ),
        (
            kind("PodDisruptionBudget", "policy/v1", spec={"minAvailable": "50%", "selector": {}, "s": 1}),
            kind("PodDisruptionBudget", "policy/v1", spec={"minAvailable": "50%", "selector": {}}),
        ),
    ],
)
def test_only_fields_of_the_kind_are_kept(written: dict[str, Any], read: dict[str, Any]) -> None:
    assert decoded(written) == read


@pytest.mark.parametrize(
    "document",
    [
        kind("Widget", "ex.io/v1", spec={"a": None, "b": [1, True]}, status={"c": 1}),
        kind("CustomResourceDefinition", "apiextensions.k8s.io/v1", status={"conditions": []}, spec={"any": "thing"}),
        kind("Gateway", "gateway.networking.k8s.io/v1", spec={"listeners": [{"port": 80, "extra": 1}]}),
        kind("APIService", "apiregistration.k8s.io/v1", spec={"extra": 1}),
        deployment("apps/v9", replica=1),
        kind("Ingress", "extensions/v1beta1", spec={"backend": {"serviceName": "s", "servicePort": 80}}),
        kind("HorizontalPodAutoscaler", "autoscaling/v2beta1", spec={"metrics": [{"resource": {"name": "cpu"}}]}),
        kind("PodSecurityPolicy", "policy/v1beta1", spec={"privileged": False}),
    ],
    ids=lambda document: f"{document['kind']} {document['apiVersion']}",
)
def test_kinds_that_the_client_does_not_know_stay_as_they_are(document: dict[str, Any]) -> None:
    assert decoded(document) == document


@pytest.mark.parametrize(
    "document, problem",
    [
        (
            pod({"stdin": "yes"}),
            "cannot unmarshal string into Go struct field Container.spec.containers.stdin of type bool",
        ),
        (
            pod({}, activeDeadlineSeconds=1.5),
            "number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            pod({"resources": {"limits": ["cpu"]}}),
            "array into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList",
        ),
        (pod({"resources": {"limits": {"cpu": "1 core"}}}), "quantities must match the regular expression"),
        (
            pod({"env": [{"name": "A", "value": 1}]}),
            "number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            pod({"livenessProbe": {"httpGet": {"port": 8.5}}}),
            "HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type intstr.IntOrString",
        ),
        (deployment("apps/v1", replicas=2**31), "number 2147483648 into Go struct field DeploymentSpec.spec.replicas"),
        (kind("Secret", "v1", data={"a": "%"}), "illegal base64 data at input byte 0"),
        (kind("CronJob", "batch/v1beta1", spec={"schedule": 5}), "CronJobSpec.spec.schedule of type string"),
        (
            kind("Ingress", "extensions/v1beta1", metadata={"name": 1}),
            "number into Go struct field ObjectMeta.metadata.name of type string",
        ),
        (
            kind("ClusterRole", "rbac.authorization.k8s.io/v1", rules={}),
            "object into Go struct field ClusterRole.rules of type []v1.PolicyRule",
        ),
    ],
)
def test_wrong_types(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        decoded(document)


NAMES = (
    *("metadata", "labels", "spec", "template", "containers", "initContainers", "env", "image", "resources", "limits"),
    *("data", "rules", "ports", "port", "replicas", "jobTemplate", "volumeClaimTemplates", "selector", "x"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "a", "1Gi", "YQ=="]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
KINDS = (
    *(("Pod", "v1"), ("Deployment", "apps/v1"), ("CronJob", "batch/v1beta1"), ("StatefulSet", "apps/v1")),
    *(("Secret", "v1"), ("Service", "v1"), ("ClusterRole", "rbac.authorization.k8s.io/v1"), ("Widget", "ex.io/v1")),
)


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
def test_what_was_read_is_read_as_the_same(which: tuple[str, str], fields: dict[str, Any]) -> None:
    try:
        read = decoded({**fields, "kind": which[0], "apiVersion": which[1]})
    except ValueError:
        return
    assert decoded(read) == read
    assert set(read) <= set(with_empty_parts(read))


def test_parts_that_could_be_there() -> None:
    filled = with_empty_parts(deployment("apps/v1", template={"spec": {"containers": [{"name": "c"}]}}))
    spec = filled["spec"]["template"]["spec"]
    assert (spec["initContainers"], spec["nodeSelector"], spec["containers"][0]["env"]) == ([], {}, [])
    assert "affinity" not in spec
    assert with_empty_parts(kind("Widget", "ex.io/v1")) == kind("Widget", "ex.io/v1")
