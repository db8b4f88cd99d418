"""What the pods of a resource mean: which one speaks for it, what its containers run, where its ports lead.

Pure; asked by the reducer, the planner and the standing orders. Which pods belong to a resource is for the engine that
observes the cluster to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from ipytilt.core import manifests
from ipytilt.core.images import in_registry, parse, seen_from_cluster
from ipytilt.core.live import live_images
from ipytilt.core.spec import Kubernetes, Registry, Resource
from ipytilt.core.state import State, Track
from ipytilt.core.steps import Container, Forward, ObjectRef, Pod

_OVER = ("Succeeded", "Failed")


def newest(track: Track) -> Pod | None:
    """The pod that speaks for the resource: the one made last, of two made at once the one with the larger name."""
    return max(track.pods, key=lambda pod: (pod.created_at, pod.name), default=None)


def is_fine(pod: Pod, target: Kubernetes) -> bool:
    """The pod does what pods of its resource are for."""
    if target.pod_readiness == "succeeded":
        return pod.phase == "Succeeded"
    return pod.phase == "Succeeded" or (pod.phase == "Running" and pod.ready)


def ends(resource: Resource) -> bool:
    """Its pods are to be done one day: to run them again, their makers are made anew."""
    return isinstance(resource.target, Kubernetes) and resource.target.pod_readiness == "succeeded"


def registry_of(state: State) -> Registry | None:
    """Where images go through on their way to the cluster: what it announces counts before what the Tiltfile says."""
    announced = state.cluster.registry if state.cluster else None
    return announced or state.spec.registry


def containers_of(state: State, resource: Resource, pods: tuple[Pod, ...]) -> Iterator[tuple[Container, str]]:
    """Each regular container that is to be told apart, with the live-updated image it runs ("": none of them).

    One that was never started has no id, and one of a pod that is over or on its way out will not live.
    """
    for pod in pods:
        if pod.deleting:
            continue
        for container in pod.containers:
            if container.started_at or container.running:
                over = pod.phase in _OVER and container.running
                yield (replace(container, state="exited") if over else container), _image(state, resource, container)


def _image(state: State, resource: Resource, container: Container) -> str:
    custom = resource.target.custom_deploy if isinstance(resource.target, Kubernetes) else None
    for ref in live_images(state.spec, resource):
        if custom is not None and custom.container_selector:
            found = container.service == custom.container_selector
        elif custom is not None and custom.image_selector == ref:
            found = _same_name(container.image, ref)
        else:
            found = _same_name(container.image, _name_in_cluster(state, ref))
        if found:
            return ref
    return ""


def _name_in_cluster(state: State, ref: str) -> str:
    track = state.images.get(ref)
    if track is not None and track.built is not None:
        return track.built.cluster_ref or track.built.local_ref
    registry = registry_of(state)
    return seen_from_cluster(in_registry(ref, registry).familiar, registry)


def _same_name(one: str, other: str) -> bool:
    try:
        return parse(one).name == parse(other).name
    except ValueError:
        return False


def without_old(pods: tuple[Pod, ...], templates: tuple[str, ...]) -> tuple[Pod, ...]:
    """The pods that what was applied last may have made; one that does not say is believed."""
    return tuple(pod for pod in pods if not pod.template or not templates or pod.template in templates)


def forwards(resource: Resource, track: Track) -> Iterator[Forward]:
    """The forwarded ports of a resource, to the best of its pods: one that stays before one that goes, then the newest.

    A forward without a container port leads to the port of that number if a container says it has it, else to the
    first port one has, else to that number.
    """
    target = resource.target
    if not isinstance(target, Kubernetes) or not target.port_forwards:
        return
    able = [pod for pod in track.pods if pod.phase == "Running" or pod.deleting]
    best = max(able, key=lambda pod: (not pod.deleting, pod.created_at, pod.name), default=None)
    if best is None:
        return
    known = [port for container in best.containers for port in container.ports]
    for forward in target.port_forwards:
        chosen = forward.container or (forward.local if forward.local in known else next(iter(known), forward.local))
        filled = replace(forward, container=chosen)
        yield Forward(resource.name, target.context, filled, best.key, best.uid)


def objects_of(resource: Resource) -> tuple[ObjectRef, ...]:
    """What the resource's own documents are in the cluster."""
    target = resource.target
    if not isinstance(target, Kubernetes):
        return ()
    return tuple(_object(text, target.context.namespace) for text in target.objects)


def _object(text: str, namespace: str) -> ObjectRef:
    document = json.loads(text)
    found = manifests.identity(document)
    return ObjectRef(found.api_version, found.kind, found.name, found.namespace or namespace)
