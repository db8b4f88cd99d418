"""The rig's cluster: images built beside it run in it, its parts stop and start, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.cluster import KubernetesCluster
from tools.processes import command_line, parents
from tools.rig import cluster as rig_cluster
from tools.rig import images, kube_machine
from tools.rig.daemon import ROOT

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(240)]

_SERVE = "echo {text} > /tmp/index.html && exec httpd -f -p 80 -h /tmp"


def _pod(image: str, *command: str) -> str:
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command)}
    meta = {"name": "it", "labels": {"app": "it"}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def _run(cluster: KubernetesCluster, pod: str) -> tuple[str, str]:
    """Create a pod in a namespace of its own; return the namespace and the pod's address once it is ready."""
    namespace = cluster.namespace()
    cluster.kubectl("apply", f"--namespace={namespace}", "--filename=-", data=pod)
    cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "pod/it", "--timeout=90s")
    return namespace, str(cluster.get("pod/it", f"--namespace={namespace}")["status"]["podIP"])


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def _rig(command: str) -> str:
    """Return what ``python -m tools.rig cluster COMMAND`` prints."""
    words = [sys.executable, "-m", "tools.rig", "cluster", command]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _fetched(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        text: str = answer.read().decode()
    return text.strip()


def test_an_image_built_beside_the_cluster_runs_in_it_and_its_pod_answers(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    if not cluster.shares_docker:
        pytest.skip("the named cluster has images of its own")
    (tmp_path / "Dockerfile").write_text(f"FROM {images.BASE}\nRUN echo built > /note\n")
    _docker("build", "--quiet", "--tag", "ipytilt-rig:built", str(tmp_path))
    command = ["sh", "-c", "cp /note /tmp/index.html && exec httpd -f -p 80 -h /tmp"]
    _, address = _run(cluster, _pod("ipytilt-rig:built", *command))
    assert eventually(lambda: _fetched(f"http://{address}/")) == "built"


def test_commands_logs_and_forwards_reach_a_pod(cluster: KubernetesCluster) -> None:
    namespace, _ = _run(cluster, _pod(images.BASE, "sh", "-c", f"echo up; {_SERVE.format(text='hello')}"))
    where = f"--namespace={namespace}"
    assert cluster.kubectl("exec", where, "it", "--", "whoami").strip() == "root"
    assert cluster.kubectl("logs", where, "it").strip() == "up"
    forward = ["kubectl", "port-forward", where, "pod/it", ":80", "--address=127.0.0.1"]
    with subprocess.Popen(forward, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        local = process.stdout.readline().split()[2]
        assert eventually(lambda: _fetched(f"http://{local}/")) == "hello"
        process.kill()


def test_the_node_s_port_leads_to_a_service(cluster: KubernetesCluster) -> None:
    namespace, _ = _run(cluster, _pod(images.BASE, "sh", "-c", _SERVE.format(text="served")))
    cluster.kubectl("expose", f"--namespace={namespace}", "pod/it", "--port=80", "--type=NodePort")
    port = cluster.get("service/it", f"--namespace={namespace}")["spec"]["ports"][0]["nodePort"]

    def answer() -> str:
        try:
            return _fetched(f"http://{cluster.node}:{port}/")
        except OSError:
            return ""

    assert eventually(answer, timeout=30) == "served"


def test_a_registry_takes_what_docker_pushes_and_the_cluster_pulls_it(
    cluster: KubernetesCluster, registry: str
) -> None:
    image = f"{registry}/rig:pushed"
    _docker("tag", images.BASE, image)
    _docker("push", "--quiet", image)
    _docker("rmi", image)
    pod = _pod(image, "sleep", "1000").replace("IfNotPresent", "Always")
    namespace, _ = _run(cluster, pod)
    events = cluster.get("events", f"--namespace={namespace}")["items"]
    assert "Pulled" in {event["reason"] for event in events}


def test_the_api_server_stops_and_comes_back_with_what_it_knew(cluster: KubernetesCluster) -> None:
    namespace = cluster.namespace()
    cluster.stop_apiserver()
    with pytest.raises(AssertionError, match="refused"):
        cluster.get("namespace", namespace)
    cluster.start_apiserver()
    assert cluster.get("namespace", namespace)["metadata"]["name"] == namespace


@pytest.mark.timeout(500)
def test_a_lost_cluster_leaves_nothing_behind_and_one_by_hand_stays(cluster: KubernetesCluster) -> None:
    _run(cluster, _pod(images.BASE, "sleep", "1000"))
    with cluster.lost() as (folder, before):
        eventually(lambda: not _left_of(folder), timeout=120)
        assert {name: Path("/proc/sys", name).read_text() for name in before["settings"]} == before["settings"]
        logs = {
            str(where): sorted(path.name for path in where.iterdir())
            for where in kube_machine.LOG_FOLDERS
            if where.exists()
        }
        assert logs == {where: sorted(names) for where, names in before["logs"].items()}
        try:
            kubeconfig = _rig("up")
            kept = rig_cluster.running()
            assert kept is not None
            assert str(kept.kubeconfig) == kubeconfig == _rig("up")
            assert kubeconfig in _rig("env")
        finally:
            ended = _rig("down")
        assert ended == "ended"
        eventually(lambda: not _left_of(kept.folder), timeout=120)
        assert not Path(kubeconfig).exists()


def test_what_ended_by_itself_is_started_again(cluster: KubernetesCluster) -> None:
    own = cluster.of_the_rig()
    keys = f"--kubeconfig={own.folder}/keys/kube-scheduler.kubeconfig"
    scheduler = next(pid for pid in parents() if keys in command_line(pid))
    os.kill(scheduler, signal.SIGKILL)
    own.mend()
    _run(cluster, _pod(images.BASE, "sleep", "1000"))


def test_a_second_one_is_refused_and_leaves_the_first_alone(cluster: KubernetesCluster) -> None:
    if not cluster.shares_docker:
        pytest.skip("beside a named cluster there may be one of the rig")
    with pytest.raises(rig_cluster.NoClusterError, match="another cluster"):
        rig_cluster.start()
    assert cluster.get("nodes")["items"]


def _left_of(folder: Path) -> set[str]:
    """Return whatever there is that names a cluster's folder: files, mounts, processes, links, control groups."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    commands = [" ".join(command_line(pid)) for pid in parents()]
    link = Path(f"/sys/class/net/itk{folder.name.rpartition('-')[2]}")
    groups = [tree / folder.name for tree in kube_machine.trees()]
    paths = filter(Path.exists, [folder, link, *groups])
    return {*map(str, paths), *(words for words in (*mounts, *commands) if str(folder) in words)}
