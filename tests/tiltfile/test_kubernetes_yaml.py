"""Kubernetes YAML: the types of fields, splitting it by what it holds, secrets in it."""

from __future__ import annotations

import json

import pytest

from ipytilt.tiltfile.kube_yaml import parse
from ipytilt.tiltfile.load import LoadError
from tests.tiltfile.cases_k8s import objects
from tests.tiltfile.evaluated import ROOT, evaluate

DEPLOYMENT = objects("D(a,i)")


def problem(yaml: str) -> str:
    """What is wrong with the YAML, "" for nothing."""
    try:
        evaluate("k8s_yaml('k.yaml')", {"k.yaml": yaml})
    except LoadError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    "text, yaml, matching, rest",
    [
        ("", objects("D(a,i) C(b)"), ["a", "b"], []),
        ("kind='CONFIG'", objects("D(a,i) C(b)"), ["b"], ["a"]),
        ("name='^a$', api_version='APPS'", objects("D(a,i) D(ab,i) S(a)"), ["a"], ["ab", "a"]),
        ("namespace='default'", objects("S(a) S(b,other)"), ["a"], ["b"]),
        ("labels={'app': 'p'}", objects("P(p) P(q) C(c)"), ["p"], ["q", "c"]),
    ],
)
def test_filter_yaml(text: str, yaml: str, matching: list[str], rest: list[str]) -> None:
    code = f"print([[o['metadata']['name'] for o in decode_yaml_stream(b)] for b in filter_yaml('k.yaml', {text})])"
    assert evaluate(code, {"k.yaml": yaml}).log == (str([matching, rest]).replace("'", '"'),)


@pytest.mark.parametrize(
    "text, names",
    [
        ('{"kind": "Pod", "apiVersion": "v1",\n\t"metadata": {"name": "\\ud83d\\ude00"}}', ["\U0001f600"]),
        (
            '{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}\n{"kind": "Pod", "apiVersion": "v1"}',
            ["a", ""],
        ),
        ("{kind: Pod, apiVersion: v1, metadata: {name: a}}\n---\n{kind: Pod, apiVersion: v1}", ["a", ""]),
        ("# said before\n--- # and here\nkind: Pod\napiVersion: v1\n---\n# nothing\n---\n...\n", [""]),
        ("kind: Pod\napiVersion: v1\nmetadata: &m {labels: &l {name: b}, name: a, annotations: {<<: *l}}\n", ["a"]),
        ("kind: List\napiVersion: v1\nitems: [{kind: Pod, apiVersion: v1}, {kind: List, apiVersion: v1}]", [""]),
    ],
)
def test_texts(text: str, names: list[str]) -> None:
    assert [document.get("metadata", {}).get("name", "") for document in parse(text, "here")] == names


def test_filtered_yaml_is_normalised() -> None:
    yaml = "status: {x: 1}\nkind: Pod\napiVersion: v1\n---\n\n---\nkind: Pod\napiVersion: v1\nmetadata: {name: b}\n"
    code = "m, r = filter_yaml('k.yaml')\nprint(m, type(m), bool(r))"
    assert evaluate(code, {"k.yaml": yaml}).log == (
        *("apiVersion: v1", "kind: Pod", "", "---", "apiVersion: v1", "kind: Pod", "metadata:", "  name: b"),
        " blob False",
    )


def test_secrets_are_known() -> None:
    yaml = "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: aGlkZGVu}, stringData: {b: plain, c: ''}}"
    text = "k8s_yaml('k.yaml')"
    found = [(secret.value, secret.label) for secret in evaluate(text, {"k.yaml": yaml}).spec.secrets]
    assert found == [("hidden", "[redacted secret s:a]"), ("plain", "[redacted secret s:b]")]
    assert evaluate(f"{text}\nsecret_settings(disable_scrub=True)", {"k.yaml": yaml}).spec.secrets == ()


TEMPLATE = "spec.template.spec"
CONTAINERS = f"{TEMPLATE}.containers"


@pytest.mark.parametrize(
    "path, value, found, place, wanted",
    [
        ("metadata.labels.x", True, "bool", "ObjectMeta.metadata.labels", "string"),
        ("metadata.labels", ["x"], "array", "ObjectMeta.metadata.labels", "map[string]string"),
        ("metadata.name", 1, "number", "ObjectMeta.metadata.name", "string"),
        ("spec.replicas", "3", "string", "DeploymentSpec.spec.replicas", "int32"),
        ("spec.replicas", 1.5, "number 1.5", "DeploymentSpec.spec.replicas", "int32"),
        (f"{TEMPLATE}.hostNetwork", "yes", "string", f"PodSpec.{TEMPLATE}.hostNetwork", "bool"),
        (TEMPLATE, [], "array", f"PodTemplateSpec.{TEMPLATE}", "v1.PodSpec"),
        (CONTAINERS, {}, "object", f"PodSpec.{CONTAINERS}", "[]v1.Container"),
        (f"{CONTAINERS}.0.command", ["a", True], "bool", f"Container.{CONTAINERS}.command", "string"),
        (f"{CONTAINERS}.0.args", "a", "string", f"Container.{CONTAINERS}.args", "[]string"),
        (f"{CONTAINERS}.0.env", [{"value": True}], "bool", f"EnvVar.{CONTAINERS}.env.value", "string"),
        (
            f"{CONTAINERS}.0.ports",
            [{"containerPort": "80"}],
            "string",
            f"ContainerPort.{CONTAINERS}.ports.containerPort",
            "int32",
        ),
    ],
)
def test_fields_of_the_wrong_type(path: str, value: object, *, found: str, place: str, wanted: str) -> None:
    document = json.loads(DEPLOYMENT)
    *parents, last = path.split(".")
    parent = document
    for name in parents:
        parent = parent[int(name)] if name == "0" else parent.setdefault(name, {})
    parent[last] = value
    assert problem(json.dumps(document)) == (
        f'Error reading yaml from {ROOT}/k.yaml: decoding Deployment "{"" if last == "name" else "a"}": '
        f"json: cannot unmarshal {found} into Go struct field {place} of type {wanted}"
    )


@pytest.mark.parametrize(
    "yaml, message",
    [
        ("{kind: ConfigMap, apiVersion: v1, data: {a: yes}}", "ConfigMap.data of type string"),
        ("{kind: Secret, apiVersion: v1, data: {a: '***'}}", "illegal base64 data at input byte 0"),
        ("{kind: Service, apiVersion: v1, spec: {ports: [{port: x}]}}", "ServicePort.spec.ports.port of type int32"),
        (
            "{kind: Ingress, apiVersion: networking.k8s.io/v1, metadata: {labels: {a: on}}}",
            "ObjectMeta.metadata.labels",
        ),
        ("{kind: Widget, apiVersion: ex.io/v1, metadata: {labels: {a: on}}}", ""),
        ("{kind: Service, apiVersion: v1, spec: {ports: [{port: 1, targetPort: http}], unknown: 1}}", ""),
        ("{kind: Pod, apiVersion: v1, metadata: {name: p}, spec: {containers: [{image: i}], unknown: 1}}", ""),
        (
            "{kind: Pod, apiVersion: v1, spec: {containers: [null]}}",
            "finding images in : parsing : invalid reference format",
        ),
        (
            "{kind: Pod, apiVersion: v1, spec: {containers: [{image: i, resources: {limits: {cpu: lots}}}]}}",
            "quantities must match the regular expression",
        ),
        ("{kind: CustomResourceDefinition, apiVersion: apiextensions.k8s.io/v1, metadata: {labels: {a: on}}}", ""),
    ],
)
def test_fields_of_other_kinds(yaml: str, message: str) -> None:
    assert message in problem(yaml)
    assert bool(message) == bool(problem(yaml))


@pytest.mark.parametrize(
    "yaml, hint",
    [
        ("{kind: ConfigMap, apiVersion: v1, data: {a: yes}}", "needs quotes"),
        ("{kind: ConfigMap, apiVersion: v1, data: []}", ""),
        ("{kind: Pod, apiVersion: v1, spec: {containers: [{name: a}]}}", "every container needs an image"),
        ("{kind: Pod, apiVersion: v1, spec: {containers: [{image: A!}]}}", ""),
    ],
)
def test_what_to_try(yaml: str, hint: str) -> None:
    with pytest.raises(LoadError) as caught:
        evaluate("k8s_yaml('k.yaml')", {"k.yaml": yaml})
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)
