"""The language's cases that deploy to Kubernetes, by number; see `cases`."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.tiltfile.cases import Case


def objects(words: str) -> str:
    """Manifests from their short names, one JSON document each, in order.

    `D(n,image)` a Deployment labelled app=n, `S(n)` or `S(n,namespace)` a Service selecting app=n, `C(n)` a ConfigMap,
    `J(n)` a Job of busybox, `P(n)` a Pod labelled app=n, `X(n)` a Widget with `spec.img: img-w`.
    """
    found = re.findall(r"([DSCJPX])\(([^),]*),?([^)]*)\)", words)
    return "\n---\n".join(json.dumps(_object(kind, name, more)) for kind, name, more in found)


def _object(kind: str, name: str, more: str) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": more or "busybox"}]}
    labelled = {"name": name, "labels": {"app": name}}
    match kind:
        case "D":
            template = {"metadata": {"labels": {"app": name}}, "spec": pod}
            spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
            return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        case "S":
            about = {"name": name} | ({"namespace": more} if more else {})
            return {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"selector": {"app": name}}}
        case "C":
            return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        case "J":
            spec = {"template": {"spec": pod}}
            return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        case "P":
            return {"apiVersion": "v1", "kind": "Pod", "metadata": labelled, "spec": pod}
        case _:
            return {"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"img": "img-w"}}


ENV_POD = """apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: x, env: [{name: I, value: 'img:q'}]}]}"""

CASES = (
    Case(
        1,
        "k8s_yaml('k.yaml')\ndocker_build('img','.')",
        files={"k.yaml": objects("D(a,img) S(a) C(cfg)")},
        resources={"a": "kubernetes Service,Deployment", "uncategorized": "kubernetes ConfigMap"},
        builds={"a": ("img",)},
    ),
    Case(
        2,
        "k8s_yaml('k.yaml')",
        files={"k.yaml": objects("D(a,img)")},
        resources={"a": "kubernetes Deployment"},
        builds={"a": ()},
    ),
    Case(
        3,
        "k8s_yaml('k.yaml')\ndocker_build('img','.')",
        files={"k.yaml": objects("D(a,img:v9)")},
        builds={"a": ("img",)},
    ),
    Case(
        4,
        "k8s_yaml('k.yaml')\ndocker_build('img:v1','.')",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ()},
        warning="Image not used in any Kubernetes config",
    ),
    Case(
        5,
        "k8s_yaml('k.yaml')\ndocker_build('img:v1','.')\ndocker_build('img:v2','.')",
        files={"k.yaml": objects("D(a,img:v2) D(b,img:v1)")},
        builds={"a": ("img:v2 exact",), "b": ("img:v1 exact",)},
    ),
    Case(
        6,
        "k8s_yaml('k.yaml')\ndocker_build('img','.')\ndocker_build('img:b','.')",
        files={"k.yaml": objects("D(a,img:c)")},
        builds={"a": ()},
    ),
    Case(
        7,
        "k8s_yaml('k.yaml')\ndocker_build('docker.io/library/img','.')",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ("img",)},
    ),
    Case(
        10,
        "k8s_yaml('k.yaml')\ndocker_build('img','.')",
        files={"k.yaml": objects("C(a)")},
        warning="No Kubernetes configs with images found",
    ),
    Case(
        11,
        "k8s_yaml('k.yaml')\nupdate_settings(suppress_unused_image_warnings='*')\ndocker_build('zz','.')",
        files={"k.yaml": objects("D(a,img)")},
        no_warning=True,
    ),
    Case(
        12,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', dockerfile_contents='FROM base')\ndocker_build('base','.')",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ("base", "img")},
    ),
    Case(
        13,
        "k8s_yaml('k.yaml')\n"
        "docker_build('img','.', build_args={'B':'two'}, dockerfile_contents='ARG B=one\\nFROM ${B}')\n"
        "docker_build('one','.')\n"
        "docker_build('two','.')",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ("two", "img")},
    ),
    Case(
        14,
        "k8s_yaml('k.yaml')\n"
        "docker_build('img','.', dockerfile_contents='FROM b')\n"
        "docker_build('b','.', dockerfile_contents='FROM img')",
        files={"k.yaml": objects("D(a,img)")},
        error="Image dependency cycle",
    ),
    Case(
        19,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', match_in_env_vars=True)",
        files={"k.yaml": ENV_POD},
        builds={"p": ("img",)},
    ),
    Case(
        20,
        "k8s_yaml('k.yaml')\ncustom_build('img','make',[ '.'], image_deps=['base'])",
        files={"k.yaml": objects("D(a,img)")},
        error='image "img": image dep "base" not found',
    ),
    Case(
        23,
        "k8s_yaml('k.yaml')",
        files={"k.yaml": objects("D(x,i) J(x)")},
        resources={"x:deployment": "kubernetes Deployment", "x:job": "kubernetes Job"},
    ),
    Case(
        24,
        "k8s_yaml('k.yaml')",
        files={"k.yaml": objects("P(p) S(p)")},
        resources={"p": "kubernetes Pod", "uncategorized": "kubernetes Service"},
    ),
    Case(
        25,
        "k8s_yaml('k.yaml')",
        files={"k.yaml": objects("D(a,i) S(a,other)")},
        resources={"a": "kubernetes Deployment", "uncategorized": "kubernetes Service"},
    ),
    Case(26, "k8s_yaml('k.yaml')", files={"k.yaml": objects("X(w)")}, resources={"uncategorized": "kubernetes Widget"}),
    Case(
        27,
        "k8s_yaml('k.yaml')\nk8s_kind('widg')",
        files={"k.yaml": objects("X(w)")},
        resources={"w": "kubernetes Widget"},
    ),
    Case(
        28,
        "k8s_yaml('k.yaml')\ndocker_build('img-w','.')\nk8s_kind('Widget', image_json_path='{.spec.img}')",
        files={"k.yaml": objects("X(w)")},
        builds={"w": ("img-w",)},
    ),
    Case(
        29,
        "k8s_yaml('k.yaml')\nk8s_kind('Widget', image_json_path='{.spec.nope}')",
        files={"k.yaml": objects("X(w)")},
        error="nope is not found",
    ),
    Case(
        30,
        "k8s_yaml('k.yaml')\nk8s_kind('Widget', 'ex.io/v1')",
        files={"k.yaml": objects("X(w)")},
        error="got 2 arguments, want at most 1",
    ),
    Case(
        31,
        "k8s_image_json_path('{.a}', api_version='v1')",
        error="at least one of kind, name, or namespace must be specified",
    ),
    Case(
        32,
        "k8s_yaml('k.yaml')\nworkload_to_resource_function(lambda id: id.kind + '-' + id.name)",
        files={"k.yaml": objects("D(a,i)")},
        resources={"Deployment-a": "kubernetes Deployment"},
    ),
    Case(
        33,
        "k8s_yaml('k.yaml')\nworkload_to_resource_function(lambda id: 'same')",
        files={"k.yaml": objects("D(a,i) D(b,i)")},
        error="mapped to resource name 'same'",
    ),
    Case(
        34,
        "k8s_yaml('k.yaml')\nk8s_yaml('k.yaml')",
        files={"k.yaml": objects("C(a)")},
        error="Duplicate YAML: ConfigMap a",
    ),
    Case(
        35,
        "k8s_yaml('k.yaml')\nk8s_yaml('k.yaml', allow_duplicates=True)",
        files={"k.yaml": objects("D(a,i)")},
        resources={
            "a:deployment:default:apps:0": "kubernetes Deployment",
            "a:deployment:default:apps:1": "kubernetes Deployment",
        },
    ),
    Case(36, "k8s_yaml([])", error="Empty YAML passed to k8s_yaml"),
    Case(37, "k8s_yaml('apiVersion: v1')", error="error reading yaml file"),
    Case(38, "k8s_yaml(blob('a: b'))", error="Object 'Kind' is missing"),
    Case(
        39,
        "k8s_resource('a', port_forwards='9000:80')\nk8s_yaml('k.yaml')",
        files={"k.yaml": objects("D(a,i)")},
        resources={"a": "kubernetes Deployment"},
        forwards=("localhost:9000→80",),
    ),
    Case(
        40,
        "k8s_yaml('k.yaml')\nk8s_resource('a', port_forwards=[1, 'h.x:2:3'])\nk8s_resource('a', port_forwards=4)",
        files={"k.yaml": objects("D(a,i)")},
        forwards=("localhost:1→0", "h.x:2→3", "localhost:4→0"),
    ),
    Case(
        41,
        "k8s_yaml('k.yaml')\nk8s_resource('a', port_forwards=70000)",
        files={"k.yaml": objects("D(a,i)")},
        error="not in the valid range [0-65535]",
    ),
    Case(
        42,
        "k8s_yaml('k.yaml')\nk8s_resource('nope')",
        files={"k.yaml": objects("D(a,i)")},
        error='k8s_resource specified unknown resource "nope"',
    ),
    Case(
        43,
        "k8s_yaml('k.yaml')\nk8s_resource('a', new_name='b')\nk8s_resource('b', labels='x')",
        files={"k.yaml": objects("D(a,i)")},
        resources={"b": "kubernetes Deployment"},
    ),
    Case(
        44,
        "k8s_yaml('k.yaml')\nk8s_resource('a', new_name='b')\nk8s_resource('a', labels='x')",
        files={"k.yaml": objects("D(a,i)")},
        error='unknown resource "a"',
    ),
    Case(
        45,
        "k8s_yaml('k.yaml')\nk8s_resource('a', objects=['CFG:configmap'])",
        files={"k.yaml": objects("D(a,i) C(cfg)")},
        resources={"a": "kubernetes ConfigMap,Deployment"},
    ),
    Case(
        46,
        "k8s_yaml('k.yaml')\nk8s_resource(objects=['cfg'], new_name='conf')",
        files={"k.yaml": objects("C(cfg)")},
        resources={"conf": "kubernetes ConfigMap"},
        readiness={"conf": "ignore"},
    ),
    Case(
        47,
        "k8s_yaml('k.yaml')\nk8s_resource(objects=['cfg'])",
        files={"k.yaml": objects("C(cfg)")},
        error="Resource name missing",
    ),
    Case(
        48,
        "k8s_yaml('k.yaml')\nk8s_resource(new_name='x')",
        files={"k.yaml": objects("C(cfg)")},
        error="doesn't specify a workload or any objects",
    ),
    Case(
        49,
        "k8s_yaml('k.yaml')\nk8s_resource('a', objects=['a'])",
        files={"k.yaml": objects("D(a,i) S(a)")},
        error="is not a unique fragment",
    ),
    Case(
        50,
        "k8s_yaml('k.yaml')\nk8s_resource('a', objects=['a:service'])",
        files={"k.yaml": objects("D(a,i) S(a)")},
        error="could be found in remaining YAML",
    ),
    Case(
        51,
        "k8s_yaml('k.yaml')\nk8s_resource('a', objects=['zz'])",
        files={"k.yaml": objects("D(a,i)")},
        error='No object identified by the fragment "zz"',
    ),
    Case(
        52,
        "k8s_yaml('k.yaml')\nk8s_resource('a', resource_deps=['zz'])",
        files={"k.yaml": objects("D(a,i)")},
        warning="dependency on unknown resource zz - dependency ignored",
    ),
    Case(
        55,
        "k8s_yaml('k.yaml')\nk8s_resource('a', labels=['a b'])",
        files={"k.yaml": objects("D(a,i)")},
        error='Invalid label "a b"',
    ),
    Case(56, "k8s_yaml('k.yaml')", files={"k.yaml": objects("J(j)")}, readiness={"j": "succeeded"}),
    Case(
        57,
        "k8s_yaml('k.yaml')\nk8s_resource('a', trigger_mode=TRIGGER_MODE_MANUAL, auto_init=False)",
        files={"k.yaml": objects("D(a,i)")},
        modes={"a": "manual"},
    ),
    Case(
        60,
        "k8s_yaml('k.yaml')\nlocal_resource('a','x')",
        files={"k.yaml": objects("D(a,i)")},
        error='local_resource named "a" already exists',
    ),
    Case(
        61,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[sync('src','/app'), run('make', trigger='src/m')])",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ("img",)},
        syncs=(("src", "/app"),),
        execs=((("sh", "-c", "make"), ("src/m",)),),
    ),
    Case(
        62,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[run('x'), sync('src','/app')])",
        files={"k.yaml": objects("D(a,img)")},
        error="all sync steps must precede all run steps",
    ),
    Case(
        63,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[sync('src','/app'), fall_back_on('src/f')])",
        files={"k.yaml": objects("D(a,img)")},
        error="fall_back_on steps must appear at the start of the list",
    ),
    Case(
        64,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[sync('src','/app'), initial_sync()])",
        files={"k.yaml": objects("D(a,img)")},
        error="initial_sync must appear at most once, at the start of the list",
    ),
    Case(
        65,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[fall_back_on('src/f')])",
        files={"k.yaml": objects("D(a,img)")},
        error="must contain at least 1 sync or 1 exec",
    ),
    Case(
        66,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[sync('src','app')])",
        files={"k.yaml": objects("D(a,img)")},
        error="sync destination is not absolute",
    ),
    Case(
        67,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[sync('../x','/app')])",
        files={"k.yaml": objects("D(a,img)")},
        error="is not a child of any watched filepaths",
    ),
    Case(
        68,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=[sync('src','/app'), restart_container()])",
        files={"k.yaml": objects("D(a,img)")},
        error="`restart_container()` LiveUpdate step in resource(s): [a]",
    ),
    Case(
        70,
        "steps = [sync(p,'/x') for p in ['a','b']]\n"
        "k8s_yaml('k.yaml')\n"
        "docker_build('img','.', live_update=[steps[0]])",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ("img",)},
    ),
    Case(
        71,
        "k8s_yaml('k.yaml')\n"
        "docker_build('base','base', dockerfile_contents='FROM alpine')\n"
        "docker_build('img','app', dockerfile_contents='FROM base', live_update=[sync('base/x','/x')])",
        files={"k.yaml": objects("D(a,img)")},
        builds={"a": ("base", "img")},
    ),
    Case(
        72,
        "k8s_yaml('k.yaml')\nlive_update('img', [sync('.','/x')])",
        files={"k.yaml": objects("D(a,img)")},
        error="live_update was specified for 'img', but no built resource uses that image",
    ),
    Case(
        73,
        "k8s_yaml('k.yaml')\ndocker_build('img','.', live_update=['x'])",
        files={"k.yaml": objects("D(a,img)")},
        error="'steps' must be a list of live update steps",
    ),
    Case(
        80,
        "k8s_custom_deploy('x','ap','de',['d'])\nk8s_resource('x', port_forwards=1)",
        resources={"x": "kubernetes"},
        forwards=("localhost:1→0",),
    ),
    Case(
        81,
        "k8s_custom_deploy('x','ap','de',['d'], live_update=[sync('d','/x')])",
        error="no Live Update selector specified",
    ),
    Case(82, "k8s_custom_deploy('x','ap','de',['d'], image_deps=['img'])", error='image build "img" not found'),
    Case(
        115,
        "m, r = filter_yaml('k.yaml', name='^a$', kind='deploy')\nk8s_yaml(m)",
        files={"k.yaml": objects("D(a,i) D(ab,i)")},
        resources={"a": "kubernetes Deployment"},
    ),
)
