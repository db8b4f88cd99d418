"""The JSON document, compared whole."""

from __future__ import annotations

import json

import pytest

from ipytilt.core.spec import Command, CustomDeploy, Kubernetes, PortForward, Resource, Spec
from ipytilt.tiltfile.load import Loaded, LoadError
from ipytilt.tiltfile.result import document, failure
from tests.tiltfile.evaluated import ROOT, evaluate

SETTINGS = {
    "ci": {"k8s_grace_period": 0.0, "timeout": 1800.0, "readiness_timeout": 300.0},
    "docker_prune": {"enabled": True, "max_age_mins": 360, "num_builds": 0, "interval_hrs": 1, "keep_recent": 2},
    "update": {
        "max_parallel_updates": 3,
        "k8s_upsert_timeout_secs": 30,
        "suppress_unused_image_warnings": [],
        "k8s_server_side_apply": "auto",
    },
    "features": {},
}
EMPTY = {
    "format": "ipytilt/tiltfile-result/1",
    "error": None,
    "resources": [],
    "enabled": [],
    "config_files": [f"{ROOT}/.tiltignore", f"{ROOT}/Tiltfile"],
    "watch_ignores": [],
    "default_registry": None,
    "settings": SETTINGS,
    "log": [],
}
PLAIN = {
    "trigger_mode": "auto",
    "auto_init": True,
    "resource_deps": [],
    "labels": [],
    "links": [],
    "images": [],
    "local": None,
    "compose": None,
    "kubernetes": None,
}


def test_an_empty_tiltfile() -> None:
    assert document(evaluate("")) == EMPTY


def test_local_resources() -> None:
    loaded = evaluate(
        "watch_settings(ignore='*.log')\nprint('hello')\ndefault_registry('r.io')\nwarn('careful')\n"
        "local_resource('a', 'make', deps=['src'], ignore=['*.o'], labels=['z', 'b'], links=link('x.io', 'x'),\n"
        "  trigger_mode=TRIGGER_MODE_MANUAL, auto_init=False)\n"
        "local_resource('s', serve_cmd=['serve', '1'], serve_env={'A': 'b'}, serve_dir='src', resource_deps=['a'],\n"
        "  readiness_probe=probe(period_secs=2, http_get=http_get_action(80, path='/ok')))\n",
        args=("a",),
    )
    unset: dict[str, object] = {"command": None, "dir": "", "env": []}
    unserved: dict[str, object] = {"serve_command": None, "serve_dir": "", "serve_env": []}
    probe = {
        "initial_delay_secs": 0,
        "timeout_secs": 0,
        "period_secs": 2,
        "success_threshold": 0,
        "failure_threshold": 0,
        "http_get": {"port": 80, "host": "", "scheme": "", "path": "/ok"},
    }
    first = {
        **PLAIN,
        "name": "a",
        "kind": "local",
        "trigger_mode": "manual",
        "auto_init": False,
        "labels": ["b", "z"],
        "links": [{"url": "http://x.io", "name": "x"}],
        "local": {
            **unserved,
            "command": ["sh", "-c", "make"],
            "dir": ROOT,
            "env": [],
            "deps": [f"{ROOT}/src"],
            "ignores": [{"base": ROOT, "patterns": ["*.o"]}],
            "allow_parallel": False,
            "readiness_probe": None,
            "stdin": None,
        },
    }
    second = {
        **PLAIN,
        "name": "s",
        "kind": "local",
        "resource_deps": ["a"],
        "local": {
            **unset,
            "serve_command": ["serve", "1"],
            "serve_dir": f"{ROOT}/src",
            "serve_env": ["A=b"],
            "deps": [],
            "ignores": [],
            "allow_parallel": True,
            "readiness_probe": probe,
            "stdin": None,
        },
    }
    assert document(loaded) == {
        **EMPTY,
        "resources": [first, second],
        "enabled": ["a"],
        "watch_ignores": [{"base": ROOT, "patterns": ["*.log"]}],
        "default_registry": {"host": "r.io", "host_from_cluster": "", "single_name": ""},
        "log": ["hello", "WARNING: careful"],
    }


def test_compose_with_images() -> None:
    loaded = evaluate(
        "docker_compose('c.yml', env_file='e')\n"
        "docker_build('img', 'web', entrypoint=[], build_args={'A': '1'}, live_update=[\n"
        "  fall_back_on('web/f'), sync('web', '/app'), run('make', trigger='web/m'), restart_container()])\n"
        "custom_build('base:1', ['b'], ['src'], env={'K': 'v'}, tag='t')\n",
        {
            "c.yml": "services: {web: {image: img, ports: ['80:80']}, own: {build: own}}",
            "e": "",
            "web/Dockerfile": "FROM base:1",
            "web/.dockerignore": "x",
        },
    )
    none = {
        "live_update": None,
        "match_in_env_vars": False,
        "entrypoint": None,
        "container_args": None,
        "match": "fuzzy",
    }
    tiltfile = {"base": f"{ROOT}/Tiltfile", "patterns": []}
    ignored = {"base": f"{ROOT}/web", "patterns": ["x"]}
    project = {
        "name": "root",
        "config_paths": [f"{ROOT}/c.yml"],
        "project_path": ROOT,
        "env_file": f"{ROOT}/e",
        "profiles": [],
    }
    base = {
        **none,
        "ref": "base:1",
        "match": "exact",
        "build": {
            "kind": "custom",
            "command": ["b"],
            "dir": ROOT,
            "deps": [f"{ROOT}/src"],
            "env": ["K=v"],
            "output_tag": "t",
            "outputs_image_ref_to": "",
            "skips_local_docker": False,
            "disable_push": False,
        },
        "depends_on": [],
        "context_ignores": [],
        "watch_ignores": [tiltfile],
    }
    web = {
        **none,
        "ref": "img",
        "build": {
            "kind": "docker",
            "context": f"{ROOT}/web",
            "dockerfile": "FROM base:1",
            "dockerfile_path": f"{ROOT}/web/Dockerfile",
            "args": ["A=1"],
            "target": "",
            "ssh": [],
            "secrets": [],
            "network": "",
            "extra_tags": [],
            "cache_from": [],
            "platform": "",
            "pull": False,
            "extra_hosts": [],
        },
        "depends_on": ["base:1"],
        "context_ignores": [tiltfile, ignored],
        "watch_ignores": [tiltfile, ignored, {"base": f"{ROOT}/web/Dockerfile", "patterns": []}],
        "live_update": {
            "base": ROOT,
            "stop_paths": ["web/f"],
            "syncs": [{"local": "web", "container": "/app"}],
            "execs": [{"command": ["sh", "-c", "make"], "triggers": ["web/m"], "echo_off": False}],
            "restart": True,
            "initial_sync": False,
        },
    }
    own = {
        **none,
        "ref": "root_own",
        "build": {"kind": "compose", "service": "own", "context": f"{ROOT}/own"},
        "depends_on": [],
        "context_ignores": [],
        "watch_ignores": [{"base": f"{ROOT}/own/Dockerfile", "patterns": []}],
    }
    links = [{"url": "http://localhost:80/", "name": ""}]
    compose = {"project": project, "service": "own"}
    first = {**PLAIN, "name": "own", "kind": "compose", "images": [own], "compose": compose}
    images = {"images": [base, web], "links": links}
    second = {**PLAIN, **images, "name": "web", "kind": "compose", "compose": {**compose, "service": "web"}}
    files = [".tiltignore", "Tiltfile", "c.yml", "e", "web/.dockerignore", "web/Dockerfile"]
    assert document(loaded) == {
        **EMPTY,
        "resources": [first, second],
        "enabled": ["own", "web"],
        "config_files": [f"{ROOT}/{name}" for name in files],
    }


def test_an_error() -> None:
    with pytest.raises(LoadError) as caught:
        evaluate("print('x')\nread_file('a')\nfail('no')", {"a": ""})
    assert failure(caught.value) == {
        **EMPTY,
        "error": {"message": "no", "file": f"{ROOT}/Tiltfile", "line": 3, "traceback": ""},
        "config_files": [f"{ROOT}/.tiltignore", f"{ROOT}/Tiltfile", f"{ROOT}/a"],
        "log": ["x"],
    }


def test_kubernetes() -> None:
    command = Command(("apply",), "/d", ("A=b",))
    target = Kubernetes(
        objects=('{"kind":"Service"}',),
        port_forwards=(PortForward(1, 2, "h", "n", "p"),),
        extra_pod_selectors=((("app", "x"),),),
        custom_deploy=CustomDeploy(command, Command(("delete",), "/d"), ("/d/x",), ("i",), image_selector="i"),
    )
    resource = Resource("k", target)
    found = document(Loaded(Spec(resources=(resource,)), (), ()))["resources"][0]
    assert found["kubernetes"] == {
        "objects": [{"kind": "Service"}],
        "port_forwards": [{"local": 1, "container": 2, "host": "h", "name": "n", "path": "p"}],
        "pod_readiness": "wait",
        "discovery_strategy": "default",
        "extra_pod_selectors": [{"app": "x"}],
        "custom_deploy": {
            "apply": ["apply"],
            "apply_dir": "/d",
            "apply_env": ["A=b"],
            "delete": ["delete"],
            "delete_dir": "/d",
            "delete_env": [],
            "deps": ["/d/x"],
            "image_deps": ["i"],
            "image_selector": "i",
            "container_selector": "",
        },
    }


def test_documents_are_json() -> None:
    loaded = evaluate("local_resource('a', 'x', readiness_probe=None)")
    assert json.loads(json.dumps(document(loaded))) == document(loaded)
