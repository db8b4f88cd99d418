"""From the API server's JSON to pods of the core: kubectl's words, problems, containers; and who belongs to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ipytilt.core.spec import KubeContext
from ipytilt.engines.kubernetes.names import place_of
from ipytilt.engines.kubernetes.pods import Crash, crashes, pod_of

CONTEXT = KubeContext("kind", "default", "/config")
Json = Mapping[str, Any]

RUNS = {"running": {"startedAt": "2026-01-01T00:00:05Z"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-01-01T00:00:05Z"}}
FAILED = {
    "terminated": {"exitCode": 3, "reason": "Error", "containerID": "c://1", "finishedAt": "f", "message": "no\n"}
}
KILLED = {"terminated": {"exitCode": 137, "signal": 9}}
CRASHES = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
INITIALIZED = ({"type": "Initialized", "status": "True"},)
READY = (*INITIALIZED, {"type": "Ready", "status": "True"})


def waits(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def status(name: str = "web", state: Json = RUNS, **fields: object) -> Json:
    return {"name": name, "state": state, "containerID": "c://1", "ready": state is RUNS, "restartCount": 0, **fields}


def pod(
    phase: str = "Running",
    *statuses: Json,
    init: tuple[Json, ...] = (),
    conditions: tuple[Json, ...] = READY,
    deleted: bool = False,
    restarts: str = "Always",
    **fields: object,
) -> Json:
    """A pod with a container per status, and one `web` without any if there is none."""
    containers = [{"name": one["name"], "image": f"{one['name']}:1"} for one in statuses] or [{"name": "web"}]
    first = [{"name": one["name"], "image": "first", **one.get("spec", {})} for one in init]
    return {
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "uid": "u1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"tilt.dev/pod-template-hash": "t1"},
            **({"deletionTimestamp": "2026-01-01T00:01:00Z"} if deleted else {}),
        },
        "spec": {"containers": containers, "initContainers": first, "restartPolicy": restarts},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": statuses,
            "initContainerStatuses": init,
            **fields,
        },
    }


@pytest.mark.parametrize(
    "document, word",
    [
        (pod("Pending"), "Pending"),
        (pod("Pending", status(state=waits("ContainerCreating"))), "ContainerCreating"),
        (pod("Running", status()), "Running"),
        (pod("Running", status(), deleted=True), "Terminating"),
        (pod("Running", status(), deleted=True, reason="NodeLost"), "Unknown"),
        (pod("Running", status(state=CRASHES)), "CrashLoopBackOff"),
        (pod("Running", status("a"), status("b", CRASHES)), "CrashLoopBackOff"),
        (pod("Running", status("a"), status("b", DONE)), "Running"),
        (pod("Running", status("a"), status("b", DONE), conditions=INITIALIZED), "NotReady"),
        (pod("Succeeded", status(state=DONE)), "Completed"),
        (pod("Succeeded", status(state=DONE), deleted=True), "Completed"),
        (pod("Failed", status(state=FAILED)), "Error"),
        (pod("Failed", status(state=KILLED)), "Signal:9"),
        (pod("Failed", status(state={"terminated": {"exitCode": 4}})), "ExitCode:4"),
        (pod("Failed", reason="Evicted", message="no memory left"), "Evicted"),
        (pod("Pending", init=(status("one", DONE), status("two")), conditions=()), "Init:1/2"),
        (pod("Pending", init=(status("one", FAILED),), conditions=()), "Init:Error"),
        (pod("Pending", init=(status("one", CRASHES),), conditions=()), "Init:CrashLoopBackOff"),
        (pod("Pending", init=(status("one", waits("PodInitializing")),), conditions=()), "Init:0/1"),
        (pod("Pending", init=(status("one", KILLED),), conditions=()), "Init:Signal:9"),
        (
            pod("Running", status(), init=(status("side", started=True, spec={"restartPolicy": "Always"}),)),
            "Running",
        ),
        (pod("Running", status(), init=(status("one", FAILED),)), "Running"),
    ],
)
def test_the_words_are_those_of_kubectl(document: Json, word: str) -> None:
    assert pod_of(document, CONTEXT).status == word


@pytest.mark.parametrize(
    "document, problem",
    [
        (pod("Pending", status(state=waits("ContainerCreating"))), ""),
        (pod("Pending", status(state=waits("ErrImagePull", "not found\nat all"))), "ErrImagePull (not found)"),
        (pod("Pending", status(state=waits("ImagePullBackOff"))), "ImagePullBackOff"),
        (pod("Pending", status(state=waits("CreateContainerConfigError"))), ""),
        (pod("Pending", init=(status("web", FAILED),)), "Error, exit code 3 (no)"),
        (pod("Pending", status(state=waits("PodInitializing")), init=(status("first", DONE),)), ""),
        (pod("Running", status(state=CRASHES, lastState=FAILED)), "CrashLoopBackOff, exit code 3 (no)"),
        (pod("Running", status(state=FAILED)), ""),
        (pod("Running", status(state=FAILED), restarts="Never"), "Error, exit code 3 (no)"),
        (pod("Running", status(state=CRASHES, lastState=FAILED), deleted=True), ""),
        (pod("Succeeded", status(state=DONE)), ""),
        (pod("Failed", status(state=KILLED)), "Signal:9, exit code 137"),
    ],
)
def test_a_problem_is_what_does_not_pass_by_itself(document: Json, problem: str) -> None:
    found = pod_of(document, CONTEXT).problem
    assert found == (problem and f"container web: {problem}")


@pytest.mark.parametrize(
    "fields, problem",
    [({"reason": "Evicted", "message": "no memory left"}, "Evicted: no memory left"), ({}, "Failed")],
)
def test_a_pod_that_failed_as_a_whole_says_why(fields: Json, problem: str) -> None:
    assert pod_of(pod("Failed", **fields), CONTEXT).problem == problem


def test_what_is_known_of_a_pod() -> None:
    found = pod_of(pod("Running", status("web"), status("side", CRASHES), init=(status("first", DONE),)), CONTEXT)
    assert (found.key, found.uid, found.phase, found.template) == ("shop/web-1", "u1", "Running", "t1")
    assert found.created_at == "2026-01-01T00:00:00Z"
    assert not found.ready
    assert [c.service for c in found.containers] == ["web", "side"]
    assert [c.service for c in found.init] == ["first"]
    assert pod_of(pod("Running", status()), CONTEXT).ready
    assert not pod_of(pod("Pending"), CONTEXT).ready


@pytest.mark.parametrize(
    "found, state, started_at, exit_code",
    [
        (status(), "running", "2026-01-01T00:00:05Z", None),
        (status(state=DONE), "exited", "2026-01-01T00:00:05Z", 0),
        (status(state=waits("ContainerCreating"), containerID=""), "created", "", None),
        (status(state=CRASHES, lastState=DONE), "restarting", "", None),
        (
            status(state=CRASHES, lastState={"terminated": {**DONE["terminated"], "containerID": "c://1"}}),
            "restarting",
            "2026-01-01T00:00:05Z",
            None,
        ),
    ],
)
def test_the_states_of_a_container(found: Json, state: str, started_at: str, exit_code: int | None) -> None:
    (container,) = pod_of(pod("Running", found), CONTEXT).containers
    assert (container.state, container.started_at, container.exit_code) == (state, started_at, exit_code)
    assert (container.service, container.image, container.pod) == ("web", "web:1", "shop/web-1")


def test_a_container_s_id_leads_back_to_it_and_is_new_for_each_run() -> None:
    one, other = (pod_of(pod("Running", status(containerID=run)), CONTEXT).containers[0] for run in ("c://1", "c://2"))
    assert one.id != other.id
    place = place_of(other.id)
    assert place.context == CONTEXT
    assert (place.namespace, place.pod, place.uid, place.container, place.run) == (
        "shop", "web-1", "u1", "web", "c://2",
    )  # fmt: skip


def test_ports_are_those_that_tcp_can_reach() -> None:
    document: dict[str, Any] = {**pod("Running", status())}
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    document["spec"] = {"containers": [{"name": "web", "ports": ports}]}
    assert pod_of(document, CONTEXT).containers[0].ports == (80,)


def test_crashes_are_runs_that_ended_badly() -> None:
    crashed = Crash("web", "c://1", 3, "Error", "no", "f", previous=True)
    assert list(crashes(pod("Running", status(state=RUNS, lastState=FAILED)))) == [crashed]
    assert [c.previous for c in crashes(pod("Running", status(state=FAILED)))] == [False]
    assert not list(crashes(pod("Succeeded", status(state=DONE, lastState=DONE))))
    assert not list(crashes(pod("Pending")))
