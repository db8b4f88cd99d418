"""`orders(state)`: what is to be kept going (watched, served, observed, followed, attached), as a set of values.

Pure. `runtime.standing` starts what is new in the set and stops what is gone, so a new value is all a restart needs.
"""

from __future__ import annotations

from ipytilt.core import pods
from ipytilt.core.claims import Claim, Held, scope_of
from ipytilt.core.live import live_images
from ipytilt.core.paths import TEMP_FILES
from ipytilt.core.spec import Compose, Ignore, Kubernetes, Local, Resource
from ipytilt.core.state import (
    CONFIG_WATCH,
    TILTFILE,
    State,
    Tracked,
    deploy_watch,
    image_watch,
    local_watch,
    watchers,
)
from ipytilt.core.steps import (
    Attach,
    Container,
    Delete,
    Follow,
    Observe,
    ObserveCluster,
    ObservePods,
    Order,
    Pod,
    Serve,
    Watch,
)

_OF_A_MESH = ("istio-init", "istio-proxy", "linkerd-init", "linkerd-proxy")
"""Containers that a service mesh puts into pods: their output is nobody's business here."""


def orders(state: State) -> frozenset[Order]:
    """All standing orders of this state; none after `down` or a crash."""
    if state.crash:
        return frozenset()
    kept: list[Order] = [*_config_watch(state), *_claims(state)]
    if state.down:
        return frozenset(kept)
    enabled = tuple(r for r in state.spec.resources if state.enabled(r.name) or state.tracks[r.name].off_at)
    kept += _image_watches(state, enabled)
    for resource in enabled:
        kept += _of_resource(state, resource)
    deployed = tuple(r for r in enabled if isinstance(r.target, Compose) and state.tracks[r.name].started)
    if deployed:
        kept.append(Observe("compose", deployed))
    contexts = dict.fromkeys(r.target.context for r in enabled if isinstance(r.target, Kubernetes))
    kept += map(ObserveCluster, contexts)
    return frozenset(kept)


def _config_watch(state: State) -> list[Order]:
    if not state.load.reads:
        return []
    return [_watch(state, CONFIG_WATCH, state.load.reads)]


def _watch(state: State, name: str, roots: tuple[str, ...], *, ignores: tuple[Ignore, ...] = ()) -> Watch:
    whose = (TILTFILE,) if name == CONFIG_WATCH else (resource.name for resource in watchers(state.spec, name))
    return Watch(name, roots, (*ignores, *state.spec.watch_ignores, TEMP_FILES), state.paces.of(*whose))


def _claims(state: State) -> list[Order]:
    """On all that is deployed or may be at any moment, until it is taken down."""
    going = [step.resource for r in state.runs.values() for b in r.branches for step in b if isinstance(step, Delete)]
    resources = [*state.leaving.values(), *going, *(() if state.down else state.spec.resources)]
    scopes = dict.fromkeys(filter(None, map(scope_of, resources)))
    return [Claim(scope, state.claims.get(scope, Held()).insist) for scope in scopes]


def _image_watches(state: State, enabled: tuple[Resource, ...]) -> list[Order]:
    used = dict.fromkeys(ref for r in enabled for ref in r.images)
    watches: list[Order] = []
    for ref in used:
        image = state.spec.images[ref]
        if image.watched:
            watches.append(_watch(state, image_watch(ref), image.watched, ignores=image.watch_ignores))
    return watches


def _of_resource(state: State, resource: Resource) -> list[Order]:
    track = state.tracks[resource.name]
    kept: list[Order] = []
    if isinstance(resource.target, Local):
        local = resource.target
        if local.deps:
            kept.append(_watch(state, local_watch(resource.name), local.deps, ignores=local.ignores))
    served = track.serving.target if track.serving is not None else None  # not what it is to be after its next update
    if track.serving is not None and isinstance(served, Local) and served.serve is not None:
        kept.append(Serve(track.serving, served.serve, track.served))
    live = set(live_images(state.spec, resource))
    if isinstance(resource.target, Kubernetes):
        return [*kept, *_in_cluster(state, resource, resource.target, live=live)]
    for tracked in track.containers.values():
        kept += _of_container(resource.name, tracked, attach=tracked.image in live)
    return kept


def _in_cluster(state: State, resource: Resource, target: Kubernetes, *, live: set[str]) -> list[Order]:
    kept: list[Order] = []
    track = state.tracks[resource.name]
    custom = target.custom_deploy
    if custom is not None and custom.deps:
        kept.append(_watch(state, deploy_watch(resource.name), custom.deps, ignores=custom.ignores))
    if track.deploy is not None:
        kept.append(ObservePods(resource, track.deploy))
    kept += pods.forwards(resource, track)
    for pod in track.pods:
        kept += _output_of(resource.name, pod)
    for tracked in track.containers.values():
        container = tracked.container
        if tracked.image in live and container.running:
            kept.append(Attach(container.id, container.started_at, "kubernetes"))
    return kept


def _output_of(name: str, pod: Pod) -> list[Order]:
    """Each container of a pod that ever ran, with its name before each line if there are several."""
    shown: list[Container] = [c for c in (*pod.init, *pod.containers) if c.service not in _OF_A_MESH]
    several = len(pod.init) + len(pod.containers) > 1
    return [
        Follow(name, c.id, c.started_at, "kubernetes", f"[{c.service}] " if several else "")
        for c in shown
        if c.started_at
    ]


def _of_container(name: str, tracked: Tracked, *, attach: bool) -> list[Order]:
    container = tracked.container
    if container.state not in ("running", "exited", "restarting", "paused", "dead"):
        return []
    kept: list[Order] = [Follow(name, container.id, container.started_at)]
    if attach and container.running:
        kept.append(Attach(container.id, container.started_at))
    return kept
