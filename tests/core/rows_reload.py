"""Rows 125 to 139: what an evaluation of the Tiltfile changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.diff import Verdict, compare
from ipytilt.core.orders import orders
from ipytilt.core.spec import Link, PortForward, Spec
from ipytilt.core.state import CONFIG, CONFIG_WATCH, INITIAL, TILTFILE
from ipytilt.core.steps import Serve, Watch
from ipytilt.runtime.workers import headline
from ipytilt.tiltfile.load import LoadError, load
from tests.core.rows import (
    COMPOSE,
    FX_A,
    WEB,
    asked_for,
    at_rest,
    built,
    effect,
    kubernetes,
    only,
    row,
    running,
)
from tests.support.core import MANUAL, ROOT, World, applied, at, image, local, service, spec
from tests.tiltfile.evaluated import cell, host


def same(**options: object) -> Spec:
    """What `running` asks for, with other options of the resource."""
    return spec(service("web", "web", **options), images=[image("web", live=FX_A)])


@row(125)
def _() -> None:
    world = running()
    moved = replace(service("web", "web"), origin=at(77))
    world.load(spec(moved, images=[replace(image("web", live=FX_A), origin=at(78))]))
    assert world.lanes() == []


@row(126)
def _() -> None:
    two = {"docker-compose.yml": "services: {web: {image: web}, db: {image: db}}", "db/Dockerfile": "FROM scratch"}
    text = WEB + "docker_build('web', '.')\ndocker_build('db', 'db')\n"
    assert effect(text, "Dockerfile", two) == {TILTFILE: "reload"}
    world = World(asked_for(text, two))
    world.settle()
    edited = asked_for(text, {**two, "Dockerfile": "FROM other"})
    world.post(ev.FilesChanged(CONFIG_WATCH, (f"{ROOT}/Dockerfile",), world.now))
    world.post(ev.LoadFinished(world.loading(), edited, None, (), world.now))
    assert world.lanes() == [("web", "full")]
    assert built(only(world)) == ["web"]
    assert headline(only(world).cause, ROOT) == "1 File Changed: [Dockerfile]"


@row(127)
def _() -> None:
    world = running()
    world.load(None, "syntax error")
    assert wrong(world) == "syntax error"
    assert world.lanes() == []
    world.load(same())
    assert wrong(world) == ""
    assert world.lanes() == []


def wrong(world: World) -> str:
    """What is wrong with the Tiltfile."""
    return world.state.load.error.message if world.state.load.error else ""


@row(128)
def _() -> None:
    world = running()
    world.load(None, "syntax error")
    world.save("src/a.py")
    assert world.lanes() == [("web", "live")]
    world.settle()
    world.load(same())
    assert world.lanes() == []


@row(129)
def _() -> None:
    world = running()
    world.load(spec(service("web", "web"), service("db"), images=[image("web", live=FX_A)]))
    assert world.lanes() == [("db", "full")]


@row(130)
def _() -> None:
    world = at_rest(service("web"), service("db"))
    world.load(spec(service("web")))
    assert world.lanes() == [("db", "down")]


@row(131)
def _() -> None:
    old = spec(kubernetes("web", "web"), images=[image("web")])
    new = spec(kubernetes("web", "web", port_forwards=(PortForward(8000),)), images=[image("web")])
    assert compare(old, new) == {"web": Verdict.REBUILD}
    world = World(old)
    world.settle()
    world.load(new)
    assert only(world).cause.flags == (CONFIG,)
    assert applied(only(world)).resource.target == new.resources[0].target


@row(132)
def _() -> None:
    world = running()
    for change in (
        {"labels": ("x",)},
        {"links": (Link("http://x/"),)},
        {"resource_deps": ("db",)},
        {"trigger_mode": MANUAL},
    ):
        world.load(same(**change))
        assert world.lanes() == []
    srv = local("srv", serve=True)
    world = at_rest(srv)
    before = served(world)
    world.load(spec(replace(srv, labels=("x",))))
    assert (world.lanes(), served(world)) == ([], before)


def served(world: World) -> set[Serve]:
    """The servers that are to run."""
    return {order for order in orders(world.state) if isinstance(order, Serve)}


@row(133)
def _() -> None:
    world = at_rest(local("gen", deps=("a",)))
    world.load(spec(local("gen", deps=("b",))))
    assert world.lanes() == []
    (watch,) = (o for o in orders(world.state) if isinstance(o, Watch) and o.name == "local:gen")
    assert watch.roots == (f"{ROOT}/b",)


@row(134)
def _() -> None:
    world = World(asked_for("local_resource('gen', 'make gen')"))
    world.settle()
    world.load(asked_for("local_resource('gen', 'make all')"))
    assert (world.lanes(), only(world).cause.flags) == ([("gen", "full")], (CONFIG,))


@row(135)
def _() -> None:
    custom = WEB + "custom_build('web', 'make', ['{}'], ignore=['*.o'])"
    assert compare(asked_for(custom.format("a")), asked_for(custom.format("b"))) == {"web": Verdict.SAME}
    docker = WEB + "docker_build('web', '.', cache_from='{}')"
    assert compare(asked_for(docker.format("a")), asked_for(docker.format("b"))) == {"web": Verdict.SAME}
    assert compare(asked_for(custom.format("a")), asked_for(docker.format("a"))) == {"web": Verdict.REBUILD}


def enabling(*names: str) -> Spec:
    """Two services, these of them enabled."""
    return spec(service("a"), service("b"), enabled=names)


@row(136)
def _() -> None:
    world = World(enabling("a"))
    world.settle()
    world.switch("b", on=True)
    world.settle()
    world.history.clear()
    world.post(ev.ArgsChanged(("b",), 9, world.now))
    assert world.state.load.args == ("b",)
    world.post(ev.LoadFinished(world.loading(), enabling("b"), None, (), world.now))
    assert world.lanes() == [("a", "down")]
    world.settle()
    world.post(ev.ArgsChanged(("a",), 10, world.now))
    world.post(ev.LoadFinished(world.loading(), enabling("a"), None, (), world.now))
    assert sorted((u.resource, u.lane, u.cause.flags[0]) for u in world.started.values()) == [
        ("a", "full", INITIAL),
        ("b", "down", "Removed"),
    ]


@row(137)
def _() -> None:
    world = World(enabling("a", "b"))
    world.settle()
    world.switch("b", on=False)
    world.settle()
    world.load(enabling("a", "b"))
    assert world.lanes() == []
    assert not world.state.enabled("b")


@row(138, better="a cell that only defines a function is no mistake; `wait` and `ci` say that there is nothing")
def _() -> None:
    loaded = load([cell("1", "def f(): pass")], (), host(COMPOSE))
    assert loaded.spec.resources == ()


@row(139, better="the second one is an error that names both places, and what was good stays in force")
def _() -> None:
    twice = [cell("1", "local_resource('a', 'x')"), cell("2", "local_resource('a', 'y')")]
    with pytest.raises(LoadError) as caught:
        load(twice, (), host())
    assert 'local_resource named "a" already exists' in caught.value.message
