"""The JSON document: folders of `results/` hold a Tiltfile and the document it yields, compared whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.spec import Command, CustomDeploy, ImageLocator, Kubernetes, PortForward, Resource, Spec
from ipytilt.tiltfile.load import Loaded, LoadError
from ipytilt.tiltfile.result import document, failure
from tests.tiltfile.evaluated import evaluate

FOLDER = Path(__file__).parent / "results"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_document(name: str) -> None:
    folder = FOLDER / name
    expected = json.loads((folder / "result.json").read_text())
    assert result_of(folder) == expected
    assert list(result_of(folder)) == list(expected)


def result_of(folder: Path) -> dict[str, Any]:
    """The document of a folder's Tiltfile, as if it stood in ROOT."""
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    try:
        return document(evaluate(files.pop("Tiltfile"), files))
    except LoadError as error:
        return failure(error)


def test_kubernetes() -> None:
    command = Command(("apply",), "/d", ("A=b",))
    target = Kubernetes(
        objects=('{"kind":"Service"}',),
        port_forwards=(PortForward(1, 2, "h", "n", "p"),),
        extra_pod_selectors=((("app", "x"),),),
        custom_deploy=CustomDeploy(command, Command(("delete",), "/d"), ("/d/x",), ("i",), image_selector="i"),
        image_locators=(ImageLocator(0, "{.spec}", "r", "t"),),
    )
    resource = Resource("k", target)
    found = document(Loaded(Spec(resources=(resource,)), (), ()))["resources"][0]
    assert found["kubernetes"] == {
        "objects": [{"kind": "Service"}],
        "port_forwards": [{"local": 1, "container": 2, "host": "h", "name": "n", "path": "p"}],
        "pod_readiness": "wait",
        "discovery_strategy": "default",
        "extra_pod_selectors": [{"app": "x"}],
        "image_locators": [{"object": 0, "path": "{.spec}", "repo_field": "r", "tag_field": "t"}],
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
            "ignores": [],
        },
    }
