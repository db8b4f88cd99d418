"""Rows 92 to 124: what starts when, and what waits for what."""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core.settings import Settings, UpdateSettings
from ipytilt.core.spec import Spec
from ipytilt.core.state import FILES, INITIAL
from ipytilt.core.steps import Applied, Container
from tests.core.rows import at_rest, built, held, kubernetes, only, plain, reused, row, running
from tests.support.core import MANUAL, World, failed, image, local, service, spec


def names(world: World) -> list[str]:
    """The resources that are being updated, in the order they were started."""
    return [name for name, _ in world.lanes()]


def order(world: World) -> list[str]:
    """Let everything end well, oldest first; the resources in the order they were started from here on."""
    begun = len(world.history) - len(world.started)
    world.settle()
    return [update.resource for update in world.history[begun:]]


def parallel_limit(wanted: int, *waiting: str) -> World:
    """Services whose first update is under way, at most so many at once."""
    world = World(limited(wanted, *waiting))
    assert len(world.started) == wanted
    return world


def limited(wanted: int, *services: str) -> Spec:
    """A spec of services with a limit."""
    asked = spec(*(service(name) for name in services))
    return replace(asked, settings=Settings(update=UpdateSettings(max_parallel_updates=wanted)))


@row(92)
def _() -> None:
    world = at_rest(kubernetes("a"), local("b"))
    world.trigger("a")
    world.trigger("b")
    assert names(world) == ["a"]
    assert held(world, "b") == "is-unparallelizable-local"
    world.finish("a")
    assert names(world) == ["b"]


@row(93)
def _() -> None:
    world = World(spec(local("a"), kubernetes("b")))
    assert names(world) == ["a"]
    assert held(world, "b") == "waiting-for-local"
    assert world.state.holds["b"].on == ("a",)


@row(94)
def _() -> None:
    world = World(spec(local("a", parallel=True), kubernetes("b"), local("c", parallel=True), local("d")))
    assert sorted(names(world)) == ["a", "b", "c"]
    assert held(world, "d") == "is-unparallelizable-local"


@row(95)
def _() -> None:
    world = World(spec(kubernetes("uncategorized"), kubernetes("a"), local("l", parallel=True)))
    assert sorted(names(world)) == ["l", "uncategorized"]
    assert held(world, "a") == "waiting-for-uncategorized"


@row(96)
def _() -> None:
    resources = (kubernetes("web", "img"), kubernetes("yaml"), kubernetes("uncategorized"), local("gen"))
    assert order(World(spec(*resources, images=[image("img")]))) == ["gen", "uncategorized", "yaml", "web"]


@row(97)
def _() -> None:
    assert order(World(spec(service("x"), service("y"), service("z")))) == ["x", "y", "z"]


@row(98)
def _() -> None:
    world = World(spec(service("a"), service("b", resource_deps=("a",)), service("c", resource_deps=("b",))))
    coming = Container("c1", "a-1", "a", "created")
    world.finish("a", ev.Ok(applied=(Applied("a", (coming,)),)))
    assert (names(world), held(world, "b"), held(world, "c")) == ([], "waiting-for-dep", "waiting-for-dep")
    world.see("a", replace(coming, state="running"))
    assert (names(world), held(world, "c")) == (["b"], "waiting-for-dep")


@row(99)
def _() -> None:
    world = World(spec(local("a"), service("b", resource_deps=("a",))))
    world.finish("a", failed())
    assert (held(world, "b"), world.state.holds["b"].on) == ("waiting-for-dep", ("a",))
    world.trigger("a")
    world.finish("a")
    assert names(world) == ["b"]


@row(100)
def _() -> None:
    world = at_rest(local("a"), local("b", deps=("src",), resource_deps=("a",)))
    world.trigger("a")
    world.finish("a", failed())
    world.save("src/x")
    assert names(world) == ["b"]


@row(101)
def _() -> None:
    world = World(spec(local("l", resource_deps=("y",)), kubernetes("y", pod_readiness="ignore")))
    assert (names(world), held(world, "l")) == (["y"], "waiting-for-dep")
    world.finish("y")
    assert names(world) == ["l"]


@row(102, better="the wait for a slot has a reason and names who has them")
def _() -> None:
    world = parallel_limit(1, "a", "b")
    assert held(world, "b") == "no-free-slot"
    assert world.state.holds["b"].on == ("a",)
    world.finish("a")
    assert names(world) == ["b"]


@row(103)
def _() -> None:
    world = parallel_limit(3, *"abcde")
    world.load(limited(1, *"abcde"))
    assert len(world.started) == 3
    for left in (2, 1, 1, 1):
        world.finish(names(world)[0])
        assert len(world.started) == left


@row(104)
def _() -> None:
    world = at_rest(*(local(name, deps=(name,)) for name in ("w", "c", "a", "b")))
    world.trigger("w")
    world.save("c/x")
    world.trigger("b")
    world.trigger("a")
    assert order(world) == ["w", "b", "a", "c"]


@row(105)
def _() -> None:
    world = at_rest(*(local(name, deps=(name,)) for name in ("w", "first", "second")))
    world.trigger("w")
    world.save("second/x")
    world.save("first/x")
    assert order(world) == ["w", "second", "first"]


def sharing(*resources: str) -> World:
    """Resources that share a base image, each with its own image on it."""
    images = [image("base", "base"), *(image(name, name, bases=("base",)) for name in resources)]
    return World(spec(*(service(name, "base", name) for name in resources), images=images))


@row(106)
def _() -> None:
    world = sharing("a", "b")
    assert (held(world, "b"), world.state.holds["b"].on) == ("building-component", ("base",))
    assert built(only(world)) == ["base", "a"]
    world.finish("a")
    assert built(only(world)) == ["b"]


@row(107)
def _() -> None:
    world = sharing("a", "b")
    world.settle()
    world.save("a/x")
    world.save("b/x")
    assert [built(update) for update in world.started.values()] == [["a"], ["b"]]


@row(108)
def _() -> None:
    world = at_rest(service("r1", "img"), service("r2", "img"), images=[image("img")])
    world.save("x")
    assert order(world) == ["r1", "r2"]
    assert [built(update) for update in world.history[2:]] == [["img"], []]
    assert reused(world.history[3]) == ["img"]


@row(109)
def _() -> None:
    world = at_rest(service("r1", "img"), service("r2", "img"), images=[image("img")])
    world.trigger("r1")
    assert order(world) == ["r1"]


@row(110)
def _() -> None:
    world = World(spec())
    world.post(ev.EngineChanged("kubernetes", "the cluster does not answer", world.now))
    world.load(spec(kubernetes("a"), local("l")))
    assert names(world) == ["l"]
    world.finish("l")
    assert (held(world, "a"), world.state.holds["a"].text) == ("waiting-for-cluster", "the cluster does not answer")
    world.post(ev.EngineChanged("kubernetes", "", world.now))
    assert names(world) == ["a"]


@row(111, better="enablement comes with the evaluation itself: once it is over, every resource's is known")
def _() -> None:
    world = World(spec(service("a"), service("b"), enabled=["a"]))
    assert names(world) == ["a"]
    world.settle()
    world.post(ev.SourcePut(ev.Source("cell:2", "Cell 2", "/p", "more"), 9, world.now))
    world.trigger("a")
    assert held(world, "a") == "tiltfile-reload"


@row(112)
def _() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    world.finish("web", failed("exit code: 1"))
    world.save("a.py")
    assert world.lanes() == [("web", "full")]
    assert built(only(world)) == ["web"]


@row(113)
def _() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    world.finish("web", failed("exit code: 1"))
    world.tick(3600)
    world.turn()
    assert names(world) == []


@row(114)
def _() -> None:
    world = plain()
    world.save("a.py")
    world.save("b.py")
    world.finish("web")
    assert [path.rpartition("/")[2] for path in only(world).cause.files] == ["b.py"]
    world.settle()
    assert len(world.history) == 3


@row(115)
def _() -> None:
    world = plain()
    world.trigger("web")
    for name in "abcde":
        world.save(name)
    world.finish("web")
    assert len(only(world).cause.files) == 5
    world.finish("web")
    assert names(world) == []


@row(116)
def _() -> None:
    world = World(spec(local("gen", deps=("proto",), auto_init=False)))
    assert names(world) == []
    world.save("proto/x")
    assert only(world).cause.flags == (FILES,)


@row(117)
def _() -> None:
    world = at_rest(local("gen", deps=("proto",), trigger_mode=MANUAL))
    world.save("proto/x")
    assert names(world) == []
    world.load(spec(local("gen", deps=("proto",))))
    assert only(world).cause.flags == (FILES,)


@row(118)
def _() -> None:
    world = World(spec(local("gen", trigger_mode=MANUAL, auto_init=False)))
    world.load(spec(local("gen", trigger_mode=MANUAL)))
    assert only(world).cause.flags == (INITIAL,)


@row(119, also=("tests/runtime/test_session.py::test_stop_cancels_a_build[sandbox]",))
def _() -> None:
    world = World(spec(local("gen")))
    world.post(ev.CancelRequested("gen", world.now))
    assert world.plan.cancel == set(world.started)
    world.finish("gen", ev.Stopped())
    assert world.last("gen").error == "build canceled"
    assert names(world) == []


@row(120)
def _() -> None:
    world = World(spec(local("gen")))
    world.post(ev.CancelRequested("gen", world.now - 10))
    assert not world.plan.cancel


@row(121)
def _() -> None:
    world = running()
    world.trigger("web")
    world.post(ev.Enabled(("web",), on=False, at=world.now))
    assert world.plan.cancel == set(world.started)
    world.finish("web", ev.Stopped())
    assert world.lanes() == [("web", "down")]
    world.settle()
    assert world.lanes() == []


@row(122)
def _() -> None:
    world = at_rest(local("slow"), local("gen"))
    world.trigger("slow")
    world.trigger("gen")
    world.post(ev.Enabled(("gen",), on=False, at=world.now))
    assert order(world) == ["slow"]
    assert world.track("gen").asked is None


@row(123)
def _() -> None:
    world = running()
    up = world.container("web")
    world.see("web", replace(up, state="created"))
    world.save("src/a.py")
    assert (names(world), held(world, "web")) == ([], "waiting-for-deploy")


@row(124)
def _() -> None:
    world = running()
    up = world.container("web")
    world.see("web", replace(up, state="restarting", started_at="later"))
    world.save("src/a.py")
    assert world.lanes() == [("web", "full")]
