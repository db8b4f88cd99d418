"""Kubernetes resources in the language: grouping, images, `k8s_resource`, readiness, custom deploys, warnings.

The words of its errors are in `chunks/kubernetes.tilt`.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

import pytest

from ipytilt.core.spec import Kubernetes, Spec
from ipytilt.tiltfile.load import LoadError
from tests.tiltfile.cases_k8s import objects
from tests.tiltfile.evaluated import ROOT, evaluate

WIDGETS = """
apiVersion: ex.io/v1
kind: Widget
metadata: {name: w}
spec: {img: img, pair: {repo: img, tag: v1}, list: [{i: img}, {i: other}], count: 1}
"""
BARE = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bare"}}
BARE["spec"] = {"template": {"metadata": {"labels": {"app": "bare"}}, "spec": {"containers": []}}}


def spec(text: str, yaml: str = "", **world: Any) -> Spec:
    return evaluate(f"k8s_yaml('k.yaml')\n{text}" if yaml else text, {"k.yaml": yaml}, **world).spec


def failure(text: str, yaml: str = "", **world: Any) -> LoadError:
    with pytest.raises(LoadError) as caught:
        spec(text, yaml, **world)
    return caught.value


def members(found: Spec) -> dict[str, list[str]]:
    """Kind and name of the objects of each resource, in deploy order."""
    documents = {resource.name: map(json.loads, target(found, resource.name).objects) for resource in found.resources}
    return {name: [f"{d['kind']} {d['metadata']['name']}" for d in found] for name, found in documents.items()}


def target(found: Spec, name: str) -> Kubernetes:
    resource = found.resource(name)
    assert resource
    assert isinstance(resource.target, Kubernetes)
    return resource.target


# ---------------------------------------------------------------------------------------------- grouping


@pytest.mark.parametrize(
    "text, yaml, groups",
    [
        ("", "D(a,i) S(a) D(b,i) S(b)", "a: Service a, Deployment a; b: Service b, Deployment b"),
        ("", "S(a) D(a,i)", "a: Service a, Deployment a"),
        ("k8s_yaml('bare.yaml')", "C(c)", "bare: Deployment bare; uncategorized: ConfigMap c"),
        ("k8s_yaml('bare.yaml')", "S(bare)", "bare: Service bare, Deployment bare"),
        ("k8s_yaml('bare.yaml')", "J(bare)", "bare: Deployment bare, Job bare"),
        ("k8s_resource(objects=['c'], new_name='b')", "C(c) D(a,i)", "a: Deployment a; b: ConfigMap c"),
        ("k8s_resource('a', objects=['c:CONFIGMAP:default'])", "C(c) D(a,i)", "a: ConfigMap c, Deployment a"),
        (
            "k8s_custom_deploy('z', 'a', 'd', [])\nk8s_resource('z', objects=['c'])",
            "C(c) D(a,i)",
            "z: ConfigMap c; a: Deployment a",
        ),
        ("workload_to_resource_function(lambda id: id.name.upper())", "D(a,i)", "A: Deployment a"),
        ("k8s_kind('.', api_version='^ex')", "X(w)", "w: Widget w"),
        ("k8s_image_json_path('{.spec.img}', name='^W$')", "X(w)", "w: Widget w"),
        ("k8s_kind('^Service$')", "D(a,i) S(a)", "a:deployment: Deployment a; a:service: Service a"),
        ("k8s_kind('Service', api_version='^v1$')", "S(b) D(a,i)", "b: Service b; a: Deployment a"),
        ("k8s_image_json_path('{.spec.img}', namespace='other')", "X(w)", "uncategorized: Widget w"),
        ("k8s_yaml(blob('{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod}]}'))", "C(c)", None),
    ],
)
def test_grouping(text: str, yaml: str, groups: str | None) -> None:
    found = evaluate(f"k8s_yaml('k.yaml')\n{text}", {"k.yaml": objects(yaml), "bare.yaml": json.dumps(BARE)}).spec
    if groups is None:
        assert len(target(found, "uncategorized").objects) == 2
    else:
        assert "; ".join(f"{name}: {', '.join(its)}" for name, its in members(found).items()) == groups


def test_the_rest_comes_last() -> None:
    found = spec("local_resource('l', 'x', resource_deps=['uncategorized'])", objects("D(a,i) C(c)"))
    assert [resource.name for resource in found.resources] == ["a", "l", "uncategorized"]
    assert found.resources[1].resource_deps == ("uncategorized",)
    assert target(found, "uncategorized").pod_readiness == "ignore"


def test_what_a_naming_function_gets() -> None:
    text = (
        "def name(id):\n"
        "  print(type(id), id, id.name, id.kind, id.namespace, id.group, dir(id), os.getcwd())\n"
        "  return 'x'\n"
        "workload_to_resource_function(name)"
    )
    loaded = evaluate(f"k8s_yaml('k.yaml')\n{text}", {"k.yaml": objects("D(A,i)")})
    about = 'a:deployment:default:apps A Deployment default apps ["group", "kind", "name", "namespace"]'
    assert loaded.log == (f"K8sObjectID {about} {ROOT}",)


# ---------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    "text, builds",
    [
        ("k8s_kind('Widget', image_json_path='{.spec.img}')", ("img",)),
        ("k8s_kind('Widget', image_json_path=['{.spec.list[*].i}'])", ("img", "other")),
        (
            "k8s_kind('Widget', image_object={'json_path': '{.spec.pair}', 'repo_field': 'repo', 'tag_field': 'tag'})",
            ("img",),
        ),
        ("k8s_kind('Widget', image_json_path='other')", ("other",)),
        ("k8s_kind('Widget')\nk8s_kind('Widget', image_json_path='{.spec.img}')", ("img",)),
        ("k8s_image_json_path(['{.spec.img}'], kind='widget', api_version='v1$')", ("img",)),
    ],
)
def test_where_custom_kinds_keep_images(text: str, builds: tuple[str, ...]) -> None:
    found = spec(f"docker_build('img', '.')\ndocker_build('other', '.')\n{text}", WIDGETS)
    assert found.resources[0].images == builds


def test_paths_through_what_a_known_kind_might_have_but_has_not_find_nothing() -> None:
    paths = "'{.spec.template.spec.initContainers[*].image}', '{.spec.template.spec.containers[*].env[*].value}'"
    assert spec(f"k8s_image_json_path([{paths}], kind='Deployment')", objects("D(a,i)")).resources[0].images == ()
    wrong = failure("k8s_image_json_path('{.spec.template.spec.initContainer[*].image}', kind='D')", objects("D(a,i)"))
    assert "initContainer is not found" in wrong.message


def test_environment_variables_name_images_only_if_asked_to() -> None:
    pod = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"image": "x", '
    pod += '"env": [{"name": "A", "value": "img:v1"}, {"name": "B", "value": "NO REFERENCE"}]}]}}'
    assert spec("docker_build('img', '.')", pod).resources[0].images == ()
    assert spec("docker_build('img', '.', match_in_env_vars=True)", pod).resources[0].images == ("img",)


def test_images_of_several_containers_each_once() -> None:
    yaml = objects("D(a,img)").replace('[{"name": "c"', '[{"name": "b", "image": "side"}, {"name": "c"')
    text = "docker_build('img', '.')\ndocker_build('side', '.', dockerfile_contents='FROM img')"
    assert spec(text, yaml).resources[0].images == ("img", "side")


# ---------------------------------------------------------------------------------------------- k8s_resource


def test_options_add_up() -> None:
    text = (
        "k8s_resource('a', port_forwards=[port_forward(1, 2, 'n', '/p', 'h'), 3, '4', '5:6'])\n"
        "k8s_resource('a', labels='x', links='l.io')\n"
        "k8s_resource('a', new_name='b', extra_pod_selectors={'k': 'v'}, pod_readiness='ignore', auto_init=False)\n"
        "k8s_resource('b', extra_pod_selectors=[{'l': 'w', 'k': 'z'}, {}], labels=['y'], resource_deps=['l'],\n"
        "  links=[link('m.io', 'm')], discovery_strategy='selectors-only', trigger_mode=TRIGGER_MODE_MANUAL)\n"
        "k8s_resource('b', pod_readiness='', resource_deps=[], auto_init=None)\n"
        "local_resource('l', 'x')\n"
    )
    found = spec(text, objects("D(a,i)"))
    resource, wanted = found.resources[0], target(found, "b")
    assert (resource.labels, resource.resource_deps, resource.auto_init) == (("x", "y"), ("l",), False)
    assert resource.trigger_mode == "manual"
    assert [astuple(link) for link in resource.links] == [("http://l.io", ""), ("http://m.io", "m")]
    assert [astuple(forward) for forward in wanted.port_forwards] == [
        (1, 2, "h", "n", "p"),
        (3, 0, "", "", ""),
        (4, 0, "", "", ""),
        (5, 6, "", "", ""),
    ]
    assert wanted.extra_pod_selectors == ((("k", "v"),), (("k", "z"), ("l", "w")))
    assert (wanted.pod_readiness, wanted.discovery_strategy) == ("ignore", "selectors-only")


@pytest.mark.parametrize(
    "text, yaml, name, readiness",
    [
        ("", objects("D(a,i)"), "a", "wait"),
        ("", objects("J(j)"), "j", "succeeded"),
        ("", objects("J(j)").replace("Job", "CronJob"), "j", "ignore"),
        ("k8s_resource('j', pod_readiness='wait')", objects("J(j)"), "j", "wait"),
        ("k8s_kind('^Job', pod_readiness='wait')", objects("J(j)"), "j", "wait"),
        ("k8s_kind('Widget', pod_readiness='ignore')", WIDGETS, "w", "ignore"),
        ("k8s_kind('Widget', pod_readiness='')", WIDGETS, "w", "wait"),
        ("k8s_resource(objects=['c'], new_name='n')", objects("C(c)"), "n", "ignore"),
        ("k8s_resource(objects=['c'], new_name='n', extra_pod_selectors={'a': 'b'})", objects("C(c)"), "n", "wait"),
        ("k8s_resource(objects=['c'], new_name='n', pod_readiness='wait')", objects("C(c)"), "n", "wait"),
    ],
)
def test_readiness(text: str, yaml: str, name: str, readiness: str) -> None:
    assert target(spec(text, yaml), name).pod_readiness == readiness


# ---------------------------------------------------------------------------------------------- custom deploys


def test_a_custom_deploy() -> None:
    text = (
        "docker_build('img', '.')\n"
        "k8s_custom_deploy('x', 'apply', ['del', 'ete'], ['d', 'f'], live_update=[fall_back_on('d/stop'), "
        "sync('d/s', '/s')], image_selector='gcr.io/x/y:t', apply_env={'B': '1', 'A': '2'}, apply_dir='sub', "
        "image_deps=['img'])"
    )
    found = evaluate(text, {"d/.git/HEAD": ""}).spec
    resource, deploy = found.resources[0], target(found, "x").custom_deploy
    assert deploy
    assert (deploy.apply.argv, deploy.apply.dir, deploy.apply.env) == (
        ("sh", "-c", "apply"),
        f"{ROOT}/sub",
        ("A=2", "B=1"),
    )
    assert (deploy.delete.argv, deploy.delete.dir) == (("del", "ete"), ROOT)
    assert deploy.deps == (f"{ROOT}/d", f"{ROOT}/f")
    assert (deploy.image_deps, deploy.image_selector, deploy.container_selector) == (("img",), "gcr.io/x/y:t", "")
    assert [(ignore.base, ignore.patterns) for ignore in deploy.ignores] == [
        (f"{ROOT}/d/.git", ()),
        (ROOT, (f"{ROOT}/d/s", f"{ROOT}/d/stop")),
    ]
    assert resource.images == ("img", "gcr.io/x/y:t")
    carrier = found.images["gcr.io/x/y:t"]
    assert carrier.build.live_update_only  # type: ignore[union-attr]
    assert carrier.live_update
    assert carrier.watched == deploy.deps


def test_a_custom_deploy_by_container() -> None:
    text = "k8s_custom_deploy('x', 'a', 'd', ['d'], live_update=[sync('elsewhere', '/s')], container_selector='c')"
    found = evaluate(text).spec
    assert found.resources[0].images == ("k8s_custom_deploy:x",)
    assert target(found, "x").custom_deploy.container_selector == "c"  # type: ignore[union-attr]


def test_where_images_are_written_is_known() -> None:
    rules = """
k8s_kind('Widget', image_object={'json_path': '{.spec.pair}', 'repo_field': 'repo', 'tag_field': 'tag'})
k8s_image_json_path(['{.spec.img}', '{.spec.list[*].i}'], name='^w$')
k8s_kind('Other', image_json_path='{.never}')
k8s_resource('w', objects=['c'])
"""
    found = spec(rules, WIDGETS + "---\n" + objects("C(c) D(a,i)"))
    assert [json.loads(text)["kind"] for text in target(found, "w").objects] == ["ConfigMap", "Widget"]
    assert [astuple(locator) for locator in target(found, "w").image_locators] == [
        (1, "{.spec.pair}", "repo", "tag"),
        (1, "{.spec.img}", "", ""),
        (1, "{.spec.list[*].i}", "", ""),
    ]
    assert target(found, "a").image_locators == ()


# ---------------------------------------------------------------------------------------------- errors

DEPLOYMENT = objects("D(a,i)")


# ---------------------------------------------------------------------------------------------- errors and warnings


@pytest.mark.parametrize(
    "text, places",
    [
        ("k8s_yaml('k.yaml')", [f"{ROOT}/k.yaml:3", f"{ROOT}/k.yaml:9"]),
        ("k8s_yaml(read_file('k.yaml'))", [f"{ROOT}/k.yaml:3", f"{ROOT}/k.yaml:9"]),
        ("\nk8s_yaml(filter_yaml('k.yaml', kind='Config')[0])", [f"{ROOT}/Tiltfile:2"]),
    ],
)
def test_objects_know_where_they_stand(text: str, places: list[str]) -> None:
    yaml = """
# first
kind: ConfigMap
apiVersion: v1
metadata: {name: a}
---

---
kind: Service
apiVersion: v1
metadata: {name: b}
"""
    found = evaluate(text, {"k.yaml": yaml}).spec
    assert [str(origin) for one in found.resources for origin in target(found, one.name).origins] == places


def test_errors_stand_where_the_rule_is() -> None:
    assert failure("k8s_resource('a')\n\nk8s_resource('b')", DEPLOYMENT).line == 4
    assert failure("\nworkload_to_resource_function(lambda id: 1)", DEPLOYMENT).line == 3
    assert failure("\n\nlocal_resource('a', 'x')", DEPLOYMENT).line == 1


@pytest.mark.parametrize(
    "text, yaml, words",
    [
        ("docker_build('img', '.')", DEPLOYMENT, "Image not used in any Kubernetes config: img"),
        ("docker_build('imgs', '.')", objects("D(a,img)"), "Did you mean… img?"),
        ("docker_build('img', '.')", objects("C(a)"), "No Kubernetes configs with images found"),
        (
            "docker_build('img', '.')\nk8s_custom_deploy('x', 'a', 'd', [])",
            "",
            "Image not used in any Kubernetes config",
        ),
    ],
)
def test_unused_images(text: str, yaml: str, words: str) -> None:
    assert words in "\n".join(spec(text, yaml).warnings)


def test_compose_and_kubernetes_side_by_side() -> None:
    text = "docker_compose('c.yml')\nlocal_resource('l', 'x')\nk8s_yaml('k.yaml')"
    found = evaluate(text, {"c.yml": "services: {s: {image: i}}", "k.yaml": objects("D(a,i) C(c)")}).spec
    assert [(r.name, r.kind) for r in found.resources] == [
        ("a", "kubernetes"),
        ("s", "compose"),
        ("l", "local"),
        ("uncategorized", "kubernetes"),
    ]
