"""Live update: what a container has, what it should have, and therefore what to do.

Pure. `core.plan` asks `decide` for every container of a resource whose image has live-update rules; `core.explain`
asks the same functions about changes that never happened. Nothing here looks at a disk: whether a changed path still
exists is decided by the step that runs.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ipytilt.core.paths import TEMP_FILES, container_path, is_below, selects
from ipytilt.core.spec import (
    Compose,
    Ignore,
    Kubernetes,
    LiveUpdate,
    Resource,
    RunStep,
    Selection,
    Spec,
    Sync,
    TriggerMode,
)
from ipytilt.core.state import Because, Changes, State, Track, Tracked, image_watch, sources_of
from ipytilt.core.steps import CatchUp, Container, Copy, ExecIn, RestartContainer, Step, SyncAll, SyncFiles


@dataclass(frozen=True, slots=True)
class Go:
    """These steps bring the container up to date; `marks` is what it then has."""

    container: Container
    steps: tuple[Step, ...]
    files: tuple[str, ...]
    marks: Mapping[str, int]
    because: tuple[Because, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """A live update will do, but not now."""

    reason: str
    text: str
    files: tuple[str, ...]
    because: tuple[Because, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """A live update will not do; `because` names the rule and its line. A full update follows."""

    reason: str
    text: str
    files: tuple[str, ...]
    because: tuple[Because, ...] = ()


Decision = Go | Wait | Refuse


@dataclass(frozen=True, slots=True)
class Mapped:
    """Changed paths sorted by the rules: where each goes, which commands run, what stands in the way.

    `restart`: the container is to be restarted in the end.
    """

    copies: tuple[Copy, ...]
    runs: tuple[RunStep, ...]
    unmatched: tuple[str, ...]
    stopped: tuple[str, ...]
    because: tuple[Because, ...]
    restart: bool = False


def deployed_images(spec: Spec, resource: Resource) -> tuple[str, ...]:
    """The images of a resource that its containers run: those that are not merely bases of others."""
    if isinstance(resource.target, Compose):
        direct: tuple[str, ...] = (resource.target.image_built,) if resource.target.image_built else ()
    else:
        used_as_base = {dep for ref in resource.images if ref in spec.images for dep in spec.images[ref].depends_on}
        named = resource.target.direct if isinstance(resource.target, Kubernetes) else ()
        direct = tuple(ref for ref in resource.images if ref in named or ref not in used_as_base)
    return direct


def live_images(spec: Spec, resource: Resource) -> tuple[str, ...]:
    """The images of a resource that are live-updated: deployed directly and carrying rules."""
    direct = deployed_images(spec, resource)
    return tuple(ref for ref in direct if ref in spec.images and spec.images[ref].live_update is not None)


def may_be_found(spec: Spec, resource: Resource, ref: str) -> bool:
    """An earlier session may have left a container of the image that can be kept: nothing else is made of it."""
    image = spec.images[ref]
    alone = not image.depends_on and not any(ref in other.depends_on for other in spec.images.values())
    return resource.kind == "compose" and alone and image.live_update is not None and bool(image.live_update.syncs)


def rules_of(spec: Spec, ref: str) -> LiveUpdate:
    """The live-update rules of an image; none at all for an image without."""
    return spec.images[ref].live_update or LiveUpdate(base="/")


def syncs_of(rules: LiveUpdate, path: str) -> tuple[Sync, ...]:
    """The syncs that copy a path: the first one, in declared order, that covers it; all of them in Compose's rules."""
    found = tuple(sync for sync in rules.syncs if _takes(sync.local, sync.only, path))
    return found if rules.from_compose else found[:1]


def mapped(rules: LiveUpdate, files: tuple[str, ...], unmet: tuple[tuple[str, ...], ...] = ()) -> Mapped:
    """Sort changed paths by the rules.

    What no sync covers is dealt with by running the commands whose triggers cover it (without any sync, by those
    without triggers, too), or by a restart. `unmet` are commands that failed before: they run whatever changed.
    """
    copies: dict[str, Copy] = {}
    because: list[Because] = []
    unmatched: list[str] = []
    stopped: list[str] = []
    handled: list[str] = []
    rule_of = {sync: f"sync({_short(sync.local, rules.base)!r}, {sync.container!r})" for sync in rules.syncs}
    for path in files:
        syncs = syncs_of(rules, path)
        stop = next((s for s in rules.stop_paths if _takes(s.path, s.only, path)), None)
        if stop is not None:
            stopped.append(path)
            because.append(Because(f"fall_back_on({_short(stop.path, rules.base)!r}) covers it", stop.origin, path))
        if syncs or _acts_on(rules, path):
            handled.append(path)
        else:
            unmatched.append(path)
            because.append(Because("no sync() covers it", rules.origin, path))
        for sync in syncs:
            is_file = path == sync.local and not sync.directory
            target = container_path(sync.local, sync.container, path=path, source_is_file=is_file)
            copies[target] = Copy(path, target, sync.local)
            because.append(Because(f"{rule_of[sync]} puts it at {target}", sync.origin, path))
    runs, why = _runs(rules, handled, unmet)
    because += why
    restarts = [Because("a change of it restarts the container", s.origin, p) for p, s in _restarting(rules, handled)]
    if rules.restart and handled:
        restarts.append(Because("restart_container() restarts the container afterwards", rules.origin))
    return Mapped(
        tuple(copies.values()),
        runs,
        tuple(unmatched),
        tuple(stopped),
        (*because, *restarts),
        restart=rules.restart or bool(restarts),
    )


def _acts_on(rules: LiveUpdate, path: str) -> bool:
    """The rules have something to do for a change of the path, if it is copied or not."""
    runs = any(_covers(run, path) for run in rules.runs if run.triggers or not rules.syncs)
    return runs or any(selects(selection, path) for selection in rules.restart_on)


def _runs(
    rules: LiveUpdate, handled: list[str], unmet: tuple[tuple[str, ...], ...]
) -> tuple[tuple[RunStep, ...], list[Because]]:
    runs: list[RunStep] = []
    because: list[Because] = []
    for run in rules.runs:
        hit = next((p for p in handled if run.triggers and _covers(run, p)), "")
        if hit or (handled and not run.triggers) or run.argv in unmet:
            runs.append(run)
            alone = bool(rules.syncs) and not syncs_of(rules, hit)
            covered = "its trigger covers it" + (", which no sync() does: it is not copied" if alone else "")
            why = covered if hit else "it has no trigger, so every live update runs it"
            why = "it failed before" if run.triggers and not hit else why
            because.append(Because(f"run({command_text(run.argv)!r}) runs: {why}", run.origin, hit))
    return tuple(runs), because


def _restarting(rules: LiveUpdate, handled: list[str]) -> list[tuple[str, Selection]]:
    found = ((next((p for p in handled if selects(one, p)), ""), one) for one in rules.restart_on)
    return [(path, one) for path, one in found if path]


def outstanding(state: State, sources: tuple[str, ...], marks: Mapping[str, int]) -> tuple[Changes, Mapping[str, int]]:
    """What is newer than the marks: the paths, and the marks once they are dealt with."""
    files: dict[str, int] = {}
    after = dict(marks)
    for ref in sources:
        mark = marks.get(ref, 0)
        for path, seq in state.changes.get(image_watch(ref), {}).items():
            if seq > mark:
                files[path] = max(seq, files.get(path, 0))
                after[ref] = max(seq, after.get(ref, 0))
    return files, after


def decide(state: State, resource: Resource, ref: str, tracked: Tracked) -> Decision | None:
    """What one container of image `ref` needs; None when it has everything or a newer change must come first."""
    rules = rules_of(state.spec, ref)
    files, after = outstanding(state, sources_of(state.spec, ref), tracked.marks)
    if tracked.unsure and rules.syncs and not tracked.trouble:
        return _catch_up(state, resource, tracked, ref=ref, files=files, marks=after)
    if rules.initial_sync and rules.syncs and not tracked.filled and not tracked.trouble:
        return _initial(state, resource, tracked, ref=ref, marks=after)
    if not files:
        return _again(state, resource, tracked, rules=rules, marks=after)
    if max(files.values()) <= tracked.blocked:
        return None
    paths = tuple(sorted(files))
    sorted_out = mapped(rules, paths, tracked.unmet)
    refusal = _refusal(rules, sorted_out, paths)
    if refusal is not None:
        return refusal
    container = tracked.container
    if container.state in ("exited", "dead", "removing"):
        return Refuse("Terminated", f"container {container.name} is stopped", paths, sorted_out.because)
    if tracked.trouble:
        return Refuse("UpdateFailed", tracked.trouble, paths, sorted_out.because)
    if container.state == "restarting":  # what goes into it might not be there for long
        return Refuse("CrashLoopBackOff", f"container {container.name} keeps crashing", paths, sorted_out.because)
    if not container.running:
        return Wait("waiting-for-deploy", f"container {container.name} is {container.state}", paths, sorted_out.because)
    track = state.tracks[resource.name]
    if resource.trigger_mode is TriggerMode.MANUAL and track.asked is None:
        return Wait("Trigger", "only updates on manual trigger", paths, sorted_out.because)
    return Go(container, _steps(sorted_out, container), paths, after, sorted_out.because)


def _again(
    state: State, resource: Resource, tracked: Tracked, *, rules: LiveUpdate, marks: Mapping[str, int]
) -> Go | None:
    """The run steps that failed, once somebody asks for it; the files are there already."""
    container, sorted_out = tracked.container, mapped(rules, (), tracked.unmet)
    if not sorted_out.runs or state.tracks[resource.name].asked is None or not container.running or tracked.trouble:
        return None
    return Go(container, _steps(sorted_out, container), (), marks, sorted_out.because)


def _catch_up(
    state: State, resource: Resource, tracked: Tracked, *, ref: str, files: Changes, marks: Mapping[str, int]
) -> Decision | None:
    """For a container of which it is not known what it holds: compare it, whatever is outstanding.

    What its image has by now does not need another image, nor a trigger.
    """
    rules, container = rules_of(state.spec, ref), tracked.container
    if tracked.blocked and max(files.values(), default=0) <= tracked.blocked:
        return None
    sources, built = sources_of(state.spec, ref), state.images[ref].seq if ref in state.images else 0
    seqs = {s: min(state.images[s].seq, built) if s in state.images else 0 for s in sources}
    in_image = {s: max(seq, tracked.marks.get(s, 0)) for s, seq in seqs.items()}
    paths = tuple(sorted(outstanding(state, sources, in_image)[0]))
    sorted_out = mapped(rules, paths, tracked.unmet)
    refusal = _refusal(rules, sorted_out, paths)
    if refusal is not None:
        return refusal
    because = (Because(f"what the container holds is not known: {tracked.unsure}", rules.origin), *sorted_out.because)
    if container.state in ("exited", "dead", "removing"):
        return Refuse("Terminated", f"container {container.name} is stopped", paths, because) if paths else None
    if container.state == "restarting" and paths:
        return Refuse("CrashLoopBackOff", f"container {container.name} keeps crashing", paths, because)
    if not container.running:
        return Wait("waiting-for-deploy", f"container {container.name} is {container.state}", paths, because)
    if paths and resource.trigger_mode is TriggerMode.MANUAL and state.tracks[resource.name].asked is None:
        return Wait("Trigger", "only updates on manual trigger", paths, because)
    stopped = mapped(rules, tuple(files)).stopped
    changed = tuple(sorted(files.keys() - set(stopped)))
    step = CatchUp(container, state.spec.images[ref], sync_ignores(state.spec, ref), changed, tracked.unmet)
    return Go(container, (step,), paths, marks, because)


def sync_ignores(spec: Spec, ref: str) -> tuple[Ignore, ...]:
    """What below the sync sources of an image is not for its containers."""
    return (*spec.images[ref].watch_ignores, *spec.watch_ignores, TEMP_FILES)


def _initial(
    state: State, resource: Resource, tracked: Tracked, *, ref: str, marks: Mapping[str, int]
) -> Decision | None:
    """Everything below the sync sources, for a container that is seen for the first time."""
    rules, container = rules_of(state.spec, ref), tracked.container
    tried = tracked.blocked and max(marks.values(), default=0) <= tracked.blocked
    if tried or container.state in ("exited", "dead", "removing"):
        return None
    because = (Because("initial_sync() fills a new container", rules.origin),)
    if not container.running:
        return Wait("waiting-for-deploy", f"container {container.name} is {container.state}", (), because)
    if resource.trigger_mode is TriggerMode.MANUAL and state.tracks[resource.name].asked is None:
        return Wait("Trigger", "only updates on manual trigger", (), because)
    steps: list[Step] = [SyncAll(container, _filling(rules), sync_ignores(state.spec, ref))]
    if rules.restart:
        steps.append(RestartContainer(container))
    return Go(container, tuple(steps), (), marks, because)


def _filling(rules: LiveUpdate) -> LiveUpdate:
    """What a new container is filled by; Compose only copies then, and only where its rule asks for it."""
    if not rules.from_compose:
        return rules
    return replace(rules, stop_paths=(), runs=(), syncs=tuple(sync for sync in rules.syncs if sync.initial))


def decide_without_container(state: State, resource: Resource, ref: str, track: Track) -> Decision | None:
    """As `decide`, while no container has been seen: the changes wait, unless the rules refuse them anyway."""
    rules = rules_of(state.spec, ref)
    files, _ = outstanding(state, sources_of(state.spec, ref), dict.fromkeys(resource.images, track.done))
    if not files:
        return None
    paths = tuple(sorted(files))
    sorted_out = mapped(rules, paths)
    refusal = _refusal(rules, sorted_out, paths)
    if refusal is not None:
        return refusal
    if resource.kind == "kubernetes":
        return Wait("waiting-for-deploy", "no pod of it runs yet", paths, sorted_out.because)
    return Refuse("Terminated", "no container is there to update", paths, sorted_out.because)


def decisions(state: State, resource: Resource) -> tuple[Decision, ...]:
    """All decisions for a resource, container by container."""
    track = state.tracks[resource.name]
    found: list[Decision] = []
    for ref in live_images(state.spec, resource):
        mine = [t for t in track.containers.values() if t.image == ref]
        alive = [t for t in mine if t.container.state not in ("exited", "dead", "removing")]
        if not mine:
            decision = decide_without_container(state, resource, ref, track)
            found.extend([decision] if decision else [])
        for tracked in alive or mine:
            decision = decide(state, resource, ref, tracked)
            found.extend([decision] if decision else [])
    return tuple(found)


def run_steps(runs: tuple[RunStep, ...], container: Container) -> tuple[ExecIn, ...]:
    """The commands of an update, numbered."""
    return tuple(
        ExecIn(container, run.argv, echo_off=run.echo_off, index=index, count=len(runs))
        for index, run in enumerate(runs, 1)
    )


def command_text(argv: tuple[str, ...]) -> str:
    """A command as its author wrote it: the shell wrapper taken off."""
    if len(argv) == 3 and argv[:2] == ("sh", "-c"):
        return argv[2]
    return " ".join(argv)


def _refusal(rules: LiveUpdate, sorted_out: Mapped, paths: tuple[str, ...]) -> Refuse | None:
    if sorted_out.unmatched:
        names = ", ".join(_short(p, rules.base) for p in sorted_out.unmatched[:5])
        text = f"found file(s) not matching any sync (files: {names})"
        return Refuse("UpdateStopped", text, paths, sorted_out.because)
    if sorted_out.stopped:
        text = f"detected change to stop file {_short(sorted_out.stopped[0], rules.base)!r}"
        return Refuse("UpdateStopped", text, paths, sorted_out.because)
    return None


def _steps(sorted_out: Mapped, container: Container) -> tuple[Step, ...]:
    files = (SyncFiles(container, sorted_out.copies),) if sorted_out.copies else ()
    steps: list[Step] = [*files, *run_steps(sorted_out.runs, container)]
    if sorted_out.restart:
        steps.append(RestartContainer(container))
    return tuple(steps)


def _covers(run: RunStep, path: str) -> bool:
    return not run.triggers or any(_takes(trigger, run.only, path) for trigger in run.triggers)


def _takes(above: str, only: Selection | None, path: str) -> bool:
    return is_below(path, above) and (only is None or selects(only, path))


def _short(path: str, base: str) -> str:
    return posixpath.relpath(path, base) if is_below(path, base) else path
