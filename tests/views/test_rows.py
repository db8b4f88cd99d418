"""From the state to what a view shows: the buttons of a Tiltfile, pods and the ports that lead to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.buttons import Button, ButtonInput, Press
from ipytilt.core.spec import Command, Kubernetes, PortForward, Resource, Spec
from ipytilt.core.steps import Container, Pod
from ipytilt.views import text, wire
from ipytilt.views.rows import session_view
from ipytilt.views.story import story
from ipytilt.views.wire import ButtonView, InputView
from tests.support.core import World, local, spec

SECRET = "hunter2-hunter2"
INPUTS = (
    ButtonInput("ROWS", "text", SECRET, label="Rows", placeholder="all"),
    ButtonInput("FORCE", "bool", "true"),
    ButtonInput("SIZE", "choice", "small", ("small", SECRET)),
    ButtonInput("TOKEN", "hidden", "kept-in-the-kernel"),
)


def button(name: str, beside: str = "", *, inputs: tuple[ButtonInput, ...] = ()) -> Button:
    return Button(name, name.title(), Command(("true",), "/"), beside=beside, inputs=inputs)


def with_buttons(*buttons: Button, enabled: tuple[str, ...] = ("api",)) -> Spec:
    return replace(spec(local("api"), enabled=enabled), buttons=buttons)


def shown(world: World) -> wire.SessionView:
    return session_view(world.state, "", scrub=lambda text: text.replace(SECRET, "[redacted]"))


def test_a_button_stands_beside_its_resource_or_in_the_head() -> None:
    view = shown(World(with_buttons(button("seed", "api"), button("prune"), button("lost", "gone"))))
    assert [one.name for one in view.rows[0].buttons] == ["seed"]
    assert [one.name for one in view.buttons] == ["prune", "lost"]


def test_a_disabled_resource_shows_no_buttons() -> None:
    view = shown(World(with_buttons(button("seed", "api"), enabled=())))
    assert (view.rows[0].disabled, view.rows[0].buttons, view.buttons) == (True, (), ())


def test_inputs_are_shown_without_secrets_and_hidden_ones_not_at_all() -> None:
    world = World(with_buttons(button("seed", inputs=INPUTS)))
    assert shown(world).buttons[0].inputs == (
        InputView("ROWS", "text", "Rows", "[redacted]", placeholder="all"),
        InputView("FORCE", "bool", "FORCE", "true"),
        InputView("SIZE", "choice", "SIZE", "small", ("small", "[redacted]")),
    )


@pytest.mark.parametrize("press", [Press(running=True), Press(problem="exit status 2"), Press()])
def test_the_newest_run_of_a_button_is_shown(press: Press) -> None:
    world = World(with_buttons(button("seed", "api"), button("prune")))
    world.post(ev.ButtonChanged("seed", press, world.now))
    assert shown(world).rows[0].buttons == (ButtonView("seed", "Seed", running=press.running, problem=press.problem),)
    assert shown(world).buttons == (ButtonView("prune", "Prune"),)


def test_the_run_of_a_button_that_is_gone_is_forgotten() -> None:
    world = World(with_buttons(button("seed")))
    world.post(ev.ButtonChanged("gone", Press(problem="exit status 2"), world.now))
    assert dict(world.state.presses) == {}


# ---------------------------------------------------------------------------------------------- pods


def in_cluster(problem: str = "") -> World:
    """A resource with a pod that crashed once, and two forwarded ports."""
    ports = (PortForward(8000, 80, name="site", path="/start"), PortForward(9000, 90))
    world = World(spec(Resource("web", Kubernetes(port_forwards=ports))))
    world.settle()
    crashed = Container("c", "web-1/web", "web", "running", started_at="t", kind="kubernetes", restarts=1)
    world.see_pods("web", Pod("web-1", "d", "u", "Running", "Running", ready=True, containers=(crashed,)))
    world.post(ev.Forwarded("web", 8000, problem, world.now))
    return world


def test_a_row_says_which_pod_speaks_for_it_and_where_its_ports_lead() -> None:
    (row,) = shown(in_cluster("Address already in use")).rows
    assert row.pod == wire.PodView("web-1", "Running", 1)
    assert row.endpoints == (
        wire.EndpointView("http://localhost:8000/start", "site", "Address already in use"),
        wire.EndpointView("http://localhost:9000/"),
    )


def test_what_was_wrong_with_a_port_ends_with_its_pod() -> None:
    world = in_cluster("Address already in use")
    world.see_pods("web")
    (row,) = shown(world).rows
    assert (row.pod, [endpoint.problem for endpoint in row.endpoints]) == (None, ["", ""])


def test_text_and_html_say_so_too() -> None:
    document = wire.document(shown(in_cluster("Address already in use")))
    facts = "pod web-1 · Running · 1 restart · http://localhost:8000/start · http://localhost:9000/"
    lines = text.table(document, now=0.0).splitlines()
    assert [line.strip() for line in lines[-2:]] == [facts, "http://localhost:8000/start Address already in use"]
    assert facts in text.html(document, {}, at=0.0)


def test_the_story_ends_with_the_pod() -> None:
    world = in_cluster("Address already in use")
    chapter = story(world.state, world.state.spec.resources[0])[-1]
    assert (chapter.what, chapter.result, chapter.cause) == ("pod web-1", "ok", "Running, 1 restart")
    assert chapter.because == ("http://localhost:8000/start Address already in use", "http://localhost:9000/")
