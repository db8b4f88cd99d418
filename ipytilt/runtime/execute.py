"""One update -> engine calls -> one outcome.

Runs on the worker thread of the update (`ipytilt-run-N`); an update with several branches runs all but the first on
threads of its own. Every error becomes data here: engines raise, the controller only ever sees an `Outcome`.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from ipytilt.core.events import ErrorInfo, Failed, Ok, Outcome, Stopped
from ipytilt.core.live import command_text, mapped, run_steps
from ipytilt.core.paths import Matcher
from ipytilt.core.plan import Update
from ipytilt.core.spec import DockerBuild, Image, Kind, LiveUpdate, RunStep
from ipytilt.core.steps import (
    Applied,
    Apply,
    BuildImage,
    Built,
    CatchUp,
    Container,
    Copy,
    Delete,
    ExecIn,
    PublishImage,
    RestartContainer,
    Step,
    SyncAll,
    SyncFiles,
)
from ipytilt.engines.base import ClusterEngine, ContainerEngine, Containers, Deployer, LocalEngineLike, Work
from ipytilt.engines.context import readable, walk
from ipytilt.errors import Broke, Cancelled, Rejected, TiltError, Unavailable
from ipytilt.runtime.earlier import Earlier, context_files
from ipytilt.runtime.ledger import Ledger

_SHOWN_FILES = 20
_SIGKILLED = 137  # a run step that ends like this was killed with its container


@dataclass(frozen=True, slots=True)
class Engines:
    """What a session runs on: the host itself, one container engine, and the clusters of its user.

    The host needs no connection. `connect` is asked for the other two whenever one of them is needed: it may block, and
    raises TiltError.
    """

    local: LocalEngineLike
    connect: Callable[[], tuple[ContainerEngine, ClusterEngine]]

    @property
    def containers(self) -> ContainerEngine:
        """What builds images and runs Compose services."""
        return self.connect()[0]

    @property
    def clusters(self) -> ClusterEngine:
        """What deploys to Kubernetes."""
        return self.connect()[1]

    def inside(self, container: Container) -> Containers:
        """Who acts inside this container."""
        return self.clusters if container.kind == "kubernetes" else self.containers

    def deployer(self, kind: Kind) -> Deployer:
        """Who deploys resources of this kind."""
        match kind:
            case "local":
                return self.local
            case "compose":
                return self.containers
            case "kubernetes":
                return self.clusters


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept for sessions to come: what was brought into containers, and what images were built of.

    `finds_images`: this session goes on with what an earlier one built; one that is to judge builds all anew.
    """

    ledger: Ledger
    images: Earlier
    finds_images: bool = True


StepStartedHook = Callable[[int, str], None]
"""`hook(index, title)`, called when a step of the first branch begins."""


@dataclass(slots=True)
class _Yield:
    """What a branch has achieved so far."""

    built: list[Built] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    times: list[tuple[str, float]] = field(default_factory=list)
    user_error: str = ""
    unmet: tuple[tuple[str, ...], ...] = ()
    error: BaseException | None = None
    container: str = ""


def perform(
    update: Update, engines: Engines, work: Work, *, on_step: StepStartedHook, directory: str, memory: Memory
) -> tuple[Outcome, tuple[tuple[str, float], ...]]:
    """Carry the update out; never raises. Returns the outcome and what each step took, in seconds.

    Log lines show paths below `directory` relative to it; `memory` is told what other sessions should know.
    """
    branches = [
        _Branch(update, steps, engines, work=work, directory=directory, memory=memory) for steps in update.branches
    ]
    threads = [
        threading.Thread(target=b.run, args=(lambda *_: None,), name=f"ipytilt-run-{update.run}-{i}", daemon=True)
        for i, b in enumerate(branches[1:], 1)
    ]
    for thread in threads:
        thread.start()
    for branch in branches[:1]:
        branch.run(on_step)
    for thread in threads:
        thread.join()
    yields = [b.result for b in branches]
    times = tuple(t for y in yields for t in y.times)
    return _outcome(update, yields), times


def _outcome(update: Update, yields: list[_Yield]) -> Outcome:
    built = tuple(b for y in yields for b in y.built)
    containers = tuple(update.marks)
    failed = next((y for y in yields if y.error is not None), None)
    if failed is None:
        user_error = next((y.user_error for y in yields if y.user_error), "")
        unmet = tuple((c, y.unmet) for c, y in zip(containers, yields, strict=False) if y.unmet)
        return Ok(built, tuple(a for y in yields for a in y.applied), user_error, unmet)
    error = failed.error
    if isinstance(error, Cancelled):
        return Stopped(built)
    synced = tuple(c for c, y in zip(containers, yields, strict=False) if y.error is None)
    kind = kind_of(error)
    return Failed(info_of(error), kind, built, synced, failed.container)


def kind_of(error: BaseException | None) -> Literal["rejected", "unavailable", "broke", "bug"]:
    """What an error means for what happens next (see `Failed`)."""
    match error:
        case Unavailable():
            return "unavailable"
        case Broke():
            return "broke"
        case TiltError():
            return "rejected"
        case _:
            return "bug"


def info_of(error: BaseException | None) -> ErrorInfo:
    """An error as data; what is not one of ours is reported as a bug, with its trace."""
    if isinstance(error, TiltError):
        return ErrorInfo(error.message, error.hint, error.where, error.render())
    trace = "".join(traceback.format_exception(error)) if error else ""
    text = f"This is a bug in ipytilt: {type(error).__name__}: {error}"
    return ErrorInfo(text, "report it with the log of the resource", text=text, trace=trace)


class _Branch:
    """A sequence of steps on one thread."""

    def __init__(
        self,
        update: Update,
        steps: tuple[Step, ...],
        engines: Engines,
        *,
        work: Work,
        directory: str,
        memory: Memory,
    ) -> None:
        self._update = update
        self._steps = steps
        self._engines = engines
        self._work = work
        self._memory = memory
        self._prefix = directory.rstrip("/") + "/"
        self.result = _Yield()

    def run(self, on_step: StepStartedHook) -> None:
        """Run to the end or to the first failure; the error is kept, not raised."""
        live = self._update.lane == "live"
        count = len(self._steps)
        try:
            for index, step in enumerate(self._steps):
                self._work.check()
                title = title_of(step)
                on_step(index, title)
                if not live:
                    self._work.log(f"STEP {index + 1}/{count} — {title}")
                began = time.monotonic()
                go_on = self._step(step)
                self.result.times.append((title, time.monotonic() - began))
                if not go_on:
                    left = self._steps[index:]
                    self.result.unmet = self.result.unmet or tuple(s.argv for s in left if isinstance(s, ExecIn))
                    return
            self._epilogue(live=live)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it becomes the run's one outcome
            self.result.error = error

    def _epilogue(self, *, live: bool) -> None:
        if live:
            for step in self._steps[:1]:
                if isinstance(step, SyncFiles | SyncAll | CatchUp | ExecIn | RestartContainer):
                    self._work.log(f"  → Container {step.container.name} updated!")
            return
        for index, (title, took) in enumerate(self.result.times, 1):
            self._work.log(f"     Step {index} - {took:.2f}s ({title})")
        self._work.log(f"     DONE IN: {sum(t for _, t in self.result.times):.2f}s")

    def _step(self, step: Step) -> bool:
        """Carry one step out; False ends the branch without an error of ours."""
        work, engines = self._work, self._engines
        match step:
            case BuildImage():
                self.result.built.append(self._built(step))
            case PublishImage():
                self._publish(step)
            case Apply():
                deployer = self._engines.deployer(step.resource.kind)
                images = (*step.images, *self.result.built)
                self.result.applied.append(deployer.apply(replace(step, images=images), work))
            case Delete():
                self._engines.deployer(step.resource.kind).delete(step, work)
            case SyncFiles():
                self._announce(step.container.name, step.copies)
                self._send(step.container, step.copies)
            case SyncAll():
                return self._fill(step)
            case CatchUp():
                return self._catch_up(step)
            case ExecIn():
                return self._exec(step)
            case RestartContainer():
                with _in_container(self.result, step.container.id):
                    engines.inside(step.container).restart(step.container, work)
            case _:
                assert_never(step)
        return True

    def _fill(self, step: SyncAll) -> bool:
        """Send all there is below the sync sources, then run what its files trigger."""
        self._work.log(f"Initial sync: will copy sync paths to container: {step.container.name}")
        for sync in step.rules.syncs:
            self._work.log(f"- '{sync.local.removeprefix(self._prefix)}' --> '{sync.container}'")
            if not os.path.lexists(sync.local):
                self._work.log(f"{sync.local} does not exist", "warning")
        sorted_out = mapped(step.rules, _below(step.rules, Matcher(step.ignores), directories=False))
        if sorted_out.stopped:
            text = f"initial_sync() would copy the stop file {sorted_out.stopped[0]}"
            raise Rejected(text, engine="local", hint="leave it out of the sync, or take it out of fall_back_on()")
        self._send(step.container, sorted_out.copies)
        return self._run_steps(sorted_out.runs, step.container)

    def _catch_up(self, step: CatchUp) -> bool:
        """Send what differs and nothing else, then run what that triggers, and what has to run anyway."""
        where, inside = step.container, self._engines.inside(step.container)
        rules = step.image.live_update or LiveUpdate(base="/")
        self._work.log(f"Catching up: comparing container {where.name} with the files here")
        matcher = Matcher(step.ignores)
        brought = self._memory.ledger.brought(where.id) | self._memory.images.gone(step.image, where.image)
        lost = {path for path in brought if not os.path.lexists(path) and not matcher.ignores(path)}
        here = _below(rules, matcher, directories=True)
        sorted_out = mapped(rules, tuple(sorted(lost.union(here, step.changed))))
        stopped = set(sorted_out.stopped)
        with _in_container(self.result, where.id):
            able = tuple(copy for copy in sorted_out.copies if copy.local not in stopped)
            copies = inside.differing(where, able, self._work)
        if copies:
            self._announce(where.name, copies)
            self._send(where, copies)
        else:
            self._work.log(f"No file of container {where.name} differs")
        changed = tuple(sorted({copy.local for copy in copies}.union(step.changed)))
        due = mapped(rules, changed, step.unmet)
        if not self._run_steps(due.runs, where):
            return False
        if due.restart and (changed or due.runs):
            with _in_container(self.result, where.id):
                inside.restart(where, self._work)
        return True

    def _send(self, where: Container, copies: tuple[Copy, ...]) -> None:
        inside = self._engines.inside(where)
        if inside.lasting:
            self._memory.ledger.later(self._update.resource, where.id, [copy.local for copy in copies])
        with _in_container(self.result, where.id):
            inside.sync(where, copies, self._work)

    def _run_steps(self, steps: tuple[RunStep, ...], where: Container) -> bool:
        """Run commands until one fails; False if one did."""
        runs = run_steps(steps, where)
        for index, run in enumerate(runs):
            if not self._exec(run):
                self.result.unmet = tuple(left.argv for left in runs[index:])
                return False
        return True

    def _announce(self, name: str, copies: tuple[Copy, ...]) -> None:
        """Say what goes and what comes, as the disk is now."""
        gone: list[Copy] = []
        here: list[Copy] = []
        for copy in copies:
            try:
                mode = os.lstat(copy.local).st_mode
            except OSError:
                gone.append(copy)
                continue
            if not (stat.S_ISDIR(mode) and _has_entries(copy.local)):
                here.append(copy)
        lines: list[str] = []
        if gone:
            lines.append(f"Will delete {len(gone)} file(s) from container: {name}")
            lines += [
                f"- '{copy.container}' (matched local path: '{self._short(copy)}')" for copy in gone[:_SHOWN_FILES]
            ]
        if here:
            lines.append(f"Will copy {len(here)} file(s) to container: {name}")
            lines += [f"- '{self._short(copy)}' --> '{copy.container}'" for copy in here[:_SHOWN_FILES]]
        self._work.log("\n".join(lines))

    def _short(self, copy: Copy) -> str:
        return copy.local.removeprefix(self._prefix)

    def _built(self, step: BuildImage) -> Built:
        containers = self._engines.containers
        if step.unless is not None and containers.has(step.unless):
            return step.unless
        if step.unless is not None:
            self._work.log(f"Rebuilding {step.image.ref} because image not found in image store")
        found = self._found(step)
        return found or self._noted(step.image, lambda: containers.build(self._with_bases(step), self._work))

    def _found(self, step: BuildImage) -> Built | None:
        """What an earlier session built, if its container can stay."""
        if step.found_in is None or not self._memory.finds_images:
            return None
        with suppress(OSError):  # what cannot be read is for the build to say
            found = self._memory.images.usable(step.image, self._engines.containers.found(step.found_in))
            if found is not None:
                text = "live updates bring what has changed since" if found.stale else "nothing has changed since"
                self._work.log(f"The container of an earlier session stays, with its image {found.local_ref}: {text}")
            return found
        return None

    def _noted(self, image: Image, build: Callable[[], Built]) -> Built:
        """Build, and note for later sessions what was built of what."""
        last = self._steps[-1]
        if not (image.live_update and isinstance(image.build, DockerBuild) and self._engines.containers.lasting):
            return build()
        if not isinstance(last, Apply) or last.resource.kind != "compose":
            return build()
        try:
            files = context_files(image)
        except OSError:
            return build()  # which says what cannot be read
        built = build()
        try:
            self._memory.images.note(image, built, files)
        except OSError as error:
            self._work.log(f"cannot note what {image.ref} was built of, for a later session: {error}", "debug")
        return built

    def _publish(self, step: PublishImage) -> None:
        """Make the image this update has just built known to the cluster; one that was there before still is."""
        index, built = next((i, b) for i, b in enumerate(self.result.built) if b.ref == step.image.ref)
        if not built.cluster_ref:
            self.result.built[index] = self._engines.clusters.publish(step, built, self._work)

    def _with_bases(self, step: BuildImage) -> BuildImage:
        """Bases built a moment ago take the place of older ones."""
        bases = dict(step.bases) | {b.ref: b.local_ref for b in self.result.built if b.ref in step.image.depends_on}
        return replace(step, bases=tuple(bases.items()))

    def _exec(self, step: ExecIn) -> bool:
        text = command_text(step.argv)
        if not step.echo_off:
            self._work.log(f"[CMD {step.index}/{step.count}] {text}")
        with _in_container(self.result, step.container.id):
            code = self._engines.inside(step.container).exec(step.container, step.argv, self._work)
            if code == _SIGKILLED:
                raise Broke(f"{text!r} was killed", engine=step.container.kind, doing="live update")
        if code != 0:
            name = step.container.name
            self.result.user_error = f"command {text!r} failed with exit code: {code}"
            self._work.log(f"  → Failed to update container {name}: {self.result.user_error}", "error")
        return code == 0


class _in_container:  # noqa: N801 - reads as a statement: with _in_container(result, id)
    """Remembers in which container an error happened, unless it was the local side's fault or the world's."""

    def __init__(self, result: _Yield, container: str) -> None:
        self._result = result
        self._container = container

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Broke) or (isinstance(error, Rejected) and error.engine != "local"):
            self._result.container = self._container


def _below(rules: LiveUpdate, matcher: Matcher, *, directories: bool) -> tuple[str, ...]:
    """What is below the sync sources and not ignored, sorted; with or without the directories."""
    found: set[str] = set()
    for sync in rules.syncs:
        if not sync.directory:
            found.update([sync.local] if os.path.lexists(sync.local) else [])
        elif os.path.lexists(sync.local):
            with readable("local"):
                found.update(one.path for one in walk(sync.local, matcher) if directories or not one.is_directory)
    return tuple(sorted(found))


def _has_entries(path: str) -> bool:
    """A directory with something in it: its entries are reported one by one, those that are not ignored."""
    try:
        return bool(os.listdir(path))
    except OSError:
        return False


def title_of(step: Step) -> str:
    """What a step is called in logs and histories."""
    match step:
        case BuildImage(unless=Built()):
            return f"Loading cached image: [{step.image.ref}]"
        case BuildImage():
            verb = "Building Dockerfile" if isinstance(step.image.build, DockerBuild) else "Building Custom Build"
            return f"{verb}: [{step.image.ref}]"
        case PublishImage():
            return f"Pushing {step.image.ref}"
        case Apply():
            return "Running command" if step.resource.kind == "local" else "Deploying"
        case Delete():
            return "Deleting"
        case CatchUp():
            return "Comparing files"
        case SyncFiles() | SyncAll():
            return "Syncing files"
        case ExecIn():
            return f"[CMD {step.index}/{step.count}] {command_text(step.argv)}"
        case RestartContainer():
            return "Restarting container"
        case _:
            assert_never(step)
