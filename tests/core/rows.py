"""The rows of the behaviour table: how one is told, and what several of them start from.

A row is a function with the row's number; `test_behaviour` plays them all. `better` says where we deliberately do
better than Tilt, `also` names the tests that show the part of a row that needs a disk, processes or an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ipytilt.core.explain import what_if
from ipytilt.core.paths import Matcher
from ipytilt.core.plan import Update
from ipytilt.core.spec import Kubernetes, LiveUpdate, Resource, Spec
from ipytilt.core.status import runtime_status, update_status
from ipytilt.core.steps import BuildImage, ExecIn, SyncFiles
from tests.support.core import ROOT as HERE
from tests.support.core import World, image, rules, service, spec
from tests.tiltfile.evaluated import ROOT, evaluate

COMPOSE = {"docker-compose.yml": "services: {web: {image: web}}"}
WEB = "docker_compose('docker-compose.yml')\n"

FX_A = rules(
    ("src", "/app/src"),
    runs=[("pip check", ("src/setup.py",)), ("touch /app/reload", ())],
    stop=["requirements.txt"],
)
FX_B = rules(("api", "/app"), runs=[("make", ())], restart=True)
FX_D = (image("base", "base"), image("web", "web", live=rules(("web", "/web"), ("base", "/base")), bases=("base",)))


@dataclass(frozen=True)
class Row:
    """One row: its number, what is played, in what we do better, and where the rest of it is shown."""

    number: str
    play: Callable[[], None]
    better: str = ""
    also: tuple[str, ...] = ()


ROWS: dict[str, Row] = {}


def row(
    number: int | str, *, better: str = "", also: tuple[str, ...] = ()
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function as what shows the row of this number."""

    def register(play: Callable[[], None]) -> Callable[[], None]:
        key = str(number)
        assert key not in ROWS, f"row {key} is told twice"
        ROWS[key] = Row(key, play, better, also)
        return play

    return register


# ---------------------------------------------------------------------------------------------- worlds


def running(live: LiveUpdate | None = FX_A, **options: object) -> World:
    """A service that was built, with these rules, from the folder of the Tiltfile, and is up."""
    world = World(spec(service("web", "web", **options), images=[image("web", live=live)]))
    world.settle()
    return world


def plain() -> World:
    """As `running`, without live update."""
    return running(None)


def kubernetes(name: str, *images: str, **target: object) -> Resource:
    """A Kubernetes resource."""
    return Resource(name, Kubernetes(**target), images=images)  # type: ignore[arg-type]


def at_rest(*resources: Resource, **options: object) -> World:
    """A world in which all first updates went well."""
    world = World(spec(*resources, **options))  # type: ignore[arg-type]
    world.settle()
    return world


# ---------------------------------------------------------------------------------------------- what is going on


def only(world: World) -> Update:
    """The one update that is running."""
    (update,) = world.started.values()
    return update


def sent(world: World) -> list[tuple[str, str]]:
    """What the running live update sends: (path below the root, container path)."""
    steps = [step for branch in only(world).branches for step in branch]
    return [
        (c.local.removeprefix(f"{HERE}/"), c.container) for s in steps if isinstance(s, SyncFiles) for c in s.copies
    ]


def targets(world: World) -> list[str]:
    """Where in the container the running live update writes."""
    return [target for _, target in sent(world)]


def commands(world: World) -> list[str]:
    """What the running live update runs in the container."""
    return [s.argv[-1] for branch in only(world).branches for s in branch if isinstance(s, ExecIn)]


def built(update: Update) -> list[str]:
    """The images an update builds, in order."""
    steps = [step for branch in update.branches for step in branch if isinstance(step, BuildImage)]
    return [step.image.ref for step in steps if step.unless is None]


def reused(update: Update) -> list[str]:
    """The images an update takes as they are, as long as they are there."""
    steps = [step for branch in update.branches for step in branch if isinstance(step, BuildImage)]
    return [step.unless.ref for step in steps if step.unless is not None]


def held(world: World, name: str) -> str:
    """The reason a resource waits."""
    return world.state.holds[name].reason if name in world.state.holds else ""


def words(world: World, name: str) -> tuple[str, str]:
    """The words for update and runtime."""
    resource = world.state.spec.resource(name)
    assert resource is not None
    return update_status(world.state, resource).word, runtime_status(world.state, resource).word


# ---------------------------------------------------------------------------------------------- Tiltfiles


def asked_for(text: str, files: Mapping[str, str] | None = None, args: tuple[str, ...] = ()) -> Spec:
    """What a Tiltfile beside a Compose file asks for."""
    return evaluate(text, {**COMPOSE, **(files or {})}, args).spec


def effect(text: str, path: str, files: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a change of the file would do, once everything the Tiltfile asks for is up: resource -> action."""
    loaded = evaluate(text, {**COMPOSE, **(files or {})})
    state = World(loaded.spec).state
    answer = what_if(replace(state, load=replace(state.load, reads=loaded.reads)), f"{ROOT}/{path}")
    return {found.resource: found.action for found in answer.effects}


def in_context(wanted: Spec, path: str) -> bool:
    """Whether the build of image `web` gets the file."""
    return not Matcher(wanted.images["web"].context_ignores).ignores(f"{ROOT}/{path}")
