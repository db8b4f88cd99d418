"""May a save that changed nothing be passed over? Yes, if nobody can have seen anything else in between.

Pure; `runtime.session` asks it for the watcher, with the newest snapshot. Two changes that cancel each other out may
look like none by the time somebody looks; whoever read the files meanwhile has what was there for a moment.
"""

from __future__ import annotations

from ipytilt.core.spec import Resource
from ipytilt.core.state import CONFIG_WATCH, State, watchers

GRACE = 5.0
"""Seconds after a run during which what it read is not known for sure."""


def may_be_dropped(state: State, watch: str, now: float) -> bool:
    """Whether files of `watch` that are as they were need not be reported; `now` in seconds of the events' clock.

    After a failure a save is a wish to try again, whatever it saved.
    """
    if watch == CONFIG_WATCH:
        load = state.load
        return load.running is None and not load.stale and load.error is None and now - load.at > GRACE
    return all(_is_at_rest(state, resource, now) for resource in watchers(state.spec, watch))


def _is_at_rest(state: State, resource: Resource, now: float) -> bool:
    last = state.tracks[resource.name].last
    if last is not None and last.result != "ok":
        return False
    if resource.kind == "local":  # a command that writes what it depends on would start itself, again and again
        return True
    return state.running(resource.name) is None and (last is None or now - last.finished_at > GRACE)
