"""Live update into pods of a real cluster: the contract of files and steps, and what only pods can do."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt.core.steps import Attach, Container
from ipytilt.errors import Broke, Rejected, Unavailable
from tests.engines.contract import INSIDE, Workspace, fails
from tests.engines.docks import GNU, make_gnu_image
from tests.engines.podspace import PodEngine, PodWorkspace, pod_workspace
from tests.support.cluster import KubernetesCluster
from tests.support.waiting import eventually
from tools.rig import images

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def at(cluster: KubernetesCluster, tmp_path: Path) -> Iterator[PodWorkspace]:
    with pod_workspace(cluster, tmp_path) as found:
        yield found


@pytest.fixture
def gnu(at: PodWorkspace) -> PodWorkspace:
    make_gnu_image()
    at.base = GNU
    return at


def attached(at: PodWorkspace, where: Container) -> Container:
    at.start(Attach(where.id, where.started_at, "kubernetes"))
    at.shown(where, "true")
    return where


@pytest.mark.parametrize("check", INSIDE, ids=lambda check: check.__name__.removeprefix("check_"))
def test_contract(check: Callable[[Workspace], None], at: PodWorkspace) -> None:
    check(at)


# ---------------------------------------------------------------------------------------------- several at once


def test_several_pods_and_containers_are_updated_side_by_side(at: PodWorkspace) -> None:
    image = at.built()
    for pod in ("one", "two"):
        at.deploy(pod, {"web": {"image": image}, "side": {"image": image}})
    found = [at.container(pod, name) for pod in ("one", "two") for name in ("web", "side")]
    for where in found:
        at.start(Attach(where.id, where.started_at, "kubernetes"))
    together = threading.Barrier(len(found))
    problems: list[BaseException] = []

    def update(where: Container) -> None:
        try:
            file = at.file(f"src/{where.name}", where.name)
            together.wait(30)
            for _ in range(20):
                at.sync(where, (file, "/app/name"))
                assert at.shown(where, "cat /app/name") == where.name
        except BaseException as problem:  # noqa: BLE001 - it is the test that raises it
            problems.append(problem)

    threads = [threading.Thread(target=update, args=(where,)) for where in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert [at.beside(where, "cat", "/app/name") for where in found] == [where.name for where in found]


# ---------------------------------------------------------------------------------------------- users, file systems


def test_what_the_user_of_the_pod_may_not_write_is_named_with_the_user(at: PodWorkspace) -> None:
    at.deploy("web", {"web": {"image": at.built()}}, securityContext={"runAsUser": 1234, "runAsGroup": 1234})
    where = at.container("web", "web")
    error = fails(Rejected, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert "web/web as user 1234" in error.message
    assert "app/x" in error.message
    assert "Permission denied" in error.message
    assert "securityContext" in error.hint
    at.sync(where, (at.file("src/y", "still works"), "/tmp/y"))
    assert at.shown(where, "cat /tmp/y; stat -c %u:%g /tmp/y") == "still works1234:1234"


def test_a_read_only_root_says_so_and_a_volume_in_it_will_do(at: PodWorkspace) -> None:
    mounted = [{"name": "app", "mountPath": "/app/volume"}]
    read_only = {"image": at.built(), "securityContext": {"readOnlyRootFilesystem": True}, "volumeMounts": mounted}
    at.deploy("web", {"web": read_only}, volumes=[{"name": "app", "emptyDir": {}}])
    where = at.container("web", "web")
    error = fails(Rejected, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert "Read-only file system" in error.message
    assert "app/x" in error.message
    assert "readOnlyRootFilesystem" in error.hint
    at.sync(where, (at.file("src/x", "fits"), "/app/volume/x"))
    assert at.shown(where, "cat /app/volume/x") == "fits"


# ---------------------------------------------------------------------------------------------- no tools


def bare(at: PodWorkspace) -> Container:
    at.base = images.BARE
    return at.running("FROM BASE\n", command=None)


def test_an_image_without_a_shell_says_that_nothing_can_be_copied(at: PodWorkspace) -> None:
    where = bare(at)
    attached_to_it = at.start(Attach(where.id, where.started_at, "kubernetes"))
    error = fails(Rejected, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert "web/web has no shell" in error.message
    assert "tar" in error.message
    assert error.hint
    assert "no rm" in fails(Rejected, lambda: at.sync(where, (at.directory / "gone", "/app/x"))).message
    attached_to_it()


def test_without_a_shell_steps_still_run(at: PodWorkspace) -> None:
    where = bare(at)
    assert at.engine.exec(where, ("/sleep", "0"), at.work()) == 0
    assert at.engine.exec(where, ("/sleep", "nonsense"), at.work()) == 1
    assert any("nonsense" in line for line in at.lines())
    assert at.engine.exec(where, ("sh", "-c", "true"), at.work()) in {126, 127}


def test_a_shell_without_tar_removes_but_copies_nothing(gnu: PodWorkspace) -> None:
    where = gnu.running("FROM BASE\nWORKDIR /app\nRUN rm /bin/tar && touch /app/old\n")
    gnu.sync(where, (gnu.directory / "gone", "/app/old"))
    assert gnu.shown(where, "ls /app") == ""
    assert "tar" in fails(Rejected, lambda: gnu.sync(where, (gnu.file("src/x"), "/app/x"))).message


# ---------------------------------------------------------------------------------------------- lost sessions


def test_a_session_that_ended_is_opened_again(at: PodWorkspace) -> None:
    where = attached(at, at.running())
    at.beside(where, "kill", "-9", at.shown(where, "echo $PPID"))
    at.sync(where, (at.file("src/x", "again"), "/app/x"))
    assert at.shown(where, "cat /app/x") == "again"


def test_a_step_that_ends_its_own_session_is_not_repeated(at: PodWorkspace) -> None:
    where = at.running()
    fails(Broke, lambda: at.sh(where, "echo once >> /app/count; kill -9 $PPID; sleep 5"))
    assert at.shown(where, "cat /app/count") == "once"


def test_output_of_a_background_child_comes_later(at: PodWorkspace) -> None:
    where = attached(at, at.running())
    assert at.shown(where, "(sleep 0.5; echo from behind) &") == ""
    eventually(lambda: "from behind" in at.lines())


def test_sending_ends_with_the_program_that_should_read(at: PodWorkspace) -> None:
    where = at.running()
    assert isinstance(at.engine, PodEngine)
    running = at.engine.connect(where, "true")
    try:
        assert running.receive(60) == b""
        with pytest.raises((ConnectionError, ssl.SSLError)):
            running.send(bytes(20_000_000))
    finally:
        running.close()


def test_nothing_is_left_in_the_container(at: PodWorkspace) -> None:
    where = at.running()
    stop = at.start(Attach(where.id, where.started_at, "kubernetes"))
    at.shown(where, "true")
    assert "read -r token" in at.beside(where, "ps", "-o", "args")
    stop()
    eventually(lambda: "read -r token" not in at.beside(where, "ps", "-o", "args"), timeout=30)


# ---------------------------------------------------------------------------------------------- pods that go


def test_a_container_that_was_started_anew_is_not_taken_for_the_old_one(at: PodWorkspace) -> None:
    while_alive = ["sh", "-c", "while ! test -e /end; do sleep 0.1; done"]
    where = attached(at, at.running(command=while_alive))
    at.shown(where, "touch /end")
    eventually(lambda: at.container("web", "web").restarts == 1 and at.container("web", "web").running, timeout=60)
    error = fails(Broke, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert error.message.startswith("container web/web: ")
    assert "it was started anew" in error.message
    again = at.container("web", "web")
    assert at.shown(again, "ls /app") == ""


def test_a_pod_of_the_same_name_is_another(at: PodWorkspace) -> None:
    where = attached(at, at.running())
    at.take_down()
    again = at.running()
    error = fails(Broke, lambda: at.sync(where, (at.file("src/x"), "/app/x")))
    assert "container web/web: " in error.message
    assert "its pod was replaced" in error.message
    assert at.shown(again, "ls /app") == ""


def test_a_pod_whose_time_is_over_is_broken(at: PodWorkspace) -> None:
    image = at.built()
    at.deploy("web", {"web": {"image": image}}, restartPolicy="Never")
    where = attached(at, at.container("web", "web"))
    # What the kubelet does to a pod it evicts, for a reason that can be had at once.
    at.kubectl("patch", "pod", "web", "--patch", '{"spec": {"activeDeadlineSeconds": 1}}')
    eventually(lambda: at.pod("web").phase == "Failed", timeout=60)

    def said() -> str:
        try:
            at.sync(where, (at.file("src/x"), "/app/x"))
        except Broke as error:
            return error.message
        return ""  # the cluster says that it is over before its containers are

    eventually(lambda: said().startswith("container web/web: its pod is over (DeadlineExceeded)"), timeout=60)


def test_a_pod_deleted_during_a_sync_is_broken(gnu: PodWorkspace) -> None:
    where = attached(gnu, gnu.running())
    # A tar that does not come to an end before the container does.
    tar = gnu.file("src/tar", "#!/bin/sh\n: > /app/began\nsleep 100\n", mode=0o755)
    gnu.sync(where, (tar, "/bin/tar"))

    def delete() -> None:
        eventually(lambda: "began" in gnu.beside(where, "ls", "/app"), timeout=30)
        gnu.kubectl("delete", "pod", "web", "--wait=false")

    thread = threading.Thread(target=delete)
    thread.start()
    error = fails(Broke, lambda: gnu.sync(where, (gnu.file("src/x"), "/app/x")))
    thread.join(60)
    assert where.name in error.message


@pytest.mark.timeout(240)
def test_while_the_api_server_is_away_nothing_is_said_about_the_container(
    at: PodWorkspace, cluster: KubernetesCluster
) -> None:
    where = attached(at, at.running())
    cluster.stop_apiserver()
    error = fails(Unavailable, lambda: at.sync(where, (at.file("src/x", "x"), "/app/x")))
    assert "the cluster does not answer" in error.message
    fails(Unavailable, lambda: at.sh(where, "true"))
    cluster.start_apiserver()
    at.sync(where, (at.file("src/x", "x"), "/app/x"))
    assert at.shown(where, "cat /app/x") == "x"
