"""Sessions whose containers are in pods of a real cluster: live update, and pods that go while it is under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.state import Record
from tests.support.cluster import KubernetesCluster
from tests.support.kube_project import KubeProject
from tests.support.project import PATIENCE
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]


@pytest.fixture
def project(cluster: KubernetesCluster, tmp_path: Path) -> Iterator[KubeProject]:
    found = KubeProject(tmp_path, cluster)
    yield found
    found.close()


def has(project: KubeProject, path: str, text: str, *, containers: int = 1) -> None:
    """Wait until every running container has a file with that content; "" means it does not have it."""

    def found() -> bool:
        return [project.beside(c, "cat", path) for c in project.running(containers)] == [text] * containers

    eventually(found, timeout=PATIENCE)


def lanes(project: KubeProject) -> list[str]:
    """What kind the updates so far were, the oldest first."""
    history: tuple[Record, ...] = project.session.state.tracks["app"].history
    return [record.lane for record in reversed(history)]


def test_a_saved_file_goes_into_the_pod_and_says_why(project: KubeProject) -> None:
    project.up()
    first = project.container()
    project.write("app/file.txt", "second\n")
    project.ready()
    assert project.content("/app/file.txt") == "second"
    why = project.session.why("app")
    assert why.record is not None
    assert (why.record.lane, why.record.result) == ("live", "ok")
    assert [because.text for because in why.record.cause.because] == ["sync('app', '/app') puts it at /app/file.txt"]
    assert f"Will copy 1 file(s) to container: {first.name}" in project.log()

    project.write("app/hook.sh", "echo hooked; cp /app/file.txt /app/copy.txt\n")
    project.ready()
    assert project.content("/app/copy.txt") == "second"
    assert "hooked" in project.log()
    assert project.container().id == first.id
    assert set(lanes(project)[1:]) == {"live"}


def test_a_failed_step_is_shown_and_the_files_stay(project: KubeProject) -> None:
    project.up()
    project.write("app/hook.sh", "exit 9\n")
    project.until(lambda s: (last := s.tracks["app"].last) is not None and last.result == "error")
    assert "failed with exit code: 9" in project.record().error
    assert project.content("/app/hook.sh") == "exit 9"
    project.write("app/hook.sh", "true\n")
    project.ready()
    assert lanes(project) == ["full", "live", "live"]


def test_what_stops_a_live_update_makes_an_image_and_a_pod(project: KubeProject) -> None:
    project.up()
    first = project.container()
    (effect,) = project.session.explain(str(project.folder / "app/stop")).effects
    assert (effect.resource, effect.action) == ("app", "full update")
    project.write("app/stop", "needs an image\n")
    project.ready()
    assert project.record().lane == "full"
    assert any("fall_back_on" in because.text for because in project.record().cause.because)
    eventually(lambda: project.running()[0].id != first.id, timeout=PATIENCE)
    assert project.content("/app/stop") == "needs an image"


def test_a_replaced_pod_gets_everything_since_its_image(project: KubeProject) -> None:
    project.write("app/old.txt", "in the image\n")
    project.up()
    first = project.container()
    project.write("app/file.txt", "second\n")
    (project.folder / "app/old.txt").unlink()
    project.ready()
    has(project, "/app/old.txt", "")
    project.delete("pod", first.pod.partition("/")[2])
    eventually(lambda: (pods := project.pods()) and all(pod.uid not in first.id for pod in pods), timeout=PATIENCE)
    has(project, "/app/file.txt", "second")
    has(project, "/app/old.txt", "")
    project.ready()
    assert set(lanes(project)[1:]) == {"live"}


def test_a_container_that_was_started_anew_gets_everything_since_its_image(project: KubeProject) -> None:
    project.write("app/old.txt", "in the image\n")
    project.up()
    first = project.container()
    project.write("app/file.txt", "second\n")
    (project.folder / "app/old.txt").unlink()
    project.ready()
    project.beside(first, "touch", "/end")
    eventually(lambda: project.running()[0].id != first.id, timeout=PATIENCE)
    has(project, "/app/file.txt", "second")
    has(project, "/app/old.txt", "")
    assert project.container().pod == first.pod


def test_an_evicted_pod_is_replaced_and_caught_up(project: KubeProject) -> None:
    project.up()
    first = project.container()
    project.write("app/file.txt", "second\n")
    project.ready()
    name = first.pod.partition("/")[2]
    eviction = f'{{"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {{"name": "{name}"}}}}'
    path = f"/api/v1/namespaces/{project.namespace}/pods/{name}/eviction"
    project.cluster.kubectl("create", f"--raw={path}", "--filename=-", data=eviction)
    eventually(lambda: project.running()[0].pod != first.pod, timeout=PATIENCE)
    has(project, "/app/file.txt", "second")


def test_every_container_of_every_pod_is_updated(project: KubeProject) -> None:
    project.deployment(replicas=2, containers=("web", "side"))
    project.up()
    assert {c.service for c in project.running(4)} == {"web", "side"}
    project.write("app/file.txt", "second\n")
    project.write("app/hook.sh", "hostname > /app/step.txt\n")
    project.ready()
    has(project, "/app/file.txt", "second", containers=4)
    for container in project.running(4):
        assert project.beside(container, "cat", "/app/step.txt") == container.pod.partition("/")[2]
    assert set(lanes(project)[1:]) == {"live"}


def test_a_pod_deleted_while_a_step_runs_in_it_loses_nothing(project: KubeProject) -> None:
    project.up()
    first = project.container()
    project.write("app/file.txt", "second\n")
    project.write("app/hook.sh", "test -e /app/go || { touch /app/go-on; sleep 100; }\n")
    eventually(lambda: project.beside(first, "ls", "/app/go-on"), timeout=PATIENCE)
    project.delete("pod", first.pod.partition("/")[2])
    project.write("app/go", "on\n")
    has(project, "/app/file.txt", "second")
    has(project, "/app/go", "on")
    project.ready()
    assert project.container().pod != first.pod


def test_a_container_that_keeps_crashing_gets_a_new_image(project: KubeProject) -> None:
    project.write("app/run.sh", "test -e /app/good || exit 7\nwhile ! test -e /end; do sleep 0.1; done\n")
    project.write("app/Dockerfile", 'FROM busybox\nWORKDIR /app\nCOPY . .\nCMD ["sh", "/app/run.sh"]\n')
    project.load(project.tiltfile())
    project.until(lambda s: any(c.container.state == "restarting" for c in s.tracks["app"].containers.values()))
    project.write("app/good", "now\n")
    project.ready()
    assert lanes(project)[-1] == "full"
    assert project.content("/app/good") == "now"


def test_containers_of_a_deploy_of_ones_own_are_found_by_their_names(project: KubeProject) -> None:
    # The image is nothing this session builds: only the name leads to the container.
    image = {"image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "sleep 100000"]}
    project.deployment(containers=("web", "side"), image=image)
    kubectl = f"kubectl --context={project.cluster.context}"
    project.up(
        f"""
allow_k8s_contexts({project.cluster.context!r})
k8s_custom_deploy('app', '{kubectl} apply -f app.yaml -o yaml', '{kubectl} delete -f app.yaml --wait=false',
    deps=['app'], container_selector='side', live_update=[sync('app', '/app')])
"""
    )
    project.write("app/file.txt", "second\n")
    project.ready()
    found = {c.service: project.beside(c, "cat", "/app/file.txt") for c in project.running(2)}
    assert found == {"web": "", "side": "second"}


def test_initial_sync_fills_each_new_container(project: KubeProject) -> None:
    project.write("app/Dockerfile", 'FROM busybox\nWORKDIR /app\nCMD ["sh", "-c", "sleep 100000"]\n')
    project.up(project.tiltfile("[initial_sync(), sync('app', '/app')]"))
    has(project, "/app/file.txt", "first")
    first = project.container()
    project.delete("pod", first.pod.partition("/")[2])
    eventually(lambda: project.running()[0].pod != first.pod, timeout=PATIENCE)
    has(project, "/app/file.txt", "first")


def test_an_image_without_tools_is_updated_in_full(project: KubeProject) -> None:
    project.write("app/Dockerfile", "FROM ipytilt-bare:test\nCOPY . /app\n")
    project.up()
    first = project.container()
    project.write("app/file.txt", "second\n")
    eventually(lambda: project.running()[0].id != first.id, timeout=PATIENCE)
    project.ready()
    assert lanes(project) == ["full", "live", "full"]
    assert "has no shell" in project.log()


def test_what_was_saved_while_the_api_server_was_away_gets_there(project: KubeProject) -> None:
    project.up()
    first = project.container()
    project.cluster.stop_apiserver()
    project.write("app/file.txt", "saved meanwhile\n")
    project.until(lambda s: "app" in s.holds)
    project.cluster.start_apiserver()
    has(project, "/app/file.txt", "saved meanwhile")
    project.ready()
    assert project.container().id == first.id
    assert set(lanes(project)[1:]) == {"live"}
