"""From a pod as the API server writes it to a pod as the core knows it, with the words kubectl has for its state.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ipytilt.core.spec import KubeContext
from ipytilt.core.steps import Container, Pod
from ipytilt.engines.kubernetes.client import Document
from ipytilt.engines.kubernetes.names import Place

TEMPLATE_LABEL = "tilt.dev/pod-template-hash"
CRASHING = "CrashLoopBackOff"
_STUCK = frozenset(
    {
        CRASHING,
        "ErrImagePull",
        "ImagePullBackOff",
        "RunContainerError",
        "StartError",
        "Error",
        "InvalidImageName",
        "ErrImageNeverPull",
    }
)
"""Reasons for a container to wait that do not pass by themselves."""

_OVER = ("Succeeded", "Failed")
_NOTHING: Mapping[str, Any] = {}
_Kind = Literal["waiting", "running", "terminated"]


@dataclass(frozen=True, slots=True)
class Crash:
    """One run of a container that ended badly, with its termination message; `previous`: another followed it."""

    container: str
    run: str
    exit_code: int
    reason: str
    message: str
    finished_at: str
    previous: bool


def pod_of(document: Document, context: KubeContext) -> Pod:
    """The pod of that cluster."""
    metadata, status = document["metadata"], document.get("status") or _NOTHING
    containers = tuple(_containers(document, context, "containers", "containerStatuses"))
    statuses = status.get("containerStatuses") or ()
    return Pod(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        phase=status.get("phase") or "Pending",
        status=status_of(document),
        created_at=metadata.get("creationTimestamp") or "",
        ready=len(statuses) == len(containers) and all(one.get("ready") for one in statuses),
        deleting=bool(metadata.get("deletionTimestamp")),
        problem=_problem(document),
        template=(metadata.get("labels") or _NOTHING).get(TEMPLATE_LABEL, ""),
        containers=containers,
        init=tuple(_containers(document, context, "initContainers", "initContainerStatuses")),
    )


def status_of(document: Document) -> str:
    """The word in kubectl's column STATUS."""
    status = document.get("status") or _NOTHING
    word = status.get("reason") or status.get("phase") or "Pending"
    init = _init_word(document)
    word = init if init and not is_true(document, "Initialized") else _word_of_containers(document, word)
    if document["metadata"].get("deletionTimestamp") and status.get("phase") not in _OVER:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return word


def condition(document: Document, name: str) -> Document:
    """One of the pod's conditions, empty if it has none of that name."""
    conditions = (document.get("status") or _NOTHING).get("conditions") or ()
    return next((one for one in conditions if one["type"] == name), _NOTHING)


def is_true(document: Document, name: str) -> bool:
    """Whether the pod says that of itself."""
    return condition(document, name).get("status") == "True"


def crashes(document: Document) -> Iterator[Crash]:
    """The newest run that ended badly of each container, oldest first if the one before it did, too."""
    status = document.get("status") or _NOTHING
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        for previous in (True, False):
            state = (one.get("lastState" if previous else "state") or _NOTHING).get("terminated")
            if state and state.get("exitCode"):
                yield Crash(
                    container=one["name"],
                    run=state.get("containerID") or "",
                    exit_code=state["exitCode"],
                    reason=state.get("reason") or "",
                    message=(state.get("message") or "").strip(),
                    finished_at=state.get("finishedAt") or "",
                    previous=previous,
                )


def _containers(document: Document, context: KubeContext, specs: str, statuses: str) -> Iterator[Container]:
    found = {one["name"]: one for one in (document.get("status") or _NOTHING).get(statuses) or ()}
    for spec in document["spec"].get(specs) or ():
        yield _container(document, context, spec, status=found.get(spec["name"], _NOTHING))


def _container(document: Document, context: KubeContext, spec: Document, *, status: Document) -> Container:
    metadata = document["metadata"]
    name, run = spec["name"], str(status.get("containerID") or "")
    kind, state = _state(status)
    last = (status.get("lastState") or _NOTHING).get("terminated") or _NOTHING
    ended = state if kind == "terminated" else last if last.get("containerID") == run else _NOTHING
    reason = state.get("reason") or ""
    waiting = "restarting" if reason == CRASHING else "created"
    return Container(
        id=Place(context, metadata["namespace"], metadata["name"], metadata["uid"], name, run).id,
        name=f"{metadata['name']}/{name}",
        service=name,
        state={"waiting": waiting, "running": "running", "terminated": "exited"}[kind],
        image=spec.get("image") or "",
        started_at=str((state if kind == "running" else ended).get("startedAt") or "") if run else "",
        exit_code=state.get("exitCode") if kind == "terminated" else None,
        error=state.get("message") or "",
        ports=tuple(port["containerPort"] for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"),
        kind="kubernetes",
        pod=f"{metadata['namespace']}/{metadata['name']}",
        reason=reason,
        restarts=status.get("restartCount") or 0,
    )


def _state(status: Document) -> tuple[_Kind, Mapping[str, Any]]:
    state = status.get("state") or _NOTHING
    if state.get("running") is not None:
        return "running", state["running"]
    if state.get("terminated") is not None:
        return "terminated", state["terminated"]
    return "waiting", state.get("waiting") or _NOTHING


def _init_word(document: Document) -> str:
    """What is said while the containers that run first are not done: `Init:...`, or ""."""
    specs = {one["name"]: one for one in document["spec"].get("initContainers") or ()}
    statuses: Sequence[Document] = (document.get("status") or _NOTHING).get("initContainerStatuses") or ()
    for number, one in enumerate(statuses):
        kind, state = _state(one)
        stays = specs.get(one["name"], _NOTHING).get("restartPolicy") == "Always"
        if (kind == "terminated" and not state.get("exitCode")) or (stays and one.get("started")):
            continue
        if kind == "terminated":
            return f"Init:{_ended(state)}"
        if kind == "waiting" and state.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{state['reason']}"
        return f"Init:{number}/{len(specs)}"
    return ""


def _word_of_containers(document: Document, word: str) -> str:
    runs = False
    for one in reversed((document.get("status") or _NOTHING).get("containerStatuses") or ()):
        kind, state = _state(one)
        if kind == "terminated":
            word = _ended(state)
        elif kind == "waiting":
            word = state.get("reason") or word
        elif one.get("ready"):
            runs = True
    if word == "Completed" and runs:
        return "Running" if is_true(document, "Ready") else "NotReady"
    return str(word)


def _ended(state: Document) -> str:
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode')}"


def _problem(document: Document) -> str:
    """What keeps the pod from its purpose and will not pass by itself, or ""."""
    status = document.get("status") or _NOTHING
    phase = status.get("phase")
    if phase == "Succeeded" or document["metadata"].get("deletionTimestamp"):
        return ""
    restarts = document["spec"].get("restartPolicy") != "Never"
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        kind, state = _state(one)
        last = (one.get("lastState") or _NOTHING).get("terminated") or _NOTHING
        if state.get("reason") == CRASHING and last:  # its message only says when it is tried again
            return _told(one["name"], f"{CRASHING}, exit code {last.get('exitCode')}", last)
        if kind == "waiting" and state.get("reason") in _STUCK:
            return _told(one["name"], state["reason"], state)
        if kind == "terminated" and state.get("exitCode") and (phase != "Running" or not restarts):
            return _told(one["name"], f"{_ended(state)}, exit code {state['exitCode']}", state)
    if phase == "Failed":
        return ": ".join(part for part in (status.get("reason"), status.get("message")) if part) or "Failed"
    return ""


def _told(name: str, what: str, state: Document) -> str:
    said = str(state.get("message") or "").strip().partition("\n")[0]
    return f"container {name}: {what}" + (f" ({said})" if said else "")
