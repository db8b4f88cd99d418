"""Every notebook, executed from a clean kernel on every engine, as a user would run all its cells."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.cluster import KubernetesCluster
from tools.notebooks import NOTEBOOKS, WRITTEN, text_of

ENGINES = [
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.compose]),
    pytest.param("sandbox"),
]


def executed(name: str, engine: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Run a copy of the notebook; source of each code cell -> what it printed and showed as text."""
    copy = shutil.copytree(NOTEBOOKS, folder / "notebooks")
    monkeypatch.setenv("IPYTILT_ENGINE", engine)
    read: Any = nbformat.read
    notebook = read(copy / name, as_version=4)
    client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(copy)}})
    client.execute()
    return {cell.source: "\n".join(map(_text, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"}


def _text(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def said(outputs: dict[str, str], source: str) -> str:
    """What the cell that starts with `source` said."""
    return next(text for cell, text in outputs.items() if cell.startswith(source))


def test_what_is_committed_is_what_the_sources_say() -> None:
    assert {p.name for p in NOTEBOOKS.glob("*.ipynb")} == set(WRITTEN)
    for name in WRITTEN:
        assert (NOTEBOOKS / name).read_text() == text_of(name), f"run python -m tools.notebooks to renew {name}"


@pytest.fixture
def docker_cleaned() -> Iterator[None]:
    """Whatever became of the notebook, its containers go: they hold its port."""
    yield
    if shutil.which("docker"):
        listed = ["docker", "ps", "-aq", "--filter", "label=com.docker.compose.project=quickstart"]
        containers = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
        subprocess.run(["docker", "rm", "-f", *containers], capture_output=True, check=False)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("docker_cleaned")
@pytest.mark.parametrize("engine", ENGINES)
def test_quickstart(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = executed("quickstart.ipynb", engine, tmp_path, monkeypatch)
    assert "Ready: web, check" in said(outputs, "%tilt wait web check")
    assert "<h1>Hello from a container</h1>" in said(outputs, "from pathlib")
    assert "<h1>Hello again, changed while running</h1>" in said(outputs, "greeting = ")
    why = said(outputs, "%tilt why web")
    assert "last update: live update, ok" in why
    assert "files: quickstart/web/greeting.txt" in why
    assert "sync('quickstart/web', '/app') puts it at /app/greeting.txt  [Cell In[2]:6]" in why
    assert "web: live update" in said(outputs, "%tilt explain quickstart/web/server.py")
    stop = said(outputs, "%tilt explain quickstart/web/requirements.txt")
    assert "web: full update" in stop
    assert "fall_back_on('quickstart/web/requirements.txt') covers it  [Cell In[2]:5]" in stop
    assert "web" in said(outputs, "%tilt status")
    assert "rendered: Hello again" in said(outputs, "%tilt logs")
    assert "<h1>Hello from a container</h1>" in said(outputs, "greeting.write_text")
    assert "Everything is down" in said(outputs, "%tilt down")


@pytest.fixture
def namespace(cluster: KubernetesCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubernetesCluster:
    """The cluster of the tests, where everything without a namespace goes into one of its own."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--output=json"))
    name = cluster.namespace()
    for context in config["contexts"]:
        context["context"]["namespace"] = name
    (tmp_path / "kubeconfig").write_text(json.dumps({**config, "current-context": cluster.context}))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return cluster


@pytest.mark.timeout(400)
@pytest.mark.kubernetes
@pytest.mark.usefixtures("namespace")
def test_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = executed("kubernetes.ipynb", "docker", tmp_path, monkeypatch)
    assert "Ready" in said(outputs, "!kubectl get nodes")
    assert "Ready: hello" in said(outputs, "%tilt wait hello")
    pod, *first = said(outputs, "from pathlib").split()
    assert first == ["says:", "Hello", "from", "a", "pod"]
    assert f"{pod} says: Hello again, changed while running" in said(outputs, "greeting = ")
    why = said(outputs, "%tilt why hello")
    assert "last update: live update, ok" in why
    assert "sync('kubernetes/web', '/app') puts it at /app/greeting.txt  [Cell In[3]:9]" in why
    assert "hello: full update" in said(outputs, "%tilt explain")
    crash = said(outputs, "try:")
    assert "It is gone." in crash
    assert f"{pod} says: Hello again, changed while running" in crash
    assert f"{pod} was replaced by hello-" in said(outputs, "before = ")
    assert "crashing, as asked" in said(outputs, "%tilt logs")
    assert "Everything is down" in said(outputs, "greeting.write_text")
