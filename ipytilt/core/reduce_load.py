"""The part of `reduce` that deals with the Tiltfile: its sources, its arguments, and what a load changes.

Runs on the controller thread only. A load is tried with the sources in force plus the newest one put; if it fails,
the old spec stays in force, the failed source is kept aside only for retrying when a file it read changes, and the
next cell starts again from what is good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core.diff import Verdict, changed_images, compare
from ipytilt.core.reduce_switch import is_up, switch_on, take_down
from ipytilt.core.spec import Resource, Spec
from ipytilt.core.state import ImageTrack, State, Track, image_watch, local_watch

_STOPPED_TEXT = "The evaluation of the Tiltfile was stopped"
_STOPPED = ev.ErrorInfo(_STOPPED_TEXT, text=_STOPPED_TEXT)


def source_put(state: State, event: ev.SourcePut) -> State:
    """A cell ran: evaluate what is good with this source in its place."""
    load = state.load
    base = load.wanted if load.running is not None else load.good
    put = tuple(event.source if s.key == event.source.key else s for s in base)
    if event.source not in put:
        put = (*put, event.source)
    return replace(state, load=replace(load, wanted=put, stale=True, ticket=event.ticket))


def source_removed(state: State, event: ev.SourceRemoved) -> State:
    """A source (or all, for an empty key) is no longer wanted."""
    kept = tuple(s for s in state.load.good if event.key and s.key != event.key)
    return replace(state, load=replace(state.load, wanted=kept, stale=True, ticket=event.ticket))


def args_changed(state: State, event: ev.ArgsChanged) -> State:
    """Other arguments: evaluate again, even the same text."""
    return replace(state, load=replace(state.load, args=event.args, stale=True, ticket=event.ticket))


def config_files_changed(state: State, event: ev.FilesChanged) -> State:
    """A file the Tiltfile read has changed: evaluate again what was tried last."""
    load = state.load
    if not load.wanted:
        return state
    changed = tuple(dict.fromkeys((*load.changed, *event.paths)))
    return replace(state, load=replace(load, stale=True, changed=changed))


def load_started(state: State, event: ev.LoadStarted) -> State:
    """A worker has taken the wanted sources; what is put from here on needs another load."""
    load = state.load
    load = replace(
        load,
        stale=False,
        running=event.run,
        running_sources=load.wanted,
        running_args=load.args,
        running_ticket=load.ticket,
    )
    return replace(state, load=load, next_run=max(state.next_run, event.run + 1))


def cancel_load(state: State) -> State:
    """Whoever waits for an evaluation gave up: it ends, those that wait behind it never begin, the good one stays."""
    load = state.load
    if load.running is None and not load.stale:
        return state
    load = replace(load, wanted=load.good, stale=load.stale and bool(load.changed))  # a saved file still counts
    if load.running is None:
        return replace(state, load=replace(load, finished=load.ticket, error=_STOPPED))
    return replace(state, load=replace(load, cancelling=True, running_ticket=load.ticket))


def load_finished(state: State, event: ev.LoadFinished) -> State:
    """The evaluation ended: take the new spec over, or keep the old one and remember why."""
    load = state.load
    if load.running != event.run:
        return state
    if load.cancelling:  # even if it ended well a moment ago; what it read does not matter then
        over = replace(load, running=None, cancelling=False, finished=load.running_ticket, error=_STOPPED, at=event.at)
        return replace(state, load=over)
    done = replace(
        load,
        running=None,
        finished=load.running_ticket,
        error=event.error,
        reads=event.reads,
        count=load.count + 1,
        at=event.at,
    )
    state = replace(state, revision=state.revision + 1, load=done)
    if event.spec is None:
        return state
    changed = load.changed
    good = load.running_sources
    if load.running_ticket > load.finished:  # somebody asked for it, so what was taken down comes up again
        state = replace(state, down=False)
    chosen_anew = load.running_args != load.args_in_force  # other arguments choose, whatever the user switched before
    done = replace(done, good=good, args_in_force=load.running_args, changed=() if not done.stale else done.changed)
    return _take_over(replace(state, load=done), event.spec, changed, at=event.at, chosen_anew=chosen_anew)


def _take_over(state: State, spec: Spec, changed: tuple[str, ...], *, at: float, chosen_anew: bool) -> State:
    old = state.spec
    was_on = {r.name: state.enabled(r.name) for r in old.resources}
    seq = state.seq + 1
    verdicts = compare(old, spec)
    leaving, runs = dict(state.leaving), dict(state.runs)
    tracks: dict[str, Track] = {}
    for name, verdict in verdicts.items():
        before = old.resource(name)
        if verdict in (Verdict.REMOVED, Verdict.REPLACED) and before is not None:
            if is_up(state, before):
                leaving[name] = before
            runs = {i: replace(r, cancelling=True) if r.resource == name else r for i, r in runs.items()}
    for resource in _ordered(old, spec):
        tracks[resource.name] = _track(state, resource.name, verdicts[resource.name], changed, seq=seq, at=at)
        if verdicts[resource.name] is Verdict.ADDED:  # its first deploy replaces what is left of an earlier one
            leaving.pop(resource.name, None)
    stale = changed_images(old, spec)
    images = {r: state.images.get(r, ImageTrack()) if r not in stale else ImageTrack() for r in spec.images}
    watches = {*(image_watch(r) for r in spec.images), *(local_watch(r.name) for r in spec.resources)}
    after = replace(
        state,
        spec=replace(spec, resources=_ordered(old, spec)),
        seq=seq,
        tracks=tracks,
        images=images,
        runs=runs,
        leaving=leaving,
        changes={w: c for w, c in state.changes.items() if w in watches},
        wanting=frozenset(tracks),
    )
    kept = [r for r in old.resources if verdicts[r.name] not in (Verdict.REMOVED, Verdict.REPLACED)]
    return _switched(after, kept, was_on, chosen_anew=chosen_anew)


def _switched(state: State, kept: list[Resource], was_on: Mapping[str, bool], *, chosen_anew: bool) -> State:
    """What the Tiltfile no longer enables is taken down as it was deployed; what it enables now starts as if new."""
    for before in kept:
        track = state.tracks[before.name]
        if chosen_anew and track.switched is not None:
            state = replace(state, tracks={**state.tracks, track.name: replace(track, switched=None)})
        is_on = state.enabled(before.name)
        if was_on[before.name] and not is_on:
            state = take_down(state, before)
        elif is_on and not was_on[before.name]:
            state = switch_on(state, before, switched=state.tracks[before.name].switched)
    return state


def _track(state: State, name: str, verdict: Verdict, changed: tuple[str, ...], *, seq: int, at: float) -> Track:
    known = state.tracks.get(name)
    if known is None or verdict in (Verdict.ADDED, Verdict.REPLACED):
        return Track(name, done=seq, pending_since=at)
    if verdict is Verdict.REBUILD:
        return replace(known, config=seq, config_files=changed, pending_since=known.pending_since or at)
    return known


def _ordered(old: Spec, new: Spec) -> tuple[Resource, ...]:
    """Known resources keep their place, new ones come after them, as in Tilt."""
    place = {r.name: i for i, r in enumerate(old.resources)}
    return tuple(sorted(new.resources, key=lambda r: place.get(r.name, len(place))))
