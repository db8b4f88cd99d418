"""A tiny world for tests of the core: specs in one line, and a simulator that plays the outside world.

`World` feeds events to `reduce`, plans after each one as the controller does, and finishes the updates that were
started when told to; so a test reads as what a user sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core.paths import is_below
from ipytilt.core.plan import Plan, Update, plan
from ipytilt.core.pods import objects_of
from ipytilt.core.reduce import reduce
from ipytilt.core.reduce_run import planned
from ipytilt.core.spec import (
    Command,
    Compose,
    ComposeProject,
    DockerBuild,
    Image,
    Kubernetes,
    LiveUpdate,
    Local,
    Origin,
    Resource,
    RunStep,
    Spec,
    StopPath,
    Sync,
    TriggerMode,
)
from ipytilt.core.state import Record, State, Track, image_watch, local_watch
from ipytilt.core.steps import Applied, Apply, BuildImage, Built, Container, Pod, SyncFiles

ROOT = "/p"
PROJECT = ComposeProject("p", (f"{ROOT}/docker-compose.yml",), ROOT)


def at(line: int) -> Origin:
    """A line of the Tiltfile."""
    return Origin(f"{ROOT}/Tiltfile", line, 1)


def rules(
    *syncs: tuple[str, str],
    runs: Iterable[tuple[str, tuple[str, ...]]] = (),
    stop: Iterable[str] = (),
    restart: bool = False,
) -> LiveUpdate:
    """Live-update rules; relative paths are below the root, line numbers count from 10."""
    lines = itertools.count(10)
    return LiveUpdate(
        base=ROOT,
        stop_paths=tuple(StopPath(f"{ROOT}/{p}", at(next(lines))) for p in stop),
        syncs=tuple(Sync(_path(local), target, at(next(lines))) for local, target in syncs),
        runs=tuple(
            RunStep(("sh", "-c", c), tuple(_path(t) for t in triggers), origin=at(next(lines))) for c, triggers in runs
        ),
        restart=restart,
        origin=at(9),
    )


def image(ref: str, context: str = ".", *, live: LiveUpdate | None = None, bases: tuple[str, ...] = ()) -> Image:
    """An image built from a context below the root."""
    build = DockerBuild(_path(context), "FROM scratch", f"{_path(context)}/Dockerfile")
    return Image(ref, build, watched=(_path(context),), live_update=live, depends_on=bases, origin=at(1))


def service(name: str, *images: str, **options: object) -> Resource:
    """A Compose service that runs the last of the images."""
    target = Compose(PROJECT, name, image=images[-1] if images else "", image_built=images[-1] if images else "")
    return replace(Resource(name, target, images=images, origin=at(2)), **options)  # type: ignore[arg-type]


def local(
    name: str, *, deps: tuple[str, ...] = (), serve: bool = False, parallel: bool = False, **options: object
) -> Resource:
    """A local resource with a command (`serve`: only a server)."""
    command = Command(("sh", "-c", name), ROOT)
    target = Local(
        cmd=None if serve else command,
        serve=command if serve else None,
        deps=tuple(_path(d) for d in deps),
        allow_parallel=parallel,
    )
    return replace(Resource(name, target, origin=at(3)), **options)  # type: ignore[arg-type]


def spec(*resources: Resource, images: Iterable[Image] = (), enabled: Iterable[str] | None = None) -> Spec:
    """A spec with these resources, all enabled unless told otherwise."""
    names = frozenset(r.name for r in resources) if enabled is None else frozenset(enabled)
    return Spec(resources=resources, images={i.ref: i for i in images}, enabled=names)


MANUAL = TriggerMode.MANUAL


class World:
    """A session without threads: what it wants is in `state`, what it started in `started`."""

    def __init__(self, wanted: Spec) -> None:
        self.now = 100.0
        self.state = State(engines={"kubernetes": ""})
        self.started: dict[int, Update] = {}
        self.history: list[Update] = []
        self.plan = Plan()
        self._tickets = itertools.count(1)
        self._ids = itertools.count(1)
        self._containers: dict[str, Container] = {}
        self.load(wanted)

    def post(self, event: ev.Event) -> None:
        """Reduce, plan, begin: one turn of the controller."""
        self.state = reduce(self.state, event)
        self.turn()

    def turn(self) -> None:
        """Plan and begin."""
        self.plan = plan(self.state, self.now)
        self.state = planned(self.state, self.plan, self.now)
        if self.plan.load:
            self.state = reduce(self.state, ev.LoadStarted(self.plan.load.run, self.now))
        for update in self.plan.updates:
            self.started[update.run] = update
            self.history.append(update)

    def load(self, wanted: Spec | None, error: str = "") -> None:
        """Evaluate: a cell ran and this is what it asks for."""
        self.tick()
        source = ev.Source("cell:1", "Cell 1", ROOT, "text")
        self.post(ev.SourcePut(source, next(self._tickets), self.now))
        run = self.state.load.running
        assert run is not None
        info = ev.ErrorInfo(error) if error else None
        self.post(ev.LoadFinished(run, wanted, info, (f"{ROOT}/Tiltfile",), self.now))

    def tick(self, seconds: float = 1.0) -> None:
        """Time passes."""
        self.now += seconds

    def save(self, *paths: str) -> None:
        """Files below the root are saved: every watch that covers them reports."""
        self.tick()
        found = [f"{ROOT}/{p}" for p in paths]
        for name in self._watches(found):
            self.post(ev.FilesChanged(name, tuple(found), self.now))

    def _watches(self, paths: list[str]) -> list[str]:
        """The watches that cover any of the paths."""
        images = self.state.spec.images.values()
        names = [image_watch(i.ref) for i in images if any(is_below(p, root) for p in paths for root in i.watched)]
        for resource in self.state.spec.resources:
            deps = resource.target.deps if isinstance(resource.target, Local) else ()
            if any(is_below(path, dep) for path in paths for dep in deps):
                names.append(local_watch(resource.name))
        return names

    def trigger(self, name: str) -> None:
        """Somebody clicks."""
        self.tick()
        self.post(ev.Triggered(name, "Web Trigger", self.now))

    def switch(self, name: str, *, on: bool) -> None:
        """Somebody switches a resource on or off, and lets it rest."""
        self.post(ev.Enabled((name,), on, self.now))
        self.tick()
        self.turn()

    def finish(self, resource: str, outcome: ev.Outcome | None = None) -> Update:
        """The running update of a resource ends: well, unless told otherwise."""
        self.tick()
        run = next(r for r, u in self.started.items() if u.resource == resource)
        update = self.started.pop(run)
        self.post(ev.UpdateFinished(run, outcome or self.success(update), self.now))
        return update

    def success(self, update: Update) -> ev.Ok:
        """What an engine that does its job reports."""
        steps = [step for branch in update.branches for step in branch]
        built = tuple(
            s.unless or Built(s.image.ref, f"{s.image.ref}:{update.run}") for s in steps if isinstance(s, BuildImage)
        )
        applied: tuple[Applied, ...] = ()
        for step in steps:
            if isinstance(step, Apply) and isinstance(step.resource.target, Compose):
                known = self._containers.get(update.resource)
                stays = known is not None and not (built or step.recreate or step.force)
                if known is None or not stays:
                    known = Container(f"c{next(self._ids)}", f"{update.resource}-1", update.resource, "running")
                self._containers[update.resource] = known
                applied = (Applied(update.resource, (known,), kept=(known.id,) if stays else ()),)
            if isinstance(step, Apply) and isinstance(step.resource.target, Kubernetes):
                applied = (Applied(update.resource, objects=objects_of(step.resource)),)
        return ev.Ok(built, applied)

    def see(self, resource: str, *containers: Container) -> None:
        """The engine reports a resource's containers."""
        self.tick()
        self.post(ev.RuntimeSeen(resource, containers, self.now))

    def see_pods(self, resource: str, *pods: Pod) -> None:
        """The cluster reports a resource's pods."""
        self.tick()
        self.post(ev.PodsSeen(resource, pods, self.now))

    def container(self, resource: str) -> Container:
        """The container a resource runs in."""
        return self._containers[resource]

    def settle(self) -> None:
        """Everything that is started ends well, until nothing is running."""
        for _ in range(100):
            if not self.started:
                return
            self.finish(next(iter(self.started.values())).resource)
        raise AssertionError(f"does not come to rest: {self.state!r}")

    def track(self, resource: str) -> Track:
        """What is known of a resource."""
        return self.state.tracks[resource]

    def last(self, resource: str) -> Record:
        """The newest finished update of a resource."""
        record = self.state.tracks[resource].last
        assert record is not None
        return record

    def loading(self) -> int:
        """The number of the load that is running."""
        assert self.state.load.running is not None
        return self.state.load.running

    def lanes(self) -> list[tuple[str, str]]:
        """(resource, lane) of what runs now, in the order it was started."""
        return [(u.resource, u.lane) for u in self.started.values()]


def applied(update: Update) -> Apply:
    """The deploy at the end of a full update."""
    step = update.branches[0][-1]
    assert isinstance(step, Apply)
    return step


def synced(update: Update) -> SyncFiles:
    """The copy at the start of a live update."""
    step = update.branches[0][0]
    assert isinstance(step, SyncFiles)
    return step


def failed(text: str = "no", kind: str = "rejected", container: str = "") -> ev.Failed:
    """An outcome."""
    return ev.Failed(ev.ErrorInfo(text), kind, container=container)  # type: ignore[arg-type]


def _path(relative: str) -> str:
    return ROOT if relative == "." else f"{ROOT}/{relative}"
