"""`orders(state)`: what is to be kept going (watched, served, observed, followed, attached), as a set of values.

Pure. `runtime.standing` starts what is new in the set and stops what is gone, so a new value is all a restart needs.
"""

from __future__ import annotations

from ipytilt.core.live import live_images
from ipytilt.core.paths import TEMP_FILES
from ipytilt.core.spec import Compose, Local, Resource
from ipytilt.core.state import CONFIG_WATCH, State, Tracked, image_watch, local_watch
from ipytilt.core.steps import Attach, Follow, Observe, Order, Serve, Watch


def orders(state: State) -> frozenset[Order]:
    """All standing orders of this state; none after `down` or a crash."""
    if state.crash:
        return frozenset()
    kept: list[Order] = [*_config_watch(state)]
    if state.down:
        return frozenset(kept)
    enabled = tuple(r for r in state.spec.resources if state.enabled(r.name) or state.tracks[r.name].off_at)
    kept += _image_watches(state, enabled)
    for resource in enabled:
        kept += _of_resource(state, resource)
    deployed = tuple(r for r in enabled if isinstance(r.target, Compose) and state.tracks[r.name].started)
    if deployed:
        kept.append(Observe("compose", deployed))
    return frozenset(kept)


def _config_watch(state: State) -> list[Order]:
    if not state.load.reads:
        return []
    return [Watch(CONFIG_WATCH, state.load.reads, (*state.spec.watch_ignores, TEMP_FILES))]


def _image_watches(state: State, enabled: tuple[Resource, ...]) -> list[Order]:
    used = dict.fromkeys(ref for r in enabled for ref in r.images)
    watches: list[Order] = []
    for ref in used:
        image = state.spec.images[ref]
        if image.watched:
            ignores = (*image.watch_ignores, *state.spec.watch_ignores, TEMP_FILES)
            watches.append(Watch(image_watch(ref), image.watched, ignores))
    return watches


def _of_resource(state: State, resource: Resource) -> list[Order]:
    track = state.tracks[resource.name]
    kept: list[Order] = []
    if isinstance(resource.target, Local):
        local = resource.target
        if local.deps:
            ignores = (*local.ignores, *state.spec.watch_ignores, TEMP_FILES)
            kept.append(Watch(local_watch(resource.name), local.deps, ignores))
    served = track.serving.target if track.serving is not None else None  # not what it is to be after its next update
    if track.serving is not None and isinstance(served, Local) and served.serve is not None:
        kept.append(Serve(track.serving, served.serve, track.served))
    live = set(live_images(state.spec, resource))
    for tracked in track.containers.values():
        kept += _of_container(resource.name, tracked, attach=tracked.image in live)
    return kept


def _of_container(name: str, tracked: Tracked, *, attach: bool) -> list[Order]:
    container = tracked.container
    if container.state not in ("running", "exited", "restarting", "paused", "dead"):
        return []
    kept: list[Order] = [Follow(name, container.id, container.started_at)]
    if attach and container.running:
        kept.append(Attach(container.id, container.started_at))
    return kept
