"""What happened and why, as data and as a table, in a small world."""

from __future__ import annotations

from ipytilt.core.spec import Resource
from ipytilt.views.story import Story, story, updates
from tests.support.core import World, failed, image, local, rules, service, spec


def of(world: World, name: str) -> Story:
    """The story of a resource."""
    return story(world.state, resource(world, name))


def resource(world: World, name: str) -> Resource:
    """A resource that is there."""
    found = world.state.spec.resource(name)
    assert found is not None
    return found


def live() -> World:
    """A service with live update, at rest."""
    world = World(spec(service("web", "web"), images=[image("web", live=rules(("src", "/app"), stop=["stop"]))]))
    world.settle()
    return world


def test_every_update_has_its_cause_its_rules_and_its_time() -> None:
    world = live()
    world.save("src/a.py")
    world.finish("web")
    world.save("stop")
    world.finish("web", failed("exit code: 1"))
    first, second, third = of(world, "web")
    assert (first.what, first.result, first.cause) == ("full update", "ok", "Initial Build")
    assert (second.what, second.result, second.files) == ("live update", "ok", ("/p/src/a.py",))
    assert second.because[0].startswith("because /p/src/a.py: ")
    assert second.because[0].endswith("[/p/Tiltfile:11]")
    assert (third.what, third.result, third.error) == ("full update", "error", "exit code: 1")
    assert (second.took, third.at > second.at > first.at) == (1.0, True)
    assert updates(world.state, resource(world, "web")) == [first, second, third]


def test_what_runs_and_what_waits_is_part_of_it() -> None:
    world = World(spec(local("a"), local("b", resource_deps=("a",))))
    (running,) = of(world, "a")
    (waiting,) = of(world, "b")
    assert (running.result, running.took, running.cause) == ("running", 0.0, "Initial Build")
    assert (waiting.result, waiting.on) == ("waiting", ("a",))
    assert updates(world.state, resource(world, "a")) == []


def test_nothing_yet_is_said() -> None:
    world = World(spec(local("helper", auto_init=False)))
    assert str(of(world, "helper")) == "nothing has happened yet"


def test_the_table_escapes_what_comes_from_outside_and_secrets_are_replaced() -> None:
    world = World(spec(local("a")))
    world.finish("a", failed("<script>alert('hunter2')</script>"))
    told = of(world, "a").scrubbed(lambda text: text.replace("hunter2", "[redacted]"))
    assert "hunter2" not in str(told) + repr(told) + told._repr_html_()
    assert "&lt;script&gt;" in told._repr_html_()
    assert "<script>" not in told._repr_html_()
