"""What happens to pods of a real cluster, as the state and the log of their resource tell it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.engines.observed import Observed, behind_a_door, forward, observed
from tests.support.cluster import KubernetesCluster
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

FOREVER = {"command": ["sh", "-c", "echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done"]}
COUNTS = {"command": ["sh", "-c", "trap 'exit 0' TERM; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"]}
SERVES = {
    "command": ["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"],
    "ports": [{"containerPort": 8080}],
    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
}


def shell(script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script]}


def counted(at: Observed) -> list[int]:
    """The numbers that COUNTS has said."""
    return [int(found.group(1)) for line in at.lines() if (found := re.fullmatch(r"line (\d+)", line))]


def test_a_deployment_comes_up_and_says_so(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        at.deploy("Deployment", {"web": FOREVER})
        assert at.reaches("ok").text == "Running"
        (pod,) = at.pods()
        (container,) = pod.containers
        assert (pod.ready, pod.restarts, pod.problem, container.running) == (True, 0, "", True)
        for text in (f"Tracking new pod rollout ({pod.name}):", "┊ Scheduled       - ", "┊ Initialized     - "):
            at.says(text)
        at.says("┊ Ready           - ")
        at.says(f"[event: pod {pod.key}] ")
        assert at.says("up") == "up"
        assert at.health == [""]


def test_a_deleted_pod_is_replaced(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        at.deploy("Deployment", {"web": FOREVER})
        at.reaches("ok")
        (first,) = at.pods()
        at.kubectl("delete", "pod", first.name, "--wait=false")
        eventually(lambda: at.pods() and {pod.uid for pod in at.pods()} != {first.uid}, timeout=60)
        eventually(lambda: len(at.pods()) == 1 and at.pods()[0].ready and at.pods()[0].uid != first.uid, timeout=60)
        assert at.status().word == "ok"
        eventually(lambda: at.lines().count("up") == 2, timeout=60)


def test_168_after_an_update_only_the_new_pods_count(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        at.deploy("Deployment", {"web": FOREVER})
        at.reaches("ok")
        (old,) = at.pods()
        at.update({"terminationGracePeriodSeconds": 0, "hostname": "new"})
        eventually(lambda: at.pods() and all(pod.uid != old.uid for pod in at.pods()), timeout=60)
        at.reaches("ok")
        assert len(at.pods()) == 1


def test_a_crash_loop_is_an_error_and_its_last_words_are_there_once(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        at.deploy("Deployment", {"web": shell("echo out of luck; echo really > /dev/termination-log; exit 3")})
        found = at.reaches("error")
        (pod,) = at.pods()
        assert found.text.startswith(f"Pod {pod.name} in error state: container web: CrashLoopBackOff, exit code 3")
        at.says(f"Container web of pod {pod.name} ended with exit code 3")
        at.says("really")
        at.says("Back-off restarting failed container")
        at.says(f"Detected container restart. Pod: {pod.name}. Container: web.")
        restarts = eventually(lambda: at.pods()[0].restarts, timeout=60)
        eventually(lambda: at.lines().count("out of luck") >= restarts, timeout=60)
        # One line of output, one of its end and one termination message for each run, however often it was looked at.
        eventually(lambda: len({at.lines().count(text) for text in ("out of luck", "really")}) == 1, timeout=60)
        assert at.lines().count("out of luck") <= at.pods()[0].restarts + 1


def test_the_last_words_before_the_session_are_fetched(cluster: KubernetesCluster) -> None:
    with observed(cluster) as before:
        before.deploy("Deployment", {"web": shell("echo out of luck; exit 3")})
        before.reaches("error")
        after = Observed(cluster, before.target.context)
        try:
            after.update({})
            after.reaches("error")
            after.says("ended with exit code 3")
            eventually(lambda: ("error", "out of luck") in [(line.level, line.text) for line in after.said()])
        finally:
            after.close()


def test_a_quota_that_refuses_pods_is_said(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        at.kubectl("create", "quota", "none", "--hard=pods=0")
        at.deploy("Deployment", {"web": FOREVER})
        line = at.says("exceeded quota: none")
        assert line.startswith(f"[event: replicaset {at.namespace}/web-")
        assert at.status().text == "Waiting for a pod"


def test_an_image_that_cannot_be_pulled_is_an_error(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        at.deploy("Deployment", {"web": {**FOREVER, "image": "127.0.0.1:1/no/such:image"}})
        found = at.reaches("error")
        assert re.search(r"container web: (ErrImagePull|ImagePullBackOff)", found.text)
        at.says("Failed to pull image")


def test_170_events_of_pods_that_cannot_be_scheduled(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        never = {"nodeSelector": {"there-is": "no-such-node"}}
        at.pod("foreign", FOREVER, **never)
        at.deploy("Deployment", {"web": FOREVER}, **never)
        line = at.says("[event: pod ")
        (pod,) = at.pods()
        assert line.startswith(f"[event: pod {pod.key}] 0/")
        at.says("┃ Not Scheduled - (Unschedulable): 0/")
        assert at.status().word == "pending"
        assert "foreign" not in "\n".join(at.lines())


def test_a_rollout_that_never_becomes_ready_is_pending_and_says_why(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        never = {"exec": {"command": ["false"]}, "periodSeconds": 1}
        at.deploy("Deployment", {"web": {**FOREVER, "readinessProbe": never}})
        at.says("Readiness probe failed")
        assert at.reaches("pending").text.endswith(": Running, not ready")
        assert not at.pods()[0].ready


def test_a_job_is_done_and_stays_so_when_its_pod_is_gone(cluster: KubernetesCluster) -> None:
    with observed(cluster, pod_readiness="succeeded") as at:
        at.deploy("Job", {"web": shell("echo done")}, restartPolicy="Never")
        assert at.reaches("ok").text == "Completed"
        assert at.says("done") == "done"
        at.kubectl("delete", "pod", at.pods()[0].name)
        assert at.reaches("ok").text == "Completed"
        assert [pod.phase for pod in at.pods()] == ["Succeeded"]


def test_a_job_that_fails_is_an_error(cluster: KubernetesCluster) -> None:
    with observed(cluster, pod_readiness="succeeded") as at:
        at.deploy("Job", {"web": shell("exit 4")}, restartPolicy="Never")
        assert "container web: Error, exit code 4" in at.reaches("error").text


def test_two_containers_and_one_before_them_speak_for_themselves(cluster: KubernetesCluster) -> None:
    with observed(cluster) as at:
        first = {"name": "first", "image": "ipytilt-base:test", "imagePullPolicy": "IfNotPresent", **shell("echo set")}
        at.deploy("Pod", {"one": FOREVER, "other": shell("echo hello; sleep 1000")}, initContainers=[first])
        at.reaches("ok")
        for line in ("[first] set", "[one] up", "[other] hello"):
            assert at.says(line) == line


def test_169_pods_are_found_by_labels_alone(cluster: KubernetesCluster) -> None:
    selector = ((("app", "web"),),)
    with observed(cluster, extra_pod_selectors=selector, discovery_strategy="selectors-only") as at:
        at.deploy("Pod", {"web": FOREVER})
        at.pod("by-hand", FOREVER)
        eventually(lambda: {found.name for found in at.pods()} == {"web", "by-hand"}, timeout=60)


def test_the_cluster_goes_and_comes_back_while_all_is_observed(cluster: KubernetesCluster, tmp_path: Path) -> None:
    ahead = forward()
    with behind_a_door(cluster, tmp_path, port_forwards=(ahead,)) as (at, door):
        at.deploy("Deployment", {"web": COUNTS})
        at.reaches("ok")
        at.says("line 5")
        door.shut()
        eventually(lambda: at.health[-1] != "", timeout=60)
        assert "does not answer" in at.health[-1]
        (old,) = at.pods()
        at.kubectl("delete", "pod", old.name, "--wait=false")
        door.open()
        eventually(lambda: at.health[-1] == "", timeout=60)
        eventually(lambda: len(at.pods()) == 1 and at.pods()[0].uid != old.uid and at.pods()[0].ready, timeout=90)
        eventually(lambda: counted(at).count(5) == 2, timeout=60)


def test_output_goes_on_without_gaps_or_repeats_when_connections_break(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    with behind_a_door(cluster, tmp_path) as (at, door):
        at.deploy("Deployment", {"web": COUNTS})
        for last in (20, 40, 60):
            eventually(lambda last=last: max(counted(at), default=0) >= last, timeout=60)  # type: ignore[misc]
            door.cut()
        eventually(lambda: max(counted(at)) >= 100, timeout=60)
        numbers = counted(at)
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_container_that_was_there_before_only_says_what_is_new(cluster: KubernetesCluster) -> None:
    with observed(cluster) as before:
        before.deploy("Deployment", {"web": COUNTS})
        eventually(lambda: max(counted(before), default=0) >= 30, timeout=60)
        after = Observed(cluster, before.target.context)
        try:
            after.update({})
            after.says("Attaching to existing pod (")
            eventually(lambda: len(counted(after)) >= 10, timeout=60)
            numbers = counted(after)
            assert numbers[0] > 10
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        finally:
            after.close()


# ---------------------------------------------------------------------------------------------- forwards


def fetched(port: int) -> str:
    """The page behind a forwarded port, or ""."""
    with socket.create_connection(("localhost", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        parts = []
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts).decode().partition("\r\n\r\n")[2].strip()


def page(port: int) -> str:
    try:
        return fetched(port)
    except OSError:
        return ""


def test_a_forwarded_port_leads_to_the_pod_and_to_the_one_after_it(cluster: KubernetesCluster) -> None:
    ahead = forward(0)
    with observed(cluster, port_forwards=(ahead,)) as at:
        at.deploy("Deployment", {"web": SERVES})
        at.reaches("ok")
        (pod,) = at.pods()
        at.says(f"Forwarding from localhost:{ahead.local} -> {pod.key}:8080")
        assert eventually(lambda: page(ahead.local), timeout=60) == pod.name
        assert at.track().forwards == {ahead.local: ""}
        at.kubectl("delete", "pod", pod.name, "--wait=false")
        eventually(lambda: page(ahead.local) not in ("", pod.name), timeout=90)
        assert page(ahead.local) == at.pods()[-1].name


def test_much_goes_through_a_forwarded_port_at_once(cluster: KubernetesCluster) -> None:
    ahead = forward()
    big = "dd if=/dev/zero of=/www/index.html bs=1M count=8 2>/dev/null"
    with observed(cluster, port_forwards=(ahead,)) as at:
        at.deploy("Deployment", {"web": {**SERVES, **shell(f"mkdir /www; {big}; exec httpd -f -p 8080 -h /www")}})
        at.reaches("ok")
        eventually(lambda: len(fetched(ahead.local)) == 8 << 20, timeout=60)


def test_a_port_that_nobody_listens_on_heals_when_somebody_does(cluster: KubernetesCluster) -> None:
    ahead = forward()
    with observed(cluster, port_forwards=(ahead,)) as at:
        serve = "mkdir /www; echo hi > /www/index.html; exec httpd -f -p 8080 -h /www"
        script = f"while ! [ -e /go ]; do sleep 0.1; done; {serve}"
        at.deploy("Deployment", {"web": shell(script)})
        at.reaches("ok")
        eventually(lambda: at.track().forwards == {ahead.local: ""}, timeout=60)
        assert page(ahead.local) == ""
        eventually(lambda: at.track().forwards[ahead.local], timeout=60)
        at.says(f"Reconnecting... Error port-forwarding web ({ahead.local} -> 8080): ")
        at.kubectl("exec", "deployment/web", "--", "touch", "/go")
        eventually(lambda: at.track().forwards == {ahead.local: ""}, timeout=60)
        assert page(ahead.local) == "hi"
        assert at.status().word == "ok"


def test_a_local_port_in_use_is_said_and_tried_again(cluster: KubernetesCluster) -> None:
    ahead = forward()
    with observed(cluster, port_forwards=(ahead,)) as at:
        with socket.create_server(("127.0.0.1", ahead.local)):
            at.deploy("Deployment", {"web": SERVES})
            at.reaches("ok")
            problem = f"cannot listen on port {ahead.local}: Address already in use"
            eventually(lambda: at.track().forwards == {ahead.local: problem}, timeout=60)
            assert at.status().word == "ok"
        eventually(lambda: at.track().forwards == {ahead.local: ""}, timeout=60)
        assert page(ahead.local) == at.pods()[0].name
