"""The part of `reduce` that deals with pods: what is seen of them, and what a deploy to a cluster leaves there.

Runs on the controller thread only. A container of a pod is known by an id that is new for each replacement, so one
that comes back after a crash starts with what its image has, and everything newer is outstanding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from ipytilt.core import events as ev
from ipytilt.core import pods
from ipytilt.core.spec import CustomBuild, Kubernetes, Resource
from ipytilt.core.state import FOUND, Run, State, Track, Tracked, sources_of
from ipytilt.core.steps import Applied, Apply, Container, ObjectRef, Pod


def pods_seen(state: State, event: ev.PodsSeen) -> State:
    """The pods of a resource, as the cluster says."""
    resource, track = state.spec.resource(event.resource), state.tracks.get(event.resource)
    if resource is None or track is None or track.deploy is None:
        return state
    if not isinstance(resource.target, Kubernetes):
        return state
    changed = with_pods(state, resource, track, event.pods)
    if changed == track:
        return state
    newest = pods.newest(changed)
    ready = newest is not None and pods.is_fine(newest, resource.target)
    changed = replace(changed, was_ready=track.was_ready or ready, runtime_since=event.at)
    return replace(
        state,
        tracks={**state.tracks, track.name: changed},
        wanting=state.wanting | {track.name},
        revision=state.revision + 1,
    )


def with_pods(state: State, resource: Resource, track: Track, seen: tuple[Pod, ...]) -> Track:
    """The track with these pods, and what their containers are known to have."""
    merged: dict[str, Tracked] = {}
    for container, ref in pods.containers_of(state, resource, seen):
        known = track.containers.get(container.id)
        if known is not None:
            merged[container.id] = replace(known, container=container)
        else:
            marks = {s: state.images[s].seq for s in sources_of(state.spec, ref) if s in state.images}
            unsure = FOUND if _is_older(container, track.deploy) else ""
            merged[container.id] = Tracked(container, ref, 0, marks, unsure=unsure)
    return replace(track, pods=seen, containers=merged)


def _is_older(container: Container, deploy: Applied | None) -> bool:
    """The container ran before the deploy began: of an earlier session, as this one has not seen it."""
    if deploy is None or not deploy.at or not container.started_at:
        return False
    return container.started_at < datetime.fromtimestamp(deploy.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def forwarded(state: State, event: ev.Forwarded) -> State:
    """A forwarded port listens, or does not."""
    track = state.tracks.get(event.resource)
    if track is None or track.forwards.get(event.port) == event.problem:
        return state
    forwards = {**track.forwards, event.port: event.problem}
    return replace(state, tracks={**state.tracks, track.name: replace(track, forwards=forwards)})


def deployed(state: State, resource: Resource, track: Track, applied: Applied) -> Track:
    """After a deploy: what is in the cluster is what was applied, and pods of an older template do not count."""
    track = replace(track, deploy=applied, objects=applied.objects)
    track = with_pods(state, resource, track, pods.without_old(track.pods, applied.templates))
    made = {ref: state.images[ref].seq for ref in made_by_deploy(state, resource) if ref in state.images}
    containers = {
        name: replace(known, marks={**known.marks, **made}) if known.image in made else known
        for name, known in track.containers.items()
    }
    return replace(track, containers=containers)


def made_by_deploy(state: State, resource: Resource) -> tuple[str, ...]:
    """The images that nobody builds but the command which deploys them: it is believed to take in every change."""
    target = resource.target
    if not isinstance(target, Kubernetes) or target.custom_deploy is None:
        return ()
    builds = ((ref, state.spec.images[ref].build) for ref in resource.images if ref in state.spec.images)
    return tuple(ref for ref, build in builds if isinstance(build, CustomBuild) and build.live_update_only)


def half_deployed(track: Track, run: Run) -> Track:
    """After a deploy that failed: whatever it had to apply may be there, besides what was there before."""
    steps = [step for branch in run.branches for step in branch if isinstance(step, Apply)]
    if not steps or steps[0].resource.kind != "kubernetes":
        return track
    known: Mapping[tuple[str, str, str, str], ObjectRef] = {ref.key: ref for ref in pods.objects_of(steps[0].resource)}
    return replace(track, objects=tuple({**known, **{ref.key: ref for ref in track.objects}}.values()))
