"""Running again with a dependency: which resources do, when they are due, and what they wait for.

Pure; the reducer marks what is due, the planner starts it, `explain` foretells it. Asked for outside of the Tiltfile,
which Tilt loads unchanged. Any update of a dep that went well counts, live ones too, but not what only fills a new
container; dependants cannot go in circles, because `resource_deps` cannot.
"""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core.events import RerunSet
from ipytilt.core.spec import Resource, Spec
from ipytilt.core.state import Because, State
from ipytilt.core.status import is_ready

ALL_DEPS = ("*",)
"""In the place of names: every resource a resource depends on."""


def chosen(value: object) -> tuple[str, ...]:
    """What people say about a resource as names of deps: True for all of them, a name, or several; False for none.

    Raises ValueError for anything else.
    """
    if isinstance(value, bool):
        return ALL_DEPS if value else ()
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{value!r} names no dependencies: give True, a name or a list of names")
    return tuple(names)


def deps_of(state: State, resource: Resource) -> tuple[str, ...]:
    """The resource_deps whose updates make the resource run again."""
    chosen = state.rerun.get(resource.name, ())
    return tuple(dep for dep in resource.resource_deps if dep in chosen or chosen == ALL_DEPS)


def dependants(state: State, name: str) -> tuple[Resource, ...]:
    """The resources that run again when this one was updated."""
    return tuple(resource for resource in state.spec.in_order(state.rerun) if name in deps_of(state, resource))


def rerun_set(state: State, event: RerunSet) -> State:
    """Somebody chose with which deps a resource, which need not be there yet, runs again."""
    others = {name: deps for name, deps in state.rerun.items() if name != event.resource}
    return replace(state, rerun={**others, event.resource: event.deps} if event.deps else others)


def after_update_of(state: State, name: str, at: float) -> State:
    """A resource was updated: those that run with it, and have run before, are due once more."""
    tracks = dict(state.tracks)
    for resource in dependants(state, name):
        track = tracks[resource.name]
        if track.started:
            due = tuple(dict.fromkeys((*track.rerun, name)))
            tracks[resource.name] = replace(track, rerun=due, pending_since=track.pending_since or at)
    due_now = frozenset(resource.name for resource in dependants(state, name))
    return replace(state, tracks=tracks, wanting=state.wanting | due_now)


def because(state: State, resource: Resource) -> tuple[Because, ...]:
    """Why it runs again, dep by dep."""
    found = ((name, state.spec.resource(name)) for name in state.tracks[resource.name].rerun)
    return tuple(
        Because(f"{name} was updated, and {resource.name} runs again with it", r.origin) for name, r in found if r
    )


def deps_below(spec: Spec, resource: Resource) -> tuple[str, ...]:
    """Everything a resource depends on, directly or not."""
    found: dict[str, None] = {}
    waiting = list(resource.resource_deps)
    while waiting:
        name = waiting.pop(0)
        dep = spec.resource(name)
        if dep is not None and name not in found:
            found[name] = None
            waiting += dep.resource_deps
    return tuple(found)


def unready(state: State, resource: Resource) -> tuple[str, ...]:
    """Those it is to run again with that are not ready (yet)."""
    deps = (state.spec.resource(name) for name in state.tracks[resource.name].rerun)
    return tuple(dep.name for dep in deps if dep and state.enabled(dep.name) and not is_ready(state, dep))
