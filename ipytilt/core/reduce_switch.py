"""The part of `reduce` that switches resources on and off: by the user, by a Tiltfile, by `down`.

Runs on the controller thread only. What was switched off by hand stays up for a moment, so that switching it on again
costs nothing; then `core.plan` begins to take it down, and its track starts over.
"""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core import claims
from ipytilt.core import events as ev
from ipytilt.core.spec import Resource
from ipytilt.core.state import State, Track


def enabled(state: State, event: ev.Enabled) -> State:
    """The user switched resources on or off."""
    for name in event.resources:
        resource, track = state.spec.resource(name), state.tracks.get(name)
        if resource is None or track is None or state.enabled(name) == event.on:
            state = _with_track(state, replace(track, switched=event.on)) if track else state
        elif event.on:
            state = switch_on(state, resource)
        else:
            state = _switch_off(state, resource, event.at)
    return replace(state, revision=state.revision + 1)


def down_requested(state: State, event: ev.DownRequested) -> State:
    """Everything is to be taken down; nothing starts until somebody asks for it."""
    for resource in state.spec.resources:
        state = take_down(state, resource)
    return replace(state, down=True, down_also=event.also, claims={})  # whoever is next may have it


def take_down(state: State, resource: Resource) -> State:
    """The resource is to have nothing deployed, at once: its runs are cancelled, its track starts over."""
    leaving = {**state.leaving, resource.name: resource} if is_up(state, resource) else state.leaving
    state = replace(_cancelled(state, resource.name), leaving=leaving, revision=state.revision + 1)
    return _with_track(state, start_over(state, state.tracks[resource.name]))


def switch_on(state: State, resource: Resource, *, switched: bool | None = True) -> State:
    """The resource is wanted (again): what is still up stays, anything else starts as if it were new."""
    track = state.tracks[resource.name]
    if track.off_at:
        leaving = {name: other for name, other in state.leaving.items() if name != resource.name}
        state, track = replace(state, leaving=leaving), replace(track, off_at=0.0)
    else:
        track = start_over(state, track)
    return _with_track(state, replace(track, switched=switched))


def start_over(state: State, track: Track) -> Track:
    """The track as of a new resource; what is kept is the user's choice and the history."""
    return Track(track.name, switched=track.switched, history=track.history, done=state.seq)


def _switch_off(state: State, resource: Resource, at: float) -> State:
    track = replace(state.tracks[resource.name], switched=False)
    if not is_up(state, resource):
        return take_down(_with_track(state, track), resource)
    state = replace(_cancelled(state, resource.name), leaving={**state.leaving, resource.name: resource})
    return _with_track(state, replace(track, asked=None, retry_at=0.0, retry_cause=None, rerun=(), off_at=at))


def is_up(state: State, resource: Resource) -> bool:
    """It was deployed, and is ours to take down."""
    mine = not claims.others(state.claims, resource)
    return state.tracks[resource.name].started and resource.kind != "local" and mine


def _cancelled(state: State, name: str) -> State:
    runs = {i: replace(r, cancelling=True) if r.resource == name else r for i, r in state.runs.items()}
    return replace(state, runs=runs)


def _with_track(state: State, track: Track) -> State:
    tracks = {**state.tracks, track.name: track}
    return replace(state, tracks=tracks, wanting=state.wanting | {track.name})
