"""Who may act on what two sessions could both deploy: values, and the sentences about them.

Pure; used on any thread. A session claims the *scopes* of its Tiltfile: a Compose project, by its name; in a cluster,
where several projects have room, what comes from its directory. What runs as a child of its own kernel (local
resources) is nobody else's. `runtime.claims` keeps the claims, `reduce_claims` takes in
what it reports, and a guard of `plan` holds back what belongs to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipytilt.core.spec import Compose, Kubernetes, Local, Resource

HELD = "held-by-another-session"
"""The reason to wait."""
_PROJECT = "Compose project "


@dataclass(frozen=True, slots=True)
class Claim:
    """Standing order: have the claim on `scope`, or wait for it; `insist` counts how often it was to be taken over."""

    scope: str
    insist: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a scope: who has it (`by`, "" for this session), and whether it was `taken` from us."""

    by: str = ""
    taken: bool = False
    insist: int = 0


def scope_of(resource: Resource) -> str:
    """What has to be claimed before anybody acts on the resource, in words; "" if nobody else could."""
    match resource.target:
        case Compose(project=project):
            return f"{_PROJECT}{project.name}"
        case Kubernetes(context=context):
            return f"This project in Kubernetes context {context.name}"
        case Local():
            return ""


def is_named(scope: str) -> bool:
    """It is the same one from whatever directory it is used."""
    return scope.startswith(_PROJECT)


def others(claims: Mapping[str, Held], resource: Resource) -> str:
    """The sentence that says who else holds what the resource belongs to; "" if nobody does."""
    scope = scope_of(resource)
    held = claims.get(scope)
    return sentence(scope, held) if held is not None and held.by else ""


def sentence(scope: str, held: Held) -> str:
    """Who holds it, and what to do about it."""
    if held.taken:
        return f"{scope} was taken over by {held.by}; %tilt takeover takes it back"
    return f"{scope} is held by {held.by}; %tilt takeover takes it over"
