"""`reduce(state, event) -> state`: one small function per event, total, no I/O, no clock.

Runs on the controller thread only. An event about something unknown (a run that ended, a resource that left) changes
nothing. Whatever an event may have given work to is added to `State.wanting`; the planner takes it from there. The
loading of Tiltfiles is in `reduce_load`, the course of a run in `reduce_run`, switching in `reduce_switch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from ipytilt.core import events as ev
from ipytilt.core.live import live_images
from ipytilt.core.reduce_claims import claim_changed, take_over_requested
from ipytilt.core.reduce_load import (
    args_changed,
    cancel_load,
    config_files_changed,
    load_finished,
    load_started,
    source_put,
    source_removed,
)
from ipytilt.core.reduce_pods import forwarded, pods_seen
from ipytilt.core.reduce_run import stale, step_started, update_finished
from ipytilt.core.reduce_switch import down_requested, enabled
from ipytilt.core.reruns import rerun_set
from ipytilt.core.spec import Resource
from ipytilt.core.state import (
    CONFIG_WATCH,
    HANDLED,
    TILTFILE,
    Asked,
    Server,
    State,
    Track,
    Tracked,
    sources_of,
    watchers,
)
from ipytilt.core.steps import Container


def reduce(state: State, event: ev.Event) -> State:  # noqa: C901, PLR0912 - one line per kind of event
    """The state after the event. Never raises for any event in any state."""
    state = replace(state, now=max(state.now, event.at))
    match event:
        case ev.SourcePut():
            return source_put(state, event)
        case ev.SourceRemoved():
            return source_removed(state, event)
        case ev.ArgsChanged():
            return args_changed(state, event)
        case ev.LoadStarted():
            return load_started(state, event)
        case ev.LoadFinished():
            return load_finished(state, event)
        case ev.FilesChanged():
            return _files_changed(state, event)
        case ev.WatchTroubled():
            return _watch_troubled(state, event)
        case ev.Triggered():
            return _triggered(state, event)
        case ev.CancelRequested():
            return _cancel_requested(state, event)
        case ev.Enabled():
            return enabled(state, event)
        case ev.RerunSet():
            return rerun_set(state, event)
        case ev.DownRequested():
            return down_requested(state, event)
        case ev.PacesSet():
            return replace(state, paces=event.paces, revision=state.revision + 1)
        case ev.PruneRequested() | ev.PruneFinished():
            return _pruning(state, event)
        case ev.StepStarted():
            return step_started(state, event)
        case ev.UpdateFinished():
            return update_finished(state, event)
        case ev.RuntimeSeen():
            return _runtime_seen(state, event)
        case ev.PodsSeen():
            return pods_seen(state, event)
        case ev.ClusterChanged():
            return replace(state, cluster=event.cluster)
        case ev.Forwarded():
            return forwarded(state, event)
        case ev.ServerChanged():
            return _server_changed(state, event)
        case ev.Probed():
            return _probed(state, event)
        case ev.EngineChanged():
            return _engine_changed(state, event)
        case ev.ClaimChanged():
            return claim_changed(state, event)
        case ev.TakeOverRequested():
            return take_over_requested(state)
        case ev.ButtonChanged():
            return _button_changed(state, event)
        case ev.CommandHandled():
            return replace(state, handled=(*state.handled, (event.id, event.problem))[-HANDLED:])
        case _:
            assert_never(event)


def with_track(state: State, track: Track, *, wants: bool = True) -> State:
    """The state with this track in place of the one of the same name."""
    wanting = state.wanting | {track.name} if wants else state.wanting
    return replace(state, tracks={**state.tracks, track.name: track}, wanting=wanting)


def _files_changed(state: State, event: ev.FilesChanged) -> State:
    if event.watch == CONFIG_WATCH:
        return config_files_changed(state, event)
    seq = state.seq + 1
    known = state.changes.get(event.watch, {})
    changes = {**state.changes, event.watch: {**known, **dict.fromkeys(event.paths, seq)}}
    state = replace(state, seq=seq, changes=changes)
    for resource in watchers(state.spec, event.watch):
        track = state.tracks[resource.name]
        state = with_track(state, replace(track, pending_since=track.pending_since or event.at))
    return state


def _pruning(state: State, event: ev.PruneRequested | ev.PruneFinished) -> State:
    if isinstance(event, ev.PruneRequested):
        return replace(state, pruning=replace(state.pruning, asked=True))
    return replace(state, pruning=replace(state.pruning, running=False, text=event.text))


def _button_changed(state: State, event: ev.ButtonChanged) -> State:
    presses = {**state.presses, event.button: event.press}
    known = {button.name for button in state.spec.buttons}
    return replace(state, presses={name: press for name, press in presses.items() if name in known})


def _watch_troubled(state: State, event: ev.WatchTroubled) -> State:
    problems = {k: v for k, v in state.watch_problems.items() if k != event.watch}
    if event.problem:
        problems[event.watch] = event.problem
    return replace(state, watch_problems=problems)


def _triggered(state: State, event: ev.Triggered) -> State:
    track = state.tracks.get(event.resource)
    if track is None or state.down or not state.enabled(event.resource):
        return state
    asked = track.asked or Asked(event.by, state.seq + 1, event.at)
    state = replace(state, seq=state.seq + 1)
    return with_track(state, replace(track, asked=asked))


def _cancel_requested(state: State, event: ev.CancelRequested) -> State:
    if event.resource == TILTFILE:
        return cancel_load(state)
    runs = dict(state.runs)
    for run in state.runs.values():
        if run.resource == event.resource and run.started_at <= event.at:
            runs[run.id] = replace(run, cancelling=True)
    track = state.tracks.get(event.resource)
    state = replace(state, runs=runs)
    if track is None:
        return state
    return with_track(state, replace(track, asked=None, retry_at=0.0, retry_cause=None, rerun=()))


def _runtime_seen(state: State, event: ev.RuntimeSeen) -> State:
    resource = state.spec.resource(event.resource)
    track = state.tracks.get(event.resource)
    if resource is None or track is None or not track.started:
        return state
    containers = merge_containers(state, resource, track, event.containers)
    if containers == track.containers:
        return state
    ready = any(c.container.running or c.container.exit_code == 0 for c in containers.values())
    track = replace(track, containers=containers, was_ready=track.was_ready or ready, runtime_since=event.at)
    return with_track(replace(state, revision=state.revision + 1), track)


def merge_containers(
    state: State, resource: Resource, track: Track, seen: Iterable[Container]
) -> Mapping[str, Tracked]:
    """What was known of these containers, with what is seen of them now; unknown ones have what was deployed."""
    live = live_images(state.spec, resource)
    ref = live[0] if live else ""
    fresh = {s: state.images[s].seq for s in sources_of(state.spec, ref) if s in state.images}
    merged: dict[str, Tracked] = {}
    for container in seen:
        known = track.containers.get(container.id)
        if known is None:
            run = state.running(resource.name, "full")
            unsure = "" if run else _stranger(state, ref, container)
            merged[container.id] = Tracked(container, ref, run.id if run else 0, fresh, unsure=unsure)
            continue
        restarted = known.container.started_at not in ("", container.started_at)
        merged[container.id] = replace(known, container=container, restarts=known.restarts + restarted)
    return merged


def _stranger(state: State, ref: str, container: Container) -> str:
    """Why it is not known what a container holds that somebody else has made; "" if it runs what was built here."""
    built = state.images[ref].built if ref in state.images else None
    if built is None or not built.digest or container.image in ("", built.digest):
        return stale(state, ref)
    return "it runs another image than the one built last"


def _server_changed(state: State, event: ev.ServerChanged) -> State:
    track = state.tracks.get(event.resource)
    if track is None or event.after_run != track.served:
        return state
    resource = state.spec.resource(event.resource)
    probed = resource is not None and getattr(resource.target, "probe", None) is not None
    running = event.exit_code is None and not event.error
    server = Server(event.after_run, event.pid, event.exit_code, event.error, None, event.at)
    track = replace(track, server=server, runtime_since=event.at)
    if running and not probed:
        track = replace(track, was_ready=True)
    return with_track(state, track)


def _probed(state: State, event: ev.Probed) -> State:
    track = state.tracks.get(event.resource)
    if track is None or track.server is None or event.after_run != track.server.after_run:
        return state
    server = replace(track.server, ready=event.ready, since=event.at)
    track = replace(track, server=server, was_ready=track.was_ready or event.ready, runtime_since=event.at)
    return with_track(state, track)


def _engine_changed(state: State, event: ev.EngineChanged) -> State:
    if state.engines.get(event.engine) == event.problem:
        return state
    state = replace(state, engines={**state.engines, event.engine: event.problem})
    if event.problem:
        return state
    for track in state.tracks.values():
        if track.retry_at:
            state = with_track(state, replace(track, retry_at=event.at))
    return replace(state, wanting=state.wanting | set(state.tracks))
