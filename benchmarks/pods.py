"""Saved on this machine, to visible in a pod of a real cluster; beside the same bytes sent by hand, and `kubectl cp`.

The cluster is one of the rig's, whose containers are processes of this machine.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench_app import App, Saver
from benchmarks.figures import Figure, Report
from ipytilt.core.events import Source
from ipytilt.runtime.session import Config, Session

COUNT = 100
COPIES = 10
_NAME = "ipytilt-bench"
_DOCKERFILE = 'FROM busybox\nWORKDIR /app\nCOPY . .\nCMD ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]\n'
_TILTFILE = """
allow_k8s_contexts({context!r})
k8s_yaml('app.yaml')
docker_build('bench-app', 'app', live_update=[sync('app', '/app')])
"""


def measure(report: Report, context: str) -> None:
    """Add the figures of this file."""
    with _running_pod(context) as app, Saver() as saver:
        file = {"local": str(app.sources / "file.txt"), "seen": str(app.root / "app/file.txt")}
        hand = {"pod": app.container, "path": "/app/hand.txt", "seen": str(app.root / "app/hand.txt")}
        saver.ask(mode="save", count=5, **file)
        name = "floor: the same bytes by hand into a pod, exec open"
        floor = report.add(Figure(name, saver.ask(mode="exec", count=COUNT, **hand)))
        by_kubectl = saver.ask(mode="kubectl_cp", count=COPIES, local=str(app.sources.parent / "hand.txt"), **hand)
        report.add(Figure("kubectl cp", by_kubectl, floor.name))
        saved = saver.ask(mode="save", count=COUNT, **file)
        report.add(Figure("save to visible in the pod", saved, floor.name, goal=0.025))


@contextmanager
def _running_pod(context: str) -> Iterator[App]:
    """A session with one Deployment; the app's `container` is the pod, `namespace/name`."""
    with tempfile.TemporaryDirectory(prefix="ipytilt-bench-") as name:
        folder = Path(name).resolve()
        (folder / "app").mkdir()
        (folder / "app.yaml").write_text(json.dumps(_deployment()))
        (folder / "app" / "Dockerfile").write_text(_DOCKERFILE)
        (folder / "app" / "file.txt").write_text("first\n")
        session = Session(Config("docker", str(folder)))
        try:
            source = Source("cell:1", "Cell In[1]", str(folder), _TILTFILE.format(context=context))
            session.wait_loaded(session.put(source), 120)
            state = session.wait((_NAME,), timeout=180)
            pod = next(pod for pod in state.tracks[_NAME].pods if not pod.deleting)
            run = pod.containers[0].id.rpartition("://")[2]
            yield App(session, folder / "app", pod.key, _root_of(run))
            session.down()
            session.wait_taken_down()
        finally:
            session.stop()


def _deployment() -> dict[str, object]:
    labels = {"app": _NAME}
    container = {"name": "app", "image": "bench-app", "imagePullPolicy": "IfNotPresent"}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _NAME},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _root_of(container: str) -> Path:
    """The tree of a container of the cluster's own daemon, as its first process sees it."""
    command = ["docker", "inspect", "--format", "{{.State.Pid}}", container]
    pid = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return Path(f"/proc/{pid}/root")
