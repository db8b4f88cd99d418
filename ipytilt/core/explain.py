"""Answers: what would a change of this path do, and why did the last update happen.

Pure: `what_if` reduces a `FilesChanged` nobody posts and reads the plan nobody executes, so it cannot differ from what
would happen; `why` reads what was recorded. Every answer names the rule and its line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ipytilt.core import events as ev
from ipytilt.core import live, reruns
from ipytilt.core.orders import orders
from ipytilt.core.paths import Matcher, is_below
from ipytilt.core.plan import Plan, Update, plan, want
from ipytilt.core.reduce import reduce
from ipytilt.core.spec import NOWHERE, Origin, Resource, TriggerMode
from ipytilt.core.state import (
    CONFIG_WATCH,
    TILTFILE,
    Because,
    Cause,
    Hold,
    ImageTrack,
    Record,
    State,
    Tracked,
    sources_of,
    watches_of,
)
from ipytilt.core.status import how
from ipytilt.core.steps import (
    BuildImage,
    Built,
    CatchUp,
    Container,
    ExecIn,
    PublishImage,
    RestartContainer,
    SyncAll,
    SyncFiles,
    Watch,
)


@dataclass(frozen=True, slots=True)
class Effect:
    """What happens to one resource: `action` is "live update", "full update", "command", "reload" or "nothing".

    `steps` say what would be done, in order; `because` is the chain of rules; `hold` is why it would wait; `rest` says
    how long the change would rest before that, if somebody set it.
    """

    resource: str
    action: str
    steps: tuple[str, ...] = ()
    because: tuple[Because, ...] = ()
    hold: Hold | None = None
    rest: str = ""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer to `explain PATH`; no effects means nothing would happen, and `because` says why."""

    path: str
    effects: tuple[Effect, ...]
    because: tuple[Because, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """The answer to `why NAME`: the last update, and what waits now."""

    resource: str
    record: Record | None
    how: str
    hold: Hold | None
    origin: Origin
    running: Cause | None = None


def what_if(state: State, path: str) -> WhatIf:
    """What a change of the file at absolute `path` would do, in the state as it is, with nothing touched."""
    watches = [order for order in orders(replace(state, down=False)) if isinstance(order, Watch)]
    seen: list[str] = []
    ignored: list[Because] = []
    for watch in sorted(watches, key=lambda w: w.name):
        if not any(is_below(path, root) for root in watch.roots):
            continue
        reason = Matcher(watch.ignores).reason(path)
        if reason is None:
            seen.append(watch.name)
        else:
            ignored.append(_ignored(watch, *reason, path=path))
    effects: list[Effect] = []
    if CONFIG_WATCH in seen:
        rule = Because("the Tiltfile read it, so it is evaluated again", path=path)
        effects.append(Effect(TILTFILE, "reload", ("evaluate the Tiltfile",), (rule,)))
    after = _settled(state)
    for name in seen:
        after = reduce(after, ev.FilesChanged(name, (path,), state.now))
    touched = [r for r in state.spec.resources if set(watches_of(r)) & set(seen)]
    planned = plan(after, state.now)
    effects += [_effect(after, planned, resource, path) for resource in touched]
    effects += _followers(state, [effect.resource for effect in effects if effect.action != "nothing"])
    effects = [replace(effect, rest=state.paces.text(effect.resource)) for effect in effects]
    return WhatIf(path, tuple(effects), () if effects else _nothing(path, ignored, watches))


def why(state: State, name: str) -> Why | None:
    """Why the resource was last updated and how that was decided; None when there is no such resource."""
    resource = state.spec.resource(name)
    if resource is None:
        return None
    record = state.tracks[name].last
    run = state.running(name)
    kind = how(record, resource) if record else ""
    return Why(name, record, kind, state.holds.get(name), resource.origin, run.cause if run else None)


def _followers(state: State, updated: list[str]) -> list[Effect]:
    """What runs again once these are updated, and once those are, in turn."""
    found: dict[str, Effect] = {}
    for name in updated:
        for resource in reruns.dependants(state, name):
            if resource.name not in updated:
                updated.append(resource.name)
            if state.enabled(resource.name) and resource.trigger_mode is not TriggerMode.MANUAL:
                rule = Because(f"{name} is updated then, and {resource.name} runs again with it", resource.origin)
                action, step = ("command", "run the command") if resource.kind == "local" else ("full update", "deploy")
                earlier = found.get(resource.name, Effect(resource.name, action, (step,)))
                found[resource.name] = replace(earlier, because=(*earlier.because, rule))
    return list(found.values())


def _ignored(watch: Watch, ignore: object, pattern: str, *, path: str) -> Because:
    origin = getattr(ignore, "origin", NOWHERE)
    base = getattr(ignore, "base", "")
    what = f"pattern {pattern!r} of the ignore rules below {base}" if pattern else f"{base} is ignored as a whole"
    return Because(f"ignored for {watch.name}: {what}", origin, path)


def _nothing(path: str, ignored: list[Because], watches: Iterable[Watch]) -> tuple[Because, ...]:
    if ignored:
        return tuple(ignored)
    roots = sorted({root for watch in watches for root in watch.roots if watch.name != CONFIG_WATCH})
    text = f"it is below none of the watched paths ({', '.join(roots)})" if roots else "nothing is watched"
    return (Because(text, path=path),)


def _settled(state: State) -> State:
    """The state as it would be at rest: everything deployed and up to date, so that only the path decides."""
    tracks, images = dict(state.tracks), dict(state.images)
    for ref in state.spec.images:
        images[ref] = ImageTrack(images.get(ref, ImageTrack()).built or Built(ref, ref), state.seq)
    for resource in state.spec.resources:
        track = tracks[resource.name]
        containers = {i: t for i, t in track.containers.items() if t.container.running}
        ref = next(iter(live.live_images(state.spec, resource)), "")
        if not containers and ref:
            imagined = Container(f"({resource.name})", resource.name, resource.name, "running")
            containers = {imagined.id: Tracked(imagined, ref)}
        marks = dict.fromkeys(sources_of(state.spec, ref), state.seq)
        containers = {
            i: replace(t, marks=marks, filled=True, unsure="", trouble="", blocked=0) for i, t in containers.items()
        }
        tracks[resource.name] = replace(
            track,
            done=state.seq,
            config=0,
            started=True,
            deployed=True,
            asked=None,
            broken="",
            retry_at=0.0,
            retry_cause=None,
            containers=containers,
        )
    return replace(
        state,
        tracks=tracks,
        images=images,
        runs={},
        changes={},
        wanting=frozenset(tracks),
        engines={"kubernetes": ""},
        leaving={},
    )


def _effect(state: State, planned: Plan, resource: Resource, path: str) -> Effect:
    update = next((u for u in planned.updates if u.resource == resource.name), None)
    if update is None:
        return _held(state, planned, resource, path)
    return Effect(resource.name, _action(update, resource), _steps(update), _reasons(resource, update.cause, path))


def _held(state: State, planned: Plan, resource: Resource, path: str) -> Effect:
    """A resource that would have to wait its turn still has an answer: what it would do then."""
    wanted = want(state, resource, state.now)
    hold = planned.holds.get(resource.name)
    if wanted is None or wanted.hold is not None:
        text = "its changes are only recorded: trigger it to apply them (trigger_mode is manual)"
        recorded = (Because(text, resource.origin, path),)
        return Effect(resource.name, "nothing", (), recorded, wanted.hold if wanted else hold)
    alone = plan(replace(state, wanting=frozenset({resource.name})), state.now)
    update = next((u for u in alone.updates if u.resource == resource.name), None)
    if update is None:
        return Effect(resource.name, "nothing", (), (), hold)
    because = _reasons(resource, update.cause, path)
    return Effect(resource.name, _action(update, resource), _steps(update), because, hold)


def _action(update: Update, resource: Resource) -> str:
    if update.lane == "live":
        return "live update"
    return "command" if resource.kind == "local" else "full update"


def _reasons(resource: Resource, cause: Cause, path: str) -> tuple[Because, ...]:
    if cause.because:
        return cause.because
    if resource.kind == "local":
        return (Because("it is in the deps of the local resource", resource.origin, path),)
    return (Because("it belongs to the image, which has no live_update rules", resource.origin, path),)


def _steps(update: Update) -> tuple[str, ...]:
    texts: list[str] = []
    for step in (s for branch in update.branches for s in branch):
        match step:
            case SyncFiles():
                texts += [f"copy {copy.local} to {copy.container} (or remove it there)" for copy in step.copies]
            case ExecIn():
                texts.append(f"run in the container: {live.command_text(step.argv)}")
            case RestartContainer():
                texts.append("restart the container")
            case CatchUp():
                texts.append("compare the container with the files here, and copy what differs")
            case SyncAll():
                texts.append("copy everything below the sync sources")
            case BuildImage(unless=Built()):
                pass  # it is there
            case BuildImage():
                texts.append(f"build image {step.image.ref}")
            case PublishImage():
                texts.append(f"hand image {step.image.ref} to the cluster")
            case _:
                texts.append("run the command" if step.resource.kind == "local" else "deploy")
    return tuple(texts)
