"""From the state to what a view shows: the buttons of a Tiltfile, where they stand and what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.buttons import Button, ButtonInput, Press
from ipytilt.core.spec import Command, Spec
from ipytilt.views import wire
from ipytilt.views.rows import session_view
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
