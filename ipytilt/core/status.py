"""State -> the words every view shows: update status, runtime status, what waits and why.

Pure; the one place for status words. The rules are Tilt's (first match wins), with what is plainly broken shown as
broken: a container that keeps restarting is an error, not pending.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from ipytilt.core.pods import forwards, is_fine, newest
from ipytilt.core.spec import Compose, Kubernetes, Local, Resource, TriggerMode
from ipytilt.core.state import Record, Run, State, Track, pending_files

Word: TypeAlias = Literal["none", "pending", "in_progress", "ok", "error", "not_applicable", "disabled"]


@dataclass(frozen=True, slots=True)
class Status:
    """One column: the word, a short text for people, since when (seconds of the events' clock, 0: unknown)."""

    word: Word
    text: str = ""
    since: float = 0.0


def update_status(state: State, resource: Resource) -> Status:
    """What the newest update did, or what keeps the next one."""
    if not state.enabled(resource.name):
        return Status("disabled", "Disabled")
    track = state.tracks[resource.name]
    if run := state.running(resource.name):
        return _running(run)
    if state.down and not track.started:
        return Status("none", "Taken down")
    if track.retry_at and track.last is not None and not state.engines.get(resource.kind):
        return Status("error", "Update error, tries again by itself", track.last.finished_at)
    if _wanted(state, resource, track):
        return Status("pending", "Update Pending", track.pending_since)
    if track.last is None:
        return Status("none", "Not started")
    return _finished(track.last, resource)


def runtime_status(state: State, resource: Resource, *, health: bool = True) -> Status:
    """How what was deployed is doing; without `health`, a container that runs is fine whatever its check says."""
    if not state.enabled(resource.name):
        return Status("disabled", "Disabled")
    track = state.tracks[resource.name]
    match resource.target:
        case Local(serve=None):
            return Status("not_applicable")
        case Local() as local:
            found = _server(track, probed=local.probe is not None)
        case _ if resource.deployed_is_ready and track.deployed:
            return Status("ok", "Deployed")
        case Kubernetes() as target:
            found = _pod(track, target)
        case _:
            found = _containers(track, health=health)
    if found.word == "pending" and not track.containers and track.server is None:
        word = update_status(state, resource).word
        if word == "none":
            return Status("none", "Not deployed")
    return found


def has_pending_changes(state: State, resource: Resource) -> bool:
    """Changes are known that no update has consumed, of its files or of what it runs again with."""
    track = state.tracks[resource.name]
    return bool(track.rerun or pending_files(state, resource, track))


def how(record: Record | Run, resource: Resource) -> Literal["live update", "full update", "command"]:
    """The kind of an update, in the users' words."""
    if record.lane == "live":
        return "live update"
    return "command" if isinstance(resource.target, Local) else "full update"


def is_ready(state: State, resource: Resource) -> bool:
    """As `tilt wait` sees it: the runtime is ok, or there is none and the update is ok."""
    runtime = runtime_status(state, resource).word
    return runtime == "ok" or (runtime == "not_applicable" and update_status(state, resource).word == "ok")


def is_up_to_date(state: State, resource: Resource) -> bool:
    """Nothing pending, nothing running, and the last update was fine."""
    return update_status(state, resource).word in ("ok", "not_applicable") and not state.load.stale


def is_wanted(state: State, resource: Resource) -> bool:
    """It is to run: enabled, and not one that only starts when somebody asks and nobody has."""
    return update_status(state, resource).word not in ("none", "disabled")


class Endpoint(NamedTuple):
    """Where a resource can be reached; `problem` is what keeps a forwarded port from leading there, or ""."""

    url: str
    name: str = ""
    problem: str = ""


def endpoints(state: State, resource: Resource) -> tuple[Endpoint, ...]:
    """Explicit links, and published or forwarded ports."""
    links = [Endpoint(link.url, link.name) for link in resource.links]
    if isinstance(resource.target, Compose):
        ports = dict.fromkeys(resource.target.ports)
        for tracked in state.tracks[resource.name].containers.values():
            ports.update(dict.fromkeys(tracked.container.ports))
        links = [*(Endpoint(f"http://localhost:{port}/") for port in ports), *links]
    if isinstance(resource.target, Kubernetes):
        links += _forwarded(resource, resource.target, state.tracks[resource.name])
    return tuple(dict.fromkeys(links))


def _forwarded(resource: Resource, target: Kubernetes, track: Track) -> Iterator[Endpoint]:
    leading = {order.forward.local for order in forwards(resource, track)}
    for forward in target.port_forwards:
        problem = track.forwards.get(forward.local, "") if forward.local in leading else ""
        url = f"http://{forward.host or 'localhost'}:{forward.local}/{forward.path.lstrip('/')}"
        yield Endpoint(url, forward.name, problem)


def duration_text(seconds: float) -> str:
    """`6 ms`, `1.2 s`, `12 s`, `3 m`, `2 h`, `4 d`."""
    if seconds < 0.9995:
        return f"{max(round(seconds * 1000), 0)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for size, unit in ((60, "s"), (3600, "m"), (86_400, "h")):
        if seconds < size:
            return f"{seconds // {'s': 1, 'm': 60, 'h': 3600}[unit]:.0f} {unit}"
    return f"{seconds // 86_400:.0f} d"


def _wanted(state: State, resource: Resource, track: Track) -> bool:
    if track.asked or track.retry_at or track.broken or (not track.started and resource.auto_init):
        return True
    auto = resource.trigger_mode is TriggerMode.AUTO
    return auto and (bool(track.config and track.started) or has_pending_changes(state, resource))


def _running(run: Run) -> Status:
    verb = "Stopping…" if run.cancelling else "Deleting…" if run.lane == "down" else "Updating…"
    return Status("in_progress", f"{verb} {run.title}".strip(), run.started_at)


def _finished(last: Record, resource: Resource) -> Status:
    if last.result == "error":
        return Status("error", "Update error", last.finished_at)
    if last.result == "stopped":
        return Status("error", "Update stopped", last.finished_at)
    if isinstance(resource.target, Local) and resource.target.cmd is None:
        return Status("not_applicable", "", last.finished_at)
    return Status("ok", f"Updated in {duration_text(last.took)}", last.finished_at)


def _server(track: Track, *, probed: bool) -> Status:
    server = track.server
    if server is None or server.after_run != track.served:  # the newest update's server is still to come
        return Status("pending", "Runtime Pending")
    if server.error:
        return Status("error", server.error, server.since)
    if server.exit_code is not None:
        return Status("error", f"Server exited with exit code {server.exit_code}", server.since)
    if server.ready is False or (probed and server.ready is None):
        return Status("pending", "Not ready yet", server.since)
    return Status("ok", "Runtime Ready", server.since)


def _pod(track: Track, target: Kubernetes) -> Status:
    """How the newest pod does; a container that keeps crashing is an error, also while others of it run."""
    pod, since = newest(track), track.runtime_since
    if track.deploy is None:
        return Status("pending", "Runtime Pending")
    if track.deploy.complete:
        return Status("ok", "Completed", since)
    if pod is None:
        return Status("pending", "Waiting for a pod", since)
    if is_fine(pod, target):
        return Status("ok", pod.status or "Runtime Ready", since)
    if pod.phase == "Failed" or pod.problem:
        text = f"Pod {pod.name} in error state: {pod.problem or pod.status or pod.phase}"
        return Status("error", text, since)
    not_ready = ", not ready" if pod.phase == "Running" and pod.status in ("", "Running") else ""
    return Status("pending", f"Pod {pod.name}: {pod.status or pod.phase}{not_ready}", since)


def _containers(track: Track, *, health: bool) -> Status:
    seen = [t.container for t in track.containers.values()]
    since = track.runtime_since
    if not seen:
        return Status("pending", "Runtime Pending")
    for container in seen:
        if container.state == "restarting" or container.exit_code or container.error:
            text = container.error or f"Container {container.name} exited with {container.exit_code}"
            return Status("error", text, since)
    for container in seen:
        if health and container.health == "unhealthy":
            return Status("error", f"Container {container.name} is unhealthy", since)
    if all(c.running or c.exit_code == 0 for c in seen):
        return Status("ok", "Runtime Ready", since)
    return Status("pending", f"Container is {seen[0].state}", since)
