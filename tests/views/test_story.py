"""What happened and why, as data and as a table, in a small world."""

from __future__ import annotations

from ipytilt.core.explain import why
from ipytilt.core.spec import Resource
from ipytilt.views.answers import why_text
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


def test_of_many_files_the_data_tells_all_and_the_text_few() -> None:
    rule = rules(("src", "/app"), runs=[("make", ("src",))])
    world = World(spec(service("web", "web"), images=[image("web", live=rule)]))
    world.settle()
    world.save(*(f"src/{number:04}" for number in range(1000)))
    world.finish("web")
    told = of(world, "web")[-1]
    answer = why(world.state, "web")
    assert answer is not None
    assert len(told.because) == 1001
    for text in (str(told), of(world, "web")._repr_html_(), why_text(answer, base="/p", now=0.0)):
        assert "src/0000" in text
        assert "... and 971 more" in text
        assert "src/0500" not in text
        assert "its trigger covers it" in text


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
