"""Two sessions on one project: whose it is, what is left alone, and what happens when that changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import ci, claims
from ipytilt.core import events as ev
from ipytilt.core.claims import Claim, Held
from ipytilt.core.orders import orders
from ipytilt.core.spec import KubeContext, Kubernetes, Resource
from ipytilt.core.state import State
from ipytilt.core.steps import Applied, Apply, CatchUp, Container
from tests.support.core import World, image, local, rules, service, spec

SCOPE = "Compose project p"
OTHER = "notebook a.ipynb (kernel 7) since noon"
LIVE = rules(("web", "/web"))
PROJECT = spec(service("web", "web"), local("gen"), images=[image("web", "web", live=LIVE)])


def theirs(world: World, by: str = OTHER) -> None:
    """The scope is another session's from now on, or ours ("")."""
    world.tick()
    world.post(ev.ClaimChanged(SCOPE, by, world.now))


def held_from_the_start() -> World:
    """A session that comes second: it hears whose the project is before its Tiltfile is evaluated."""
    world = World(spec())
    theirs(world)
    world.load(PROJECT)
    return world


def up() -> World:
    """A session that was first, and is up."""
    world = World(spec())
    theirs(world, "")
    world.load(PROJECT)
    world.settle()
    return world


def claim_order(state: State) -> Claim | None:
    """The claim that is to be kept."""
    return next((order for order in orders(state) if isinstance(order, Claim)), None)


def test_what_another_session_holds_is_not_started_and_says_who_it_is() -> None:
    world = held_from_the_start()
    assert [update.resource for update in world.history] == ["gen"]
    world.finish("gen")
    world.save("web/a")
    world.trigger("web")
    assert not world.started
    hold = world.state.holds["web"]
    assert hold.reason == "held-by-another-session"
    assert hold.text == f"{SCOPE} is held by {OTHER}; %tilt takeover takes it over"
    assert hold.on == (SCOPE,)


def test_when_it_is_free_the_second_goes_on_by_itself() -> None:
    world = held_from_the_start()
    world.finish("gen")
    theirs(world, "")
    assert [update.resource for update in world.started.values()] == ["web"]
    assert "web" not in world.state.holds


def test_taking_over_asks_with_a_new_order_and_a_second_time_again() -> None:
    world = held_from_the_start()
    assert claim_order(world.state) == Claim(SCOPE)
    for count in (1, 2):
        world.post(ev.TakeOverRequested(world.now))
        assert claim_order(world.state) == Claim(SCOPE, count)
    theirs(world, "")
    assert claim_order(world.state) == Claim(SCOPE, 2)
    world.post(ev.TakeOverRequested(world.now))  # there is nothing left to ask for
    assert claim_order(world.state) == Claim(SCOPE, 2)


def test_what_is_taken_over_is_left_alone() -> None:
    world = up()
    world.save("web/a")
    (run,) = world.state.runs.values()
    theirs(world)
    assert world.state.runs[run.id].cancelling
    world.finish("web", ev.Stopped())
    world.save("web/b")
    assert not world.started
    assert world.state.holds["web"].text == f"{SCOPE} was taken over by {OTHER}; %tilt takeover takes it back"
    world.post(ev.Enabled(("web",), False, world.now))
    world.tick()
    world.turn()
    assert not world.started, "it is somebody else's to take down"
    assert not world.state.leaving


@pytest.mark.parametrize("ask", ["down", "reload"])
def test_what_is_taken_over_is_not_taken_down(ask: str) -> None:
    world = up()
    theirs(world)
    if ask == "down":
        world.post(ev.DownRequested(world.now))
        assert claim_order(world.state) is None
    else:
        world.load(spec(local("gen")))
    assert not world.state.leaving
    assert not world.started


def test_what_was_about_to_be_taken_down_stays_when_it_is_taken_over() -> None:
    world = up()
    world.post(ev.Enabled(("web",), False, world.now))
    assert "web" in world.state.leaving
    theirs(world)
    world.tick()
    world.turn()
    assert not world.state.leaving
    assert not world.started
    assert not world.state.tracks["web"].started


def test_what_comes_back_is_deployed_anew() -> None:
    world = up()
    theirs(world)
    world.save("web/a")
    theirs(world, "")
    (update,) = world.started.values()
    assert isinstance(update.branches[0][-1], Apply)
    found = Container("theirs", "web-1", "web", "running")
    outcome = world.success(update)
    world.finish("web", replace(outcome, applied=(Applied("web", (found,), kept=(found.id,)),)))
    (update,) = world.started.values()
    assert isinstance(update.branches[0][0], CatchUp), "what the other session did to the container is not known"
    world.settle()
    world.save("web/b")
    assert [u.lane for u in world.started.values()] == ["live"]


def test_a_claim_is_kept_until_all_is_taken_down() -> None:
    world = up()
    assert claim_order(world.state) == Claim(SCOPE)
    world.post(ev.DownRequested(world.now))
    assert claim_order(world.state) == Claim(SCOPE)
    world.finish("web")
    assert claim_order(world.state) is None
    assert claim_order(World(spec(local("gen"))).state) is None


def test_ci_fails_at_once_with_the_holder_and_waits_while_it_takes_over() -> None:
    world = held_from_the_start()
    world.finish("gen")
    found = ci.verdict(world.state, since=world.now, now=world.now)
    assert found.word == "failure"
    assert found.reasons == (f"web:update: {SCOPE} is held by {OTHER}; %tilt takeover takes it over",)
    world.post(ev.TakeOverRequested(world.now))
    assert ci.verdict(world.state, since=world.now, now=world.now).word == "open"


def test_what_nobody_else_could_touch_needs_no_claim() -> None:
    (gen,) = spec(local("gen")).resources
    assert claims.scope_of(gen) == ""
    assert claims.others({SCOPE: Held(OTHER)}, gen) == ""


def test_in_a_cluster_the_context_counts() -> None:
    one, two = (Resource("a", Kubernetes(context=KubeContext(name))) for name in ("one", "two"))
    assert claims.scope_of(one) == "This project in Kubernetes context one"
    assert claims.scope_of(one) != claims.scope_of(two)
    assert not claims.is_named(claims.scope_of(one))
    assert claims.is_named(SCOPE)
