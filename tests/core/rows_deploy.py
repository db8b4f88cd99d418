"""Rows 155 to 192: what is built and deployed, taken down and said of it; the guides' examples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.status import is_ready, is_up_to_date
from ipytilt.core.steps import Built
from tests.core.rows import (
    WEB,
    at_rest,
    built,
    commands,
    effect,
    kubernetes,
    only,
    reused,
    row,
    running,
    sent,
)
from tests.support.core import MANUAL, World, applied, failed, image, local, rules, service, spec

CONTRACT = "tests/engines/test_contract.py::test_contract"


@row(155, better="the image is not built again: what did not change keeps its result, only the objects are applied")
def _() -> None:
    world = at_rest(kubernetes("web", "web", objects=("{}",)), images=[image("web")])
    world.load(spec(kubernetes("web", "web", objects=('{"a":1}',)), images=[image("web")]))
    assert only(world).cause.text == "Config Changed"
    assert built(only(world)) == []
    assert reused(only(world)) == ["web"]


def two_images() -> World:
    """One resource with two images."""
    return at_rest(service("web", "b", "a"), images=[image("a", "a"), image("b", "b")])


@row("155b")
def _() -> None:
    world = two_images()
    world.save("a/x")
    assert built(only(world)) == ["a"]
    assert reused(only(world)) == ["b"]


@row(156, also=("tests/runtime/test_behaviour.py::test_156_an_image_that_was_deleted_is_built_again",))
def _() -> None:
    world = two_images()
    world.save("a/x")
    again = Built("b", "b:again")
    world.finish("web", replace(world.success(only(world)), built=(Built("a", "a:new"), again)))
    assert world.state.images["b"].built == again
    world.save("a/y")
    world.settle()
    assert world.state.images["b"].built == again


@row(164, also=(f"{CONTRACT}[sandbox-recreate_and_force_give_a_fresh_container]",))
def _() -> None:
    world = two_images()
    world.trigger("web")
    assert built(only(world)) == ["b", "a"]
    assert applied(only(world)).force


@row(171, also=(f"{CONTRACT}[sandbox-recreate_and_force_give_a_fresh_container]",))
def _() -> None:
    world = at_rest(service("db"))
    world.trigger("db")
    assert built(only(world)) == []
    assert applied(only(world)).force


@row(172)
def _() -> None:
    world = running()
    before = world.track("web").containers
    world.post(ev.Enabled(("web",), on=False, at=world.now))
    world.tick(0.1)
    world.turn()
    assert world.lanes() == []
    assert world.plan.wake_at == pytest.approx(world.now + 0.1)
    world.post(ev.Enabled(("web",), on=True, at=world.now))
    world.tick()
    world.turn()
    assert world.lanes() == []
    assert world.track("web").containers == before
    world.switch("web", on=False)
    assert world.lanes() == [("web", "down")]


@row(183, better="services of a Compose project, too")
def _() -> None:
    chain = (service("a"), service("b", resource_deps=("a",)), service("c", resource_deps=("b",)))
    world = at_rest(*chain)
    world.post(ev.DownRequested(world.now))
    for name in "cba":
        assert world.lanes() == [(name, "down")]
        world.finish(name)
    world = at_rest(*chain)
    world.load(spec(*(replace(one, resource_deps=()) for one in chain)))
    world.load(spec(replace(chain[0], resource_deps=("c",)), *chain[1:]))
    world.post(ev.DownRequested(world.now))
    world.settle()
    assert world.state.leaving == {}


@row(184)
def _() -> None:
    world = running()
    world.post(ev.EngineChanged("kubernetes", "there is no such context", world.now))
    world.post(ev.DownRequested(world.now))
    assert world.lanes() == [("web", "down")]


@row(185)
def _() -> None:
    world = running(None)
    world.save("x")
    world.finish("web", failed())
    resource = world.state.spec.resources[0]
    assert is_ready(world.state, resource)
    assert not is_up_to_date(world.state, resource)


# ---------------------------------------------------------------------------------------------- the guides


@row(187)
def _() -> None:
    image_of_outputs = image("web", "build", live=rules(("build", "/app")))
    world = at_rest(local("compile", deps=("src",)), service("web", "web"), images=[image_of_outputs])
    world.save("src/a.c")
    assert world.lanes() == [("compile", "full")]
    world.save("build/a.o", "build/b.o")
    assert world.lanes() == [("compile", "full"), ("web", "live")]
    world.settle()
    assert [u.lane for u in world.history if u.resource == "web"] == ["full", "live"]


@row(188)
def _() -> None:
    text = WEB + "local_resource('protogen', 'x', deps=['x.proto'])\ndocker_build('web', '.', ignore=['x.proto']{})"
    assert effect(text.format(""), "x.proto") == {"protogen": "command"}
    assert effect(text.format(""), "gen/x_pb2.py") == {"web": "full update"}
    assert effect(text.format(", live_update=[sync('.', '/app')]"), "gen/x_pb2.py") == {"web": "live update"}


@row(189)
def _() -> None:
    node = WEB + "docker_build('web', '.', live_update=[{}])"
    assert effect(node.format("fall_back_on(['package.json']), sync('.', '/app')"), "package.json") == {
        "web": "full update"
    }
    world = running(rules((".", "/app"), runs=[("yarn", ("package.json", "yarn.lock"))]))
    world.save("package.json")
    assert (sent(world), commands(world)) == ([("package.json", "/app/package.json")], ["yarn"])


@row(190)
def _() -> None:
    install = "pip install -r requirements.txt"
    world = running(rules(("api", "/app"), runs=[(install, ("api/requirements.txt",))]))
    world.save("api/app.py")
    assert (sent(world), commands(world)) == ([("api/app.py", "/app/app.py")], [])
    world.settle()
    world.save("api/requirements.txt")
    assert commands(world) == [install]


@row(191)
def _() -> None:
    world = World(spec(local("reset-db", auto_init=False, trigger_mode=MANUAL)))
    assert world.lanes() == []
    for _ in range(2):
        world.trigger("reset-db")
        assert world.lanes() == [("reset-db", "full")]
        world.settle()
        assert world.lanes() == []


@row(
    192,
    better="every file of the old directory is removed, however the rename is reported",
    also=("tests/runtime/test_watcher.py::test_case_192_a_renamed_directory_is_reported_with_all_it_held",),
)
def _() -> None:
    world = running(rules(("src", "/app")))
    world.save("src/a/x.py", "src/b/x.py")
    assert [target for _, target in sent(world)] == ["/app/a/x.py", "/app/b/x.py"]
