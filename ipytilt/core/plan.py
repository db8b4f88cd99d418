"""`plan(state, now) -> Plan`: what to start, what to cancel, and why everything else waits.

Pure; called on the controller thread after each batch of events, over the resources that may want something. The
order of `GUARDS` is the scheduling policy: the first reason to wait wins. A live update needs no slot and no guard
but its own; a refused one is not an exception but a full update whose cause says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ipytilt.core import claims, live, pods, reruns
from ipytilt.core.events import Source
from ipytilt.core.prune import Prune, due
from ipytilt.core.spec import ComposeBuild, CustomBuild, DockerBuild, Kubernetes, Local, Resource, TriggerMode
from ipytilt.core.state import (
    CATCH_UP,
    CONFIG,
    FILES,
    INITIAL,
    INITIAL_SYNC,
    RERUN,
    TILTFILE,
    Because,
    Cause,
    Hold,
    ImageTrack,
    Lane,
    Run,
    State,
    Track,
    image_watch,
    pending_files,
    sources_of,
    watches_of,
)
from ipytilt.core.steps import Apply, BuildImage, Built, CatchUp, Delete, ExecIn, ObjectRef, PublishImage, Step

SETTLE_SECONDS = 0.2
"""What was switched off stays up for so long, in case it is switched on again."""


@dataclass(frozen=True, slots=True)
class Update:
    """Start this: `branches` run side by side, each a sequence of steps."""

    run: int
    resource: str
    lane: Lane
    seq: int
    cause: Cause
    branches: tuple[tuple[Step, ...], ...]
    marks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def begun(self, now: float) -> Run:
        """The run this update becomes when it starts."""
        return Run(self.run, self.resource, self.lane, self.seq, self.cause, self.branches, self.marks, now)


@dataclass(frozen=True, slots=True)
class LoadTiltfile:
    """Evaluate these sources."""

    run: int
    sources: tuple[Source, ...]
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions: `idle` want nothing (the rest of the wanting are held), `wake_at` is when to look again."""

    load: LoadTiltfile | None = None
    prune: Prune | None = None
    updates: tuple[Update, ...] = ()
    cancel: frozenset[int] = frozenset()
    holds: Mapping[str, Hold] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A resource wants an update: the full one of `cause`, or live ones."""

    resource: Resource
    track: Track
    cause: Cause
    gos: tuple[live.Go, ...] = ()
    hold: Hold | None = None
    force: bool = False
    initial: bool = False
    not_before: float = 0.0


def plan(state: State, now: float) -> Plan:
    """What to do in this state at this time (seconds of the events' clock)."""
    if state.crash:
        return Plan(cancel=_cancelled(state))
    load = None
    run = state.next_run
    if state.load.stale and state.load.running is None:
        load = LoadTiltfile(run, state.load.wanted, state.load.args)
        run += 1
    wants = [want(state, resource, now) for resource in state.spec.in_order(state.wanting)]
    wanted = [w for w in wants if w is not None]
    board = _Board(state, now, run, wanting=frozenset(w.resource.name for w in wanted if not _needs_a_trigger(w)))
    board.take_down()
    board.start_live(wanted)
    board.start_full(wanted)
    names = {w.resource.name for w in wanted}
    prune, prune_at = due(state, now) if not board.updates else (None, None)
    times = [board.wake_at, prune_at, *(w.not_before for w in wanted)]
    return Plan(
        load=load,
        prune=prune,
        updates=tuple(board.updates),
        cancel=_cancelled(state),
        holds=board.holds,
        idle=frozenset(state.wanting - names - set(state.leaving)),
        wake_at=min((at for at in times if at and at > now), default=None),
    )


def want(state: State, resource: Resource, now: float) -> Want | None:
    """What this resource would do now if nothing held it; None when it needs nothing."""
    track = state.tracks[resource.name]
    if not state.enabled(resource.name) or state.down:
        return None
    if now < track.retry_at:
        hold = Hold("retrying", _retry_text(track))
        return Want(resource, track, track.retry_cause or Cause(), hold=hold, not_before=track.retry_at)
    if track.retry_cause is not None:
        return Want(resource, track, track.retry_cause)
    pending = pending_files(state, resource, track)
    flags = _flags(resource, track, pending)
    manual_live = resource.trigger_mode is TriggerMode.MANUAL and bool(pending)
    again = not pending and not track.config and any(t.unmet for t in track.containers.values())
    if track.deployed and (flags in ((), (FILES,)) or (track.asked and (manual_live or again))):
        verdict = _live(state, resource, track, pending)
        if verdict is not None:
            return verdict
    if not flags:
        return None
    force = track.asked is not None and (resource.trigger_mode is TriggerMode.AUTO or not pending) and track.deployed
    broken = (Because(f"a live update broke: {track.broken}"),) if track.broken else ()
    because = broken + (reruns.because(state, resource) if RERUN in flags else ())
    files = (*track.config_files, *pending)
    return Want(resource, track, Cause(flags, files, because), force=force, initial=INITIAL in flags)


def _flags(resource: Resource, track: Track, pending: tuple[str, ...]) -> tuple[str, ...]:
    flags = []
    if not track.started and resource.auto_init:
        flags.append(INITIAL)
    if (pending or track.broken) and (resource.trigger_mode is TriggerMode.AUTO or track.asked):
        flags.append(FILES)
    if track.config and track.started and (resource.trigger_mode is TriggerMode.AUTO or track.asked):
        flags.append(CONFIG)
    if track.rerun and (resource.trigger_mode is TriggerMode.AUTO or track.asked):
        flags.append(RERUN)
    if track.asked:
        flags.append(track.asked.by)
    return tuple(flags)


def _live(state: State, resource: Resource, track: Track, pending: tuple[str, ...]) -> Want | None:
    """Live updates that bring the containers up to date; a full one if the rules refuse; None if it is not for us."""
    images = live.live_images(state.spec, resource)
    covered = {image_watch(s) for ref in images for s in sources_of(state.spec, ref)}
    mine = set(pending)
    uncovered = [w for w in watches_of(resource) if w not in covered and mine & set(state.changes.get(w, {}))]
    if not images or (pending and uncovered):
        return None
    found = live.decisions(state, resource)
    manual = resource.trigger_mode is TriggerMode.MANUAL and track.asked is None
    flags: tuple[str, ...] = (FILES, track.asked.by) if track.asked else (FILES,)
    for decision in found:
        if isinstance(decision, live.Refuse) and mine & set(decision.files) and not manual:
            because = (*decision.because, Because(f"no live update: {decision.text}"))
            return Want(resource, track, Cause(flags, decision.files, because))
    gos = tuple(d for d in found if isinstance(d, live.Go))
    if gos:
        files = tuple(sorted({f for go in gos for f in go.files}))
        because = tuple(dict.fromkeys(b for go in gos for b in go.because))
        again = isinstance(gos[0].steps[0], ExecIn)
        if any(isinstance(go.steps[0], CatchUp) for go in gos):
            flags = (*(flags if files else flags[1:]), CATCH_UP)
        elif not files:
            flags = flags[1:] if again else (INITIAL_SYNC,)
        return Want(resource, track, Cause(flags, files, because), gos=gos)
    waits = [d for d in found if isinstance(d, live.Wait)]
    if waits:
        return Want(resource, track, Cause((FILES,), waits[0].files), hold=Hold(waits[0].reason, waits[0].text))
    return None


def _needs_a_trigger(one: Want) -> bool:
    return one.hold is not None and one.hold.reason == "Trigger"


def _retry_text(track: Track) -> str:
    error = track.last.error if track.last else ""
    return f"tries again by itself (attempt {track.attempts + 1}): {error}".rstrip(": ")


def _cancelled(state: State) -> frozenset[int]:
    load = {state.load.running} if state.load.cancelling and state.load.running is not None else set()
    return frozenset(load | {run.id for run in state.runs.values() if run.cancelling})


# ---------------------------------------------------------------------------------------------- the board


class _Board:
    """Scratch of one `plan` call: what runs already plus what this plan starts. Never outlives the call."""

    def __init__(self, state: State, now: float, run: int, *, wanting: frozenset[str]) -> None:
        self.state = state
        self.wanting = wanting
        self.now = now
        self.next_run = run
        self.updates: list[Update] = []
        self.holds: dict[str, Hold] = {}
        self.running: list[Run] = list(state.runs.values())
        self.wake_at: float | None = None

    def start(self, update: Update) -> None:
        self.updates.append(update)
        self.running.append(update.begun(self.now))
        self.next_run += 1

    def busy(self, name: str, *lanes: Lane) -> bool:
        return any(r.resource == name and (not lanes or r.lane in lanes) for r in self.running)

    def take_down(self) -> None:
        """Begin to take down what is leaving: dependants before what they depend on, in a circle all at once."""
        leaving = self.state.leaving
        going = [step.resource for r in self.running for b in r.branches for step in b if isinstance(step, Delete)]
        needed = {dep for r in (*leaving.values(), *going) for dep in r.resource_deps}
        ready = [name for name in leaving if not self._rests(name) and not self.busy(name)]
        is_circle = not going and len(ready) == len(leaving) and needed >= set(ready)
        for name in ready:
            if name not in needed or is_circle:
                steps = (_delete(self.state, leaving[name]),)
                self.start(Update(self.next_run, name, "down", self.state.seq, Cause(("Removed",)), (steps,)))
            else:
                self.holds[name] = Hold("taking-down", "what depends on it is taken down first", (name,))

    def _rests(self, name: str) -> bool:
        """Switched off a moment ago: somebody may switch it on again."""
        track = self.state.tracks.get(name)
        if track is None or not track.off_at or self.now >= track.off_at + SETTLE_SECONDS:
            return False
        self.wake_at = min(self.wake_at or math.inf, track.off_at + SETTLE_SECONDS)
        self.holds[name] = Hold("taking-down", "is switched off and about to be taken down", (name,))
        return True

    def start_live(self, wanted: Iterable[Want]) -> None:
        for one in wanted:
            name = one.resource.name
            if not one.gos or self.busy(name) or name in self.state.leaving:
                continue
            hold = another_session_holds_it(self, one) or my_cluster_is_away(self, one)
            if hold is not None:
                self.holds[name] = hold
                continue
            marks = {go.container.id: go.marks for go in one.gos}
            branches = tuple(go.steps for go in one.gos)
            self.start(Update(self.next_run, name, "live", self.state.seq, one.cause, branches, marks))

    def start_full(self, wanted: Iterable[Want]) -> None:
        for one in sorted((w for w in wanted if not w.gos), key=_rank):
            name = one.resource.name
            hold = one.hold or next((h for h in (guard(self, one) for guard in GUARDS) if h is not None), None)
            if hold is not None:
                self.holds[name] = hold
                continue
            self.start(Update(self.next_run, name, "full", self.state.seq, one.cause, (_full_steps(self.state, one),)))


def _rank(one: Want) -> tuple[int, int, int, float]:
    """First builds in Tilt's order, then triggers first come first served, then the oldest change."""
    if one.initial:
        target = one.resource.target
        kubernetes_rank = 1 if one.resource.name == "uncategorized" else 3 if one.resource.images else 2
        kind = 0 if isinstance(target, Local) else kubernetes_rank if isinstance(target, Kubernetes) else 3
        return (0, kind, 0, 0.0)
    if one.track.asked:
        return (1, 0, one.track.asked.seq, 0.0)
    return (2, 0, 0, one.track.pending_since)


def _full_steps(state: State, one: Want) -> tuple[Step, ...]:
    """Build what must be built, base images first, then deploy."""
    steps: list[Step] = []
    rebuilt: set[str] = set()
    reused: list[Built] = []
    target = one.resource.target
    registry = pods.registry_of(state) if isinstance(target, Kubernetes) else None
    arch = state.cluster.arch if isinstance(target, Kubernetes) and state.cluster else ""
    deployed = live.deployed_images(state.spec, one.resource)
    for ref in one.resource.images:
        if not _builds(state, ref):
            continue
        track = state.images.get(ref, ImageTrack())
        bases = state.spec.images[ref].depends_on
        newest = max(state.changes.get(image_watch(ref), {}).values(), default=0)
        good = None if newest > track.seq or one.force or rebuilt & set(bases) else track.built
        if good is None:
            rebuilt.add(ref)
        if good is None or isinstance(state.spec.images[ref].build, DockerBuild):  # what a command made is believed in
            known = ((b, state.images[b].built) for b in bases if b in state.images)
            local_refs = tuple((b, k.local_ref) for b, k in known if k)
            first = good is None and not one.track.deployed and not one.force
            found_in = one.resource if first and live.may_be_found(state.spec, one.resource, ref) else None
            steps.append(BuildImage(state.spec.images[ref], local_refs, good, registry, found_in, arch))
            if isinstance(target, Kubernetes) and ref in deployed:
                steps.append(PublishImage(state.spec.images[ref], target.context, registry))
        else:
            reused.append(good)
    if isinstance(target, Kubernetes):
        return (*steps, _apply(state, one, tuple(reused)))
    return (*steps, _bring_up(state, one, tuple(reused)))


def _bring_up(state: State, one: Want, reused: tuple[Built, ...]) -> Apply:
    """The deploy of a service; a container that was updated live stays if it can be compared with the files."""
    changed = [t for t in one.track.containers.values() if t.touched or t.unsure]
    lost = bool(changed) and (one.track.config > 0 or any(not t.container.running for t in changed))
    revive = not live.live_images(state.spec, one.resource)
    return Apply(one.resource, reused, bool(lost or one.track.broken or RERUN in one.cause.flags), revive, one.force)


def _apply(state: State, one: Want, reused: tuple[Built, ...]) -> Apply:
    """The deploy to a cluster at the end of a full update."""
    name, track = one.resource.name, one.track
    reruns, is_job = RERUN in one.cause.flags, pods.ends(one.resource)
    doubtful = (t.container.pod for t in track.containers.values() if t.trouble or track.broken)
    return Apply(
        one.resource,
        reused,
        force=one.force or (reruns and is_job),
        rules=tuple(state.spec.images[ref] for ref in one.resource.images),
        previous=track.objects,
        keep=_kept(state, name),
        pods=tuple(pod.key for pod in track.pods) if reruns and not is_job else tuple(dict.fromkeys(doubtful)),
        settings=state.spec.settings.update,
    )


def _delete(state: State, resource: Resource) -> Delete:
    also = state.down_also if state.down else ()
    return Delete(resource, _kept(state, resource.name), "namespaces" in also, "volumes" in also)


def _kept(state: State, name: str) -> tuple[ObjectRef, ...]:
    """What the other resources deploy to the cluster, those that stay."""
    others = (r for r in state.spec.resources if r.name != name and r.name not in state.leaving)
    return () if state.down else tuple(o for r in others if state.enabled(r.name) for o in pods.objects_of(r))


def _builds(state: State, ref: str) -> bool:
    """Built by a step of ours: not by Compose, and not merely synced into."""
    image = state.spec.images.get(ref)
    if image is None or isinstance(image.build, ComposeBuild):
        return False
    return not (isinstance(image.build, CustomBuild) and image.build.live_update_only)


# ---------------------------------------------------------------------------------------------- guards

Guard: TypeAlias = Callable[[_Board, Want], Hold | None]


def tiltfile_is_stale(board: _Board, one: Want) -> Hold | None:  # noqa: ARG001 - one signature for all guards
    """A Tiltfile that is about to run may change what is wanted."""
    if board.state.load.stale or board.state.load.running is not None:
        return Hold("tiltfile-reload", "the Tiltfile is about to be evaluated", (TILTFILE,))
    return None


def another_session_holds_it(board: _Board, one: Want) -> Hold | None:
    """Two sessions that act on the same containers would undo each other's work."""
    text = claims.others(board.state.claims, one.resource)
    return Hold(claims.HELD, text, (claims.scope_of(one.resource),)) if text else None


def it_is_being_taken_down(board: _Board, one: Want) -> Hold | None:
    """What was deployed under this name has to go first."""
    if one.resource.name in board.state.leaving or board.busy(one.resource.name, "down"):
        return Hold("taking-down", "what was deployed before is being taken down", (one.resource.name,))
    return None


def a_serial_local_runs(board: _Board, one: Want) -> Hold | None:
    """A local command that is not parallel-safe has the machine for itself."""
    for run in board.running:
        if run.resource != one.resource.name and _is_serial(board.state.spec.resource(run.resource)):
            return Hold("waiting-for-local", f"local resource {run.resource} runs alone", (run.resource,))
    return None


def i_am_serial_and_something_runs(board: _Board, one: Want) -> Hold | None:
    """A local command that is not parallel-safe starts when nothing else is updating."""
    others = tuple(r.resource for r in board.running if r.resource != one.resource.name)
    if others and _is_serial(one.resource):
        return Hold("is-unparallelizable-local", "runs alone, waits for all other updates", others)
    return None


def uncategorized_is_applying(board: _Board, one: Want) -> Hold | None:
    """Objects without a resource of their own go first."""
    if one.resource.kind == "kubernetes" and board.busy("uncategorized") and one.resource.name != "uncategorized":
        return Hold("waiting-for-uncategorized", "objects without a resource are being applied", ("uncategorized",))
    return None


def a_part_of_me_is_building(board: _Board, one: Want) -> Hold | None:
    """This resource, or an image it shares and needs anew, is in somebody's update."""
    if board.busy(one.resource.name):
        return Hold("building-component", "its previous update is still running", (one.resource.name,))
    building = {
        step.image.ref
        for r in board.running
        for branch in r.branches
        for step in branch
        if isinstance(step, BuildImage) and step.unless is None
    }
    shared = tuple(ref for ref in one.resource.images if ref in building)
    return Hold("building-component", "a shared image is being built", shared) if shared else None


def my_deps_are_not_ready(board: _Board, one: Want) -> Hold | None:
    """The first update of a resource waits until each of its resource_deps was ready once."""
    if one.track.started:
        return None
    tracks = board.state.tracks
    unmet = tuple(d for d in one.resource.resource_deps if d in tracks and not tracks[d].was_ready)
    return Hold("waiting-for-dep", f"waits for {', '.join(unmet)} to be ready", unmet) if unmet else None


def my_deps_are_updating(board: _Board, one: Want) -> Hold | None:
    """What runs again with its deps waits for all that is going on below it, so that it runs once and with the new."""
    if one.initial or one.track.asked or not reruns.deps_of(board.state, one.resource):
        return None
    below = reruns.deps_below(board.state.spec, one.resource)
    at_work = tuple(name for name in below if board.busy(name) or name in board.wanting)
    if at_work:
        return Hold("waiting-for-dep", f"runs when the update of {', '.join(at_work)} is done", at_work)
    unready = reruns.unready(board.state, one.resource)
    return Hold("waiting-for-dep", f"runs again when {', '.join(unready)} is ready", unready) if unready else None


def my_cluster_is_away(board: _Board, one: Want) -> Hold | None:
    """The engine that deploys this kind does not answer."""
    unknown = "connecting to the cluster" if isinstance(one.resource.target, Kubernetes) else ""
    problem = board.state.engines.get(one.resource.kind, unknown)
    return Hold("waiting-for-cluster", problem, (one.resource.kind,)) if problem else None


def no_free_slot(board: _Board, one: Want) -> Hold | None:  # noqa: ARG001 - one signature for all guards
    """`max_parallel_updates` are running."""
    limit = board.state.spec.settings.update.max_parallel_updates
    names = tuple(r.resource for r in board.running)
    return Hold("no-free-slot", f"{limit} updates run at once", names) if len(names) >= limit else None


GUARDS: tuple[Guard, ...] = (
    tiltfile_is_stale,
    another_session_holds_it,
    it_is_being_taken_down,
    a_serial_local_runs,
    i_am_serial_and_something_runs,
    uncategorized_is_applying,
    my_cluster_is_away,
    a_part_of_me_is_building,
    my_deps_are_not_ready,
    my_deps_are_updating,
    no_free_slot,
)
"""The scheduling policy: the first answer wins."""


def _is_serial(resource: Resource | None) -> bool:
    return (
        resource is not None
        and isinstance(resource.target, Local)
        and resource.target.cmd is not None
        and not resource.target.allow_parallel
    )
