"""The part of `reduce` that follows a run from its start to its one finish.

Runs on the controller thread only. A finish of an unknown run changes nothing. Success moves marks forward; a failure
moves them only as far as is known to be true, so that nothing is believed to be in a container that may not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ipytilt.core import events as ev
from ipytilt.core.live import live_images, outstanding
from ipytilt.core.plan import Plan
from ipytilt.core.reduce_pods import deployed, half_deployed, made_by_deploy
from ipytilt.core.reduce_switch import start_over
from ipytilt.core.reruns import after_update_of
from ipytilt.core.spec import ComposeBuild, DockerBuild, Kubernetes, Local, Resource
from ipytilt.core.state import (
    CATCH_UP,
    FOUND,
    HISTORY,
    INITIAL_SYNC,
    RETRY,
    STALE,
    Changes,
    ImageTrack,
    Pruning,
    Record,
    Run,
    State,
    Track,
    Tracked,
    image_watch,
    sources_of,
    watches_of,
)
from ipytilt.core.steps import Applied, Apply, BuildImage, Built

OUTLIVED = "it was kept by an update that had changes for it"
RETRY_FIRST, RETRY_CAP = 1.0, 30.0
"""Seconds before the first retry after the world was away, doubling up to the cap."""


def update_started(state: State, run: Run) -> State:
    """The planner's update is under way: it takes the trigger with it, and the next plan knows."""
    track = state.tracks.get(run.resource)
    state = replace(state, runs={**state.runs, run.id: run}, next_run=max(state.next_run, run.id + 1))
    if run.lane == "down":
        leaving = {name: r for name, r in state.leaving.items() if name != run.resource}
        if track is not None and track.off_at:  # it was only switched off; from here on there is no way back
            track = start_over(state, track)
            state = replace(state, tracks={**state.tracks, track.name: track}, revision=state.revision + 1)
        return replace(state, leaving=leaving)
    if track is None:
        return state
    started = track.started or run.lane == "full"
    containers = {i: replace(t, touched=t.touched or i in run.marks) for i, t in track.containers.items()}
    rerun = track.rerun if run.lane == "live" else ()
    track = replace(
        track, asked=None, started=started, retry_at=0.0, retry_cause=None, containers=containers, rerun=rerun
    )
    return replace(state, tracks={**state.tracks, track.name: track}, revision=state.revision + 1)


def step_started(state: State, event: ev.StepStarted) -> State:
    """A run moved on."""
    run = state.runs.get(event.run)
    if run is None:
        return state
    return replace(state, runs={**state.runs, run.id: replace(run, step=event.step, title=event.title)})


def update_finished(state: State, event: ev.UpdateFinished) -> State:
    """A run ended: record it, and believe exactly what its outcome proves."""
    run = state.runs.get(event.run)
    if run is None:
        return state
    runs = {i: r for i, r in state.runs.items() if i != run.id}
    state = replace(state, runs=runs, wanting=state.wanting | {run.resource}, revision=state.revision + 1)
    track = state.tracks.get(run.resource)
    resource = state.spec.resource(run.resource)
    if track is None or resource is None or run.lane == "down":
        return state
    state = _images_built(state, run, (*event.outcome.built, *_built_elsewhere(state, resource, run, event)))
    track = replace(track, history=(_record(run, event), *track.history)[:HISTORY])
    match event.outcome:
        case ev.Ok():
            track = _succeeded(state, track, resource=resource, run=run, outcome=event.outcome)
        case ev.Failed():
            track = _failed(track, run, event.outcome, event.at)
        case ev.Stopped():
            track = _consumed(_live_blocked(track, run), run)
    track = replace(track, pending_since=_pending_since(state, resource, track, event.at))
    state = _forget_consumed(replace(state, tracks={**state.tracks, track.name: track}))
    is_update = track.history[0].result == "ok" and run.cause.flags not in ((CATCH_UP,), (INITIAL_SYNC,))
    return after_update_of(state, track.name, event.at) if is_update else state


def _record(run: Run, event: ev.UpdateFinished) -> Record:
    result: Literal["ok", "error", "stopped"]
    match event.outcome:
        case ev.Ok(user_error=error):
            result, text = ("error" if error else "ok"), error
        case ev.Failed(error=info):
            result, text = "error", info.text or info.message
        case ev.Stopped():
            result, text = "stopped", "build canceled"
    return Record(run.id, run.lane, run.cause, run.started_at, event.at, result, text, event.step_times)


def _images_built(state: State, run: Run, built: tuple[Built, ...]) -> State:
    if not built:
        return state
    images = dict(state.images)
    kept = [s.unless for branch in run.branches for s in branch if isinstance(s, BuildImage)]
    count = 0
    for one in built:
        if one.ref in images and one not in kept:
            images[one.ref] = ImageTrack(one, run.seq)
            count += isinstance(state.spec.images[one.ref].build, DockerBuild)
    return replace(state, images=images, pruning=replace(state.pruning, builds=state.pruning.builds + count))


def _built_elsewhere(state: State, resource: Resource, run: Run, event: ev.UpdateFinished) -> tuple[Built, ...]:
    """The images that a deploy brings about by itself: what Compose builds, and what the user's own command does."""
    if run.lane != "full" or not isinstance(event.outcome, ev.Ok):
        return ()
    by_command = made_by_deploy(state, resource)
    by_compose = (r for r in resource.images if isinstance(state.spec.images[r].build, ComposeBuild))
    return tuple(Built(r, r) for r in (*by_compose, *by_command))


def _consumed(track: Track, run: Run) -> Track:
    return replace(
        track,
        done=max(track.done, run.seq),
        config=0 if track.config <= run.seq else track.config,
        config_files=() if track.config <= run.seq else track.config_files,
        broken="",
    )


def _succeeded(state: State, track: Track, *, resource: Resource, run: Run, outcome: ev.Ok) -> Track:
    track = replace(_consumed(track, run), attempts=0)
    if run.lane == "live":
        unmet = dict(outcome.unmet)
        containers = _marked(track.containers, run.marks)
        return replace(
            track,
            containers={i: replace(t, unmet=unmet.get(i, ())) if i in run.marks else t for i, t in containers.items()},
        )
    track = replace(track, deployed=True, served=run.id)
    if isinstance(resource.target, Local):
        track = replace(track, serving=_deployed(run))
        ready_at_once = resource.target.serve is None
        return replace(track, was_ready=track.was_ready or ready_at_once)
    if isinstance(resource.target, Kubernetes):
        track = deployed(state, resource, track, outcome.applied[0]) if outcome.applied else track
        done = resource.deployed_is_ready or any(applied.complete for applied in outcome.applied)
        return replace(track, was_ready=track.was_ready or done, runtime_since=run.started_at)
    containers = _containers_after(state, track, resource=resource, run=run, applied=outcome.applied)
    ready = resource.deployed_is_ready or any(c.container.running for c in containers.values())
    return replace(track, containers=containers, was_ready=track.was_ready or ready, runtime_since=run.started_at)


def _deployed(run: Run) -> Resource | None:
    step = run.branches[0][-1]
    return step.resource if isinstance(step, Apply) else None


def _containers_after(
    state: State, track: Track, *, resource: Resource, run: Run, applied: tuple[Applied, ...]
) -> Mapping[str, Tracked]:
    """Containers this run made have what its images have; of those that outlived it that may not be known."""
    live = live_images(state.spec, resource)
    ref = live[0] if live else ""
    marks = {s: state.images[s].seq for s in sources_of(state.spec, ref) if s in state.images}
    after: dict[str, Tracked] = {}
    for container in (c for one in applied for c in one.containers):
        known = track.containers.get(container.id)
        if known is not None and known.image == ref and known.since_run != run.id:
            after[container.id] = _outlived(state, replace(known, container=container, trouble=""), marks)
        else:
            unsure = FOUND if any(container.id in one.kept for one in applied) else stale(state, ref)
            after[container.id] = Tracked(container, ref, 0, marks, unsure=unsure)
    return after


def stale(state: State, ref: str) -> str:
    """Why it is not known what a new container of an image holds; "" if it is known."""
    built = state.images[ref].built if ref in state.images else None
    return STALE if built is not None and built.stale else ""


def _outlived(state: State, tracked: Tracked, marks: Mapping[str, int]) -> Tracked:
    """The container runs the image that was built, made before; what changed since, a live update may have left."""
    if tracked.unsure or outstanding(state, tuple(marks), tracked.marks)[0]:
        return replace(tracked, unsure=tracked.unsure or OUTLIVED)
    return replace(tracked, marks=marks)


def _marked(containers: Mapping[str, Tracked], marks: Mapping[str, Mapping[str, int]]) -> Mapping[str, Tracked]:
    """Marks only move forward, and only for containers that are still there."""
    merged = dict(containers)
    for container_id, reached in marks.items():
        known = merged.get(container_id)
        if known is not None:
            best = {s: max(known.marks.get(s, 0), reached.get(s, 0)) for s in {*known.marks, *reached}}
            merged[container_id] = replace(known, marks=best, filled=True, unsure="", trouble="", blocked=0)
    return merged


def _failed(track: Track, run: Run, outcome: ev.Failed, at: float) -> Track:
    track = half_deployed(track, run)
    reached = {i: marks for i, marks in run.marks.items() if i in outcome.synced}
    track = replace(track, containers=_marked(track.containers, reached))
    if outcome.kind == "unavailable":
        delay = min(RETRY_CAP, RETRY_FIRST * 2**track.attempts)
        flags = tuple(dict.fromkeys((*run.cause.flags, RETRY)))
        cause = replace(run.cause, flags=flags) if run.lane == "full" else None  # a live one is worked out anew
        return replace(track, retry_at=at + delay, attempts=track.attempts + 1, retry_cause=cause)
    if run.lane == "live":
        if not outcome.container:  # the local side is at fault: the next change is worth another try
            return _consumed(_live_blocked(track, run), run)
        text = outcome.error.message
        known = track.containers.get(outcome.container)
        if outcome.kind == "broke" and run.cause.files and known is not None and not known.unsure:
            return replace(track, containers={**track.containers, known.container.id: replace(known, unsure=text)})
        containers = {i: replace(t, trouble=text) if i == outcome.container else t for i, t in track.containers.items()}
        return replace(track, containers=containers, broken=text)
    return _consumed(track, run)


def _live_blocked(track: Track, run: Run) -> Track:
    """These containers keep their old marks; they are tried again when something newer changes."""
    containers = {
        i: replace(t, blocked=run.seq) if _behind(t, run.marks.get(i)) else t for i, t in track.containers.items()
    }
    return replace(track, containers=containers)


def _behind(tracked: Tracked, marks: Mapping[str, int] | None) -> bool:
    return marks is not None and (
        not tracked.filled
        or tracked.unsure != ""
        or any(tracked.marks.get(source, 0) < seq for source, seq in marks.items())
    )


def _pending_since(state: State, resource: Resource, track: Track, at: float) -> float:
    pending = any(s > track.done for w in watches_of(resource) for s in state.changes.get(w, {}).values())
    return (track.pending_since or at) if pending or track.config or track.rerun else 0.0


def _forget_consumed(state: State) -> State:
    """Drop changes nobody can still need: older than every resource's, image's and container's mark."""
    changes: dict[str, Changes] = {}
    for watch, files in state.changes.items():
        floor = _floor(state, watch)
        changes[watch] = {p: s for p, s in files.items() if s > floor}
    return replace(state, changes={w: c for w, c in changes.items() if c})


def _floor(state: State, watch: str) -> int:
    marks: list[int] = []
    for resource in state.spec.resources:
        if watch in watches_of(resource):
            track = state.tracks[resource.name]
            marks.append(track.done)
            for tracked in track.containers.values():
                marks.extend(seq for ref, seq in tracked.marks.items() if image_watch(ref) == watch)
    marks.extend(image.seq for ref, image in state.images.items() if image_watch(ref) == watch)
    return min(marks, default=state.seq)


def planned(state: State, plan: Plan, now: float) -> State:
    """The state once a plan is being carried out: what starts has started, what waits is dated, what is idle rests."""
    for update in plan.updates:
        state = update_started(state, update.begun(now))
    if plan.prune is not None:
        state = replace(state, pruning=Pruning(at=now, running=True))
    holds = {}
    for name, hold in plan.holds.items():
        before = state.holds.get(name)
        holds[name] = replace(hold, since=before.since if before and before.reason == hold.reason else now)
    return replace(state, holds=holds, wanting=state.wanting - plan.idle)
